//! A descriptor of another node's file: what the link keeps of it, and what becomes of it when the node is lost.

use std::collections::VecDeque;

use fs9_proto::client::{Call, Loss, Release};
use fs9_proto::message::{Fid, Reply, Request};
use fs9_tiers::error::Reason;
use rustix::io::Errno;

use super::asked::Asked;
use crate::net::attach::State;
use crate::server::ready;

/// How a descriptor is given back when its holder went for `reason`.
pub fn leave(reason: Reason) -> Release {
    let code = match reason {
        Reason::Exited(code) | Reason::Killed(code) => code,
        _ => 0,
    };
    Release::Leave { kind: reason.index() as u8, code }
}

/// What is kept of a descriptor while it is open.
#[derive(Debug, Default)]
pub struct File {
    /// What came for a read that had been interrupted: it is for the next.
    late: VecDeque<Result<Vec<u8>, Errno>>,
    /// Reads under way, and how much each takes.
    reading: VecDeque<(u64, usize)>,
    /// Reads that got what came late, while their own answer is still to come.
    fed: Vec<u64>,
    /// Why it is lost, and whether a reader was told.
    lost: Option<(Loss, bool)>,
    /// Whom to wake, and for what.
    watch: Option<(u64, u32)>,
    /// What the node is asked to tell, each in a call of its own.
    watching: Vec<(u32, Call)>,
}

/// What a read, write or poll of a descriptor comes to without asking.
pub type Local<T> = Option<Result<T, Errno>>;

impl File {
    /// The node is lost, and this descriptor with it.
    pub fn lose(&mut self, loss: Loss) {
        self.lost.get_or_insert((loss, false));
    }

    /// What is there for a read of `size` bytes.
    pub fn read(&mut self, size: usize) -> Local<Vec<u8>> {
        if let Some(late) = self.late.pop_front() {
            return Some(late.map(|mut data| {
                if data.len() > size {
                    self.late.push_front(Ok(data.split_off(size)));
                }
                data
            }));
        }
        let (loss, told) = self.lost.as_mut()?;
        Some(match loss {
            Loss::Restarted if *told => Ok(Vec::new()),
            Loss::Restarted => {
                *told = true;
                Err(Errno::CONNRESET)
            }
            Loss::Lingered => Err(Errno::NOLINK),
            Loss::Ended => Err(Errno::SHUTDOWN),
        })
    }

    /// Why nothing can be written any more.
    pub fn broken(&self) -> Option<Errno> {
        self.lost.map(|(loss, _)| match loss {
            Loss::Restarted => Errno::PIPE,
            Loss::Lingered => Errno::NOLINK,
            Loss::Ended => Errno::SHUTDOWN,
        })
    }

    /// What is ready, where that is known here.
    pub fn ready(&self) -> Option<u32> {
        if self.lost.is_some() {
            return Some(ready::IN | ready::OUT | ready::ERR | ready::HUP);
        }
        (!self.late.is_empty()).then_some(ready::IN)
    }

    /// A read is under way.
    pub fn begin_read(&mut self, unique: u64, size: usize) {
        self.reading.push_back((unique, size));
    }

    /// A read has its answer. Returns false when it had one before, and this is for the next.
    pub fn end_read(&mut self, unique: u64) -> bool {
        self.reading.retain(|(reading, _)| *reading != unique);
        let before = self.fed.len();
        self.fed.retain(|fed| *fed != unique);
        before == self.fed.len()
    }

    /// Keeps what came for nobody.
    pub fn keep(&mut self, reply: &Reply<'_>) {
        match reply {
            Reply::Recv { data } | Reply::Read { data } if !data.is_empty() => self.late.push_back(Ok(data.to_vec())),
            Reply::Error { errno, .. } if *errno == Errno::CONNRESET.raw_os_error() as u32 => {
                self.late.push_back(Err(Errno::CONNRESET));
            }
            // The end comes again, and so does every other error.
            _ => {}
        }
    }

    /// What came for a reader that was sent away: for whoever reads now, or else next.
    pub fn late(state: &mut State, fid: Fid, reply: &Reply<'_>) {
        let Some(file) = state.files.get_mut(&fid) else { return };
        file.keep(reply);
        let mut fed = Vec::new();
        while !file.late.is_empty()
            && let Some((unique, size)) = file.reading.pop_front()
        {
            file.fed.push(unique);
            fed.extend(file.read(size).map(|answer| (unique, answer)));
        }
        for (unique, answer) in fed {
            state.answers.push((unique, answer));
            // It is answered, so its own message is for somebody else.
            if let Some(call) = state.calls.remove(&unique) {
                state.client.cancel(std::time::Instant::now(), call);
            }
        }
    }

    /// The kernel polls, and `kh` is to be woken when what is not `ready` of `interest` becomes so.
    pub fn watch_for(state: &mut State, fid: Fid, kh: u64, interest: u32, ready: u32) {
        let Some(file) = state.files.get_mut(&fid) else { return };
        let before = file.watch.map_or(0, |(_, interest)| interest);
        file.watch = Some((kh, before | interest));
        File::look_out(state, fid, interest & !ready);
    }

    /// Something was read or written: whether there is more is asked where somebody polls for it.
    pub fn used(state: &mut State, fid: Fid, bits: u32) {
        let Some((_, interest)) = state.files.get(&fid).and_then(|file| file.watch) else { return };
        File::look_out(state, fid, interest & bits);
    }

    fn look_out(state: &mut State, fid: Fid, bits: u32) {
        let Some(file) = state.files.get(&fid) else { return };
        let known = file.watching.iter().fold(0, |all, (bits, _)| all | bits);
        let bits = bits & !known;
        if bits == 0 || file.lost.is_some() {
            return;
        }
        let request = Request::Watch { fid, interest: bits };
        if let Ok(call) = state.ask(&[request], Asked::watch(fid, bits))
            && let Some(file) = state.files.get_mut(&fid)
        {
            file.watching.push((bits, call));
        }
    }

    /// What the node was asked to tell of has come. Returns whom to wake.
    pub fn seen(&mut self, bits: u32) -> Option<u64> {
        self.watching.retain(|(watched, _)| *watched != bits);
        self.watch.take().map(|(kh, _)| kh)
    }

    /// Whom to wake now that it is lost.
    pub fn give_up(&mut self) -> Option<u64> {
        self.watch.take().map(|(kh, _)| kh)
    }

    /// It is closed for this reason. What came late and nobody has read is given back, and what may still come.
    pub fn close(state: &mut State, fid: Fid, stream: bool, reason: Reason) {
        let Some(file) = state.files.remove(&fid) else { return };
        let unread = file.late.iter().any(Result::is_ok) || state.client.may_have_taken(fid);
        let how = match stream {
            true => leave(if unread && !reason.is_death() { Reason::Ended } else { reason }),
            false => Release::Clunk,
        };
        for (_, call) in file.watching {
            state.client.cancel(std::time::Instant::now(), call);
        }
        state.client.release(fid, how);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_late_is_read_first_and_in_pieces() {
        let mut file = File::default();
        assert_eq!(file.read(9), None);
        file.keep(&Reply::Recv { data: b"late" });
        file.keep(&Reply::Recv { data: b"" });
        file.keep(&Reply::Error { errno: Errno::INTR.raw_os_error() as u32, reason: "" });
        assert_eq!(file.ready(), Some(ready::IN));
        assert_eq!((file.read(3), file.read(9)), (Some(Ok(b"lat".to_vec())), Some(Ok(b"e".to_vec()))));
        assert_eq!((file.read(9), file.ready()), (None, None), "the end comes again by itself");
    }

    #[test]
    fn a_read_that_was_fed_leaves_its_own_message_to_the_next() {
        let mut file = File::default();
        file.begin_read(7, 9);
        file.begin_read(8, 9);
        file.fed.push(7);
        assert_eq!((file.end_read(7), file.end_read(7), file.end_read(8)), (false, true, true));
        assert!(file.reading.is_empty() && file.fed.is_empty());
    }

    #[test]
    fn a_lost_descriptor_says_so_as_the_contract_has_it() {
        let lost = |loss| {
            let mut file = File::default();
            file.lose(loss);
            file.lose(Loss::Ended);
            (file.read(9).expect("lost"), file.read(9).expect("lost"), file.broken().expect("lost"))
        };
        assert_eq!(lost(Loss::Restarted), (Err(Errno::CONNRESET), Ok(Vec::new()), Errno::PIPE));
        assert_eq!(lost(Loss::Lingered), (Err(Errno::NOLINK), Err(Errno::NOLINK), Errno::NOLINK));
        assert_eq!(lost(Loss::Ended), (Err(Errno::SHUTDOWN), Err(Errno::SHUTDOWN), Errno::SHUTDOWN));
    }
}
