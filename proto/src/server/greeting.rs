//! The first frames of a connection: which dialect, and whether it begins or resumes a session.

use bytes::Bytes;

use crate::frame::MIN_MSIZE;
use crate::message::UNKNOWN_VERSION;
use crate::violation::Violation;
use crate::{Dialect, NO_TAG, Reply, Request, Tag};

/// What the first frames of a connection have come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello {
    /// This is to be answered, and more frames of the greeting follow.
    Wait(Bytes),
    /// A client without a session, once this is answered.
    Plain {
        /// What it speaks.
        dialect: Dialect,
        /// The longest frame, as agreed.
        msize: u32,
        /// Rversion.
        answer: Bytes,
    },
    /// A client that wishes for a new session: see [`Server::begin`](super::Server::begin).
    Begin {
        /// Its request.
        tag: Tag,
        /// The longest frame, as agreed.
        msize: u32,
    },
    /// A client that wishes to resume a session: see [`Server::resume`](super::Server::resume), or [`refuse`].
    Resume {
        /// Its request.
        tag: Tag,
        /// Which session.
        id: [u8; 16],
        /// Of which run of the server.
        epoch: u64,
        /// How many frames of ours it has.
        received: u64,
    },
}

/// The first frames of a connection, before there is a conversation.
#[derive(Debug)]
pub struct Greeting {
    /// The longest frame that we take.
    most: u32,
    /// The longest frame of a client that has still to say which session.
    agreed: Option<u32>,
}

impl Greeting {
    /// The greeting of a server that takes frames of at most `most` bytes. Until it is over a connection's frames are
    /// limited to [`FIRST_LIMIT`](crate::frame::FIRST_LIMIT).
    pub fn new(most: u32) -> Greeting {
        Greeting { most, agreed: None }
    }

    /// The next frame.
    ///
    /// # Errors
    /// It is no greeting: the connection is to be closed.
    pub fn handle_frame(&mut self, frame: &[u8]) -> Result<Hello, Violation> {
        let dialect = if self.agreed.is_some() { Dialect::Own } else { Dialect::Old };
        let (tag, request) = Request::parse(dialect, frame).map_err(Violation::Malformed)?;
        match (request, self.agreed) {
            (Request::Version { msize, version }, _) => self.version(tag, msize, version),
            (Request::Session { id, epoch: _, received: 0 }, Some(msize)) if id == [0; 16] => {
                Ok(Hello::Begin { tag, msize })
            }
            (Request::Session { id, epoch, received }, Some(_)) => Ok(Hello::Resume { tag, id, epoch, received }),
            _ => Err(Violation::Greeting),
        }
    }

    fn version(&mut self, tag: Tag, msize: u32, version: &str) -> Result<Hello, Violation> {
        self.agreed = None;
        let agreed = msize.min(self.most);
        let Some(dialect) = Dialect::negotiate(version).filter(|_| agreed >= MIN_MSIZE) else {
            let unknown = Reply::Version { msize: agreed, version: UNKNOWN_VERSION };
            return Ok(Hello::Wait(frame(Dialect::Old, tag, &unknown)));
        };
        if tag != NO_TAG {
            return Err(Violation::Greeting);
        }
        let answer = frame(dialect, tag, &Reply::Version { msize: agreed, version: dialect.version() });
        if dialect == Dialect::Own {
            self.agreed = Some(agreed);
            return Ok(Hello::Wait(answer));
        }
        Ok(Hello::Plain { dialect, msize: agreed, answer })
    }
}

/// The answer to a client whose session is not there any more: it may begin a new one over the same connection.
pub fn refuse(tag: Tag, errno: u32, reason: &str) -> Bytes {
    frame(Dialect::Own, tag, &Reply::Error { errno, reason })
}

/// A reply in a frame of its own.
pub(super) fn frame(dialect: Dialect, tag: Tag, reply: &Reply<'_>) -> Bytes {
    let mut bytes = Vec::new();
    reply.emit(dialect, tag, &mut bytes);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(dialect: Dialect, tag: Tag, request: &Request<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        request.emit(dialect, tag, &mut bytes);
        bytes
    }

    fn version(greeting: &mut Greeting, msize: u32, version: &str) -> Result<Hello, Violation> {
        greeting.handle_frame(&sent(Dialect::Old, NO_TAG, &Request::Version { msize, version }))
    }

    #[test]
    fn a_client_gets_the_dialect_it_asks_for_or_one_that_it_extends() {
        for (asked, dialect) in [("9P2000", Dialect::Old), ("9P2000.u", Dialect::Old), ("9P2000.L", Dialect::Linux)] {
            let hello = version(&mut Greeting::new(1 << 20), 8192, asked);
            let answer = frame(dialect, NO_TAG, &Reply::Version { msize: 8192, version: dialect.version() });
            assert_eq!(hello, Ok(Hello::Plain { dialect, msize: 8192, answer }));
        }
    }

    #[test]
    fn an_unknown_version_is_answered_and_another_may_follow() {
        let mut greeting = Greeting::new(8192);
        for (msize, asked) in [(1 << 20, "9P1999"), (100, "9P2000")] {
            let unknown = Reply::Version { msize: msize.min(8192), version: "unknown" };
            assert_eq!(version(&mut greeting, msize, asked), Ok(Hello::Wait(frame(Dialect::Old, NO_TAG, &unknown))));
        }
        assert!(matches!(version(&mut greeting, 1 << 20, "9P2000"), Ok(Hello::Plain { msize: 8192, .. })));
    }

    #[test]
    fn our_own_clients_go_on_to_a_session() {
        let mut greeting = Greeting::new(1 << 20);
        let answer = Reply::Version { msize: 1 << 20, version: "9P2000.L.fs9" };
        let said = version(&mut greeting, u32::MAX, "9P2000.L.fs9");
        assert_eq!(said, Ok(Hello::Wait(frame(Dialect::Own, NO_TAG, &answer))));
        let new = Request::Session { id: [0; 16], epoch: 0, received: 0 };
        let begin = greeting.handle_frame(&sent(Dialect::Own, Tag(1), &new));
        assert_eq!(begin, Ok(Hello::Begin { tag: Tag(1), msize: 1 << 20 }));
        let old = Request::Session { id: [7; 16], epoch: 8, received: 9 };
        let resume = greeting.handle_frame(&sent(Dialect::Own, Tag(1), &old));
        assert_eq!(resume, Ok(Hello::Resume { tag: Tag(1), id: [7; 16], epoch: 8, received: 9 }));
    }

    #[test]
    fn whoever_does_not_greet_is_not_spoken_to() {
        let clunk = sent(Dialect::Old, Tag(1), &Request::Clunk { fid: crate::Fid(1) });
        assert_eq!(Greeting::new(8192).handle_frame(&clunk), Err(Violation::Greeting));
        assert!(matches!(Greeting::new(8192).handle_frame(b"GET / HTTP/1.1\r\n"), Err(Violation::Malformed(_))));
        let tagged = sent(Dialect::Old, Tag(1), &Request::Version { msize: 8192, version: "9P2000" });
        assert_eq!(Greeting::new(8192).handle_frame(&tagged), Err(Violation::Greeting));
        let mut greeting = Greeting::new(1 << 20);
        version(&mut greeting, 8192, "9P2000.L.fs9").unwrap();
        let walk = sent(Dialect::Own, Tag(1), &Request::Ping);
        assert_eq!(greeting.handle_frame(&walk), Err(Violation::Greeting));
    }
}
