//! The connection of a client: what was said to begin with, when it was last heard, when it is given up.

use std::time::{Duration, Instant};

use super::{Client, Event, Failure, HELLO, Loss, Refusal, attach, emit, version};
use crate::errno::ESTALE;
use crate::frame::MIN_MSIZE;
use crate::message::{Dialect, NO_TAG, Reply, Request};
use crate::session::{Limits, Session};
use crate::violation::Violation;

/// The far side is not asked to say something again and again, whatever it wants.
const SHORTEST_KEEP_ALIVE: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No connection.
    Down,
    /// Tversion was sent.
    Version,
    /// Tsession was sent.
    Session,
    /// Requests go to and fro.
    Up,
    /// There is a connection that is of no use.
    Useless,
}

/// What the two sides know the session by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Identity {
    id: [u8; 16],
    epoch: u64,
}

#[derive(Debug)]
pub(super) struct Link {
    state: State,
    /// When it came, or went.
    since: Instant,
    /// When the session had a link last.
    up: Instant,
    /// When anything was last heard, on any connection.
    heard: Option<Instant>,
    pinged: Instant,
    linger: Duration,
    /// After a third of this silence the far side is asked to say something.
    keep_alive: Duration,
    identity: Identity,
    msize: Option<u32>,
    /// The longest message of the session.
    limit: u32,
    /// The session has a root.
    is_attached: bool,
    loss: Loss,
}

impl Link {
    pub fn new(linger: Duration, keep_alive: Duration, now: Instant) -> Link {
        Link {
            state: State::Down,
            since: now,
            up: now,
            heard: None,
            pinged: now,
            linger,
            keep_alive,
            identity: Identity::default(),
            msize: None,
            limit: 0,
            is_attached: false,
            loss: Loss::Ended,
        }
    }

    pub fn is_up(&self) -> bool {
        self.state == State::Up
    }

    pub fn msize(&self) -> Option<u32> {
        self.msize
    }

    /// How the last session ended.
    pub fn last_loss(&self) -> Loss {
        self.loss
    }

    pub fn lost(&mut self, loss: Loss) {
        self.loss = loss;
        self.identity = Identity::default();
    }

    /// Nothing that comes over this connection is of any use now.
    pub fn say_goodbye(&mut self) {
        if self.state != State::Down {
            self.state = State::Useless;
        }
    }

    /// When this connection was last known to work.
    fn alive(&self) -> Instant {
        self.heard.map_or(self.since, |heard| heard.max(self.since))
    }
}

impl<T> Client<T> {
    /// There is a fresh byte stream to the server. Nothing of an earlier one may be handled any more.
    pub fn handle_connected(&mut self, now: Instant) {
        self.handle_broken(now);
        self.link.state = State::Version;
        self.link.since = now;
        self.link.pinged = now;
        self.control.push_back(emit(&version(self.settings.msize)));
    }

    /// The byte stream is no more, or is given up.
    pub fn handle_broken(&mut self, now: Instant) {
        if self.link.state == State::Down {
            return;
        }
        if self.link.is_up() {
            self.link.up = now;
        }
        self.link.state = State::Down;
        self.link.since = now;
        self.control.clear();
        self.session.iter_mut().for_each(Session::disconnect);
        self.events.push_back(Event::Down);
    }

    /// Bytes have come that are no whole frame yet: the far side is there.
    pub fn handle_progress(&mut self, now: Instant) {
        self.link.heard = Some(now);
    }

    /// When [`Client::handle_timeout`] is to be called, unless something else happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let silent = self.asking.silent(self.link.heard).map(|(since, _)| since + self.settings.patience);
        let ending = self.asking.ending().map(|(until, _)| until);
        [silent, ending, self.lingers_until(), self.gives_up_at(), self.pings_at()].into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.gives_up_at().is_some_and(|at| at <= now) {
            self.handle_broken(now);
        }
        if self.pings_at().is_some_and(|at| at <= now) {
            self.ping(now);
        }
        if self.lingers_until().is_some_and(|until| until <= now) {
            // The far side may be resuming just now what is given up here.
            self.handle_broken(now);
            self.lose(Loss::Lingered);
        }
        while let Some((_, call)) = self.asking.ending().filter(|(until, _)| *until <= now) {
            let sent = self.asking.may_be_sent(call);
            self.fail(call, if sent { Failure::Unknown } else { Failure::Cancelled });
        }
        let patience = self.settings.patience;
        while let Some((_, call)) = self.asking.silent(self.link.heard).filter(|(since, _)| *since + patience <= now) {
            let sent = self.asking.may_be_sent(call);
            self.fail(call, if sent { Failure::Unknown } else { Failure::Unreachable });
        }
    }

    /// A frame on a connection that is not up.
    pub(super) fn handle_hello(&mut self, frame: &[u8]) -> Result<(), Violation> {
        if let State::Down | State::Useless = self.link.state {
            return Ok(());
        }
        let (tag, reply) = Reply::parse(Dialect::Own, frame)?;
        match (self.link.state, reply) {
            _ if tag != NO_TAG => Err(Violation::Greeting),
            (State::Version, Reply::Version { msize, version }) => {
                self.handle_version(msize, version);
                Ok(())
            }
            (State::Version | State::Session, Reply::Error { errno: ESTALE, .. }) if self.session.is_some() => {
                self.lose(Loss::Restarted);
                self.say_session();
                Ok(())
            }
            (State::Version | State::Session, Reply::Error { errno, reason }) => {
                self.refuse(Refusal::Error { errno, reason: reason.to_owned() });
                Ok(())
            }
            (State::Session, Reply::Session { id, epoch, received, linger_ms, keep_alive_ms, limit }) => {
                let linger = Duration::from_millis(linger_ms.into());
                self.link.linger = linger.min(self.settings.linger);
                let keep_alive = Duration::from_millis(keep_alive_ms.into()).max(SHORTEST_KEEP_ALIVE);
                self.link.keep_alive = keep_alive.min(self.settings.keep_alive);
                self.handle_session(Identity { id, epoch }, received, limit)
            }
            _ => Err(Violation::Greeting),
        }
    }

    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.link.state = State::Useless;
        self.events.push_back(Event::Refused(refusal));
    }

    fn handle_version(&mut self, msize: u32, version: &str) {
        if version != Dialect::Own.version() {
            return self.refuse(Refusal::Version(version.to_owned()));
        }
        if msize < MIN_MSIZE {
            return self.refuse(Refusal::Frames(msize));
        }
        self.link.msize = Some(msize.min(self.settings.msize));
        self.link.state = State::Session;
        self.say_session();
    }

    fn say_session(&mut self) {
        let Identity { id, epoch } = self.link.identity;
        let received = self.session.as_ref().map_or(0, Session::received_frames);
        self.control.push_back(emit(&Request::Session { id, epoch, received }));
    }

    fn handle_session(&mut self, identity: Identity, received: u64, limit: u32) -> Result<(), Violation> {
        let resumed = match &mut self.session {
            Some(session) if identity == self.link.identity => {
                // It has told what it has, and that cannot be: this is not the session that it says it is.
                session.resume(received).map_err(|_| Violation::Greeting)?;
                true
            }
            Some(_) => return Err(Violation::Greeting),
            None => {
                self.session = Some(Session::new(Limits::default()));
                self.link.identity = identity;
                self.link.is_attached = false;
                self.asking.attach(&attach(&self.settings));
                false
            }
        };
        self.link.state = State::Up;
        self.link.limit = limit;
        if self.link.is_attached {
            self.events.push_back(Event::Up { resumed, limit });
        }
        Ok(())
    }

    /// The session has got its root: only now is it known that the far side lets us in.
    pub(super) fn attached(&mut self) {
        self.link.is_attached = true;
        self.events.push_back(Event::Up { resumed: false, limit: self.link.limit });
    }

    fn ping(&mut self, now: Instant) {
        self.link.pinged = now;
        if let Some(received) = self.session.as_mut().and_then(Session::acknowledge) {
            self.control.push_back(emit(&Request::Ack { received }));
        }
        self.control.push_back(emit(&Request::Ping));
    }

    fn lingers_until(&self) -> Option<Instant> {
        (self.session.is_some() && !self.link.is_up()).then(|| self.link.up + self.link.linger)
    }

    fn gives_up_at(&self) -> Option<Instant> {
        match self.link.state {
            State::Down | State::Useless => None,
            State::Version | State::Session => Some(self.link.since + HELLO),
            State::Up => Some(self.link.alive() + self.settings.keep_alive),
        }
    }

    fn pings_at(&self) -> Option<Instant> {
        let silent = self.link.alive().max(self.link.pinged);
        self.link.is_up().then(|| silent + self.link.keep_alive / 3)
    }
}
