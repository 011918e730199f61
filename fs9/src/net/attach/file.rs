//! A descriptor of another node's file: what the link keeps of it, and what becomes of it when the node is lost.

use std::collections::VecDeque;
use std::time::Instant;

use fs9_proto::client::{Call, Loss, Release};
use fs9_proto::message::{Fid, Reply, Request};
use fs9_tiers::error::Reason;
use rustix::io::Errno;

use super::asked::{Asked, Asker, Name, Then, Told, What};
use super::link::State;
use crate::server::ready;
use crate::ticket::Watcher;
use crate::view::View;

/// How a descriptor is given back when its holder went for `reason`.
pub fn leave(reason: Reason) -> Release {
    let code = match reason {
        Reason::Exited(code) | Reason::Killed(code) => code,
        _ => 0,
    };
    Release::Leave { kind: reason.index() as u8, code }
}

/// What is kept of a descriptor while it is open.
#[derive(Debug)]
pub struct File {
    /// It has no position: each read is of a message.
    pub stream: bool,
    /// How its bytes are messages.
    pub view: View,
    /// What came for a read that had been interrupted: it is for the next.
    late: VecDeque<Told>,
    /// Who reads, how much each takes, and who of them has not been answered.
    reading: VecDeque<Reading>,
    /// Who waits for readiness.
    waiting: Vec<Asker>,
    /// Why it is lost, and whether a reader was told.
    lost: Option<(Loss, bool)>,
    /// Whom to wake, and for what.
    watch: Option<(Watcher, u32)>,
    /// What the node is asked to tell, each in a call of its own.
    watching: Vec<(u32, Call)>,
}

#[derive(Debug)]
struct Reading {
    asker: Asker,
    size: usize,
}

impl File {
    /// One that was opened.
    pub fn new(stream: bool, view: View) -> File {
        File {
            stream,
            view,
            late: VecDeque::new(),
            reading: VecDeque::new(),
            waiting: Vec::new(),
            lost: None,
            watch: None,
            watching: Vec::new(),
        }
    }

    /// The node is lost, and this descriptor with it.
    pub fn lose(&mut self, loss: Loss) {
        self.lost.get_or_insert((loss, false));
    }

    /// What is there for a read of `size` bytes, without asking.
    pub fn read(&mut self, size: usize) -> Option<Told> {
        if let Some(mut late) = self.late.pop_front() {
            if let Told::Data(data) = &mut late
                && data.len() > size
            {
                let rest = data.split_off(size);
                self.late.push_front(Told::Data(rest));
            }
            return Some(late);
        }
        let (loss, told) = self.lost.as_mut()?;
        Some(match loss {
            Loss::Restarted if *told => Told::Data(Vec::new()),
            Loss::Restarted => {
                *told = true;
                Told::Failed(Errno::CONNRESET)
            }
            Loss::Lingered => Told::Failed(Errno::NOLINK),
            Loss::Ended => Told::Failed(Errno::SHUTDOWN),
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

    /// What is ready, where that is known without asking.
    pub fn ready(&self) -> Option<u32> {
        if self.lost.is_some() {
            return Some(ready::LOST);
        }
        (!self.late.is_empty()).then_some(ready::IN)
    }

    /// A read of `size` bytes is under way.
    pub fn begin_read(&mut self, asker: Asker, size: usize) {
        self.reading.push_back(Reading { asker, size });
    }

    /// Somebody waits for readiness.
    pub fn begin_wait(&mut self, asker: Asker) {
        self.waiting.push(asker);
    }

    /// A request has its answer, or will have none: who asked, unless that was answered before.
    pub fn take_asker(&mut self, name: Name) -> Option<Then> {
        if let Some(place) = self.reading.iter().position(|reading| reading.asker.name == name) {
            return self.reading.remove(place).map(|reading| reading.asker.then);
        }
        let place = self.waiting.iter().position(|asker| asker.name == name)?;
        Some(self.waiting.swap_remove(place).then)
    }

    /// Keeps what came for nobody.
    pub fn keep(&mut self, reply: &Reply<'_>) {
        match reply {
            Reply::Recv { data } | Reply::Read { data } if !data.is_empty() => {
                self.late.push_back(Told::Data(data.to_vec()));
            }
            Reply::Error { errno, .. } if *errno == Errno::CONNRESET.raw_os_error() as u32 => {
                self.late.push_back(Told::Failed(Errno::CONNRESET));
            }
            // The end comes again, and so does every other error.
            _ => {}
        }
    }

    /// What came for a reader that was sent away: for whoever reads now, or else next.
    pub fn late(state: &mut State, fid: Fid, reply: &Reply<'_>) {
        let Some(file) = state.files.get_mut(&fid) else { return };
        file.keep(reply);
        let mut answered = Vec::new();
        while !file.late.is_empty()
            && let Some(Reading { asker, size }) = file.reading.pop_front()
        {
            answered.extend(file.read(size).map(|told| (asker, told)));
        }
        if !file.late.is_empty() {
            answered.extend(file.waiting.drain(..).map(|asker| (asker, Told::Ready(ready::IN))));
            state.wakes.extend(file.watch.take().map(|(watcher, _)| watcher));
        }
        for (asker, told) in answered {
            state.answers.push((asker.then, told));
            // Its own answer is for somebody else.
            if let Some(call) = state.end_call(asker.name) {
                state.client.cancel(Instant::now(), call);
            }
        }
    }

    /// Somebody polls, and is to be woken when what is not `ready` of `interest` becomes so.
    pub fn watch_for(state: &mut State, fid: Fid, watcher: &Watcher, interest: u32, ready: u32) {
        let Some(file) = state.files.get_mut(&fid) else { return };
        if file.ready().is_some() {
            return state.wakes.push(watcher.clone());
        }
        let before = file.watch.as_ref().map_or(0, |(_, interest)| *interest);
        file.watch = Some((watcher.clone(), before | interest));
        File::look_out(state, fid, interest & !ready);
    }

    /// Something was read or written: whether there is more is asked where somebody polls for it.
    pub fn used(state: &mut State, fid: Fid, bits: u32) {
        let Some((_, interest)) = state.files.get(&fid).and_then(|file| file.watch.as_ref()) else { return };
        let bits = interest & bits;
        File::look_out(state, fid, bits);
    }

    fn look_out(state: &mut State, fid: Fid, bits: u32) {
        let Some(file) = state.files.get(&fid) else { return };
        let known = file.watching.iter().fold(0, |all, (bits, _)| all | bits);
        let bits = bits & !known;
        if bits == 0 || file.lost.is_some() {
            return;
        }
        let request = Request::Watch { fid, interest: bits };
        if let Some(call) = state.ask(&[request], Asked::unasked(What::Watch { fid, bits }))
            && let Some(file) = state.files.get_mut(&fid)
        {
            file.watching.push((bits, call));
        }
    }

    /// What the node was asked to tell of has come: whoever polls is woken.
    pub fn seen(state: &mut State, fid: Fid, bits: u32) {
        let Some(file) = state.files.get_mut(&fid) else { return };
        file.watching.retain(|(watched, _)| *watched != bits);
        state.wakes.extend(file.watch.take().map(|(watcher, _)| watcher));
    }

    /// The node is lost. Returns whom to wake.
    pub fn give_up(&mut self, loss: Loss) -> Option<Watcher> {
        self.lose(loss);
        self.watch.take().map(|(watcher, _)| watcher)
    }

    /// It is closed for this reason. What came late and nobody has read is given back, and what may still come; who
    /// waits is interrupted, or told that it was revoked.
    pub fn close(state: &mut State, fid: Fid, reason: Reason) {
        let Some(file) = state.files.remove(&fid) else { return };
        let unread = file.late.iter().any(|late| matches!(late, Told::Data(_))) || state.client.may_have_taken(fid);
        let how = match file.stream {
            true => leave(if unread && !reason.is_death() { Reason::Ended } else { reason }),
            false => Release::Clunk,
        };
        for (_, call) in file.watching {
            state.client.cancel(Instant::now(), call);
        }
        let askers = file.reading.into_iter().map(|reading| reading.asker).chain(file.waiting);
        let errno = if reason == Reason::Revoked { Errno::KEYREVOKED } else { Errno::INTR };
        state.answers.extend(askers.map(|asker| (asker.then, Told::Failed(errno))));
        state.client.release(fid, how);
        if reason == Reason::Revoked {
            // The node says so too, if it can be reached. Otherwise nobody waits for that.
            state.interrupt_all(fid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> File {
        File::new(true, View::Plain)
    }

    fn data(bytes: &[u8]) -> Option<Told> {
        Some(Told::Data(bytes.to_vec()))
    }

    #[test]
    fn what_came_late_is_read_first_and_in_pieces() {
        let mut file = file();
        assert_eq!(file.read(9), None);
        file.keep(&Reply::Recv { data: b"late" });
        file.keep(&Reply::Recv { data: b"" });
        file.keep(&Reply::Error { errno: Errno::INTR.raw_os_error() as u32, reason: "" });
        assert_eq!(file.ready(), Some(ready::IN));
        assert_eq!((file.read(3), file.read(9)), (data(b"lat"), data(b"e")));
        assert_eq!((file.read(9), file.ready()), (None, None), "the end comes again by itself");
    }

    #[test]
    fn each_asker_is_answered_once() {
        let mut file = file();
        let [reader, waiter, later] = [7, 8, 7].map(|id| Asker::new(id, Then::new(|_| {})));
        let (first, second, third) = (reader.name, waiter.name, later.name);
        file.begin_read(reader, 9);
        file.begin_wait(waiter);
        assert!(file.take_asker(first).is_some() && file.take_asker(second).is_some());
        file.begin_read(later, 9);
        assert!(file.take_asker(first).is_none() && file.take_asker(second).is_none(), "the number is another's now");
        assert!(file.take_asker(third).is_some());
    }

    #[test]
    fn a_lost_descriptor_says_so_as_the_contract_has_it() {
        let lost = |loss| {
            let mut file = file();
            file.lose(loss);
            file.lose(Loss::Ended);
            (file.read(9).expect("lost"), file.read(9).expect("lost"), file.broken().expect("lost"))
        };
        let failed = Told::Failed;
        assert_eq!(lost(Loss::Restarted), (failed(Errno::CONNRESET), Told::Data(Vec::new()), Errno::PIPE));
        assert_eq!(lost(Loss::Lingered), (failed(Errno::NOLINK), failed(Errno::NOLINK), Errno::NOLINK));
        assert_eq!(lost(Loss::Ended), (failed(Errno::SHUTDOWN), failed(Errno::SHUTDOWN), Errno::SHUTDOWN));
    }
}
