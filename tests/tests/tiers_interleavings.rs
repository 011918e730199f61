//! The protocol of a slot (`tiers/src/slot.rs`), the lane over it, and who reads a connection
//! (`tiers/src/remote/lead.rs`, see `reading.rs`), in schedules: the very source files, compiled over words, sleep and
//! locks of a scheduler (shuttle) instead of the machine's. A schedule is random, or has few switches at unlikely
//! moments (PCT); a failure prints the one that repeats it.
//!
//! Modelled are: every step on a shared word as a place where any other thread may go on; sleep that only a wake of
//! that very word ends, a signal, or a deadline, which passes at any moment; tasks that are polled when woken, and
//! dropped at any moment; processes that are killed between any two steps, and a watcher that tells of it some time
//! later. Nobody may hang, which shuttle finds by itself; nothing may be lost, doubled, reordered or invented; and no
//! two may be at a message at once, for which the cell is one that notices.
//!
//! Not modelled: memory that shows the steps of one processor to another in a different order. Here every access and
//! every fence is sequentially consistent, whatever it says, so an ordering that is too weak is not found; that is for
//! `tiers_memory_order.rs`. Nor the socket, the mapping and who holds them, nor an other side that lies.
#![allow(clippy::unwrap_used, reason = "a failed test")]

#[path = "../../tiers/src/sys/cell.rs"]
mod bare_cell;
#[path = "tiers_interleavings/cell.rs"]
mod cell;
#[path = "tiers_interleavings/executor.rs"]
mod executor;
#[path = "../../tiers/src/thread/lane.rs"]
#[allow(dead_code)]
mod lane;
#[path = "../../tiers/src/remote/lead.rs"]
mod lead;
#[path = "tiers_interleavings/process.rs"]
mod process;
#[path = "tiers_interleavings/reading.rs"]
mod reading;
#[path = "../../tiers/src/slot.rs"]
#[allow(dead_code, clippy::reversed_empty_ranges, reason = "a model may look no times at all")]
mod slot;
#[path = "tiers_interleavings/sync.rs"]
mod sync;
#[path = "tiers_interleavings/way.rs"]
mod way;

/// What the files ask of their crate.
mod error {
    pub use fs9_tiers::error::Reason;
}
mod capability {
    pub use fs9_tiers::Capability;
}
mod sys {
    pub(crate) use crate::cell;
}

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use fs9_tiers::error::Reason;
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::thread::{self, JoinHandle};
use shuttle::{Config, MaxSteps, Runner};

use lane::Lane;
use process::Process;
use slot::{Attempt, Role, Stop};
use way::{Link, NEVER, NOW, Way, recv, recv_all, recv_async, send, send_async, sometime};

const RANDOM: usize = 50_000;
const PCT: usize = 50_000;

/// Runs `scenario` under many schedules.
fn check(scenario: fn()) {
    fn run(scheduler: impl Scheduler + 'static, scenario: fn()) -> usize {
        let mut config = Config::new();
        config.stack_size = 1 << 17;
        config.max_steps = MaxSteps::FailAfter(20_000);
        Runner::new(scheduler, config).run(move || {
            Process::new();
            scenario();
        })
    }

    assert_eq!(run(RandomScheduler::new(RANDOM), scenario), RANDOM);
    assert_eq!(run(PctScheduler::new(3, PCT), scenario), PCT);
}

fn lane() -> Arc<Lane<u32>> {
    Arc::new(Lane::new())
}

/// Another thread does this with `way`.
fn also<W: Way, T: Send + 'static>(way: &Arc<W>, work: impl FnOnce(&W) -> T + Send + 'static) -> JoinHandle<T> {
    let way = Arc::clone(way);
    thread::spawn(move || work(&way))
}

/// Something is chosen.
fn one_of<T: Copy>(choices: &[T]) -> T {
    choices[thread_rng().gen_range(0..choices.len())]
}

const CLOSED: Stop = Stop::Closed(Reason::Closed);

#[test]
fn two_threads_play_ping_pong() {
    check(|| {
        let (there, back) = (lane(), lane());
        let answers = Arc::clone(&back);
        let other = also(&there, move |there| {
            for _ in 0..3 {
                send(&*answers, recv(there, NEVER).unwrap().unwrap() + 1, NEVER).unwrap();
            }
        });
        for number in [0, 10, 20] {
            send(&*there, number, NEVER).unwrap();
            assert_eq!(recv(&*back, NEVER), Ok(Some(number + 1)));
        }
        other.join().unwrap();
    });
}

#[test]
fn messages_arrive_once_and_in_order() {
    check(|| {
        let lane = lane();
        let sender = also(&lane, |lane| {
            (0..4).for_each(|number| send(lane, number, NEVER).map(Option::unwrap).unwrap());
            lane.close(Role::Sender, false);
        });
        assert_eq!(recv_all(&*lane), (vec![0, 1, 2, 3], CLOSED));
        sender.join().unwrap();
    });
}

#[test]
fn two_senders_and_two_receivers_share_their_sides() {
    check(|| {
        let lane = lane();
        let senders = [0, 10].map(|from| {
            also(&lane, move |lane| {
                (from..from + 2).for_each(|number| send(lane, number, NEVER).map(Option::unwrap).unwrap());
            })
        });
        let receivers = [(); 2].map(|()| also(&lane, |lane| recv_all(lane).0));
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        lane.close(Role::Sender, false);
        let got = receivers.map(|receiver| receiver.join().unwrap());
        let of = |got: &[u32], from| got.iter().filter(|number| **number / 10 == from).is_sorted();
        assert!(got.iter().all(|got| of(got, 0) && of(got, 1)), "{got:?}");
        let mut all = got.concat();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 10, 11]);
    });
}

#[test]
fn a_sender_that_closes_ends_a_receive() {
    check(|| {
        let lane = lane();
        let receivers = [(); 2].map(|()| also(&lane, recv_all));
        send(&*lane, 1, NEVER).unwrap();
        lane.close(Role::Sender, true);
        let got = receivers.map(|receiver| receiver.join().unwrap());
        assert!(got.iter().all(|(_, stop)| *stop == Stop::Closed(Reason::Panicked)), "{got:?}");
        assert_eq!(got.map(|(got, _)| got).concat(), [1]);
    });
}

#[test]
fn a_receiver_that_closes_ends_a_send() {
    check(|| {
        let lane = lane();
        let senders = [1, 2]
            .map(|number| also(&lane, move |lane| (0..2).map(|_| send(lane, number, NEVER)).find_map(Result::err)));
        let got = recv(&*lane, NEVER).unwrap();
        assert!(matches!(got, Some(1 | 2)), "{got:?}");
        lane.close(Role::Receiver, false);
        let stops = senders.map(|sender| sender.join().unwrap());
        // Two were sent at most, so nobody has sent both of its own and the other none without being told.
        assert!(stops.iter().any(Option::is_some), "{stops:?}");
        assert!(stops.iter().flatten().all(|stop| *stop == CLOSED), "{stops:?}");
    });
}

#[test]
fn what_timed_out_was_not_sent_and_nothing_else_is_missing() {
    check(|| {
        let lane = lane();
        let senders = [0, 10].map(|from| {
            also(&lane, move |lane| {
                let way = |number| send(lane, number, one_of(&[NOW, sometime(), sometime(), NEVER]));
                (from..from + 2).filter(|number| way(*number).unwrap().is_some()).collect::<Vec<_>>()
            })
        });
        let receivers = [(); 2].map(|()| {
            also(&lane, |lane| {
                let mut got = Vec::new();
                loop {
                    match recv(lane, one_of(&[NOW, sometime(), NEVER])) {
                        Ok(message) => got.extend(message),
                        Err(stop) => break (got, stop),
                    }
                    thread::yield_now();
                }
            })
        });
        let mut sent = senders.map(|sender| sender.join().unwrap()).concat();
        lane.close(Role::Sender, false);
        let mut got = receivers.map(|receiver| receiver.join().unwrap().0).concat();
        sent.sort_unstable();
        got.sort_unstable();
        assert_eq!(sent, got);
    });
}

#[test]
fn a_task_receives_from_a_thread() {
    check(|| {
        let lane = lane();
        let sender =
            also(&lane, |lane| (0..3).for_each(|number| send(lane, number, NEVER).map(Option::unwrap).unwrap()));
        for number in 0..3 {
            let got = std::iter::repeat_with(|| recv_async(&*lane, one_of(&[NEVER, sometime()])).unwrap());
            assert_eq!(got.flatten().next(), Some(number));
        }
        sender.join().unwrap();
    });
}

#[test]
fn a_task_sends_to_a_thread() {
    check(|| {
        let lane = lane();
        let receiver = also(&lane, recv_all);
        for number in 0..3 {
            while send_async(&*lane, number, one_of(&[NEVER, sometime()])).unwrap().is_none() {}
        }
        lane.close(Role::Sender, false);
        assert_eq!(receiver.join().unwrap(), (vec![0, 1, 2], CLOSED));
    });
}

#[test]
fn of_two_tasks_at_one_receiver_one_gives_up() {
    check(|| {
        let lane = lane();
        let fickle = also(&lane, |lane| recv_async(lane, sometime()).unwrap());
        let patient = also(&lane, |lane| recv_async(lane, NEVER).unwrap());
        send_async(&*lane, 1, NEVER).unwrap();
        if fickle.join().unwrap().is_some() {
            send(&*lane, 2, NEVER).unwrap();
        }
        assert!(patient.join().unwrap().is_some());
    });
}

#[test]
fn tasks_and_threads_share_a_side() {
    check(|| {
        let lane = lane();
        let senders = (
            also(&lane, |lane| (1..3).for_each(|number| send(lane, number, NEVER).map(Option::unwrap).unwrap())),
            also(&lane, |lane| send_async(lane, 10, NEVER).unwrap().unwrap()),
        );
        let receiver = also(&lane, |lane| recv(lane, NEVER).unwrap().unwrap());
        let mut got = vec![recv_async(&*lane, NEVER).unwrap().unwrap(), recv_async(&*lane, NEVER).unwrap().unwrap()];
        got.push(receiver.join().unwrap());
        got.sort_unstable();
        assert_eq!(got, [1, 2, 10]);
        senders.0.join().unwrap();
        senders.1.join().unwrap();
    });
}

#[test]
fn a_slot_that_is_held_and_given_back_is_free_for_who_waits() {
    check(|| {
        let lane = lane();
        let permit = lane.end(Role::Sender).wait(NEVER).unwrap().unwrap();
        let senders = [
            also(&lane, |lane| send(lane, 1, NEVER).map(Option::unwrap).unwrap()),
            also(&lane, |lane| send_async(lane, 2, NEVER).map(Option::unwrap).unwrap()),
        ];
        drop(permit);
        let mut got = [recv(&*lane, NEVER).unwrap().unwrap(), recv(&*lane, NEVER).unwrap().unwrap()];
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    });
}

/// What the process that is killed was about to do, and what it had done.
#[derive(Default)]
struct Log {
    begun: AtomicU32,
    done: AtomicU32,
}

impl Log {
    fn of<T>(&self, work: impl FnOnce() -> T) -> T {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let result = work();
        self.done.fetch_add(1, Ordering::Relaxed);
        result
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed) as usize
    }

    fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed) as usize
    }
}

/// A link of which one side is killed some time.
struct Mortal {
    link: Arc<Link>,
    log: Arc<Log>,
    others: [JoinHandle<()>; 2],
}

impl Mortal {
    /// `works` are done by the threads of the process that is killed, the other side being `survivor`.
    fn new<const N: usize>(survivor: Role, works: [fn(&Link, &Log); N]) -> Mortal {
        let (link, log) = (Link::new(), Arc::<Log>::default());
        let watcher = link.watch(survivor);
        let process = Process::new();
        let threads = works.map(|work| {
            let (link, log) = (Arc::clone(&link), Arc::clone(&log));
            process.spawn(move || work(&link, &log))
        });
        let killer = also(&link, move |link| {
            process.kill();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            link.hang_up(survivor);
        });
        Mortal { link, log, others: [watcher, killer] }
    }

    fn end(self) {
        self.others.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

fn sends_two(link: &Link, log: &Log) {
    for number in 0..2 {
        log.of(|| send(link, number, NEVER).map(Option::unwrap).unwrap());
    }
    if thread_rng().gen_bool(0.5) {
        link.close(Role::Sender, false);
    }
}

fn receives_two(link: &Link, log: &Log) {
    for number in 0..2 {
        assert_eq!(log.of(|| recv(link, NEVER)), Ok(Some(number)));
    }
    if thread_rng().gen_bool(0.5) {
        link.close(Role::Receiver, false);
    }
}

/// All that was sent was received, and that is told before the end.
fn received_all(mortal: &Mortal, got: &[u32], stop: Stop) {
    assert!(got.iter().copied().eq(0..got.len() as u32), "{got:?}");
    assert!((mortal.log.done()..=mortal.log.begun()).contains(&got.len()), "{got:?}");
    assert!(stop == Stop::Gone || stop == CLOSED, "{stop:?}");
    let again = mortal.link.end(Role::Receiver).attempt();
    assert!(matches!(again, Attempt::Stopped(Stop::Gone | CLOSED)), "there was one more");
}

#[test]
fn a_receiver_outlives_the_process_that_sends() {
    check(|| {
        let mortal = Mortal::new(Role::Receiver, [sends_two]);
        let (got, stop) = recv_all(&*mortal.link);
        received_all(&mortal, &got, stop);
        mortal.end();
    });
}

#[test]
fn two_receivers_outlive_the_process_that_sends() {
    check(|| {
        let mortal = Mortal::new(Role::Receiver, [sends_two]);
        let other = also(&mortal.link, |link| recv_all(link).0);
        let (mut got, stop) = recv_all(&*mortal.link);
        got.extend(other.join().unwrap());
        got.sort_unstable();
        received_all(&mortal, &got, stop);
        mortal.end();
    });
}

#[test]
fn two_receivers_outlive_a_process_that_ends_at_once() {
    check(|| {
        let link = Link::new();
        let sender = also(&link, |link| {
            (0..2).for_each(|number| send(link, number, NEVER).map(Option::unwrap).unwrap());
            link.end(Role::Receiver).lose();
        });
        let one = also(&link, |link| recv(link, NEVER).ok().flatten());
        let (mut got, stop) = recv_all(&*link);
        assert_eq!(stop, Stop::Gone);
        got.extend(one.join().unwrap());
        got.sort_unstable();
        assert_eq!(got, [0, 1]);
        sender.join().unwrap();
    });
}

#[test]
fn a_task_that_receives_outlives_the_process_that_sends() {
    check(|| {
        let mortal = Mortal::new(Role::Receiver, [sends_two]);
        let mut got = Vec::new();
        let stop = loop {
            match recv_async(&*mortal.link, one_of(&[NEVER, NEVER, sometime()])) {
                Ok(message) => got.extend(message),
                Err(stop) => break stop,
            }
        };
        received_all(&mortal, &got, stop);
        mortal.end();
    });
}

#[test]
fn a_process_with_two_senders_is_killed() {
    check(|| {
        let sends: fn(&Link, &Log) = |link, log| log.of(|| send(link, 7, NEVER).map(Option::unwrap).unwrap());
        let mortal = Mortal::new(Role::Receiver, [sends; 2]);
        let (got, stop) = recv_all(&*mortal.link);
        assert_eq!(stop, Stop::Gone);
        assert!((mortal.log.done()..=mortal.log.begun()).contains(&got.len()), "{got:?}");
        mortal.end();
    });
}

/// As many were sent as the dead process took, and what it left in the slot.
fn sent_all(mortal: Mortal, stops: &[Option<Stop>], sent: usize) {
    let Mortal { log, .. } = &mortal;
    assert!(stops.iter().flatten().all(|stop| *stop == Stop::Gone || *stop == CLOSED), "{stops:?}");
    assert!(log.done() <= sent && sent <= log.begun() + 1, "{sent} sent");
    let link = Arc::clone(&mortal.link);
    mortal.end();
    assert!(send(&*link, 0, NOW).is_err(), "nobody is there any more");
}

#[test]
fn a_sender_outlives_the_process_that_receives() {
    check(|| {
        let mortal = Mortal::new(Role::Sender, [receives_two]);
        let mut numbers = 0..;
        let stop = numbers.find_map(|number| send(&*mortal.link, number, NEVER).err());
        sent_all(mortal, &[stop], numbers.start as usize - 1);
    });
}

#[test]
fn to_a_process_that_is_known_to_be_gone_nothing_is_sent() {
    check(|| {
        let link = Link::new();
        let log = Arc::<Log>::default();
        let knows = Arc::clone(&log);
        let watcher = also(&link, move |link| knows.of(|| link.end(Role::Sender).lose()));
        thread::yield_now();
        let (is_known, sent) = (log.done() == 1, send(&*link, 0, NOW));
        assert!(!is_known || sent == Err(Stop::Gone), "{sent:?}");
        watcher.join().unwrap();
    });
}

#[test]
fn a_task_that_sends_outlives_the_process_that_receives() {
    check(|| {
        let mortal = Mortal::new(Role::Sender, [receives_two]);
        let mut sent = 0;
        let stop = loop {
            match send_async(&*mortal.link, sent, one_of(&[NEVER, NEVER, sometime()])) {
                Ok(done) => sent += u32::from(done.is_some()),
                Err(stop) => break stop,
            }
        };
        sent_all(mortal, &[Some(stop)], sent as usize);
    });
}

#[test]
fn two_senders_outlive_the_process_that_receives() {
    check(|| {
        let takes: fn(&Link, &Log) = |link, log| while log.of(|| recv(link, NEVER)).is_ok() {};
        let mortal = Mortal::new(Role::Sender, [takes]);
        let sends = |link: &Link| (0..3).map(|_| send(link, 7, NEVER)).find_map(Result::err);
        let other = also(&mortal.link, sends);
        let stops = [sends(&mortal.link), other.join().unwrap()];
        assert!(stops.iter().flatten().all(|stop| *stop == Stop::Gone), "{stops:?}");
        mortal.end();
    });
}
