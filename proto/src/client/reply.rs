//! What the far side answers, and to whom that matters.

use std::time::Instant;

use super::ask::{Asked, Purpose};
use super::{Answer, Call, Client, Failure, Loss, Refusal};
use crate::errno::{EAGAIN, EINTR, ENOENT};
use crate::message::{Dialect, Reply, Request, Tag};
use crate::violation::Violation;

/// Numbers of messages.
const RLERROR: u8 = 7;
const TACK: u8 = 214;
const RPING: u8 = 217;

impl<T> Client<T> {
    /// A whole frame has come, `size[4]` included. An answer borrows from it.
    ///
    /// # Errors
    /// The connection is to be closed, and [`Client::handle_broken`] to be called.
    pub fn handle_frame<'a>(&mut self, now: Instant, frame: &'a [u8]) -> Result<Option<Answer<'a, T>>, Violation> {
        self.handle_progress(now);
        if !self.link.is_up() {
            return self.handle_hello(frame).map(|()| None);
        }
        let Some(session) = &mut self.session else { return Ok(None) };
        match frame.get(4) {
            Some(&TACK) => {
                if let (_, Request::Ack { received }) = Request::parse(Dialect::Own, frame)? {
                    session.acknowledged(received)?;
                }
                Ok(None)
            }
            Some(&RPING) => Ok(Reply::parse(Dialect::Own, frame).map(|_| None)?),
            _ => {
                let (tag, reply) = Reply::parse(Dialect::Own, frame)?;
                session.received(frame.len())?;
                self.handle_reply(tag, frame[4], reply)
            }
        }
    }

    fn handle_reply<'a>(&mut self, tag: Tag, number: u8, reply: Reply<'a>) -> Result<Option<Answer<'a, T>>, Violation> {
        let asked = *self.asking.sent(tag).ok_or(Violation::Unasked(tag))?;
        let refused = number == RLERROR;
        if !fits(&asked, refused, number, &reply) {
            return Err(Violation::Reply(tag));
        }
        match asked.purpose {
            Purpose::Answered => return Err(Violation::Unasked(tag)),
            Purpose::Flush(oldtag) => {
                self.asking.done(tag);
                if let Some(Asked { purpose: Purpose::Call(call), .. }) = self.asking.flushed(oldtag) {
                    self.fail(call, Failure::Cancelled);
                }
            }
            Purpose::Release(fid) => {
                self.asking.done(tag);
                self.asking.disown(fid);
                self.fids.free(fid);
            }
            Purpose::Introduce | Purpose::Attach => {
                self.asking.done(tag);
                if let Reply::Error { errno, reason } = reply {
                    self.refuse(Refusal::Error { errno, reason: reason.to_owned() });
                    // A session without a root is none to resume.
                    self.lose(Loss::Restarted);
                } else if asked.purpose == Purpose::Attach {
                    self.attached();
                }
            }
            Purpose::Call(call) => return Ok(self.handle_answer(call, tag, &asked, reply)),
        }
        Ok(None)
    }

    /// The reply to one request of a call.
    fn handle_answer<'a>(&mut self, call: Call, tag: Tag, asked: &Asked, reply: Reply<'a>) -> Option<Answer<'a, T>> {
        let last = self.asking.is_last(call, tag);
        self.asking.done(tag);
        if !self.asking.is_waiting(call) {
            let fid = asked.fid.filter(|fid| asked.receives && self.fids.is_usable(*fid))?;
            let took = !matches!(reply, Reply::Error { errno: EINTR | EAGAIN, .. });
            return took.then_some(Answer::Late { fid, reply });
        }
        let reply = match reply {
            Reply::Walk { qids } if qids.len() < asked.most as usize => Reply::Error { errno: ENOENT, reason: "" },
            reply => reply,
        };
        if !last && !matches!(reply, Reply::Error { .. }) {
            return None;
        }
        let (token, withdrawn) = self.asking.settle(call)?;
        self.unbind(withdrawn);
        Some(Answer::Replied { token, reply })
    }
}

/// Whether this can be the reply to that.
fn fits(asked: &Asked, refused: bool, number: u8, reply: &Reply<'_>) -> bool {
    let most = asked.most as usize;
    match reply {
        _ if refused => !matches!(asked.purpose, Purpose::Flush(_)),
        Reply::Recv { data } | Reply::Read { data } | Reply::Readdir { data } => {
            number == asked.number + 1 && data.len() <= most
        }
        Reply::Walk { qids } => number == asked.number + 1 && qids.len() <= most,
        _ => number == asked.number + 1,
    }
}
