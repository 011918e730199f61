//! A mount as it is served, by threads in the background: loops that read requests, a keeper, and one that waits for
//! the end and then sees to it.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::confine::{self, Duty};
use crate::crew::Crew;
use crate::fuse::abi::is_release;
use crate::fuse::device::Device;
use crate::fuse::door::{FuseDoor, Turn};
use crate::fuse::patience::Patience;
use crate::fuse::session::Mounted;
use crate::grants::Grants;
use crate::host::Undecided;
use crate::identity::{Identity, IdentityError};
use crate::keeper::{Keeper, Task};
use crate::local::verb;
use crate::message::Store;
use crate::net::Net;
use crate::program::Programs;
use crate::server::Server;
use crate::ticket::{Answer, Effects};

/// Ends a mount, from any thread.
///
/// ```no_run
/// let mount = fs9::Mount::builder().mount("p")?;
/// let stopper = mount.stopper();
/// std::thread::spawn(move || {
///     std::thread::sleep(std::time::Duration::from_secs(60));
///     stopper.stop();
/// });
/// mount.wait()?; // a minute
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Stopper(Arc<OwnedFd>);

impl Stopper {
    pub(crate) fn new() -> io::Result<Stopper> {
        Ok(Stopper(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    /// Has everything that waits in the mount fail with ESHUTDOWN, and unmounts. Does not wait for it:
    /// [`Mount::wait`](crate::Mount::wait) then returns. Nothing where that was done.
    pub fn stop(&self) {
        // Only a counter at its maximum refuses, and then it has been rung.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct Served {
    /// What is mounted.
    pub mounted: Mounted,
    /// The server.
    pub server: Arc<Mutex<Server>>,
    /// How the kernel asks it.
    pub door: Arc<FuseDoor>,
    /// Where the kernel asks.
    pub device: Arc<Device>,
    /// Buffers for what it asks.
    pub store: Arc<Store>,
    /// What the server asks for.
    pub keeper: Arc<Keeper>,
    /// The processes of programs.
    pub programs: Arc<Programs>,
    /// What runs the program's own code.
    pub crew: Crew,
    /// How long that may take to end.
    pub grace: Duration,
    /// What ends it.
    pub bell: Stopper,
    /// Changes when something is mounted or unmounted: /proc/self/mountinfo.
    pub mounts: File,
    /// Clients from elsewhere.
    pub net: Net,
    /// What it is to other nodes.
    pub node: Node,
}

/// What a mount is to other nodes.
#[derive(Debug, Clone)]
pub struct Node {
    /// Who it is.
    pub identity: Arc<Result<Identity, IdentityError>>,
    /// Who may come with a key, where anybody may.
    pub grants: Option<Arc<Grants>>,
}

/// The threads of a mount.
#[derive(Debug)]
struct Threads {
    loops: Vec<JoinHandle<()>>,
    keeper: JoinHandle<()>,
}

impl Served {
    /// Serves with so many loops. What is returned is the thread that ends it, and everything with it.
    ///
    /// # Errors
    /// No thread to be had; then it is unmounted.
    pub fn start(self, loops: usize) -> io::Result<JoinHandle<io::Result<()>>> {
        let keeper = self.keeper.clone();
        let started = self
            .threads(loops)
            .and_then(|threads| thread::Builder::new().name("fs9-mount".into()).spawn(move || self.run(threads)));
        // Unmounted by now, and nobody has opened anything: the loops find no device any more.
        started.inspect_err(|_| keeper.end())
    }

    fn threads(&self, loops: usize) -> io::Result<Threads> {
        let turn = Arc::<Mutex<()>>::default();
        let keeper = self.spawn_keeper()?;
        let loops = (0..loops.max(1)).map(|number| self.spawn_loop(number, &turn)).collect::<io::Result<_>>()?;
        Ok(Threads { loops, keeper })
    }

    /// Serves until stopped or unmounted, then sees to it that everything that waits is answered and the mount point
    /// is free.
    fn run(mut self, threads: Threads) -> io::Result<()> {
        let waited = self.wait_for_the_end();
        self.keeper.end();
        self.stop();
        // First the nodes that are attached: whoever waits there for a client is to be told.
        self.keeper.links().end();
        self.net.end();
        // While there is still an answer to what they ask of their files in the mount.
        self.programs.end();
        if !self.crew.end(self.grace) {
            tracing::warn!(dir = %self.mounted.dir().display(), "some of what answers there does not end");
        }
        let ended = self.unmount(threads.loops);
        let kept = threads.keeper.join().map_err(|_| io::Error::other("the keeper has panicked"));
        waited.and(ended).and(kept)
    }

    fn spawn_keeper(&self) -> io::Result<JoinHandle<()>> {
        let (keeper, server, programs) = (self.keeper.clone(), self.server.clone(), self.programs.clone());
        let Node { identity, grants } = self.node.clone();
        thread::Builder::new().name("fs9-keeper".into()).spawn(move || {
            loop {
                match keeper.next() {
                    Task::Tick => verb(&server, Server::tick),
                    Task::Start(service) => programs.start(service),
                    Task::Reach(link) => keeper.links().start(link, server.clone(), identity.clone()),
                    Task::Decide => {
                        let undecided = keeper.undecided().into_iter();
                        undecided.for_each(|undecided| decide(undecided, grants.as_deref(), &server));
                    }
                    Task::Do(errand) => errand(),
                    // Who still waits for a decision is told that there will be none.
                    Task::End => return drop(keeper.undecided()),
                }
            }
        })
    }

    /// `turn`: whose it is to read the next request.
    fn spawn_loop(&self, number: usize, turn: &Arc<Mutex<()>>) -> io::Result<JoinHandle<()>> {
        let (door, device, store, bell) =
            (self.door.clone(), self.device.clone(), self.store.clone(), self.bell.clone());
        let turn = turn.clone();
        thread::Builder::new().name(format!("fs9-loop-{number}")).spawn(move || {
            let _rings = StopOnDrop(&bell);
            confine::enter(Duty::Loop);
            if let Err(error) = run_loop(&door, &device, &store, &bell, &turn) {
                tracing::error!(%error, "cannot read requests");
            }
        })
    }

    /// Waits until somebody stops us, or the mount is gone: a lazy unmount (`umount -l`, `fusermount3 -uz`) takes the
    /// name away but tells the server nothing as long as files are open.
    fn wait_for_the_end(&self) -> io::Result<()> {
        loop {
            let mut fds = [PollFd::new(&*self.bell.0, PollFlags::IN), PollFd::new(&self.mounts, PollFlags::PRI)];
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            if fds[0].revents().contains(PollFlags::IN) || !self.mounted.is_there() {
                return Ok(());
            }
        }
    }

    /// Answers everything that waits, and from now on everything that is asked.
    fn stop(&self) {
        verb(&self.server, |server, fx| server.stop(fx));
    }

    fn unmount(self, loops: Vec<JoinHandle<()>>) -> io::Result<()> {
        // Held only from here on: while it is open the mount is busy for others.
        let root = rustix::fs::open(self.mounted.dir(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let root = root.ok().filter(|_| self.mounted.is_on_top());
        let detached = self.mounted.detach();
        // A loop sleeps in read(2) until a request comes, so each gets one from us. Where the mount was gone before,
        // nobody can ask; then the loops end when the last of its files is closed, or with the process.
        self.door.end_by(rustix::thread::gettid().as_raw_nonzero().get() as u32);
        if let Some(root) = root {
            end_loops(loops, || {
                let _ = rustix::fs::fstatfs(&root);
            });
        }
        detached
    }
}

/// Answers a write to `ctl` about who may come.
fn decide(undecided: Undecided, grants: Option<&Grants>, server: &Mutex<Server>) {
    let Undecided { decision, len, ticket } = undecided;
    let decided = grants.ok_or(Errno::OPNOTSUPP).and_then(|grants| grants.carry_out(decision));
    verb(server, |server, fx| match decided {
        Ok(records) => {
            records.iter().for_each(|record| server.tell_decision(record, fx));
            fx.answer(ticket, Answer::Written(len));
        }
        Err(errno) => fx.fail(ticket, errno),
    });
}

/// Ends loop after loop: each ends by the request that `ask` makes. Nobody is asked when none is left to answer.
fn end_loops(mut loops: Vec<JoinHandle<()>>, ask: impl Fn()) {
    loops.retain(|running| !running.is_finished());
    while !loops.is_empty() {
        ask();
        // Whichever answered is on its last steps.
        while !loops.iter().any(JoinHandle::is_finished) {
            thread::yield_now();
        }
        loops.retain(|running| !running.is_finished());
    }
}

/// A loop that ends, for whatever reason, ends the mount: one that nobody serves would hold its users for good.
struct StopOnDrop<'a>(&'a Stopper);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Serves request after request. The loops take turns at reading, and a close is served before the next request is
/// read: what was closed must be free for whoever opens it next.
fn run_loop(door: &FuseDoor, device: &Device, store: &Arc<Store>, bell: &Stopper, turn: &Mutex<()>) -> io::Result<()> {
    let mut buffer = store.buffer();
    let mut fx = Effects::default();
    let mut patience = Patience::new();
    loop {
        let reading = turn.lock().unwrap_or_else(PoisonError::into_inner);
        patience.look(|| device.is_ready());
        let Some(len) = device.receive(&mut buffer)? else { return Ok(()) };
        let closing = is_release(&buffer[..len]).then_some(reading);
        let next = door.serve(&mut buffer, len, &mut fx);
        drop(closing);
        match next {
            Turn::Next => {}
            Turn::Stop => bell.stop(),
            Turn::End => return Ok(()),
        }
    }
}
