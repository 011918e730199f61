//! One conversation over one connection after another: each side numbers its frames, keeps each until the other says
//! that it has it, and after a reconnect sends the rest again. What is above a session knows nothing of broken links.
//!
//! A session is a machine without I/O. Frames to be sent go in by [`Session::keep`] and come out by
//! [`Session::poll_transmit`], which also says when an acknowledgement is to go with them. Numbers are never written:
//! both sides count, from the first frame after the two have agreed on the session. Acknowledgements themselves, and
//! what keeps a link alive, are not counted and not kept.
//!
//! ```
//! use bytes::Bytes;
//! use fs9_proto::session::{Limits, Session, Transmit};
//!
//! let (mut here, mut there) = (Session::new(Limits::default()), Session::new(Limits::default()));
//! here.keep(Bytes::from_static(b"one"));
//! here.keep(Bytes::from_static(b"two"));
//! let Some(Transmit::Frame(one)) = here.poll_transmit() else { panic!() };
//! there.received(one.len()).unwrap();
//! assert_eq!(here.poll_transmit(), Some(Transmit::Frame(Bytes::from_static(b"two")))); // and the link breaks here
//!
//! here.disconnect();
//! there.disconnect();
//! assert_eq!(here.poll_transmit(), None);
//! // The new connection begins with both telling how many frames they have.
//! let (has, had) = (there.received_frames(), here.received_frames());
//! here.resume(has).unwrap();
//! there.resume(had).unwrap();
//! assert_eq!(here.poll_transmit(), Some(Transmit::Frame(Bytes::from_static(b"two"))));
//! assert_eq!(here.poll_transmit(), None);
//! ```

use std::collections::VecDeque;

use bytes::Bytes;

use crate::violation::Violation;

/// So many frames may come before they are acknowledged even though nothing else is to be sent.
pub const ACK_FRAMES: u64 = 64;

/// So many bytes may come before they are acknowledged even though nothing else is to be sent.
pub const ACK_BYTES: usize = 64 << 10;

/// How much is kept for a far side that does not acknowledge, before [`Session::received`] calls it a violation.
///
/// An acknowledgement goes before every frame that is sent, so whoever sends a frame has acknowledged all it had by
/// then. What is still kept when that frame comes are answers to requests that were then outstanding: `frames` is to be
/// at least the number of those that the protocol above allows, and `bytes` what one is willing to hold for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Frames that may be kept, besides [`ACK_FRAMES`].
    pub frames: usize,
    /// Bytes that may be kept.
    pub bytes: usize,
}

impl Default for Limits {
    /// 65,536 frames (there are not more tags) and 64 MiB.
    fn default() -> Limits {
        Limits { frames: 1 << 16, bytes: 64 << 20 }
    }
}

/// What is to be written to the connection next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transmit {
    /// The far side is to be told that so many frames of it have come, ever.
    Acknowledge(u64),
    /// This frame.
    Frame(Bytes),
}

/// The two sides do not have the same session in mind: what the far side has is not what it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session cannot be resumed: the far side has {told} of its frames, and can only have {least} to {most}")]
pub struct Unresumable {
    /// What it says it has.
    pub told: u64,
    /// What it has said before.
    pub least: u64,
    /// What was ever handed to a connection.
    pub most: u64,
}

/// The frames of one conversation: how many went and came, and those that the far side may lack.
#[derive(Debug)]
pub struct Session {
    limits: Limits,
    /// Frames that the far side has: the number of the first one of `kept`.
    acknowledged: u64,
    kept: VecDeque<Bytes>,
    kept_bytes: usize,
    /// Of `kept`, how many this connection was given.
    given: usize,
    given_bytes: usize,
    /// Frames that were ever given to a connection.
    handed: u64,
    received: u64,
    /// What the far side was last told of `received`.
    told: u64,
    /// Bytes of the frames since then.
    untold_bytes: usize,
    connected: bool,
}

impl Session {
    /// A session over a connection on which both sides have just agreed to begin one.
    pub fn new(limits: Limits) -> Session {
        Session {
            limits,
            acknowledged: 0,
            kept: VecDeque::new(),
            kept_bytes: 0,
            given: 0,
            given_bytes: 0,
            handed: 0,
            received: 0,
            told: 0,
            untold_bytes: 0,
            connected: true,
        }
    }

    /// A frame to be sent, as often as it takes. It comes out by [`Session::poll_transmit`] after those that were kept
    /// before.
    ///
    /// What is kept is not bounded here but by who sends: by tags, credits, or by reading nothing more from a far side
    /// for which there is too much in [`Session::queued_bytes`].
    pub fn keep(&mut self, frame: Bytes) {
        self.kept_bytes += frame.len();
        self.kept.push_back(frame);
    }

    /// A counted frame of `bytes` bytes has come whole. To be called when it is understood, before anything is
    /// answered.
    ///
    /// # Errors
    /// The far side has left more unacknowledged than the limits allow. The session is to be ended.
    pub fn received(&mut self, bytes: usize) -> Result<(), Violation> {
        self.received += 1;
        self.untold_bytes = self.untold_bytes.saturating_add(bytes);
        let frames = self.given;
        if frames > self.limits.frames + ACK_FRAMES as usize || self.given_bytes > self.limits.bytes {
            return Err(Violation::Unacknowledged { frames, bytes: self.given_bytes });
        }
        Ok(())
    }

    /// The far side says that it has `upto` frames of ours; they are kept no longer.
    ///
    /// # Errors
    /// It cannot have so many, or has had more before.
    pub fn acknowledged(&mut self, upto: u64) -> Result<(), Violation> {
        let (least, most) = (self.acknowledged, self.acknowledged + self.given as u64);
        if !(least..=most).contains(&upto) {
            return Err(Violation::Count { told: upto, least, most });
        }
        self.forget(upto);
        Ok(())
    }

    /// What is to be written next, if there is a connection: an acknowledgement before each frame that can tell
    /// something new, and one alone when much has come and nothing is to be sent.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        if !self.connected {
            return None;
        }
        let Some(frame) = self.kept.get(self.given) else {
            return self.ack_due().then(|| self.acknowledge()).flatten().map(Transmit::Acknowledge);
        };
        let frame = frame.clone();
        if let Some(count) = self.acknowledge() {
            return Some(Transmit::Acknowledge(count));
        }
        self.given += 1;
        self.given_bytes += frame.len();
        self.handed = self.handed.max(self.acknowledged + self.given as u64);
        Some(Transmit::Frame(frame))
    }

    /// What the far side is to be told before something that is not a frame of the session (a ping), if it is not known
    /// there.
    pub fn acknowledge(&mut self) -> Option<u64> {
        let news = self.connected && self.told != self.received;
        self.told = self.received;
        self.untold_bytes = 0;
        news.then_some(self.received)
    }

    /// Whether so much has come since the last acknowledgement that the next goes alone; [`Session::poll_transmit`]
    /// sees to it.
    pub fn ack_due(&self) -> bool {
        self.received - self.told >= ACK_FRAMES || self.untold_bytes >= ACK_BYTES
    }

    /// The connection is gone. Nothing comes out until [`Session::resume`].
    pub fn disconnect(&mut self) {
        self.connected = false;
    }

    /// There is a new connection, on which each side has told the other how many frames it has: the far one has
    /// `far_has` of ours, and was told [`Session::received_frames`]. What it lacks comes out of
    /// [`Session::poll_transmit`] again, in order.
    ///
    /// # Errors
    /// It cannot have so many, or has lost some: this is another session. Nothing has changed.
    pub fn resume(&mut self, far_has: u64) -> Result<(), Unresumable> {
        let (least, most) = (self.acknowledged, self.handed);
        if !(least..=most).contains(&far_has) {
            return Err(Unresumable { told: far_has, least, most });
        }
        self.forget(far_has);
        (self.given, self.given_bytes) = (0, 0);
        (self.told, self.untold_bytes) = (self.received, 0);
        self.connected = true;
        Ok(())
    }

    /// How many counted frames have come, ever: what the far side is told when the session is resumed.
    pub fn received_frames(&self) -> u64 {
        self.received
    }

    /// How many frames are kept: handed to a connection and not acknowledged, or waiting for one.
    pub fn kept_frames(&self) -> usize {
        self.kept.len()
    }

    /// Their bytes.
    pub fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// Bytes of the frames that this connection was not given yet: large when the far side reads too slowly.
    pub fn queued_bytes(&self) -> usize {
        self.kept_bytes - self.given_bytes
    }

    /// The far side has all frames before number `upto`.
    fn forget(&mut self, upto: u64) {
        // `upto` is within what is kept: both callers have checked.
        for frame in self.kept.drain(..(upto - self.acknowledged) as usize) {
            self.kept_bytes -= frame.len();
            if self.given > 0 {
                self.given -= 1;
                self.given_bytes -= frame.len();
            }
        }
        self.acknowledged = upto;
        if self.kept.is_empty() {
            self.kept.shrink_to(16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    /// What comes out until nothing does, as `ack N` and the frames.
    fn transmits(session: &mut Session) -> String {
        let mut out = Vec::new();
        while let Some(next) = session.poll_transmit() {
            out.push(match next {
                Transmit::Acknowledge(count) => format!("ack {count}"),
                Transmit::Frame(frame) => String::from_utf8(frame.to_vec()).unwrap(),
            });
        }
        out.join(" ")
    }

    fn with(frames: &[&'static str]) -> Session {
        let mut session = Session::new(Limits::default());
        frames.iter().for_each(|text| session.keep(frame(text)));
        session
    }

    #[test]
    fn frames_are_kept_until_the_far_side_has_them() {
        let mut session = with(&["a", "b", "c"]);
        assert_eq!((session.kept_frames(), session.queued_bytes()), (3, 3));
        assert_eq!(transmits(&mut session), "a b c");
        assert_eq!((session.kept_frames(), session.queued_bytes()), (3, 0));
        session.acknowledged(2).unwrap();
        assert_eq!((session.kept_frames(), session.kept_bytes()), (1, 1));
        session.acknowledged(2).unwrap();
        session.acknowledged(3).unwrap();
        assert_eq!((session.kept_frames(), session.kept_bytes(), session.queued_bytes()), (0, 0, 0));
    }

    #[test]
    fn after_a_break_the_rest_goes_again_and_only_the_rest() {
        let mut session = with(&["a", "b", "c"]);
        assert_eq!(transmits(&mut session), "a b c");
        session.acknowledged(1).unwrap();
        session.disconnect();
        session.keep(frame("d"));
        assert_eq!(transmits(&mut session), "");
        session.resume(2).unwrap();
        assert_eq!(session.queued_bytes(), 2);
        assert_eq!(transmits(&mut session), "c d");
        session.disconnect();
        session.resume(4).unwrap();
        assert_eq!(transmits(&mut session), "");
        assert_eq!(session.kept_frames(), 0);
    }

    #[test]
    fn an_acknowledgement_goes_with_the_next_frame() {
        let mut session = with(&[]);
        session.received(10).unwrap();
        session.received(10).unwrap();
        assert_eq!(transmits(&mut session), "");
        session.keep(frame("a"));
        session.keep(frame("b"));
        assert_eq!(transmits(&mut session), "ack 2 a b");
        session.received(10).unwrap();
        assert_eq!(session.acknowledge(), Some(3), "with a ping");
        assert_eq!(session.acknowledge(), None);
    }

    #[test]
    fn an_acknowledgement_goes_alone_when_much_has_come() {
        let mut session = with(&[]);
        (1..ACK_FRAMES).for_each(|_| session.received(1).unwrap());
        assert_eq!(transmits(&mut session), "");
        session.received(1).unwrap();
        assert_eq!(transmits(&mut session), "ack 64");
        session.received(ACK_BYTES).unwrap();
        assert_eq!(transmits(&mut session), "ack 65");
        assert_eq!(transmits(&mut session), "");
    }

    #[test]
    fn who_resumes_has_said_what_it_has() {
        let mut session = with(&["a"]);
        session.received(ACK_BYTES).unwrap();
        session.disconnect();
        assert_eq!(session.acknowledge(), None);
        session.resume(0).unwrap();
        assert_eq!(transmits(&mut session), "a");
    }

    #[test]
    fn nobody_has_what_was_not_sent_or_loses_what_it_had() {
        let mut session = with(&["a", "b", "c"]);
        assert_eq!(session.acknowledged(1), Err(Violation::Count { told: 1, least: 0, most: 0 }));
        transmits(&mut session);
        session.acknowledged(2).unwrap();
        assert_eq!(session.acknowledged(1), Err(Violation::Count { told: 1, least: 2, most: 3 }));
        assert_eq!(session.acknowledged(4), Err(Violation::Count { told: 4, least: 2, most: 3 }));
        session.disconnect();
        session.keep(frame("d"));
        assert_eq!(session.resume(4), Err(Unresumable { told: 4, least: 2, most: 3 }), "d was never handed out");
        assert_eq!(session.resume(1), Err(Unresumable { told: 1, least: 2, most: 3 }));
        session.resume(3).unwrap();
        assert_eq!(transmits(&mut session), "d");
    }

    #[test]
    fn frames_of_an_earlier_connection_can_be_acknowledged_only_once_they_were_sent_again() {
        let mut session = with(&["a", "b"]);
        transmits(&mut session);
        session.disconnect();
        session.resume(0).unwrap();
        assert!(session.acknowledged(1).is_err());
        transmits(&mut session);
        session.acknowledged(2).unwrap();
    }

    #[test]
    fn a_far_side_that_never_acknowledges_is_found() {
        let mut session = Session::new(Limits { frames: 1, bytes: 1000 });
        for _ in 0..=ACK_FRAMES {
            session.keep(frame("a"));
        }
        transmits(&mut session);
        session.received(1).unwrap();
        session.keep(frame("a"));
        session.received(1).unwrap();
        transmits(&mut session);
        assert_eq!(session.received(1), Err(Violation::Unacknowledged { frames: 66, bytes: 66 }));
        let mut session = Session::new(Limits { frames: 1, bytes: 2 });
        session.keep(frame("long"));
        session.received(1).unwrap();
        transmits(&mut session);
        assert_eq!(session.received(1), Err(Violation::Unacknowledged { frames: 1, bytes: 4 }));
    }
}
