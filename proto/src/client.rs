//! The side that asks: requests, and what becomes of them when the link is slow, breaks, or never comes back.
//!
//! A machine without I/O: what is read from the connection goes into [`Client::handle_frame`], what is to be written
//! comes out of [`Client::poll_transmit`], and time is an argument. Below it connections come and go; above it a
//! request has exactly one end: an [`Answer`], or an [`Event::Failed`] that says what is known.
//!
//! - **Waiting is for what waits.** Tsend, Trecv and Twatch wait as long as the session lives. All else, and these with
//!   NONBLOCK, fails when nothing at all has come from the far side for [`Settings::patience`] since it was asked.
//! - **A cancelled request ends within patience, whatever the link does**, see [`Client::cancel`].
//! - **What takes something is never lost**: the reply to a Trecv that nobody waits for any more is an
//!   [`Answer::Late`].
//! - **Fids** are given out by [`Client::fid`] and taken back by [`Client::release`], which says the right thing to the
//!   far side however far the requests came that were to make the fid something. None is used again before that is
//!   answered, and none of a lost session ever.
//!
//! [`ROOT`] is there in every session: the machine itself attaches it, before anything that was asked.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::message::{Dialect, Fid, NO_FID, NO_TAG, Reply, Request};
use crate::session::{Session, Transmit};

mod ask;
mod fids;
mod link;
mod reply;
#[cfg(test)]
mod tests;

use ask::{Asked, Asking, Kind};
use fids::Fids;
use link::Link;

/// The root of the far tree.
pub const ROOT: Fid = Fid(0);

/// The fid of Tauth.
const AUTH: Fid = Fid(NO_FID.0 - 1);

/// Requests that can be under way at once. There are tags left for cancelling each, and for the end of every fid.
pub const MAX_REQUESTS: usize = 1 << 14;

/// Fids that can be given out at once.
pub const MAX_FIDS: usize = 1 << 14;

/// How long a new connection may take to agree on a session.
const HELLO: Duration = Duration::from_secs(10);

/// What a client is told once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The longest frame, in bytes.
    pub msize: u32,
    /// How long a session outlives its connection. The server's is taken if it is shorter.
    pub linger: Duration,
    /// After so long a silence the link counts as broken. After a third of it, or of what counts so much on the far
    /// side if that is less, the far side is asked to say something.
    pub keep_alive: Duration,
    /// How long a silence may last that somebody waits through who did not ask to wait.
    pub patience: Duration,
    /// The user's name, for Tattach.
    pub uname: String,
    /// The user's number, for Tattach.
    pub uid: Option<u32>,
    /// Which tree, for Tattach.
    pub aname: String,
    /// What is written to the file of Tauth before Tattach; without it there is no Tauth.
    pub credentials: Vec<u8>,
}

impl Default for Settings {
    /// A message of 1 MiB in one frame; 30 s, 45 s and 1 s; nobody, and the tree that the server has.
    fn default() -> Settings {
        Settings {
            msize: (1 << 20) + 4096,
            linger: Duration::from_secs(30),
            keep_alive: Duration::from_secs(45),
            patience: Duration::from_secs(1),
            uname: String::new(),
            uid: None,
            aname: String::new(),
            credentials: Vec::new(),
        }
    }
}

/// Names what was asked, for [`Client::cancel`]. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Call(u64);

/// What a frame has brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer<'a, T> {
    /// The reply to the last request of a call, or the first error; a walk that did not reach its end is ENOENT.
    Replied {
        /// Who asked.
        token: T,
        /// The reply.
        reply: Reply<'a>,
    },
    /// The reply to a Trecv whose asker had to be sent away before it came: what was taken is for whoever
    /// receives next on this fid. It comes before the reply to any later request.
    Late {
        /// Where it was received.
        fid: Fid,
        /// The reply.
        reply: Reply<'a>,
    },
}

/// What has happened otherwise.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<T> {
    /// There is no reply, and will be none for whoever asked.
    Failed {
        /// Who asked.
        token: T,
        /// What is known.
        failure: Failure,
    },
    /// The far side has let us in, or back in, and requests are on their way.
    Up {
        /// Whether the session before is continued. Otherwise it is a new one, without fids but [`ROOT`].
        resumed: bool,
        /// The longest message that the far side takes, in bytes.
        limit: u32,
    },
    /// The link is gone, by [`Client::handle_broken`] or because the far side was silent for too long: its connection
    /// is of no more use and is to be closed.
    Down,
    /// The session is gone, and all fids with it; what waited has failed. The next connection begins another one.
    Lost(Loss),
    /// The far side will not have us, or cannot talk with us. The connection is of no more use and is to be closed.
    Refused(Refusal),
}

/// Why there is no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It was cancelled: nothing was sent, and nothing is taken from anybody (EINTR). What a late reply brings is
    /// [`Answer::Late`].
    #[error("cancelled")]
    Cancelled,
    /// The far side says nothing (EHOSTUNREACH). Of what changes something there it is not known whether it happened.
    #[error("the other node does not answer")]
    Unreachable,
    /// The message was never sent: there is no session any more.
    #[error("not sent: {0}")]
    Unsent(Loss),
    /// The message was on its way, and nobody will ever say whether it arrived (EIO).
    #[error("it is not known whether the message was sent")]
    Unknown,
    /// What was waited for is gone with the session.
    #[error("{0}")]
    Lost(Loss),
}

/// Why a session is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    /// The far side does not know it any more: it was restarted, had given up first, or refuses us (ECONNRESET).
    #[error("the other node was restarted or has given us up")]
    Restarted,
    /// There was no link for too long (ENOLINK).
    #[error("the other node was not reachable for too long")]
    Lingered,
    /// It was ended here, by [`Client::end`].
    #[error("detached")]
    Ended,
}

/// Why the far side is none for us.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It speaks something else.
    #[error("the other side speaks {0:?} and not 9P2000.L.fs9: it is no fs9, or another version of it")]
    Version(String),
    /// Its frames are too short.
    #[error("the other side takes frames of at most {0} bytes, which is too little")]
    Frames(u32),
    /// It says so.
    #[error("the other side refuses: {reason} (error {errno})")]
    Error {
        /// The error number.
        errno: u32,
        /// In words, or nothing.
        reason: String,
    },
}

/// How a fid is given back, see [`Client::release`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Closed.
    Clunk,
    /// As a Tleave says it.
    Leave {
        /// The kind of the reason.
        kind: u8,
        /// Its figure.
        code: i32,
    },
}

/// Requests to one server, over one connection after another.
#[derive(Debug)]
pub struct Client<T> {
    settings: Settings,
    link: Link,
    /// Frames that belong to no session, to be sent first.
    control: VecDeque<Bytes>,
    session: Option<Session>,
    asking: Asking<T>,
    fids: Fids,
    events: VecDeque<Event<T>>,
}

impl<T> Client<T> {
    /// A client that has no connection yet.
    pub fn new(settings: Settings, now: Instant) -> Client<T> {
        Client {
            link: Link::new(settings.linger, settings.keep_alive, now),
            settings,
            control: VecDeque::new(),
            session: None,
            asking: Asking::default(),
            fids: Fids::default(),
            events: VecDeque::new(),
        }
    }

    /// A fid for a Twalk to make something of, to be given back by [`Client::release`]. None if there are [`MAX_FIDS`].
    pub fn fid(&mut self) -> Option<Fid> {
        (self.fids.len() < MAX_FIDS).then(|| self.fids.alloc())
    }

    /// Asks all of `requests` at once, of which the later may count on the earlier: one call, one answer, one round
    /// trip. It is answered with the reply to the last one, or the first error. Whoever adds a [`Client::release`]
    /// before anything is transmitted has that in the same round trip.
    ///
    /// # Errors
    /// [`MAX_REQUESTS`] are under way; the token comes back.
    pub fn ask(&mut self, now: Instant, requests: &[Request<'_>], token: T) -> Result<Call, T> {
        if self.asking.len() + requests.len() > MAX_REQUESTS || requests.is_empty() {
            return Err(token);
        }
        let known = |fid: Option<Fid>| fid.is_none_or(|fid| self.fids.is_usable(fid));
        let knows =
            |request: &Request<'_>| known(request.fid()) && known(request.newfid()) && known(request.other_fid());
        let gone = !requests.iter().all(knows);
        let kind = requests.last().map_or(Kind::Prompt, Kind::of);
        let call = self.asking.call(now, kind, token);
        if gone {
            // Only a fid of a lost session is not known here.
            let loss = self.link.last_loss();
            self.fail(call, if kind.sends() { Failure::Unsent(loss) } else { Failure::Lost(loss) });
            return Ok(call);
        }
        for request in requests {
            request.newfid().into_iter().for_each(|fid| self.fids.bind(fid));
            self.asking.ask(call, request);
        }
        Ok(call)
    }

    /// The fid is of no more use, whatever has become of the requests that named it. Nobody is told how that went. A
    /// fid of a lost session needs nothing more, and one that nothing was made of is free at once.
    pub fn release(&mut self, fid: Fid, how: Release) {
        if fid == ROOT || !self.fids.leave(fid) {
            return;
        }
        self.asking.release(
            fid,
            &match how {
                Release::Clunk => Request::Clunk { fid },
                Release::Leave { kind, code } => Request::Leave { fid, kind, code },
            },
        );
    }

    /// Whether something may have been received on this fid that has not come here: who waited for it was sent away.
    /// Who gives the fid back should then not say that it was closed in order, so that a message goes to somebody else.
    pub fn may_have_taken(&self, fid: Fid) -> bool {
        self.asking.has_orphans(fid)
    }

    /// Nobody wants to wait for this any longer; nothing happens if it has ended. It ends within patience, whatever the
    /// link does: as if nothing had happened when the answer overtakes; [`Failure::Cancelled`] when the far side says
    /// that there will be no answer, or never had the request; and when it says nothing in time, [`Failure::Unknown`]
    /// for a message that was on its way, [`Failure::Cancelled`] for the rest.
    pub fn cancel(&mut self, now: Instant, call: Call) {
        let Some(left) = self.asking.cancel(call, now + self.settings.patience) else { return };
        self.unbind(left.withdrawn);
        if left.none_sent {
            self.fail(call, Failure::Cancelled);
        }
    }

    /// Ends the session: all fids are gone, and who waits is told. The far side is told when there is a link, of which
    /// nothing else is of any use then. What was released should have been transmitted before.
    pub fn end(&mut self) {
        self.control.clear();
        if self.link.is_up() {
            self.control.push_back(emit(&version(self.settings.msize)));
        }
        self.link.say_goodbye();
        self.lose(Loss::Ended);
    }

    /// What is to be written to the connection next. To be called until there is nothing, whenever anything else was
    /// called.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        if let Some(frame) = self.control.pop_front() {
            return Some(frame);
        }
        if !self.link.is_up() {
            return None;
        }
        let session = self.session.as_mut()?;
        loop {
            match session.poll_transmit() {
                Some(Transmit::Frame(frame)) => return Some(frame),
                Some(Transmit::Acknowledge(received)) => return Some(emit(&Request::Ack { received })),
                None => session.keep(self.asking.next()?),
            }
        }
    }

    /// What has happened. To be called until there is nothing, whenever anything else was called.
    pub fn poll_event(&mut self) -> Option<Event<T>> {
        self.events.pop_front()
    }

    /// Requests that are under way, or wait for a link: those that are answered to nobody included.
    pub fn outstanding(&self) -> usize {
        self.asking.len()
    }

    /// Bytes that are held for the far side.
    pub fn kept_bytes(&self) -> usize {
        self.asking.pending_bytes() + self.session.as_ref().map_or(0, Session::kept_bytes)
    }

    /// The longest frame, in bytes, as agreed on the last connection.
    pub fn msize(&self) -> u32 {
        self.link.msize().unwrap_or(self.settings.msize)
    }

    /// Whether requests reach the far side now, as far as is known.
    pub fn is_up(&self) -> bool {
        self.link.is_up()
    }

    /// Fids that are not free, without [`ROOT`].
    pub fn fids(&self) -> usize {
        self.fids.len()
    }

    /// The session is gone.
    fn lose(&mut self, loss: Loss) {
        self.link.lost(loss);
        let had = self.session.take().is_some();
        self.fids.clear();
        for (token, kind, sent) in self.asking.clear() {
            let failure = match (kind, sent) {
                (Kind::Send { .. }, true) => Failure::Unknown,
                (Kind::Send { .. }, false) => Failure::Unsent(loss),
                (Kind::Prompt, _) if loss != Loss::Ended => Failure::Unreachable,
                _ => Failure::Lost(loss),
            };
            self.events.push_back(Event::Failed { token, failure });
        }
        if had {
            self.events.push_back(Event::Lost(loss));
        }
    }

    fn fail(&mut self, call: Call, failure: Failure) {
        if let Some((token, withdrawn)) = self.asking.settle(call) {
            self.unbind(withdrawn);
            self.events.push_back(Event::Failed { token, failure });
        }
    }

    /// These requests will never be sent. What they were to make something of may be free now.
    fn unbind(&mut self, withdrawn: Vec<Asked>) {
        for fid in withdrawn.into_iter().filter_map(|asked| asked.newfid) {
            if self.fids.unbind(fid) {
                self.asking.withdraw_release(fid);
            }
        }
    }
}

/// What has the root attached, in this order.
fn attach(settings: &Settings) -> Vec<Request<'_>> {
    let Settings { uname, aname, uid, credentials, .. } = settings;
    let attach = |afid| Request::Attach { fid: ROOT, afid, uname, aname, uid: *uid };
    match &credentials[..] {
        [] => vec![attach(NO_FID)],
        data => {
            let auth = Request::Auth { afid: AUTH, uname, aname, uid: *uid };
            vec![auth, Request::Write { fid: AUTH, offset: 0, data }, attach(AUTH)]
        }
    }
}

fn version(msize: u32) -> Request<'static> {
    Request::Version { msize, version: Dialect::Own.version() }
}

/// A frame of something that has no tag.
fn emit(request: &Request<'_>) -> Bytes {
    let mut frame = Vec::new();
    request.emit(Dialect::Own, NO_TAG, &mut frame);
    Bytes::from(frame)
}
