//! The loop that serves all clients from elsewhere: one thread, one epoll. It lets them in, reads what they say, and
//! ends those that are gone, silent, deaf or do not keep to the protocol. What it cannot do at once it leaves to
//! others: a request that waits is a ticket at the server, an answer that the socket does not take waits for room
//! there.

mod connection;
mod ends;
mod farewell;
mod greeting;
mod reception;
mod strangers;
mod wall;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fs9_proto::server::Step;
use fs9_proto::{Request, Tag};
use fs9_tiers::error::Reason;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustls::ServerConfig;
use slab::Slab;

use super::attach::Links;
use super::client::{As, Bell, Client};
use super::door::Door;
use super::listen::Listener;
use super::origin::Party;
use super::tls::TlsError;
use super::user::Clerk;
use crate::fuse::patience::Patience;
use crate::grants::Grants;
use crate::identity::{Identity, IdentityError};
use crate::keeper::Keeper;
use crate::random::random;
use crate::served::Stopper;
use crate::server::Server;
use crate::server::access::Who;
use crate::ticket::Effects;
use connection::{Connection, End, Stage};
use strangers::Strangers;
use wall::Wall;

/// The longest frame: a message of a mount's limit, and what is around it.
const MSIZE: u32 = (1 << 20) + 4096;
/// So long somebody may take to say who is to be served.
const GREETING: Duration = Duration::from_secs(10);
/// So long a client may leave lying what it is told.
const DEAFNESS: Duration = Duration::from_secs(45);
/// So long nobody is let in when there is no descriptor for them.
const PAUSE: Duration = Duration::from_millis(200);
/// Connections at once.
const MOST: usize = 8192;
/// Connections of others than the mount's owner and root, and what each of them may have at once.
const MOST_OTHERS: usize = MOST / 2;
const OTHERS: (usize, usize) = (4096, 1024);
/// Of a receive buffer, what is too much for a connection on which nothing has come for so long.
const SWOLLEN: usize = 8 << 10;
const CALM: Duration = Duration::from_secs(1);
/// So often a connection may be refused what it attaches: the Linux kernel asks twice.
const MOST_REFUSALS: u8 = 3;
/// How often at most one client is read from before it is the others' turn.
const TURNS: usize = 8;
/// How many events are taken at once: a handshake is a fraction of a millisecond, and others wait meanwhile.
const EVENTS: usize = 64;

/// Above the numbers of all connections: those of the bell, of the machine's clock and of listeners.
const BELL: u64 = 1 << 32;
const WALL: u64 = BELL + 1;
const LISTENERS: u64 = WALL + 1;

/// What a mount is to those who come to it.
#[derive(Debug)]
pub struct House {
    /// Its server.
    pub server: Arc<Mutex<Server>>,
    /// Ends it.
    pub stopper: Stopper,
    /// Who has mounted it.
    pub owner: Who,
    /// The longest message.
    pub limit: usize,
    /// How long a session is kept without a connection.
    pub linger: Duration,
    /// So long a session may be silent, whose client says so when it has nothing to say.
    pub keep_alive: Duration,
    /// How it speaks TLS, where it does.
    pub tls: Option<Arc<ServerConfig>>,
    /// Who it is towards others.
    pub identity: Arc<Result<Identity, IdentityError>>,
    /// Has the nodes that it has attached.
    pub keeper: Arc<Keeper>,
    /// Whether these are shown to those who come.
    pub export_nodes: bool,
    /// Who may come with a key, where anybody may.
    pub grants: Option<Arc<Grants>>,
    /// Looks up who clients say they are.
    pub clerk: Clerk,
}

impl House {
    /// The nodes that it has attached.
    pub fn links(&self) -> Arc<Links> {
        self.keeper.links()
    }

    /// Whether this is who mounted, or root.
    pub fn is_owner(&self, who: &Who) -> bool {
        who.uid == 0 || who.uid == self.owner.uid
    }

    /// Whether a connection comes as one of these, and not with a key.
    fn is_owners(&self, party: &Party) -> bool {
        matches!(party, Party::User(who) if self.is_owner(who))
    }
}

/// See the [module](self).
pub struct Porter {
    house: Arc<House>,
    /// Of this run.
    epoch: u64,
    epoll: Arc<OwnedFd>,
    bell: Arc<Bell>,
    wall: Wall,
    listeners: Arc<[Listener]>,
    connections: Slab<Connection>,
    /// Those that have not attached anything.
    strangers: Strangers,
    sessions: HashMap<[u8; 16], Kept>,
    /// What is to be looked at when. That it is time does not mean yet that there is anything to do.
    alarms: BTreeSet<(Instant, Alarm)>,
    fx: Effects,
}

/// A session, with a connection or without.
struct Kept {
    client: Arc<Client>,
    /// Since when it has none.
    alone_since: Option<Instant>,
}

/// What there may be to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    /// Listen again.
    Listen,
    /// A connection: which, and the how manieth it was.
    Connection(usize, u64),
    /// A connection that has sent something long: the same.
    Swollen(usize, u64),
    /// A session that has lost its connection.
    Session([u8; 16]),
    /// Something ends that was granted.
    Ends,
}

impl Porter {
    /// One that listens, once it runs.
    ///
    /// # Errors
    /// EMFILE.
    pub fn new(listeners: Arc<[Listener]>, house: House, bell: Arc<Bell>) -> io::Result<Porter> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let wall = Wall::new()?;
        epoll::add(&epoll, &*bell, EventData::new_u64(BELL), EventFlags::IN)?;
        epoll::add(&epoll, &wall, EventData::new_u64(WALL), EventFlags::IN)?;
        for (listener, key) in listeners.iter().zip(LISTENERS..) {
            epoll::add(&epoll, listener, EventData::new_u64(key), EventFlags::IN)?;
        }
        let epoch = u64::from_ne_bytes(random());
        Ok(Porter {
            house: Arc::new(house),
            epoch,
            epoll: Arc::new(epoll),
            bell,
            wall,
            listeners,
            connections: Slab::new(),
            strangers: Strangers::default(),
            sessions: HashMap::new(),
            alarms: BTreeSet::new(),
            fx: Effects::default(),
        })
    }

    /// Serves until it is told to end.
    pub fn run(mut self) {
        let mut events = Vec::with_capacity(EVENTS);
        let mut patience = Patience::new();
        let mut serial = 0;
        loop {
            if let Err(error) = self.wait(&mut events, &mut patience) {
                tracing::error!(%error, "cannot wait for clients");
                break;
            }
            for event in events.drain(..) {
                match event.data.u64() {
                    BELL if self.bell.answer() => return self.end(),
                    BELL => {
                        self.watch_the_slow();
                        self.sweep();
                        self.go_on();
                    }
                    WALL => {
                        self.wall.answer();
                        self.sweep();
                    }
                    listener if listener > WALL => self.listen((listener - LISTENERS) as usize, &mut serial),
                    key => self.attend(key as usize, event.flags),
                }
            }
            self.see_to_alarms();
        }
        self.end();
    }

    /// Waits for events, or the next alarm.
    fn wait(&self, events: &mut Vec<epoll::Event>, patience: &mut Patience) -> rustix::io::Result<()> {
        let mut wait = |rest: Option<&Timespec>| match epoll::wait(&*self.epoll, spare_capacity(events), rest) {
            Err(Errno::INTR) => Ok(0),
            waited => waited,
        };
        let mut found = Ok(0);
        if !self.connections.is_empty() {
            patience.look(|| {
                found = wait(Some(&Timespec::default()));
                found != Ok(0)
            });
        }
        if found? == 0 {
            wait(self.rest().as_ref())?;
        }
        Ok(())
    }

    /// Until the next alarm.
    fn rest(&self) -> Option<Timespec> {
        let (at, _) = self.alarms.first()?;
        // Rounded up: what is due then is due.
        let rest = at.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        Timespec::try_from(rest).ok()
    }

    /// Something is to be done for a connection.
    fn attend(&mut self, key: usize, flags: EventFlags) {
        let Some(connection) = self.connections.get(key) else { return };
        if flags.contains(EventFlags::OUT)
            && let Stage::Client(client) = &connection.stage
        {
            client.state().flush();
        }
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR)
            && let Err(end) = self.read(key)
        {
            self.close(key, &end);
        }
    }

    /// Reads what a client has said, and serves it.
    fn read(&mut self, key: usize) -> Result<(), End> {
        if !self.is_proved(key)? {
            return Ok(());
        }
        for turn in 0.. {
            let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
            if turn >= TURNS && !connection.stream.holds_input() {
                break;
            }
            let space = connection.frames.space();
            let room = space.len();
            let len = match connection.stream.read(space) {
                Ok(0) => return Err(End::Gone),
                Ok(len) => len,
                Err(TlsError::System(Errno::AGAIN)) => return Ok(()),
                Err(TlsError::System(Errno::INTR)) => continue,
                Err(error) => return Err(error.into()),
            };
            connection.frames.filled(len);
            connection.heard = Instant::now();
            if connection.frames.capacity() > SWOLLEN && !std::mem::replace(&mut connection.is_swollen, true) {
                self.alarms.insert((connection.heard + CALM, Alarm::Swollen(key, connection.serial)));
            }
            self.serve(key)?;
            let is_held = self.connections.get(key).is_some_and(|connection| connection.is_held);
            if len < room || is_held {
                break;
            }
        }
        Ok(())
    }

    /// Serves the frames that have arrived. They are answered together.
    fn serve(&mut self, key: usize) -> Result<(), End> {
        let corked = self.client_of(key);
        if let Some(client) = &corked {
            client.state().cork();
        }
        let served = self.serve_frames(key);
        corked.iter().for_each(|client| client.state().uncork());
        served
    }

    fn client_of(&self, key: usize) -> Option<Arc<Client>> {
        match self.connections.get(key) {
            Some(Connection { stage: Stage::Client(client), .. }) => Some(client.clone()),
            _ => None,
        }
    }

    fn serve_frames(&mut self, key: usize) -> Result<(), End> {
        loop {
            let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
            let Connection { serial, frames, stage, is_stranger, is_held, place, refusals, .. } = connection;
            match stage {
                Stage::Handshake(_) => return Ok(()),
                Stage::Greeting(greeting, ..) => {
                    let Some(frame) = frames.pull()? else { return Ok(()) };
                    let hello = greeting.handle_frame(frame)?;
                    self.greet(key, hello)?;
                }
                Stage::Client(client) => {
                    // Of a session that goes on elsewhere what still comes here was counted as not having come.
                    if !client.state().is_connected_by(key) {
                        return Err(End::Gone);
                    }
                    let state = client.state();
                    *is_held = state.is_held();
                    if *is_held {
                        return Ok(());
                    }
                    if *is_stranger && state.is_admitted {
                        *is_stranger = false;
                        frames.set_limit(state.talk.msize());
                        self.strangers.leave(*place);
                        let at = Instant::now() + self.house.keep_alive;
                        self.alarms.insert((at, Alarm::Connection(key, *serial)));
                    }
                    drop(state);
                    let Some(frame) = frames.pull()? else { return Ok(()) };
                    let step = client.state().talk.handle_frame(frame)?;
                    match step {
                        Step::Done => {}
                        Step::Ask { tag, request } => {
                            tracing::trace!(%request, "request");
                            let door = Door { house: &self.house, client, tag };
                            door.serve(&request, &mut self.fx);
                            if let Request::Attach { fid, .. } = request {
                                let mut state = client.state();
                                let is_attached = state.talk.fid(fid).is_ok();
                                state.is_admitted |= is_attached;
                                *refusals += u8::from(!is_attached && !state.is_held());
                                drop(state);
                                ends::watch(&self.house, &mut self.alarms);
                            }
                        }
                        Step::Cancel(tag) => give_up(&self.house, client, tag, &mut self.fx),
                        Step::Again => {
                            let (party, frame) = (client.party.clone(), frame.to_vec());
                            self.begin_again(key, party, &frame)?;
                            continue;
                        }
                    }
                    if *refusals > MOST_REFUSALS {
                        return Err(End::Patience("it asks again and again for what it was refused"));
                    }
                    if self.fx.carry_out() {
                        self.house.stopper.stop();
                    }
                }
            }
        }
    }

    /// Those who were held and are not any more are served.
    fn go_on(&mut self) {
        let is_free = |connection: &Connection| match &connection.stage {
            Stage::Client(client) => connection.is_held && !client.state().is_held(),
            Stage::Handshake(_) | Stage::Greeting(..) => false,
        };
        let free = self.connections.iter().filter(|(_, connection)| is_free(connection));
        let keys: Vec<usize> = free.map(|(key, _)| key).collect();
        for key in keys {
            if let Err(end) = self.serve(key) {
                self.close(key, &end);
            }
        }
    }

    /// Some client takes too little of what it is told: it is looked at again when it has had time enough.
    fn watch_the_slow(&mut self) {
        let at = Instant::now() + DEAFNESS;
        for (key, connection) in &self.connections {
            if connection.slow_since().is_some() {
                self.alarms.insert((at, Alarm::Connection(key, connection.serial)));
            }
        }
    }

    fn see_to_alarms(&mut self) {
        let now = Instant::now();
        while let Some((at, alarm)) = self.alarms.first().copied().filter(|(at, _)| *at <= now) {
            self.alarms.remove(&(at, alarm));
            match alarm {
                Alarm::Listen => self.hear(EventFlags::IN),
                Alarm::Connection(key, serial) => self.look_after(key, serial, now),
                Alarm::Swollen(key, serial) => self.calm(key, serial, now),
                Alarm::Ends => self.sweep(),
                Alarm::Session(id) => {
                    let since = self.sessions.get(&id).and_then(|kept| kept.alone_since);
                    if since.is_some_and(|since| since + self.house.linger <= now) {
                        self.end_session(&id, Reason::Unreachable, "unreachable");
                    }
                }
            }
        }
    }

    /// Ends a connection that has been silent or deaf for too long. Where it has not, there is another time to look.
    fn look_after(&mut self, key: usize, serial: u64, now: Instant) {
        let Some(connection) = self.connections.get(key).filter(|connection| connection.serial == serial) else {
            return;
        };
        let is_session = matches!(&connection.stage, Stage::Client(client) if client.state().talk.identity().is_some());
        let limits = [
            (connection.is_stranger.then_some(connection.since), GREETING, "it has not said whom to serve"),
            (is_session.then_some(connection.heard), self.house.keep_alive, "it is silent"),
            (connection.slow_since(), DEAFNESS, "it does not take what it is told"),
        ];
        let dues = limits.into_iter().filter_map(|(since, time, why)| Some((since? + time, why)));
        match dues.min_by_key(|(due, _)| *due) {
            Some((due, why)) if due <= now => self.close(key, &End::Patience(why)),
            Some((due, _)) => drop(self.alarms.insert((due, Alarm::Connection(key, serial)))),
            None => {}
        }
    }

    /// A connection gives back what something long has taken, once nothing has come for a while.
    fn calm(&mut self, key: usize, serial: u64, now: Instant) {
        let connection = self.connections.get_mut(key).filter(|connection| connection.serial == serial);
        let Some(connection) = connection else { return };
        let due = connection.heard + CALM;
        if due > now {
            self.alarms.insert((due, Alarm::Swollen(key, serial)));
        } else {
            connection.frames.trim();
            connection.is_swollen = false;
        }
    }
}

/// Whoever has the request answers EINTR.
fn give_up(house: &House, client: &Arc<Client>, tag: Tag, fx: &mut Effects) {
    if client.unwatch(tag) {
        return client.fail(tag, Errno::INTR);
    }
    if house.links().interrupt(client.id(tag, As::Standard)) {
        return;
    }
    let mut server = house.server.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    client.cancel(&mut server, tag, Errno::INTR, fx);
}
