//! One conversation as its server has it: fids, the requests under way, and what is to be sent.
//!
//! A conversation is a plain connection of a standard client, or a session that survives its connections. Frames go in
//! by [`Server::handle_frame`], which says what is to be done; answers go in by [`Server::reply`], in any order and at
//! any time; what is to be written comes out of [`Server::poll_transmit`]. `F` is what the embedder has behind a fid.
//!
//! A request that waits is a tag in a table and nothing else. Tflush follows flush(5) and what Linux's client relies
//! on: the old request is answered or cancelled, then Rflush is sent, and nothing more comes to the old tag; several
//! flushes are answered in their order; a Tflush never fails.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use crate::errno::{EBADF, EINTR, EMFILE, EPROTO};
use crate::message::Dialect;
use crate::session::{self, Session, Transmit, Unresumable};
use crate::violation::Violation;
use crate::{Fid, NO_TAG, Reply, Request, Tag};

mod greeting;

use greeting::frame;
pub use greeting::{Greeting, Hello, refuse};

/// Bytes of the longest header before the data of a message (`IOHDRSZ`).
const HEADER: u32 = 24;

/// So many requests at once are nothing to make room for again and again.
const FEW: usize = 16;

/// What one conversation may have at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Fids; one more is EMFILE.
    pub fids: usize,
    /// Requests under way; one more is EMFILE.
    pub requests: usize,
    /// Frames that are kept for a far side that does not acknowledge.
    pub kept: session::Limits,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { fids: 1 << 16, requests: 1 << 15, kept: session::Limits::default() }
    }
}

/// What a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Random and secret: whoever knows it can resume the session.
    pub id: [u8; 16],
    /// Of this run of the server.
    pub epoch: u64,
    /// How long it is kept without a connection, in milliseconds.
    pub linger_ms: u32,
    /// After so long a silence its connection counts as broken here, in milliseconds.
    pub keep_alive_ms: u32,
    /// The longest message, in bytes.
    pub limit: u32,
}

/// What a frame asks for.
#[derive(Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "it is looked at once and gone: a box would cost more than its bytes")]
pub enum Step<'f> {
    /// Nothing more: it is answered, or needs no answer.
    Done,
    /// This, to be answered by [`Server::reply`].
    Ask {
        /// By which the answer is known.
        tag: Tag,
        /// What is asked.
        request: Request<'f>,
    },
    /// The request of this tag is to be given up. It is answered all the same: with EINTR, or with what it had come to.
    Cancel(Tag),
    /// The client begins anew (version(5)): this conversation is over, and the same frame is the first of a
    /// [`Greeting`].
    Again,
}

/// A request that has no answer yet.
#[derive(Debug)]
enum UnderWay {
    /// The embedder has it.
    Asked {
        /// Tflush of it, in their order.
        flushes: Vec<Tag>,
        /// A Tread at this offset of so many bytes.
        read: Option<(Fid, u64, u32)>,
    },
    /// A Tflush that waits for the answer of this one.
    Flush(Tag),
}

/// See the [module](self).
#[derive(Debug)]
pub struct Server<F> {
    dialect: Dialect,
    msize: u32,
    limits: Limits,
    fids: HashMap<Fid, F>,
    under_way: HashMap<Tag, UnderWay>,
    /// Where a Tread would only go on with what the one before has ended, see [`Server::deliver`].
    ended: HashMap<Fid, (u64, u32)>,
    /// None for a standard client.
    session: Option<(Identity, Session)>,
    /// Frames to be sent that are of no session.
    bare: VecDeque<Bytes>,
    bare_bytes: usize,
}

impl<F> Server<F> {
    /// The conversation with a standard client, as [`Hello::Plain`] has it.
    pub fn plain(dialect: Dialect, msize: u32, answer: Bytes, limits: Limits) -> Server<F> {
        let mut server = Server::new(dialect, msize, None, limits);
        server.push(answer);
        server
    }

    /// A new session, as [`Hello::Begin`] wishes for it.
    pub fn begin(tag: Tag, msize: u32, identity: Identity, limits: Limits) -> Server<F> {
        let session = Some((identity, Session::new(limits.kept)));
        let mut server = Server::new(Dialect::Own, msize, session, limits);
        server.welcome(tag);
        server
    }

    fn new(dialect: Dialect, msize: u32, session: Option<(Identity, Session)>, limits: Limits) -> Server<F> {
        Server {
            dialect,
            msize,
            limits,
            fids: HashMap::new(),
            under_way: HashMap::new(),
            ended: HashMap::new(),
            session,
            bare: VecDeque::new(),
            bare_bytes: 0,
        }
    }

    /// The session goes on over a new connection, as [`Hello::Resume`] wishes for it. Its client has `received` frames
    /// of ours.
    ///
    /// # Errors
    /// It cannot have so many: this is not the session that it means. The session is to be ended.
    pub fn resume(&mut self, tag: Tag, received: u64) -> Result<(), Unresumable> {
        let Some((_, session)) = &mut self.session else {
            return Err(Unresumable { told: received, least: 0, most: 0 });
        };
        session.disconnect();
        session.resume(received)?;
        self.drop_bare();
        self.welcome(tag);
        Ok(())
    }

    fn welcome(&mut self, tag: Tag) {
        let Some((identity, session)) = &self.session else { return };
        let Identity { id, epoch, linger_ms, keep_alive_ms, limit } = *identity;
        let received = session.received_frames();
        self.push(frame(Dialect::Own, tag, &Reply::Session { id, epoch, received, linger_ms, keep_alive_ms, limit }));
    }

    /// The connection is gone. A session waits for another; what a standard client was to be told is forgotten.
    pub fn disconnect(&mut self) {
        self.drop_bare();
        if let Some((_, session)) = &mut self.session {
            session.disconnect();
        }
    }

    fn drop_bare(&mut self) {
        self.bare.clear();
        self.bare_bytes = 0;
    }

    /// Which session it is; None for a standard client.
    pub fn identity(&self) -> Option<Identity> {
        self.session.as_ref().map(|(identity, _)| *identity)
    }

    /// What is spoken.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The longest frame, in bytes.
    pub fn msize(&self) -> u32 {
        self.msize
    }

    /// Bytes of data that one reply has room for.
    pub fn room(&self) -> u32 {
        self.msize - HEADER
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// The next frame.
    ///
    /// # Errors
    /// The client breaks the protocol: the connection is to be closed, and a session ended.
    pub fn handle_frame<'f>(&mut self, bytes: &'f [u8]) -> Result<Step<'f>, Violation> {
        let parsed = Request::parse(self.dialect, bytes);
        match parsed {
            Ok((_, Request::Ack { received })) => {
                let Some((_, session)) = &mut self.session else { return Err(Violation::Greeting) };
                return session.acknowledged(received).map(|()| Step::Done);
            }
            Ok((tag, Request::Ping)) => {
                // With it goes what a silent client would otherwise keep for nothing.
                if let Some(received) = self.session.as_mut().and_then(|(_, session)| session.acknowledge()) {
                    self.push(acknowledge(received));
                }
                self.push(frame(self.dialect, tag, &Reply::Ping));
                return Ok(Step::Done);
            }
            _ => {}
        }
        if let Some((_, session)) = &mut self.session {
            session.received(bytes.len())?;
        }
        match parsed {
            Ok((tag, request)) => self.handle(tag, request),
            // Whoever has a tag can be told; the connection is as good as before, since frames have lengths.
            Err(error) => {
                let tag = error.tag.filter(|tag| !self.under_way.contains_key(tag));
                self.refuse(tag.ok_or(Violation::Malformed(error))?, EPROTO, "");
                Ok(Step::Done)
            }
        }
    }

    fn handle<'f>(&mut self, tag: Tag, request: Request<'f>) -> Result<Step<'f>, Violation> {
        if tag == NO_TAG || self.under_way.contains_key(&tag) {
            return match request {
                Request::Version { .. } if self.session.is_none() => Ok(Step::Again),
                // How a client says goodbye: the session is over.
                Request::Version { .. } => Err(Violation::Greeting),
                _ => Err(Violation::Tag(tag)),
            };
        }
        match request {
            Request::Version { .. } | Request::Session { .. } => return Err(Violation::Greeting),
            Request::Flush { oldtag } => return Ok(self.flush(tag, oldtag)),
            _ if self.under_way.len() >= self.limits.requests => {
                self.refuse(tag, EMFILE, "too many requests at once");
                return Ok(Step::Done);
            }
            _ => {}
        }
        let read = match request {
            Request::Read { fid, offset, count } => Some((fid, offset, count)),
            _ => None,
        };
        if let Some((fid, offset, count)) = read
            && self.ended.remove(&fid) == Some((offset, count))
        {
            self.emit(tag, &Reply::Read { data: &[] });
            return Ok(Step::Done);
        }
        self.under_way.insert(tag, UnderWay::Asked { flushes: Vec::new(), read });
        Ok(Step::Ask { tag, request })
    }

    /// Tflush of `old`.
    fn flush(&mut self, tag: Tag, old: Tag) -> Step<'static> {
        // A flush of a flush waits for the same answer.
        let asked = match self.under_way.get(&old) {
            Some(UnderWay::Flush(asked)) => *asked,
            _ => old,
        };
        match self.under_way.get_mut(&asked) {
            Some(UnderWay::Asked { flushes, .. }) if tag != asked => {
                flushes.push(tag);
                let is_first = flushes.len() == 1;
                self.under_way.insert(tag, UnderWay::Flush(asked));
                if is_first { Step::Cancel(asked) } else { Step::Done }
            }
            _ => {
                self.emit(tag, &Reply::Flush);
                Step::Done
            }
        }
    }

    /// The answer of a request. Nothing for one that has been answered, or was given up with its connection.
    pub fn reply(&mut self, tag: Tag, reply: &Reply<'_>) {
        let Some(UnderWay::Asked { flushes, .. }) = self.take(tag) else { return };
        // Nobody waits for being told that a request was given up: that is what Rflush says.
        let is_given_up = !flushes.is_empty() && matches!(reply, Reply::Error { errno: EINTR, .. });
        if !is_given_up {
            self.emit(tag, reply);
        }
        for flush in flushes {
            self.take(flush);
            self.emit(flush, &Reply::Flush);
        }
    }

    /// The answer of a Tread or Trecv at a peer: bytes of one message, or none at its end.
    ///
    /// Linux's client goes on reading until the buffer of read(2) is full, at the place and for the rest that the reply
    /// before has left. There is no rest: a message is over. So that one request, and no other, is answered with no
    /// bytes.
    pub fn deliver(&mut self, tag: Tag, data: &[u8]) {
        match self.under_way.get(&tag) {
            Some(UnderWay::Asked { read: Some((fid, offset, count)), .. }) => {
                let (fid, end, got) = (*fid, offset.saturating_add(data.len() as u64), data.len() as u32);
                // More than there is room for was not asked for in one piece.
                if got > 0 && got < (*count).min(self.msize - HEADER) {
                    self.ended.insert(fid, (end, *count - got));
                }
                self.reply(tag, &Reply::Read { data });
            }
            _ => self.reply(tag, &Reply::Recv { data }),
        }
    }

    fn take(&mut self, tag: Tag) -> Option<UnderWay> {
        let taken = self.under_way.remove(&tag);
        if self.under_way.is_empty() && self.under_way.capacity() > FEW {
            self.under_way = HashMap::new(); // memory that many requests took is given back
        }
        taken
    }

    /// The requests that have no answer yet, but for flushes.
    pub fn asked(&self) -> impl Iterator<Item = Tag> {
        let asked = self.under_way.iter().filter(|(_, state)| matches!(state, UnderWay::Asked { .. }));
        asked.map(|(tag, _)| *tag)
    }

    /// Forgets every request: their clients are gone. Answers that still come are dropped.
    pub fn abandon(&mut self) {
        self.under_way = HashMap::new();
    }

    fn refuse(&mut self, tag: Tag, errno: u32, reason: &str) {
        self.emit(tag, &Reply::Error { errno, reason });
    }

    fn emit(&mut self, tag: Tag, reply: &Reply<'_>) {
        let bytes = frame(self.dialect, tag, reply);
        match &mut self.session {
            Some((_, session)) => session.keep(bytes),
            None => self.push(bytes),
        }
    }

    fn push(&mut self, frame: Bytes) {
        self.bare_bytes += frame.len();
        self.bare.push_back(frame);
    }

    /// The next frame to be written to the connection.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        if let Some(frame) = self.bare.pop_front() {
            self.bare_bytes -= frame.len();
            return Some(frame);
        }
        let (_, session) = self.session.as_mut()?;
        Some(match session.poll_transmit()? {
            Transmit::Frame(frame) => frame,
            Transmit::Acknowledge(received) => acknowledge(received),
        })
    }

    /// Bytes that [`Server::poll_transmit`] has not given yet: of a client that takes nothing nothing more is to be
    /// read.
    pub fn queued_bytes(&self) -> usize {
        self.bare_bytes + self.session.as_ref().map_or(0, |(_, session)| session.queued_bytes())
    }

    /// Bytes that are held for the client of a session: those, and what it has not acknowledged.
    pub fn kept_bytes(&self) -> usize {
        self.bare_bytes + self.session.as_ref().map_or(0, |(_, session)| session.kept_bytes())
    }

    /// What is behind a fid.
    ///
    /// # Errors
    /// EBADF.
    pub fn fid(&self, fid: Fid) -> Result<&F, u32> {
        self.fids.get(&fid).ok_or(EBADF)
    }

    /// The same, to change. Errors as [`Server::fid`].
    pub fn fid_mut(&mut self, fid: Fid) -> Result<&mut F, u32> {
        self.fids.get_mut(&fid).ok_or(EBADF)
    }

    /// Whether a fid of a walk or an attach can be bound.
    ///
    /// # Errors
    /// EBADF when it is in use or [`NO_FID`](crate::NO_FID), EMFILE when there are too many.
    pub fn admit(&self, fid: Fid) -> Result<(), u32> {
        match () {
            () if fid == crate::NO_FID || self.fids.contains_key(&fid) => Err(EBADF),
            () if self.fids.len() >= self.limits.fids => Err(EMFILE),
            () => Ok(()),
        }
    }

    /// `fid` is now `file`, whatever it was before.
    pub fn bind(&mut self, fid: Fid, file: F) {
        self.ended.remove(&fid);
        self.fids.insert(fid, file);
    }

    /// A fid is forgotten. Errors as [`Server::fid`].
    pub fn unbind(&mut self, fid: Fid) -> Result<F, u32> {
        self.ended.remove(&fid);
        let file = self.fids.remove(&fid).ok_or(EBADF)?;
        if self.fids.is_empty() {
            self.fids = HashMap::new();
        }
        Ok(file)
    }

    /// The fids, and what they are of.
    pub fn fids(&self) -> impl Iterator<Item = (Fid, &F)> {
        self.fids.iter().map(|(fid, file)| (*fid, file))
    }

    /// Forgets every fid: the conversation is over.
    pub fn drain(&mut self) -> impl Iterator<Item = (Fid, F)> + use<F> {
        self.ended.clear();
        std::mem::take(&mut self.fids).into_iter()
    }
}

fn acknowledge(received: u64) -> Bytes {
    let mut bytes = Vec::new();
    Request::Ack { received }.emit(Dialect::Own, NO_TAG, &mut bytes);
    bytes.into()
}

#[cfg(test)]
mod tests;
