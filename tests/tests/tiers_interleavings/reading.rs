//! Who reads a connection: `tiers/src/remote/lead.rs`, and over it the few lines of `remote/end.rs` and of
//! `remote/connection/`. Messages come over one stream for several lanes; whoever waits reads, for all. Nobody may hang
//! while there is something to read for him, and nobody may find that his message was put where one lies already.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::sync::Arc;

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::{Condvar, Mutex, MutexGuard};
use shuttle::thread::{self, JoinHandle, yield_now};

use crate::executor::Executor;
use crate::lane::Lane;
use crate::lead::Lead;
use crate::slot::{Asleep, Attempt, Deadline, Role, Watch};
use crate::way::{NEVER, NOW, sometime};
use crate::{check, one_of, sync};

/// The socket, and what the watcher's epoll knows of it.
#[derive(Default)]
struct Wire {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// For which lane, and what.
    coming: VecDeque<(usize, u32)>,
    is_armed: bool,
    is_over: bool,
    /// How many messages of each lane were taken.
    taken: [u32; 3],
}

impl Wire {
    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
        result
    }

    fn wait_until(&self, is_so: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap();
        while !is_so(&state) {
            state = self.changed.wait(state).unwrap();
        }
        state
    }
}

#[derive(Default)]
struct Connection {
    lead: Lead,
    input: Mutex<()>,
    wire: Wire,
    lanes: [Lane<u32>; 3],
}

impl Default for Lane<u32> {
    fn default() -> Self {
        Lane::new()
    }
}

struct Leading<'a>(&'a Connection);

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        let is_due = self.0.lead.leave();
        self.0.hand_to_watcher(is_due);
    }
}

struct Following<'a>(&'a Connection);

impl Drop for Following<'_> {
    fn drop(&mut self) {
        let is_due = self.0.lead.unfollow();
        self.0.hand_to_watcher(is_due);
    }
}

/// `connection/input.rs` and `connection/armed.rs`.
impl Connection {
    fn put(&self, (lane, message): (usize, u32)) {
        let lane = &self.lanes[lane];
        match lane.end(Role::Sender).attempt() {
            Attempt::Turn(turn) => lane.put(turn, message),
            _ => panic!("there is no room for {message}"),
        }
    }

    /// As the leader: in recv(2), which nothing but the stream ends.
    fn read(&self, watch: &Watch<'_>, deadline: Deadline) {
        let _input = self.input.lock().unwrap();
        if watch.has_changed() {
            return;
        }
        let come = if deadline == NEVER {
            self.wire.wait_until(|state| !state.coming.is_empty()).coming.pop_front()
        } else {
            self.wire.change(|state| state.coming.pop_front())
        };
        come.into_iter().for_each(|come| self.put(come));
    }

    fn pump(&self) {
        let _input = loop {
            if self.lead.is_taken() {
                return;
            }
            match self.input.try_lock() {
                Ok(input) => break input,
                Err(_) => yield_now(),
            }
        };
        while !self.lead.is_taken()
            && let Some(come) = self.wire.change(|state| state.coming.pop_front())
        {
            self.put(come);
        }
    }

    fn arm(&self) {
        self.wire.change(|state| state.is_armed = true);
    }

    fn hand_to_watcher(&self, is_due: bool) {
        if is_due {
            self.arm();
        }
    }

    fn depend(&self) {
        if self.lead.depend() {
            self.arm();
        }
    }

    /// The watcher's thread: told once by epoll, it attends, and is armed again where it is needed.
    fn watch(&self) {
        loop {
            let mut state = self.wire.wait_until(|state| state.is_over || (state.is_armed && !state.coming.is_empty()));
            if state.is_over {
                return;
            }
            state.is_armed = false;
            drop(state);
            self.pump();
            if self.lead.is_for_watcher() {
                self.arm();
            }
        }
    }
}

/// `remote/end.rs`, for a receiver.
impl Connection {
    fn try_take(&self, lane: usize) -> Option<u32> {
        let Attempt::Turn(turn) = self.lanes[lane].end(Role::Receiver).attempt() else { return None };
        let message = self.lanes[lane].take(turn);
        self.wire.change(|state| state.taken[lane] += 1);
        Some(message)
    }

    fn attempt(&self, lane: usize) -> Option<u32> {
        self.try_take(lane).or_else(|| {
            self.pump();
            self.try_take(lane)
        })
    }

    /// Waits in a thread. None: the deadline came first.
    fn recv(&self, lane: usize, deadline: Deadline) -> Option<u32> {
        let (end, mut leading) = (self.lanes[lane].end(Role::Receiver), None);
        loop {
            let watch = match end.attempt() {
                Attempt::Turn(turn) => {
                    let message = self.lanes[lane].take(turn);
                    self.wire.change(|state| state.taken[lane] += 1);
                    return Some(message);
                }
                Attempt::Wait(watch) => watch,
                Attempt::Stopped(stop) => panic!("{stop:?}"),
            };
            if deadline == NOW || (deadline != NEVER && thread_rng().gen_ratio(1, 4)) {
                return self.attempt(lane);
            }
            if watch.is_for_turn(end) {
                leading = None;
                self.sleep(lane, &watch, deadline);
                continue;
            }
            if leading.is_none() && self.lead.take() {
                leading = Some(Leading(self));
            }
            match leading {
                Some(_) => self.read(&watch, deadline),
                None => {
                    self.lead.follow();
                    let _following = Following(self);
                    self.sleep(lane, &watch.and(self.lead.word()), deadline);
                }
            }
            if deadline != NEVER {
                yield_now();
            }
        }
    }

    fn sleep(&self, lane: usize, watch: &Watch<'_>, deadline: Deadline) {
        let until = match deadline {
            Deadline::At(end) => Some(end),
            Deadline::Now | Deadline::Never => None,
        };
        let _asleep = Asleep::new(self.lanes[lane].end(Role::Receiver));
        sync::wait(watch, until);
    }

    /// Waits in a task, which with a deadline is dropped at some moment.
    fn recv_async(&self, lane: usize, deadline: Deadline) -> Option<u32> {
        let executor = Executor::here();
        let (waker, end) = (executor.waker(), self.lanes[lane].end(Role::Receiver));
        let mut ticket = None;
        let received = loop {
            let first = self.attempt(lane);
            let received = first.or_else(|| {
                let is_new = ticket.is_none();
                end.register(&mut ticket, &waker);
                if is_new {
                    self.depend();
                }
                self.attempt(lane)
            });
            if received.is_some() || (deadline != NEVER && thread_rng().gen_ratio(1, 4)) {
                break received;
            }
            if deadline == NEVER {
                executor.wait();
            }
            yield_now();
            executor.calm();
        };
        if let Some(ticket) = ticket {
            end.unregister(ticket);
            self.lead.release();
        }
        received
    }
}

/// A connection with its watcher, and the far side, which sends so many messages to each lane: the next once one was
/// taken.
struct Running {
    connection: Arc<Connection>,
    watcher: JoinHandle<()>,
    far: Vec<JoinHandle<()>>,
}

impl Running {
    fn with(messages: [u32; 3]) -> Running {
        let connection = Arc::new(Connection::default());
        let watches = Arc::clone(&connection);
        let watcher = thread::spawn(move || watches.watch());
        let lanes = messages.into_iter().enumerate().filter(|(_, count)| *count > 0);
        let far = lanes.map(|(lane, count)| {
            let connection = Arc::clone(&connection);
            thread::spawn(move || {
                for number in 0..count {
                    let mut state = connection.wire.wait_until(|state| state.taken[lane] >= number);
                    state.coming.push_back((lane, number));
                    drop(state);
                    connection.wire.changed.notify_all();
                }
            })
        });
        Running { far: far.collect(), connection, watcher }
    }

    /// A thread that waits at this lane until it has so many messages.
    fn waiter(&self, lane: usize, count: u32, wait: fn(&Connection, usize) -> Option<u32>) -> JoinHandle<()> {
        let connection = Arc::clone(&self.connection);
        thread::spawn(move || {
            for expected in 0..count {
                let got = std::iter::repeat_with(|| wait(&connection, lane)).flatten().next();
                assert_eq!(got, Some(expected));
            }
        })
    }

    fn end(self, waiters: Vec<JoinHandle<()>>) {
        waiters.into_iter().chain(self.far).for_each(|thread| thread.join().unwrap());
        self.connection.wire.change(|state| state.is_over = true);
        self.watcher.join().unwrap();
    }
}

fn patient(connection: &Connection, lane: usize) -> Option<u32> {
    connection.recv(lane, NEVER)
}

fn fickle(connection: &Connection, lane: usize) -> Option<u32> {
    connection.recv(lane, one_of(&[NOW, sometime(), NEVER]))
}

fn task(connection: &Connection, lane: usize) -> Option<u32> {
    connection.recv_async(lane, NEVER)
}

fn fickle_task(connection: &Connection, lane: usize) -> Option<u32> {
    connection.recv_async(lane, one_of(&[NEVER, sometime()]))
}

#[test]
fn threads_at_two_lanes_read_for_each_other() {
    check(|| {
        let running = Running::with([2, 2, 0]);
        let waiters = vec![running.waiter(0, 2, patient), running.waiter(1, 2, patient)];
        running.end(waiters);
    });
}

#[test]
fn of_three_threads_each_may_lead() {
    check(|| {
        let running = Running::with([1, 1, 1]);
        let waiters = (0..3).map(|lane| running.waiter(lane, 1, patient)).collect();
        running.end(waiters);
    });
}

#[test]
fn who_gives_up_leaves_the_lead_to_who_waits() {
    check(|| {
        let running = Running::with([2, 2, 0]);
        let waiters = vec![running.waiter(0, 2, fickle), running.waiter(1, 2, patient)];
        running.end(waiters);
    });
}

#[test]
fn who_is_woken_to_lead_and_gives_up_for_good_wakes_the_next() {
    check(|| {
        let running = Running::with([1, 0, 0]);
        let connection = Arc::clone(&running.connection);
        let gives_up = thread::spawn(move || {
            assert_eq!(connection.recv(2, sometime()), None);
            // Only now, or he would have read it for the other one when he gave up.
            connection.wire.change(|state| state.coming.push_back((1, 0)));
        });
        let waiters = vec![running.waiter(0, 1, patient), gives_up, running.waiter(1, 1, patient)];
        running.end(waiters);
    });
}

#[test]
fn a_thread_or_the_watcher_reads_for_a_task() {
    check(|| {
        let running = Running::with([2, 2, 0]);
        let waiters = vec![running.waiter(0, 2, task), running.waiter(1, 2, patient)];
        running.end(waiters);
    });
}

#[test]
fn tasks_that_give_up_and_threads_that_give_up_keep_nobody_waiting() {
    check(|| {
        let running = Running::with([1, 1, 1]);
        let waiters = [fickle_task, fickle, task as fn(&Connection, usize) -> Option<u32>];
        let waiters = waiters.into_iter().enumerate().map(|(lane, wait)| running.waiter(lane, 1, wait)).collect();
        running.end(waiters);
    });
}

#[test]
fn two_threads_share_a_lane_while_a_third_waits_at_another() {
    check(|| {
        let running = Running::with([2, 1, 0]);
        let shares = [(); 2].map(|()| {
            let connection = Arc::clone(&running.connection);
            thread::spawn(move || assert!(connection.recv(0, NEVER).is_some()))
        });
        let waiters = shares.into_iter().chain([running.waiter(1, 1, patient)]).collect();
        running.end(waiters);
    });
}
