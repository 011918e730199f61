//! The threads of a mount that run what a program has put into it, and the tasks that carry messages there.
//!
//! A task is a future: it waits without a thread. Some of what tasks do is code of others, which may take as long as it
//! likes: for that a task takes a place ([`Crew::work`]), of which there are only so many. There is always one thread
//! more than places are taken, so a message on its way to somebody waits for nobody else's code.
//!
//! Tasks belong to groups, and end with them. Nothing is ever dropped or called while the crew is locked.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};

/// What a task does.
pub type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// So many threads with nothing to do are kept for what comes next.
const SPARE: usize = 4;

/// See the [module](self). Clones are the same crew.
#[derive(Clone)]
pub struct Crew(Arc<Shared>);

struct Shared {
    places: usize,
    state: Mutex<State>,
    /// A task is due, or the crew ends.
    due: Condvar,
    /// A task or a thread has ended.
    ended: Condvar,
}

#[derive(Default)]
struct State {
    tasks: FxHashMap<u64, Task>,
    /// Tasks to be run, in the order in which they became so.
    due: VecDeque<u64>,
    groups: FxHashSet<u64>,
    /// The last number that was given to a task, a group, or somebody in line.
    last: u64,
    /// Places that are taken.
    working: usize,
    /// Who waits for a place.
    line: VecDeque<(u64, Waker)>,
    threads: usize,
    idle: usize,
    handles: Vec<JoinHandle<()>>,
    is_over: bool,
}

struct Task {
    group: u64,
    /// None while it runs.
    job: Option<Job>,
    runner: Option<ThreadId>,
    is_due: bool,
    waker: Waker,
}

/// The number of a group of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group(u64);

impl Crew {
    /// A crew with so many places for the code of others. Threads come when they are needed.
    pub fn new(places: usize) -> Crew {
        let (state, due, ended) = (Mutex::default(), Condvar::new(), Condvar::new());
        Crew(Arc::new(Shared { places: places.max(1), state, due, ended }))
    }

    /// A new group, without tasks.
    pub fn group(&self) -> Group {
        let mut state = self.0.state();
        let number = state.number();
        if !state.is_over {
            state.groups.insert(number);
        }
        Group(number)
    }

    /// A new task. In a group that has ended it is dropped.
    ///
    /// # Errors
    /// There is no thread yet, and none can be started.
    pub fn start(&self, group: Group, task: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let job: Job = Box::pin(task);
        let mut state = self.0.state();
        if !state.groups.contains(&group.0) {
            drop(state);
            drop(job);
            return Ok(());
        }
        if state.threads == 0 {
            self.0.hire(&mut state)?;
        }
        let number = state.number();
        let waker = Waker::from(Arc::new(Bell { number, crew: Arc::downgrade(&self.0) }));
        state.tasks.insert(number, Task { group: group.0, job: Some(job), runner: None, is_due: false, waker });
        state.call(number, &self.0.due);
        Ok(())
    }

    /// Waits for a place, in which code of others may run.
    pub fn work(&self) -> Apply {
        Apply { crew: self.clone(), number: None }
    }

    /// Whether it is a task of this crew that asks.
    pub fn is_here(&self) -> bool {
        self.0.state().tasks.values().any(Task::is_mine)
    }

    /// Ends a group. Tasks that wait are dropped; for those that run it waits no longer than `grace`. (Not for the one
    /// that calls this.) Whether all have ended.
    pub fn end_group(&self, group: Group, grace: Duration) -> bool {
        let dropped = self.0.state().dissolve(group.0);
        drop(dropped);
        let runs = |state: &mut State| state.tasks.values().any(|task| task.group == group.0 && !task.is_mine());
        !runs(&mut self.0.wait(grace, runs))
    }

    /// Ends all groups, and the threads. Whether all have ended within `grace`, the calling one aside.
    pub fn end(&self, grace: Duration) -> bool {
        let mut state = self.0.state();
        state.is_over = true;
        let groups: Vec<u64> = state.groups.iter().copied().collect();
        let dropped: Vec<Job> = groups.into_iter().flat_map(|group| state.dissolve(group)).collect();
        self.0.due.notify_all();
        drop(state);
        drop(dropped);
        let mut state =
            self.0.wait(grace, |state| state.threads > usize::from(state.tasks.values().any(Task::is_mine)));
        let busy: Vec<ThreadId> = state.tasks.values().filter_map(|task| task.runner).collect();
        let handles = std::mem::take(&mut state.handles);
        drop(state);
        // Whoever runs nothing is on its last steps.
        let (left, ended): (Vec<_>, Vec<_>) = handles.into_iter().partition(|one| busy.contains(&one.thread().id()));
        ended.into_iter().for_each(|ended| drop(ended.join()));
        left.iter().all(|left| left.thread().id() == thread::current().id())
    }
}

impl fmt::Debug for Crew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crew").field("places", &self.0.places).finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while `holds`, and no longer than `grace`.
    fn wait(&self, grace: Duration, holds: impl Fn(&mut State) -> bool) -> MutexGuard<'_, State> {
        let waited = self.ended.wait_timeout_while(self.state(), grace, holds);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// One more thread.
    fn hire(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        let shared = Arc::clone(self);
        let handle = thread::Builder::new().name("fs9-crew".into()).spawn(move || shared.serve())?;
        state.threads += 1;
        state.handles.retain(|handle| !handle.is_finished());
        state.handles.push(handle);
        Ok(())
    }

    /// What a thread does: runs what is due.
    fn serve(&self) {
        let mut state = self.state();
        loop {
            if let Some(number) = state.due.pop_front() {
                let begun = state.begin(number);
                drop(state);
                if let Some((job, waker)) = begun {
                    self.run(number, job, &waker);
                }
                state = self.state();
            } else if state.is_over || state.threads > state.working + 1 + SPARE {
                state.threads -= 1;
                return self.ended.notify_all();
            } else {
                state.idle += 1;
                state = self.due.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }

    /// Runs a task until it waits or has ended.
    fn run(&self, number: u64, mut job: Job, waker: &Waker) {
        let poll = || job.as_mut().poll(&mut Context::from_waker(waker)).is_ready();
        // Code of others is looked after where it is called; a panic here was a bug, and ends this task alone.
        let is_done = panic::catch_unwind(AssertUnwindSafe(poll)).unwrap_or(true);
        let mut job = Some(job);
        if !is_done {
            self.state().put_back(number, &mut job, &self.due);
        }
        if let Some(job) = job {
            // As a drop of what others have given us may.
            let _ = panic::catch_unwind(AssertUnwindSafe(|| drop(job)));
            self.state().tasks.remove(&number);
            self.ended.notify_all();
        }
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// A task is to be run.
    fn call(&mut self, number: u64, due: &Condvar) {
        let Some(task) = self.tasks.get_mut(&number).filter(|task| !task.is_due) else { return };
        task.is_due = true;
        // One that runs is looked at again when it has.
        if task.runner.is_none() {
            self.due.push_back(number);
            if self.idle > 0 {
                due.notify_one();
            }
        }
    }

    /// This thread runs a task from now on. None when it has been dropped.
    fn begin(&mut self, number: u64) -> Option<(Job, Waker)> {
        let task = self.tasks.get_mut(&number)?;
        task.runner = Some(thread::current().id());
        task.is_due = false;
        Some((task.job.take()?, task.waker.clone()))
    }

    /// A task waits, unless its group has ended: then it is left to the caller, to be dropped.
    fn put_back(&mut self, number: u64, job: &mut Option<Job>, due: &Condvar) {
        let Some(task) = self.tasks.get_mut(&number).filter(|task| self.groups.contains(&task.group)) else { return };
        task.job = job.take();
        task.runner = None;
        if std::mem::take(&mut task.is_due) {
            self.call(number, due);
        }
    }

    /// Ends a group, and returns those of its tasks that do not run.
    fn dissolve(&mut self, group: u64) -> Vec<Job> {
        self.groups.remove(&group);
        let asleep = self.tasks.extract_if(|_, task| task.group == group && task.job.is_some());
        asleep.filter_map(|(_, task)| task.job).collect()
    }
}

impl Task {
    fn is_mine(&self) -> bool {
        self.runner == Some(thread::current().id())
    }
}

/// Wakes a task.
struct Bell {
    number: u64,
    crew: Weak<Shared>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        if let Some(crew) = self.crew.upgrade() {
            crew.state().call(self.number, &crew.due);
        }
    }
}

/// Waits for a place, see [`Crew::work`].
pub struct Apply {
    crew: Crew,
    /// In line.
    number: Option<u64>,
}

impl Future for Apply {
    type Output = Work;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Work> {
        let crew = self.crew.clone();
        let mut state = crew.0.state();
        if state.working < crew.0.places {
            state.working += 1;
            // While somebody works there is a thread for all others. If there can be none, they wait.
            if state.threads <= state.working
                && let Err(error) = crew.0.hire(&mut state)
            {
                tracing::warn!(%error, "no thread for others");
            }
            let number = self.number.take();
            state.line.retain(|(waiting, _)| Some(*waiting) != number);
            drop(state);
            return Poll::Ready(Work(crew));
        }
        let number = *self.number.get_or_insert_with(|| state.number());
        match state.line.iter_mut().find(|(waiting, _)| *waiting == number) {
            Some((_, waker)) => waker.clone_from(context.waker()),
            None => state.line.push_back((number, context.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Apply {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut state = self.crew.0.state();
        match state.line.iter().position(|(waiting, _)| *waiting == number) {
            Some(place) => drop(state.line.remove(place)),
            // It was called and does not come: the next.
            None => self.crew.call_next(state),
        }
    }
}

/// A place; given back on drop.
pub struct Work(Crew);

impl Crew {
    fn call_next(&self, mut state: MutexGuard<'_, State>) {
        let next = state.line.pop_front();
        drop(state);
        if let Some((_, waker)) = next {
            waker.wake();
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let mut state = self.0.0.state();
        state.working -= 1;
        self.0.call_next(state);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn as_many_work_at_once_as_there_are_places_and_the_others_after_them() {
        let (crew, barrier, done) = (Crew::new(3), Arc::new(Barrier::new(3)), Arc::new(AtomicUsize::new(0)));
        let group = crew.group();
        let (tell, told) = mpsc::channel();
        for _ in 0..9 {
            let (own, barrier, done, tell) = (crew.clone(), barrier.clone(), done.clone(), tell.clone());
            let task = async move {
                let _work = own.work().await;
                barrier.wait();
                done.fetch_add(1, Ordering::Relaxed);
                tell.send(()).expect("somebody listens");
            };
            crew.start(group, task).expect("a thread");
        }
        told.iter().take(9).for_each(drop);
        assert!(crew.end(LONG));
        assert_eq!(done.load(Ordering::Relaxed), 9);
    }

    #[test]
    fn a_group_ends_with_what_waits_in_it_and_takes_no_more() {
        let crew = Crew::new(1);
        let (group, held) = (crew.group(), Arc::new(()));
        for _ in 0..3 {
            let held = held.clone();
            let task = async move {
                std::future::pending::<()>().await;
                drop(held);
            };
            crew.start(group, task).expect("a thread");
        }
        assert!(crew.end_group(group, LONG));
        assert_eq!(Arc::strong_count(&held), 1);
        let late = held.clone();
        crew.start(group, async move { drop(late) }).expect("it is dropped");
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(crew.end(LONG));
    }

    #[test]
    fn the_end_waits_for_what_runs_but_not_for_ever() {
        let crew = Crew::new(1);
        let group = crew.group();
        let (begun, began) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let task = async move {
            begun.send(()).expect("somebody listens");
            let _ = released.recv();
        };
        crew.start(group, task).expect("a thread");
        began.recv().expect("it runs");
        assert!(!crew.end_group(group, Duration::from_millis(1)));
        drop(release);
        assert!(crew.end(LONG));
    }

    #[test]
    fn who_ends_its_own_group_does_not_wait_for_itself() {
        let crew = Crew::new(1);
        let (group, own) = (crew.group(), crew.clone());
        let (tell, told) = mpsc::channel();
        crew.start(group, async move { tell.send(own.end_group(group, LONG)).expect("somebody listens") })
            .expect("a thread");
        assert_eq!(told.recv(), Ok(true));
        assert!(crew.end(LONG));
    }

    #[test]
    fn a_task_that_panics_is_the_only_one_to_end() {
        let crew = Crew::new(1);
        let group = crew.group();
        let (tell, told) = mpsc::channel();
        crew.start(group, async { panic!("on purpose") }).expect("a thread");
        crew.start(group, async move { tell.send(()).expect("somebody listens") }).expect("a thread");
        assert_eq!(told.recv(), Ok(()));
        assert!(crew.end(LONG));
    }

    #[test]
    fn who_is_called_to_a_place_and_does_not_come_is_passed_over() {
        let crew = Crew::new(1);
        let waker = Waker::noop();
        let mut context = Context::from_waker(waker);
        let Poll::Ready(work) = Pin::new(&mut crew.work()).poll(&mut context) else { panic!("it is free") };
        let (mut first, mut second) = (crew.work(), crew.work());
        assert!(Pin::new(&mut first).poll(&mut context).is_pending());
        assert!(Pin::new(&mut second).poll(&mut context).is_pending());
        drop(work);
        drop(first);
        assert!(crew.0.state().line.is_empty(), "the second was called");
        assert!(Pin::new(&mut second).poll(&mut context).is_ready());
        assert!(crew.end(LONG));
    }
}
