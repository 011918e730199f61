//! A mount with its server: made by [`Mount::new`], served by [`Mount::serve`], ended by a [`Stopper`] or by an unmount.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::config::Item;
use crate::fuse::abi::is_release;
use crate::fuse::device::Device;
use crate::fuse::door::{FuseDoor, Turn};
use crate::fuse::patience::Patience;
use crate::fuse::session::Mounted;
use crate::keeper::{Keeper, Task};
use crate::local::verb;
use crate::message::Store;
use crate::server::Server;
use crate::ticket::Effects;

/// The longest message that one write(2) can carry to us whole, at every alignment of the caller's buffer: the kernel
/// cuts a write at `max_write` less the buffer's offset in its page.
pub const LARGEST_MESSAGE: usize = MAX_WRITE - PAGE;
/// Threads that one mount can be served by.
pub const MOST_THREADS: usize = 64;
const MAX_WRITE: usize = 1 << 20;
const PAGE: usize = 4096;

/// What one mount allows at most. Over a limit the one who asks gets an error; nobody else is disturbed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message; longer is EMSGSIZE. At most (and by default) [`LARGEST_MESSAGE`].
    pub message: usize,
    /// Channels and directories; one more is ENOSPC.
    pub channels: usize,
    /// Descriptors open at once; one more is EMFILE.
    pub opens: usize,
    /// Bytes of messages that the server holds; more is ENOSPC.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { message: LARGEST_MESSAGE, channels: 131_072, opens: 65_536, bytes: 1 << 30 }
    }
}

/// How to mount.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Let other users in, as far as the mode bits of each file allow.
    pub allow_other: bool,
    /// Loop threads; 0 and 1 both mean one.
    pub threads: usize,
    /// What the mount allows at most.
    pub limits: Limits,
    /// What it has from the start.
    pub items: Vec<Item>,
}

/// Why a directory could not be mounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// The kernel or fusermount3 refused.
    #[error("cannot mount on {dir}: {error}")]
    Refused {
        /// The mount point.
        dir: PathBuf,
        /// What was said.
        error: io::Error,
    },
    /// What it should have from the start cannot be made; nothing is mounted.
    #[error("cannot make {path}: {error}")]
    Item {
        /// Its path.
        path: String,
        /// Why not.
        error: io::Error,
    },
}

/// A mounted directory and the server behind it. Dropping it unmounts.
#[derive(Debug)]
pub struct Mount {
    mounted: Mounted,
    server: Arc<Mutex<Server>>,
    door: Arc<FuseDoor>,
    device: Arc<Device>,
    store: Arc<Store>,
    keeper: Arc<Keeper>,
    threads: usize,
    bell: Stopper,
    /// Whose turn it is to read the next request.
    turn: Arc<Mutex<()>>,
}

/// Ends a mount from another thread.
#[derive(Debug, Clone)]
pub struct Stopper(Arc<OwnedFd>);

impl Stopper {
    fn new() -> io::Result<Stopper> {
        Ok(Stopper(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    /// Fails everything that waits with ESHUTDOWN and unmounts; [`Mount::serve`] then returns.
    pub fn stop(&self) {
        // Only a counter at its maximum refuses, and then it has been rung.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }
}

impl Mount {
    /// Mounts on `dir` (absolute). When this returns the files are there; they answer once [`Mount::serve`] runs.
    ///
    /// # Errors
    /// [`MountError::Refused`] with what the kernel or fusermount3 says, [`MountError::Item`].
    pub fn new(dir: &Path, options: &Options) -> Result<Mount, MountError> {
        let refused = |error| MountError::Refused { dir: dir.to_owned(), error };
        let mut limits = options.limits.clone();
        limits.message = limits.message.min(message_limit());
        let store = Store::new(limits.bytes, MAX_WRITE + PAGE);
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let keeper = Arc::new(Keeper::default());
        let mut server = Server::new(limits, store.clone(), keeper.clone(), uid, gid);
        for item in &options.items {
            let refused = |errno: Errno| MountError::Item { path: item.path.clone(), error: errno.into() };
            server.furnish(item).map_err(refused)?;
        }
        let server = Arc::new(Mutex::new(server));
        let mounted = Mounted::new(dir, MAX_WRITE as u32, options.allow_other).map_err(refused)?;
        let device = mounted.device().map_err(refused)?;
        let door = Arc::new(FuseDoor::new(server.clone(), device.clone(), store.clone()));
        let bell = Stopper::new().map_err(refused)?;
        Ok(Mount {
            mounted,
            server,
            door,
            device,
            store,
            keeper,
            threads: options.threads.max(1),
            bell,
            turn: Arc::default(),
        })
    }

    /// A handle that ends this mount.
    pub fn stopper(&self) -> Stopper {
        self.bell.clone()
    }

    /// Serves until stopped or unmounted, then sees to it that everything that waits is answered and the mount point
    /// is free.
    ///
    /// # Errors
    /// No thread or descriptor to be had, or the mount could not be undone.
    pub fn serve(self) -> io::Result<()> {
        let keeper = self.spawn_keeper()?;
        let loops = (0..self.threads).map(|number| self.spawn_loop(number)).collect::<io::Result<Vec<_>>>()?;
        let waited = self.wait_for_the_end();
        self.keeper.end();
        let ended = self.end(loops);
        let kept = keeper.join().map_err(|_| io::Error::other("the keeper has panicked"));
        waited.and(ended).and(kept)
    }

    fn spawn_keeper(&self) -> io::Result<JoinHandle<()>> {
        let (keeper, server) = (self.keeper.clone(), self.server.clone());
        thread::Builder::new().name("fs9-keeper".into()).spawn(move || {
            loop {
                match keeper.next() {
                    Task::Tick => verb(&server, Server::tick),
                    Task::Start(service) => verb(&server, |server, fx| {
                        server.refuse(service, "programs cannot be started yet".into(), fx);
                        server.dismiss(service);
                    }),
                    Task::End => return,
                }
            }
        })
    }

    fn spawn_loop(&self, number: usize) -> io::Result<JoinHandle<()>> {
        let (door, device, store, bell) =
            (self.door.clone(), self.device.clone(), self.store.clone(), self.bell.clone());
        let turn = self.turn.clone();
        thread::Builder::new().name(format!("fs9-loop-{number}")).spawn(move || {
            let _rings = StopOnDrop(&bell);
            if let Err(error) = run_loop(&door, &device, &store, &bell, &turn) {
                tracing::error!(%error, "cannot read requests");
            }
        })
    }

    /// Waits until somebody stops us, or the mount is gone: a lazy unmount (`umount -l`, `fusermount3 -uz`) takes the
    /// name away but tells the server nothing as long as files are open.
    fn wait_for_the_end(&self) -> io::Result<()> {
        let mounts = File::open("/proc/self/mountinfo")?;
        loop {
            let mut fds = [PollFd::new(&*self.bell.0, PollFlags::IN), PollFd::new(&mounts, PollFlags::PRI)];
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            if fds[0].revents().contains(PollFlags::IN) || !self.mounted.is_there() {
                return Ok(());
            }
        }
    }

    fn end(self, loops: Vec<JoinHandle<()>>) -> io::Result<()> {
        let mut fx = Effects::default();
        self.door.server().stop(&mut fx);
        fx.carry_out();
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

/// Serves request after request. The loops take turns at reading, and a close is served before the next request is read:
/// what was closed must be free for whoever opens it next.
fn run_loop(door: &FuseDoor, device: &Device, store: &Arc<Store>, bell: &Stopper, turn: &Mutex<()>) -> io::Result<()> {
    let mut buffer = store.buffer();
    let mut fx = Effects::default();
    let mut patience = Patience::new();
    loop {
        let reading = turn.lock().unwrap_or_else(PoisonError::into_inner);
        patience.look(device);
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

/// [`LARGEST_MESSAGE`], or less where the administrator allows requests of fewer pages.
fn message_limit() -> usize {
    let pages = std::fs::read_to_string("/proc/sys/fs/fuse/max_pages_limit");
    let pages = pages.ok().and_then(|text| text.trim().parse::<usize>().ok()).unwrap_or(MAX_WRITE / PAGE);
    (pages.saturating_mul(PAGE)).min(MAX_WRITE).saturating_sub(PAGE).max(PAGE)
}
