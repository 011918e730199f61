//! The one thread that does for a server what cannot be done while it is locked: it watches the clock, and starts
//! programs.

use std::fmt;
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::attachment::{Account, Attach};
use crate::host::{Host, Undecided};
use crate::net::attach::{Link, Links};
use crate::tree::NodeId;

/// So long an answer is waited for: the keeper may be writing to a slow disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is to be done. Shared by the server, which asks, and the thread that does it.
#[derive(Debug, Default)]
pub struct Keeper {
    asked: Mutex<Asked>,
    changed: Condvar,
    /// The nodes that are attached.
    links: Arc<Links>,
}

#[derive(Default)]
struct Asked {
    alarm: Option<Instant>,
    engaged: Vec<NodeId>,
    attached: Vec<Arc<Link>>,
    undecided: Vec<Undecided>,
    errands: Vec<Errand>,
    over: bool,
}

/// What the keeper does for a thread that is confined.
type Errand = Box<dyn FnOnce() + Send>;

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("alarm", &self.alarm).field("over", &self.over).finish_non_exhaustive()
    }
}

/// What the thread is to do next.
pub enum Task {
    /// Tell the server that it is time.
    Tick,
    /// Start a process for a service.
    Start(NodeId),
    /// Reach a node that was attached, by this link.
    Reach(Arc<Link>),
    /// Decide what is undecided.
    Decide,
    /// Do this.
    Do(Errand),
    /// End.
    End,
}

impl Keeper {
    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, change: impl FnOnce(&mut Asked)) {
        change(&mut self.asked());
        self.changed.notify_one();
    }

    /// Waits for something to do.
    pub fn next(&self) -> Task {
        let mut asked = self.asked();
        loop {
            if asked.over {
                asked.errands.clear(); // who asked is told that there will be no answer
                return Task::End;
            }
            if let Some(errand) = asked.errands.pop() {
                return Task::Do(errand);
            }
            if let Some(service) = asked.engaged.pop() {
                return Task::Start(service);
            }
            if let Some(link) = asked.attached.pop() {
                return Task::Reach(link);
            }
            if !asked.undecided.is_empty() {
                return Task::Decide;
            }
            let now = Instant::now();
            if asked.alarm.take_if(|alarm| *alarm <= now).is_some() {
                return Task::Tick;
            }
            asked = match asked.alarm {
                Some(alarm) => {
                    let (asked, _) =
                        self.changed.wait_timeout(asked, alarm - now).unwrap_or_else(PoisonError::into_inner);
                    asked
                }
                None => self.changed.wait(asked).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// The nodes that are attached.
    pub fn links(&self) -> Arc<Links> {
        self.links.clone()
    }

    /// Has the node of a link be reached.
    pub fn reach(&self, link: Arc<Link>) {
        self.ask(|asked| asked.attached.push(link));
    }

    /// Has the keeper answer a question that the calling thread may not ask the system itself (see
    /// [`confine`](crate::confine)). None where there is no answer in time, or none any more.
    pub fn ask_for<T: Send + 'static>(&self, question: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (tell, told) = channel();
        let errand = Box::new(move || drop(tell.send(question())));
        self.ask(|asked| {
            if !asked.over {
                asked.errands.push(errand);
            }
        });
        told.recv_timeout(PATIENCE).ok()
    }

    /// What is to be decided, in the order in which it was asked.
    pub fn undecided(&self) -> Vec<Undecided> {
        std::mem::take(&mut self.asked().undecided)
    }

    /// There is nothing to do any more.
    pub fn end(&self) {
        self.ask(|asked| asked.over = true);
    }
}

impl Host for Keeper {
    fn alarm(&self, at: Instant) {
        self.ask(|asked| asked.alarm = Some(asked.alarm.map_or(at, |alarm| alarm.min(at))));
    }

    fn engage(&self, service: NodeId) {
        self.ask(|asked| asked.engaged.push(service));
    }

    fn attach(&self, node: NodeId, how: Attach, account: Arc<Account>) -> Result<(), Errno> {
        self.reach(self.links.add(node, how, account)?);
        Ok(())
    }

    fn decide(&self, undecided: Undecided) {
        self.ask(|asked| asked.undecided.push(undecided));
    }

    fn detach(&self, node: NodeId) {
        self.links.remove(node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_to_be_done() {
        let keeper = Keeper::default();
        let now = Instant::now();
        keeper.alarm(now + Duration::from_secs(3600));
        keeper.alarm(now);
        keeper.engage(7);
        assert!(matches!((keeper.next(), keeper.next()), (Task::Start(7), Task::Tick)));
        keeper.end();
        assert!(matches!(keeper.next(), Task::End));
    }

    #[test]
    fn it_answers_as_long_as_it_is_there() {
        let keeper = Keeper::default();
        std::thread::scope(|threads| {
            let asked = threads.spawn(|| (keeper.ask_for(|| 7), keeper.ask_for(|| 8)));
            let Task::Do(errand) = keeper.next() else { panic!("a question") };
            errand();
            keeper.end();
            assert!(matches!(keeper.next(), Task::End));
            assert_eq!(asked.join().expect("answers").0, Some(7));
        });
        assert_eq!(keeper.ask_for(|| 9), None);
    }

    #[test]
    fn it_waits_for_what_is_asked_later() {
        let keeper = Keeper::default();
        std::thread::scope(|threads| {
            let next = threads.spawn(|| keeper.next());
            keeper.alarm(Instant::now() + Duration::from_millis(1));
            assert!(matches!(next.join().expect("a task"), Task::Tick));
        });
    }
}
