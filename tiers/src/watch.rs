//! The one thread of a process that watches what no futex tells of: sockets that hang up, processes that end, clocks.
//!
//! It is started with the first channel to another process (or the first task that waits for a timer), and does nothing
//! but sleep in epoll_wait(2) and tell. Waiting for a message does not pass through it.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::Waker;
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::io::Errno;
use rustix::time::Timespec;

use crate::slot::wake;

/// Something with descriptors to watch.
pub(crate) trait Watched: Send + Sync {
    /// One of them has something to tell. Called again only when there is something new.
    fn attend(&self);
}

/// The watcher of this process.
pub(crate) struct Watcher {
    epoll: OwnedFd,
    /// Interrupts the sleep, when an earlier alarm is set.
    bell: OwnedFd,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    watched: BTreeMap<u64, Weak<dyn Watched>>,
    alarms: BTreeMap<(Instant, u64), Waker>,
}

/// The number of the bell among the watched.
const BELL: u64 = 0;

/// The watcher, started when it is first asked for. It stays: a thread and two descriptors a process.
///
/// # Errors
/// Those of epoll_create(2), eventfd(2) and of starting a thread.
pub(crate) fn watcher() -> io::Result<&'static Watcher> {
    static WATCHER: OnceLock<Arc<Watcher>> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    if let Some(watcher) = WATCHER.get() {
        return Ok(watcher);
    }
    let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(watcher) = WATCHER.get() {
        return Ok(watcher);
    }
    let watcher = Arc::new(Watcher::new()?);
    let watches = Arc::clone(&watcher);
    // Wakers run on its stack.
    std::thread::Builder::new().name("fs9-watch".to_owned()).stack_size(512 * 1024).spawn(move || watches.run())?;
    Ok(WATCHER.get_or_init(|| watcher))
}

impl Watcher {
    fn new() -> io::Result<Watcher> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &bell, epoll::EventData::new_u64(BELL), epoll::EventFlags::IN | epoll::EventFlags::ET)?;
        Ok(Watcher { epoll, bell, state: Mutex::new(State::default()) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number under which to add descriptors. Nobody is told before [`Watcher::appoint`].
    pub fn enrol(&self) -> u64 {
        let mut state = self.state();
        state.next += 1;
        state.next
    }

    /// From now on it is `watched` that is told under this number.
    pub fn appoint(&self, number: u64, watched: Weak<dyn Watched>) {
        self.state().watched.insert(number, watched);
    }

    /// Nothing more is told under this number.
    pub fn dismiss(&self, number: u64) {
        self.state().watched.remove(&number);
    }

    /// Watches for input and hang-up. The kernel forgets a descriptor by itself when its last duplicate is closed.
    ///
    /// # Errors
    /// ENOSPC where the user's limit of watches is reached (epoll(7)), ENOMEM.
    pub fn add(&self, number: u64, descriptor: impl AsFd) -> io::Result<()> {
        let flags = epoll::EventFlags::IN | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        Ok(epoll::add(&self.epoll, descriptor, epoll::EventData::new_u64(number), flags)?)
    }

    /// Watches for `events` until one of them was told. Then, and in place of what it was watched for before, it takes
    /// another call.
    ///
    /// # Errors
    /// As [`Watcher::add`].
    pub fn watch_once(&self, number: u64, descriptor: impl AsFd, events: epoll::EventFlags) -> io::Result<()> {
        let (data, flags) = (epoll::EventData::new_u64(number), events | epoll::EventFlags::ONESHOT);
        match epoll::modify(&self.epoll, &descriptor, data, flags) {
            Err(Errno::NOENT) => Ok(epoll::add(&self.epoll, &descriptor, data, flags)?),
            done => Ok(done?),
        }
    }

    /// Watches this descriptor no more.
    pub fn remove(&self, descriptor: impl AsFd) {
        // Fails only where it was not watched.
        let _ = epoll::delete(&self.epoll, descriptor);
    }

    /// Has `waker` called at the time `at`, unless the alarm is dropped before.
    pub fn alarm(&'static self, at: Instant, waker: Waker) -> Alarm {
        let mut state = self.state();
        state.next += 1;
        let key = (at, state.next);
        state.alarms.insert(key, waker);
        if state.alarms.first_key_value().is_some_and(|(first, _)| *first == key) {
            // Fails only when it rings already.
            let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
        }
        Alarm { watcher: self, key }
    }

    fn run(&self) {
        let mut events = Vec::with_capacity(64);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), self.sound_alarms().as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                // Nothing else can fail with an epoll of our own; without it nobody would learn of deaths.
                Err(error) => panic!("the watcher cannot wait: {error}"),
            }
            for event in &events {
                let watched = self.state().watched.get(&event.data.u64()).and_then(Weak::upgrade);
                if let Some(watched) = watched {
                    watched.attend();
                }
            }
        }
    }

    /// Wakes who is due. Returns how long it is until the next.
    fn sound_alarms(&self) -> Option<Timespec> {
        let now = Instant::now();
        let mut state = self.state();
        let later = state.alarms.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut state.alarms, later);
        let next = state.alarms.first_key_value().map(|((at, _), _)| at.saturating_duration_since(now));
        drop(state);
        due.into_values().for_each(wake);
        next.and_then(|left| Timespec::try_from(left).ok())
    }
}

/// A task that wants to be woken at a time.
pub(crate) struct Alarm {
    watcher: &'static Watcher,
    key: (Instant, u64),
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // Wakers are somebody's code: they are dropped while the state is not locked.
        let waker = self.watcher.state().alarms.remove(&self.key);
        drop(waker);
    }
}

impl std::fmt::Debug for Alarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Alarm").field(&self.key.0).finish()
    }
}
