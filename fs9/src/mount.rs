//! A mount inside a program: made by a [`Builder`], served by threads of its own, ended by dropping it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use fs9_tiers::Peer;
use rustix::io::Errno;
use rustix::param::page_size;
use rustix::process::{getegid, geteuid};

use crate::attachment::Attach;
use crate::config::Item;
use crate::confine;
use crate::crew::Crew;
use crate::descriptor::{Descriptor, caller, open};
use crate::fuse::door::FuseDoor;
use crate::fuse::session::Mounted;
use crate::grants::Grants;
use crate::identity::Identity;
use crate::keeper::Keeper;
use crate::local::verb;
use crate::message::Store;
use crate::mountpoint::{Prepared, Refusal, prepare};
use crate::name::{Client, Name, NameError};
use crate::net::listen::ListenError;
use crate::net::{House, Net};
use crate::program::Programs;
use crate::serve::{Acceptor, Bytes, Stage, serve, serve_one, serve_peers};
use crate::served::{Node, Served, Stopper};
use crate::server::Server;
use crate::server::access::Who;
use crate::serving::{Front, Serving};
use crate::spec::{ServiceSpec, Spec};
use crate::tree::{NodeId, Part};

/// The longest message that one write(2) can carry to us whole, at every alignment of the caller's buffer: the kernel
/// cuts a write at `max_write` less the buffer's offset in its page, of 4 KiB or more.
pub const LARGEST_MESSAGE: usize = MAX_WRITE - PAGE;
/// Threads that one mount can be served by.
pub const MOST_THREADS: usize = 64;
const MAX_WRITE: usize = 1 << 20;
const PAGE: usize = 4096;

/// So many clients of a function may wait until it is told of them: as many as come at once.
const BACKLOG: usize = 1024;

/// What one mount allows at most. Over a limit the one who asks gets an error; nobody else is disturbed.
///
/// ```
/// let limits = fs9::Limits { channels: 100, ..fs9::Limits::default() };
/// let builder = fs9::Mount::builder().limits(limits);
/// ```
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

/// What the kernel and the server are told.
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
    /// How it is found from elsewhere.
    pub serving: Serving,
}

/// How to mount; made by [`Mount::builder`].
///
/// ```no_run
/// use std::time::Duration;
///
/// let mount = fs9::Mount::builder()
///     .allow_other(true)                  // other users come in, as far as the mode bits of each file allow
///     .threads(2)                         // read requests of the kernel
///     .workers(64)                        // functions that run at once
///     .grace(Duration::from_millis(500))  // that one that runs may take to end
///     .mount("/srv/p")?;
/// # Ok::<(), fs9::MountError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is mounted before `mount`"]
pub struct Builder {
    options: Options,
    /// Addresses that were not looked at yet.
    listen: Vec<String>,
    workers: usize,
    grace: Duration,
}

impl From<Options> for Builder {
    fn from(options: Options) -> Self {
        Builder { options, listen: Vec::new(), workers: 256, grace: Duration::from_secs(2) }
    }
}

impl Builder {
    /// Whether other users are let in, as far as the mode bits of each file allow. What [`Mount::serve`] and its like
    /// make is of mode 0600; [`std::fs::set_permissions`] changes that. No, unless said; for a user other than root it
    /// takes `user_allow_other` in /etc/fuse.conf.
    pub fn allow_other(mut self, allow_other: bool) -> Self {
        self.options.allow_other = allow_other;
        self
    }

    /// Threads that read requests of the kernel. One unless said, and at least.
    pub fn threads(mut self, threads: usize) -> Self {
        self.options.threads = threads;
        self
    }

    /// What the mount allows at most.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.options.limits = limits;
        self
    }

    /// How many functions may run at once, those of [`Mount::service`] for as long as their connection lasts: 256
    /// unless said. Whoever comes then waits. Each has a thread, which is started when it is needed.
    pub fn workers(self, workers: usize) -> Self {
        Builder { workers, ..self }
    }

    /// How long a function that runs may take to end, when its name or the mount is dropped: 2 s unless said. One that
    /// is not done by then goes on in its thread; nobody hears of it any more.
    pub fn grace(self, grace: Duration) -> Self {
        Builder { grace, ..self }
    }

    /// Serves other nodes and clients of 9P at `address` too: `unix:/path` or `tcp://host:port`, as `fs9 up --listen`;
    /// may be said several times. Who may come to which, and as whom, docs/semantics.md says under "Clients from
    /// elsewhere".
    ///
    /// ```no_run
    /// let mount = fs9::Mount::builder().listen("tcp://127.0.0.1:0").linger(Duration::from_secs(5)).mount("p")?;
    /// println!("fs9 attach q/n/p {}", mount.listening()[0]); // the port that it became
    /// # use std::time::Duration;
    /// # Ok::<(), fs9::MountError>(())
    /// ```
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen.push(address.into());
        self
    }

    /// Whether to listen also where others can hear and change what is said, at a `tcp://` that is not of this machine;
    /// who comes there is the mount's owner. No, unless said.
    pub fn insecure(mut self, insecure: bool) -> Self {
        self.options.serving.insecure = insecure;
        self
    }

    /// How long what another fs9 has open here is kept when its connection breaks: 30 s unless said.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.options.serving.linger = linger;
        self
    }

    /// After how long a silence the connection of another fs9 counts as broken: 45 s unless said, and 100 ms at least.
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.options.serving.keep_alive = keep_alive.max(Attach::SHORTEST);
        self
    }

    /// Whether those who come see the nodes that are attached to this mount, and use their trees. No, unless said.
    pub fn export_nodes(mut self, export_nodes: bool) -> Self {
        self.options.serving.export_nodes = export_nodes;
        self
    }

    /// Mounts on `dir`, an empty directory. When this returns the mount is usable, and served by threads of its own. A
    /// mount that a killed server has left behind there is taken away first.
    ///
    /// # Errors
    /// [`MountError::Unusable`] when `dir` cannot be mounted on, [`MountError::Unheard`] when an address cannot be
    /// listened on, [`MountError::Refused`] with what the kernel or fusermount3 says.
    ///
    /// ```no_run
    /// let mount = fs9::Mount::builder().mount("p")?;
    /// std::fs::write("p/jobs", "resize cat.png")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn mount(self, dir: impl AsRef<Path>) -> Result<Mount, MountError> {
        self.mount_on(&prepare(dir.as_ref())?)
    }

    pub(crate) fn mount_on(mut self, prepared: &Prepared) -> Result<Mount, MountError> {
        let limits = &mut self.options.limits;
        limits.message = limits.message.min(message_limit());
        for address in std::mem::take(&mut self.listen) {
            self.options.serving.listen.push(address.parse().map_err(ListenError::Address)?);
        }
        let front = self.options.serving.begin()?;
        let store = Store::new(limits.bytes, MAX_WRITE + PAGE);
        let keeper = Arc::new(Keeper::default());
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        let mut server = Server::new(limits.clone(), store.clone(), keeper.clone(), uid, gid);
        // As long as the mount lives, nobody asks any more how it began.
        for item in std::mem::take(&mut self.options.items) {
            let made = server.furnish(&item);
            made.map_err(|errno| MountError::Item { path: item.path, error: errno.into() })?;
        }
        server.introduce(Result::as_ref(&front.identity).ok().map(Identity::key));
        server.listen_at(front.addresses());
        server.go_by(front.grants.as_deref().map(Grants::clock));
        server.confine(confine::offered());
        let mounted = self.serve(&prepared.dir, Arc::new(Mutex::new(server)), store, keeper, front);
        mounted.map_err(|error| MountError::Refused { dir: prepared.dir.clone(), error })
    }

    fn serve(
        self,
        dir: &Path,
        server: Arc<Mutex<Server>>,
        store: Arc<Store>,
        keeper: Arc<Keeper>,
        front: Front,
    ) -> io::Result<Mount> {
        let listening = front.addresses();
        let (mounts, bell) = (File::open("/proc/self/mountinfo")?, Stopper::new()?);
        let mounted = Mounted::new(dir, MAX_WRITE as u32, self.options.allow_other)?;
        let device = mounted.device()?;
        let door = Arc::new(FuseDoor::new(server.clone(), device.clone(), store.clone(), keeper.links()));
        let stage = Stage { server: server.clone(), crew: Crew::new(self.workers) };
        let (crew, grace, stopper) = (stage.crew.clone(), self.grace, bell.clone());
        let programs = Arc::new(Programs::new(server.clone())?);
        let owner = Who { uid: geteuid().as_raw(), gid: getegid().as_raw(), groups: [].into(), guest: None };
        let Front { listeners, identity, tls, grants, linger } = front;
        let house = |clerk| House {
            server: server.clone(),
            stopper: bell.clone(),
            owner,
            limit: self.options.limits.message,
            linger,
            keep_alive: self.options.serving.keep_alive,
            tls,
            grants: grants.clone(),
            identity: identity.clone(),
            keeper: keeper.clone(),
            clerk,
            export_nodes: self.options.serving.export_nodes,
        };
        let net = Net::new(listeners, house)?;
        let node = Node { identity, grants };
        let served =
            Served { mounted, server, door, device, store, keeper, programs, crew, grace, bell, mounts, net, node };
        let end = served.start(self.options.threads)?;
        Ok(Mount { dir: dir.to_owned(), stage, stopper, grace, listening, end: Some(end) })
    }
}

/// A mounted directory, served by threads in the background.
///
/// What a program puts into it ([`serve`](Mount::serve), [`service`](Mount::service), [`put`](Mount::put),
/// [`make`](Mount::make)) is there until the [`Name`] that this returns is dropped, or the mount.
///
/// Dropped, it answers everything that waits (ESHUTDOWN), waits for functions that run ([`Builder::grace`]), ends its
/// threads and unmounts. So it does when it is ended from outside, by `fs9 down` or `umount`; then [`Mount::wait`]
/// returns.
///
/// ```no_run
/// let mount = fs9::Mount::builder().mount("p")?;
/// let _hello = mount.serve("hello", |name| [b"hello, ", name].concat())?;
/// mount.wait()?; // fs9 call p/hello/connect world
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Its files in its own program
/// Threads and functions of the program may use the files like any process. But a program that is killed (`kill -9`,
/// abort, exit) while a thread of its own waits in a call at such a file cannot be ended by the kernel, which waits for
/// the server's answer, until somebody aborts the mount (`umount -f`). So talk to your own functions directly, and drop
/// the mount before you exit.
#[derive(Debug)]
#[must_use = "a mount that is dropped is unmounted"]
pub struct Mount {
    dir: PathBuf,
    stage: Stage,
    stopper: Stopper,
    grace: Duration,
    /// Where clients from elsewhere find it.
    listening: Vec<String>,
    /// The thread that ends it. None once that was waited for.
    end: Option<JoinHandle<io::Result<()>>>,
}

/// Why a directory could not be mounted.
///
/// ```
/// use fs9::{Mount, MountError, Refusal};
///
/// match Mount::builder().mount("/nowhere/at/all") {
///     Err(MountError::Unusable(Refusal::Missing(dir))) => println!("make {} first", dir.display()),
///     other => panic!("{other:?}"),
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// It cannot be mounted on.
    #[error(transparent)]
    Unusable(#[from] Refusal),
    /// The kernel or fusermount3 refused.
    #[error("cannot mount on {dir}: {error}; `fs9 doctor` tells whether this machine is able")]
    Refused {
        /// The mount point.
        dir: PathBuf,
        /// What was said.
        error: io::Error,
    },
    /// It cannot be found where it should be; nothing is mounted.
    #[error("{0}")]
    Unheard(Box<dyn std::error::Error + Send + Sync>),
    /// What it should have from the start cannot be made; nothing is mounted.
    #[error("cannot make {path}: {error}")]
    Item {
        /// Its path.
        path: String,
        /// Why not.
        error: io::Error,
    },
}

impl Mount {
    /// How to mount.
    pub fn builder() -> Builder {
        Options::default().into()
    }

    /// The directory that is mounted on: absolute, without symbolic links.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where clients from elsewhere find it, see [`Builder::listen`]: of port 0 the one that it became.
    pub fn listening(&self) -> &[String] {
        &self.listening
    }

    /// A service that answers by `function`: each message of each client is a request, and what the function makes of
    /// it is sent back to that client. Several clients are answered at once, each of them one request after the other.
    ///
    /// An answer without bytes is none: nothing is sent. A function that panics ends the connection (its client reads
    /// ECONNRESET) and no other; so does an answer longer than the mount's limit, of which `events` tells.
    ///
    /// # Errors
    /// Those of [`NameError`]. Directories on the way to `name` are made.
    ///
    /// ```no_run
    /// let mount = fs9::Mount::builder().mount("p")?;
    /// let sum = mount.serve("math/sum", |request| {
    ///     let numbers = String::from_utf8_lossy(request);
    ///     let sum: i64 = numbers.split_whitespace().filter_map(|word| word.parse::<i64>().ok()).sum();
    ///     format!("{sum}\n")
    /// })?;
    /// // fs9 call p/math/sum/connect '1 2 3'
    /// drop(sum); // not any more
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn serve<F, R>(&self, name: &str, function: F) -> Result<Name, NameError>
    where
        F: Fn(&[u8]) -> R + Send + Sync + 'static,
        R: Into<Vec<u8>> + 'static,
    {
        let (node, clients) = self.accept(name)?;
        self.name(name, node, |stage, group| serve(clients, stage, group, function))
    }

    /// A service that has a conversation with each client: `function` is called with a peer whose other end is the
    /// client's file, and with who that is. It has a thread for as long as it runs; when it returns (and the peer is
    /// dropped) the connection ends, once the client has read what was sent.
    ///
    /// A worker for [`fs9_tiers::thread::spawn`] or [`fs9_tiers::process::inherited`] can be a client's other end as it
    /// is. A function that panics ends its connection with ECONNRESET. A message must have between 1 byte and as many
    /// as the mount's limit; another one ends the connection so, and `events` tells.
    ///
    /// # Errors
    /// Those of [`NameError`]. Directories on the way to `name` are made.
    ///
    /// ```no_run
    /// use fs9::Peer;
    ///
    /// let mount = fs9::Mount::builder().mount("p")?;
    /// let _count = mount.service("count", |peer: Peer<Vec<u8>, Vec<u8>>, client| {
    ///     for (number, message) in peer.iter().enumerate() {
    ///         let said = format!("message {number} of process {}: {} bytes\n", client.pid, message.len());
    ///         if peer.send(said.into_bytes()).is_err() {
    ///             break; // the client is gone
    ///         }
    ///     }
    /// })?;
    /// # mount.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn service<F>(&self, name: &str, function: F) -> Result<Name, NameError>
    where
        F: Fn(Peer<Vec<u8>, Vec<u8>>, Client) + Send + Sync + 'static,
    {
        let (node, clients) = self.accept(name)?;
        self.name(name, node, |stage, group| serve_peers(clients, stage, group, function))
    }

    /// Puts a peer into the mount, of a thread or of a process: it becomes the other end of the pair `name`, for one
    /// conversation with whoever opens `name/a`.
    ///
    /// When that one closes, its peer is hung up on and the name goes. When the peer goes first, its user reads what it
    /// sent and then the end; ECONNRESET before that where it was lost (its process was killed, its thread panicked),
    /// and `status` has the reason. To serve client after client, see [`Mount::service`].
    ///
    /// # Errors
    /// Those of [`NameError`]; the peer is then dropped. Directories on the way to `name` are made.
    ///
    /// ```no_run
    /// use fs9_tiers::{Peer, process, thread};
    ///
    /// fn shout(peer: Peer<Vec<u8>, Vec<u8>>) {
    ///     for message in peer.iter() {
    ///         if peer.send(message.to_ascii_uppercase()).is_err() {
    ///             break;
    ///         }
    ///     }
    /// }
    ///
    /// let mount = fs9::Mount::builder().mount("p")?;
    /// let (peer, _thread) = thread::spawn(shout);
    /// let _near = mount.put("near", peer)?;           // fs9 call p/near/a hello
    /// let (peer, _child) = process::spawn(std::process::Command::new("./shout"))?;
    /// let _far = mount.put("far", peer)?;             // the same, of a process
    /// # mount.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn put(&self, name: &str, peer: Peer<Vec<u8>, Vec<u8>>) -> Result<Name, NameError> {
        let peer: Bytes = peer;
        let mut node = None;
        let end = Descriptor::with(&self.stage.server, |server, fx| {
            let pair = *node.insert(server.put(name, Spec::Pair, caller(), fx)?);
            open(server, crate::tree::File { node: pair, part: Part::B }, fx)
        });
        let (node, end) = self.made(name, node, end)?;
        self.name(name, node, |stage, _| serve_one(end, peer, stage, node))
    }

    /// Makes a channel, for others to talk through.
    ///
    /// # Errors
    /// Those of [`NameError`]. Directories on the way to `name` are made.
    ///
    /// ```no_run
    /// use fs9::Spec;
    ///
    /// let mount = fs9::Mount::builder().mount("p")?;
    /// let _jobs = mount.make("jobs", Spec::Queue { ack: true })?;
    /// let _news = mount.make("news", Spec::Topic { latest: false })?;
    /// # mount.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn make(&self, name: &str, what: Spec) -> Result<Name, NameError> {
        let made = verb(&self.stage.server, |server, fx| server.put(name, what, caller(), fx));
        let node = made.map_err(|errno| NameError::new(name, errno))?;
        let group = self.stage.crew.group();
        Ok(Name::new(self.dir.join(name), self.stage.clone(), node, group, self.grace))
    }

    /// Ends it, from another thread or a handler of signals.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Waits until it was stopped or unmounted, and everything has ended.
    ///
    /// # Errors
    /// It could not be unmounted: something else is mounted on top, or what umount2(2) or fusermount3 says.
    pub fn wait(mut self) -> io::Result<()> {
        self.ended()
    }

    fn ended(&mut self) -> io::Result<()> {
        let Some(end) = self.end.take() else { return Ok(()) };
        // A function of this very mount cannot wait for the end of all functions.
        if self.stage.crew.is_here() {
            return Ok(());
        }
        end.join().unwrap_or_else(|_| Err(io::Error::other("the thread that ends the mount has panicked")))
    }

    /// A service whose clients are ours.
    fn accept(&self, name: &str) -> Result<(NodeId, Acceptor), NameError> {
        let server = &self.stage.server;
        let spec = Spec::Service(ServiceSpec { backlog: BACKLOG, ..ServiceSpec::default() });
        let node = verb(server, |server, fx| server.put(name, spec, caller(), fx));
        let node = node.map_err(|errno| NameError::new(name, errno))?;
        self.made(name, Some(node), Acceptor::new(server, node))
    }

    /// What was made, unless the second step failed: then it is taken away again.
    fn made<T>(&self, name: &str, node: Option<NodeId>, opened: Result<T, Errno>) -> Result<(NodeId, T), NameError> {
        match (node, opened) {
            (Some(node), Ok(opened)) => Ok((node, opened)),
            (node, opened) => {
                node.into_iter().for_each(|node| verb(&self.stage.server, |server, fx| server.take_away(node, fx)));
                Err(NameError::new(name, opened.err().unwrap_or(Errno::IO)))
            }
        }
    }

    /// A name behind which there is a task.
    fn name<T>(
        &self,
        name: &str,
        node: NodeId,
        task: impl FnOnce(Stage, crate::crew::Group) -> T,
    ) -> Result<Name, NameError>
    where
        T: Future<Output = ()> + Send + 'static,
    {
        let stage = self.stage.clone();
        let group = stage.crew.group();
        let own = Name::new(self.dir.join(name), stage.clone(), node, group, self.grace);
        match stage.crew.start(group, task(stage.clone(), group)) {
            Ok(()) => Ok(own),
            Err(error) => Err(NameError::System { name: name.to_owned(), error }),
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Err(error) = self.ended() {
            tracing::error!(dir = %self.dir.display(), %error, "the mount has not ended well");
        }
    }
}

impl From<ListenError> for MountError {
    fn from(error: ListenError) -> MountError {
        MountError::Unheard(Box::new(error))
    }
}

/// [`LARGEST_MESSAGE`], or less where pages are larger, or the administrator allows requests of fewer.
fn message_limit() -> usize {
    let pages = std::fs::read_to_string("/proc/sys/fs/fuse/max_pages_limit");
    longest(pages.ok().and_then(|text| text.trim().parse().ok()), page_size())
}

/// The longest message where a request has at most so many pages, each of `page` bytes.
fn longest(pages: Option<usize>, page: usize) -> usize {
    let request = pages.map_or(MAX_WRITE, |pages| pages.saturating_mul(page).min(MAX_WRITE));
    request.saturating_sub(page).max(PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_room_wherever_in_a_page_it_begins() {
        assert_eq!([None, Some(256), Some(999)].map(|pages| longest(pages, PAGE)), [LARGEST_MESSAGE; 3]);
        assert_eq!([32, 1, 0].map(|pages| longest(Some(pages), PAGE)), [31 * PAGE, PAGE, PAGE]);
        assert_eq!((longest(None, 65_536), longest(Some(2), 65_536)), (15 * 65_536, 65_536));
    }
}
