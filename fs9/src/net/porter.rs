//! The loop that serves all clients from elsewhere: one thread, one epoll. It lets them in, reads what they say, and ends those
//! that are gone, silent, deaf or do not keep to the protocol. What it cannot do at once it leaves to others: a request that
//! waits is a ticket at the server, an answer that the socket does not take waits for room there.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fs9_proto::frame::{FrameError, Frames};
use fs9_proto::server::{self, Greeting, Hello, Identity, Limits, Server as Talk, Step};
use fs9_proto::violation::Violation;
use fs9_proto::{NO_TAG, Request, Tag};
use fs9_tiers::error::Reason;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use rustix::process::{Resource, getrlimit};
use rustix::rand::{GetRandomFlags, getrandom};
use slab::Slab;

use super::client::{Bell, Client, Link};
use super::door::Door;
use super::listen::Listener;
use super::origin;
use crate::fuse::patience::Patience;
use crate::local::verb;
use crate::served::Stopper;
use crate::server::access::Who;
use crate::server::{Origin, Server};
use crate::ticket::Effects;

/// The longest frame: a message of a mount's limit, and what is around it.
const MSIZE: u32 = (1 << 20) + 4096;
/// So long somebody may take to say who is to be served.
const GREETING: Duration = Duration::from_secs(10);
/// So long a session may be silent, whose client says so when it has nothing to say.
const SILENCE: Duration = Duration::from_secs(45);
/// So long a client may leave lying what it is told.
const DEAFNESS: Duration = Duration::from_secs(45);
/// So long nobody is let in when there is no descriptor for them.
const PAUSE: Duration = Duration::from_millis(200);
/// Connections at once, and those of them that have not said yet whom to serve.
const MOST: usize = 8192;
const MOST_STRANGERS: usize = 1024;
/// Connections of others than the mount's owner and root, and what each of them may have at once.
const MOST_OTHERS: usize = MOST / 2;
const OTHERS: (usize, usize) = (4096, 1024);
/// Descriptors that are left to others.
const HEADROOM: u64 = 64;
/// Of a receive buffer, what is too much for a connection on which nothing has come for so long.
const SWOLLEN: usize = 8 << 10;
const CALM: Duration = Duration::from_secs(1);
/// How often at most one client is read from before it is the others' turn.
const TURNS: usize = 8;
/// How many events are taken at once.
const EVENTS: usize = 256;

/// Above the numbers of all connections: those of the bell and of listeners.
const BELL: u64 = 1 << 32;
const LISTENERS: u64 = BELL + 1;

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
}

impl House {
    /// Whether this is who mounted, or root.
    fn is_owner(&self, who: &Who) -> bool {
        who.uid == 0 || who.uid == self.owner.uid
    }
}

/// See the [module](self).
pub struct Porter {
    house: House,
    /// Of this run.
    epoch: u64,
    epoll: Arc<OwnedFd>,
    bell: Arc<Bell>,
    listeners: Vec<Listener>,
    connections: Slab<Connection>,
    /// Those that have not attached anything.
    strangers: usize,
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
}

/// A socket.
struct Connection {
    /// Each has another.
    serial: u64,
    socket: Arc<OwnedFd>,
    frames: Frames,
    stage: Stage,
    /// It has attached nothing yet.
    is_stranger: bool,
    /// Its buffer is a large one, until nothing has come for a while.
    is_swollen: bool,
    since: Instant,
    heard: Instant,
}

/// How far it has come.
enum Stage {
    /// It has to say what it speaks.
    Greeting(Greeting, Option<Origin>, Arc<Who>),
    /// It is this client's.
    Client(Arc<Client>),
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
enum End {
    /// The client is gone.
    #[error("the connection was closed")]
    Gone,
    /// It broke the protocol.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// What it sends are no frames.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Silent for too long, or deaf.
    #[error("{0}")]
    Patience(&'static str),
}

impl End {
    /// Whether it might come back.
    fn is_of_the_link(&self) -> bool {
        matches!(self, End::Gone | End::Patience(_))
    }
}

impl Porter {
    /// One that listens, once it runs.
    ///
    /// # Errors
    /// EMFILE.
    pub fn new(listeners: Vec<Listener>, house: House, bell: Arc<Bell>) -> io::Result<Porter> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &*bell, EventData::new_u64(BELL), EventFlags::IN)?;
        for (listener, key) in listeners.iter().zip(LISTENERS..) {
            epoll::add(&epoll, listener, EventData::new_u64(key), EventFlags::IN)?;
        }
        let epoch = u64::from_ne_bytes(random());
        Ok(Porter {
            house,
            epoch,
            epoll: Arc::new(epoll),
            bell,
            listeners,
            connections: Slab::new(),
            strangers: 0,
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
                    BELL => self.watch_the_slow(),
                    listener if listener > BELL => self.listen((listener - LISTENERS) as usize, &mut serial),
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

    /// Lets in who waits.
    fn listen(&mut self, number: usize, serial: &mut u64) {
        loop {
            let Some(listener) = self.listeners.get(number) else { return };
            match listener.accept() {
                Ok(socket) => {
                    let origin = origin::of(&socket, listener.address(), &self.house.owner);
                    *serial += 1;
                    self.receive(socket, origin, *serial);
                }
                Err(Errno::AGAIN) => return,
                // Those who left before they were let in.
                Err(Errno::INTR | Errno::CONNABORTED | Errno::PROTO | Errno::NOTCONN | Errno::INVAL) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot let clients in for a moment");
                    self.hear(EventFlags::empty());
                    self.alarms.insert((Instant::now() + PAUSE, Alarm::Listen));
                    return;
                }
            }
        }
    }

    /// Listens or does not.
    fn hear(&self, interest: EventFlags) {
        for (listener, key) in self.listeners.iter().zip(LISTENERS..) {
            let _ = epoll::modify(&*self.epoll, listener, EventData::new_u64(key), interest);
        }
    }

    /// Somebody has come.
    fn receive(&mut self, socket: OwnedFd, origin: io::Result<(Origin, Who)>, serial: u64) {
        let (origin, who) = match origin {
            Ok(known) => known,
            Err(error) => return self.turn_off("unknown", format!("who it is cannot be found out: {error}")),
        };
        let most = if self.house.is_owner(&who) { MOST } else { MOST_OTHERS };
        let is_full = self.connections.len() >= most || self.strangers >= MOST_STRANGERS || !has_headroom(&socket);
        if is_full {
            return self.turn_off(&origin.node, "there are too many connections".into());
        }
        let entry = self.connections.vacant_entry();
        let key = entry.key();
        if let Err(error) = epoll::add(&*self.epoll, &socket, EventData::new_u64(key as u64), EventFlags::IN) {
            return self.turn_off(&origin.node, error.to_string());
        }
        let now = Instant::now();
        entry.insert(Connection {
            serial,
            socket: Arc::new(socket),
            frames: Frames::default(),
            stage: Stage::Greeting(Greeting::new(MSIZE), Some(origin), Arc::new(who)),
            is_stranger: true,
            is_swollen: false,
            since: now,
            heard: now,
        });
        self.strangers += 1;
        self.alarms.insert((now + GREETING, Alarm::Connection(key, serial)));
    }

    fn turn_off(&mut self, node: &str, why: String) {
        tracing::info!(%node, %why, "a client was refused");
        verb(&self.house.server, |server, fx| server.turn_off(node, why, fx));
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
        for _ in 0..TURNS {
            let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
            let space = connection.frames.space();
            let room = space.len();
            let len = match rustix::io::read(&connection.socket, space) {
                Ok(0) => return Err(End::Gone),
                Ok(len) => len,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(_) => return Err(End::Gone),
            };
            connection.frames.filled(len);
            connection.heard = Instant::now();
            if connection.frames.capacity() > SWOLLEN && !std::mem::replace(&mut connection.is_swollen, true) {
                self.alarms.insert((connection.heard + CALM, Alarm::Swollen(key, connection.serial)));
            }
            self.serve(key)?;
            if len < room {
                break;
            }
        }
        Ok(())
    }

    /// Serves the frames that have arrived. They are answered together.
    fn serve(&mut self, key: usize) -> Result<(), End> {
        let corked = self.client_of(key);
        corked.iter().for_each(|client| client.state().cork());
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
            let Connection { frames, stage, is_stranger, .. } = connection;
            match stage {
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
                    let Some(frame) = frames.pull()? else { return Ok(()) };
                    let step = client.state().talk.handle_frame(frame)?;
                    let mut attached = None;
                    match step {
                        Step::Done => {}
                        Step::Ask { tag, request } => {
                            tracing::trace!(%request, "request");
                            let door = Door { server: &self.house.server, client, tag };
                            door.serve(&request, &mut self.fx);
                            if let Request::Attach { fid, .. } = request {
                                let state = client.state();
                                attached = state.talk.fid(fid).is_ok().then(|| state.talk.msize());
                            }
                        }
                        Step::Cancel(tag) => give_up(&self.house.server, client, tag, &mut self.fx),
                        Step::Again => {
                            let (who, frame) = (client.who.clone(), frame.to_vec());
                            self.begin_again(key, who, &frame)?;
                            continue;
                        }
                    }
                    if let Some(msize) = attached {
                        frames.set_limit(msize);
                        self.strangers -= usize::from(std::mem::take(is_stranger));
                    }
                    if self.fx.carry_out() {
                        self.house.stopper.stop();
                    }
                }
            }
        }
    }

    /// The greeting of a connection has come to this.
    fn greet(&mut self, key: usize, hello: Hello) -> Result<(), End> {
        let limits = self.limits(key);
        match hello {
            Hello::Wait(answer) => self.say(key, &answer),
            Hello::Plain { dialect, msize, answer } => {
                self.admit(key, Talk::plain(dialect, msize, answer, limits)).map(drop)
            }
            Hello::Begin { tag, msize } => {
                let id = random();
                let linger_ms = u32::try_from(self.house.linger.as_millis()).unwrap_or(u32::MAX);
                let identity = Identity { id, epoch: self.epoch, linger_ms, limit: self.house.limit as u32 };
                let client = self.admit(key, Talk::begin(tag, msize, identity, limits))?;
                self.sessions.insert(id, Kept { client, alone_since: None });
                self.settle(key);
                Ok(())
            }
            Hello::Resume { tag, id, epoch, received } => self.resume(key, tag, id, epoch, received),
        }
    }

    /// What a client may have at once: others less than the owner.
    fn limits(&self, key: usize) -> Limits {
        match self.connections.get(key) {
            Some(Connection { stage: Stage::Greeting(_, _, who), .. }) if !self.house.is_owner(who) => {
                let (fids, requests) = OTHERS;
                Limits { fids, requests, ..Limits::default() }
            }
            _ => Limits::default(),
        }
    }

    /// Answers somebody who is no client yet. The first words fit into any socket; who has no room even for them is gone.
    fn say(&self, key: usize, answer: &[u8]) -> Result<(), End> {
        let Some(connection) = self.connections.get(key) else { return Err(End::Gone) };
        match send(&*connection.socket, answer, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(len) if len == answer.len() => Ok(()),
            _ => Err(End::Gone),
        }
    }

    /// The greeting is over: the connection is a client's.
    fn admit(&mut self, key: usize, talk: Talk<super::spot::Spot>) -> Result<Arc<Client>, End> {
        let link = self.link(key)?;
        let Some(Connection { stage, .. }) = self.connections.get_mut(key) else { return Err(End::Gone) };
        let Stage::Greeting(_, origin, who) = stage else { return Err(End::Gone) };
        let (origin, who) = (origin.take().ok_or(End::Gone)?, who.clone());
        let admitted = verb(&self.house.server, |server, fx| server.admit(origin, fx));
        let (number, session) = admitted.map_err(|_| End::Patience("the server is stopping"))?;
        let client = Client::new(talk, number, session, who, link);
        *stage = Stage::Client(client.clone());
        client.state().flush();
        Ok(client)
    }

    fn link(&self, key: usize) -> Result<Link, End> {
        let connection = self.connections.get(key).ok_or(End::Gone)?;
        Ok(Link::new(connection.socket.clone(), self.epoll.clone(), self.bell.clone(), key))
    }

    /// A connection is known to be of a session.
    fn settle(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.frames.set_limit(MSIZE);
        self.strangers -= usize::from(std::mem::take(&mut connection.is_stranger));
        let alarm = (Instant::now() + SILENCE, Alarm::Connection(key, connection.serial));
        self.alarms.insert(alarm);
    }

    /// A session goes on over this connection, if there is such a session, and it is this user's.
    fn resume(&mut self, key: usize, tag: Tag, id: [u8; 16], epoch: u64, received: u64) -> Result<(), End> {
        let link = self.link(key)?;
        let Some(Connection { stage: Stage::Greeting(_, _, who), .. }) = self.connections.get(key) else {
            return Err(End::Gone);
        };
        let kept = self
            .sessions
            .get_mut(&id)
            .filter(|kept| epoch == self.epoch && kept.client.who.uid == who.uid && !kept.client.state().is_given_up());
        let Some(kept) = kept else {
            return self.say(key, &server::refuse(tag, Errno::STALE.raw_os_error() as u32, "no such session"));
        };
        let client = kept.client.clone();
        let mut state = client.state();
        if state.talk.resume(tag, received).is_err() {
            drop(state);
            self.end_session(&id, Reason::Protocol, "it cannot be resumed");
            return self.say(key, &server::refuse(tag, Errno::STALE.raw_os_error() as u32, "it cannot be resumed"));
        }
        kept.alone_since = None;
        state.connect(link);
        state.flush();
        drop(state);
        if let Some(connection) = self.connections.get_mut(key) {
            connection.stage = Stage::Client(client);
        }
        self.settle(key);
        Ok(())
    }

    /// A standard client begins anew on the same connection.
    fn begin_again(&mut self, key: usize, who: Arc<Who>, frame: &[u8]) -> Result<(), End> {
        let Some(client) = self.client_of(key) else { return Ok(()) };
        let origin = self.end_client(&client, Reason::Closed, "it begins anew");
        let mut greeting = Greeting::new(MSIZE);
        let hello = greeting.handle_frame(frame)?;
        let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
        connection.stage = Stage::Greeting(greeting, Some(origin), who);
        self.greet(key, hello)
    }

    /// A connection is over.
    fn close(&mut self, key: usize, end: &End) {
        let Some(connection) = self.connections.try_remove(key) else { return };
        let _ = epoll::delete(&*self.epoll, &*connection.socket);
        self.strangers -= usize::from(connection.is_stranger);
        let why = end.to_string();
        match connection.stage {
            Stage::Greeting(_, origin, _) => {
                if !matches!(end, End::Gone) {
                    self.turn_off(&origin.map(|origin| origin.node).unwrap_or_default(), why);
                }
            }
            Stage::Client(client) => self.lose(key, &client, end, &why),
        }
        if self.connections.is_empty() {
            self.connections = Slab::new(); // memory that many took is given back
        }
    }

    /// A client has lost this connection.
    fn lose(&mut self, key: usize, client: &Arc<Client>, end: &End, why: &str) {
        let mut state = client.state();
        if !state.disconnect(key) {
            return; // it has another
        }
        let identity = state.talk.identity();
        let is_over = state.is_given_up() || !end.is_of_the_link();
        drop(state);
        match identity {
            None => drop(self.end_client(client, client.origin.ending(), why)),
            Some(identity) if matches!(end, End::Violation(Violation::Greeting)) => {
                self.end_session(&identity.id, Reason::Closed, "it said goodbye");
            }
            Some(identity) if is_over => self.end_session(&identity.id, Reason::Protocol, why),
            Some(identity) => {
                let now = Instant::now();
                if let Some(kept) = self.sessions.get_mut(&identity.id) {
                    kept.alone_since = Some(now);
                }
                self.alarms.insert((now + self.house.linger, Alarm::Session(identity.id)));
            }
        }
    }

    fn end_session(&mut self, id: &[u8; 16], reason: Reason, why: &str) {
        if let Some(kept) = self.sessions.remove(id) {
            self.end_client(&kept.client, reason, why);
        }
    }

    /// Everything that a client has asked is given up, and everything that it has open is left. Returns where it came from.
    fn end_client(&mut self, client: &Arc<Client>, reason: Reason, why: &str) -> Origin {
        let mut state = client.state();
        let asked: Vec<Tag> = state.talk.asked().collect();
        state.talk.abandon();
        let spots: Vec<_> = state.talk.drain().map(|(_, spot)| spot).collect();
        drop(state);
        for tag in asked {
            give_up(&self.house.server, client, tag, &mut self.fx);
        }
        let door = Door { server: &self.house.server, client, tag: NO_TAG };
        spots.iter().for_each(|spot| door.release(spot, reason, &mut self.fx));
        verb(&self.house.server, |server, fx| server.dismiss_session(client.session, why.to_owned(), fx));
        if self.fx.carry_out() {
            self.house.stopper.stop();
        }
        client.origin.again()
    }

    /// Some client takes too little of what it is told: it is looked at again when it has had time enough.
    fn watch_the_slow(&mut self) {
        let at = Instant::now() + DEAFNESS;
        for (key, connection) in &self.connections {
            if slow_since(connection).is_some() {
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
            (is_session.then_some(connection.heard), SILENCE, "it is silent"),
            (slow_since(connection), DEAFNESS, "it does not take what it is told"),
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

    /// Tells everybody what is left to tell, and leaves everything.
    fn end(mut self) {
        let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.close(key, &End::Patience("the server has ended"));
        }
        let ids: Vec<[u8; 16]> = self.sessions.keys().copied().collect();
        ids.iter().for_each(|id| self.end_session(id, Reason::Unreachable, "the server has ended"));
    }
}

/// Whoever has the request answers EINTR.
fn give_up(server: &Mutex<Server>, client: &Arc<Client>, tag: Tag, fx: &mut Effects) {
    if client.unwatch(tag) {
        return client.fail(tag, Errno::INTR);
    }
    let mut server = server.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    client.cancel(&mut server, tag, Errno::INTR, fx);
}

fn slow_since(connection: &Connection) -> Option<Instant> {
    match &connection.stage {
        Stage::Client(client) => client.state().slow_since(),
        Stage::Greeting(..) => None,
    }
}

/// Whether there are descriptors left beside this one.
fn has_headroom(socket: &OwnedFd) -> bool {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    u64::try_from(socket.as_raw_fd()).is_ok_and(|number| number + HEADROOM < limit)
}

/// Bytes that nobody can guess.
fn random<const LEN: usize>() -> [u8; LEN] {
    let mut bytes = [0; LEN];
    let mut filled = 0;
    while filled < LEN {
        // It waits once in the life of a machine, and a signal may end that.
        filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty()).unwrap_or(0);
    }
    bytes
}
