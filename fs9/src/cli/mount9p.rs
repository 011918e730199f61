//! `fs9 mount9p`: the tree of another node, by the kernel's own client of 9P.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::{Context, anyhow};
use clap::Args;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::background::{retire, start};
use super::shell::shown;
use super::terms::Signer;
use super::wait::Wait;
use crate::attachment::Attach;
use crate::confine::{self, Duty};
use crate::kernel9p::{self, Access};
use crate::net::address::Address;
use crate::net::attach::{Meeting, Program, Reached, reach};
use crate::net::carry::carry;
use crate::net::stream::Stream;

/// Mount the tree of another node with the kernel's own 9P client
///
/// For a directory that needs no fs9 on this machine once it is mounted, and ends
/// with `umount DIR`. As root, where the kernel has a 9P client. Message boundaries
/// are what that client keeps of them, and a link that breaks is not made again:
/// `fs9 attach` does better.
///
///   fs9 mount9p unix:/run/alpha /mnt/alpha
///   fs9 mount9p tls://beta.example /mnt/beta --accept-new
///
/// By unix: and tcp:// of this machine each user is at the node who he is here. By
/// tls:// and ssh:// all would be one, so only root may use the directory; and a
/// process of fs9 carries the bytes for as long as it is mounted. A key comes by
/// what was granted to it: the kernel cannot show what others have passed on.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Mount9p {
    /// Reach another machine with tcp://, though what is said can be read and changed on the way
    #[arg(long)]
    insecure: bool,
    /// Trust a node whose key is not known yet, and write its key down: it has to be the same ever after
    #[arg(long)]
    accept_new: bool,
    #[command(flatten)]
    signer: Signer,
    /// Carry in the background: say `ready` on standard output, then nothing more
    #[arg(long = "ready-on-stdout", hide = true)]
    in_background: bool,
    /// Where the node is: tls://host:port, unix:/path, tcp://127.0.0.1:5640 or ssh://HOST/MOUNT
    #[arg(value_name = "ADDR")]
    address: Address,
    /// The directory to mount on
    dir: PathBuf,
}

impl Mount9p {
    pub fn run(self) -> anyhow::Result<()> {
        if self.in_background {
            return self.mount();
        }
        kernel9p::probe(&self.dir)?;
        self.address.resolve(self.insecure)?;
        if self.is_carried() { start("mount9p", "the carrier") } else { self.mount() }
    }

    /// Whether the kernel cannot have the connection itself.
    fn is_carried(&self) -> bool {
        matches!(self.address, Address::Tls { .. } | Address::Ssh(_))
    }

    fn mount(&self) -> anyhow::Result<()> {
        let dir = self.dir.canonicalize().with_context(|| format!("cannot mount on {}", shown(&self.dir)))?;
        let what = format!("{} to be mounted", self.address);
        let carrier = Wait::new(None)?.explain(&what, || self.begin(&dir))?;
        carrier.map_or(Ok(()), |carrier| retire().and_then(|()| carrier.stay()))
    }

    /// Mounts, and returns what has to stay for as long as that lasts.
    fn begin(&self, dir: &Path) -> anyhow::Result<Option<Carrier>> {
        let cannot = |reason| anyhow!("cannot reach {}: {reason}; nothing is mounted", self.address);
        let reached = self.reach(dir)?.map_err(cannot)?;
        reached.keep_alive().context("cannot watch the connection")?;
        match reached.stream {
            Stream::Plain(socket) => {
                self.hand_over(dir, socket)?;
                // A program is what the kernel speaks with.
                Ok(reached.program.map(Carrier::Program))
            }
            Stream::Tls(_) => {
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                let (ours, kernels) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
                    .context("cannot make a socket for the kernel")?;
                // The kernel speaks with the node before it has mounted anything. Where it does not, nobody has the
                // other end any more, which ends the thread.
                let carry = move || {
                    confine::enter(Duty::Link { port: None, state: None });
                    drop(carry(&reached.stream, &ours));
                };
                let thread = thread::Builder::new().name("carrier".into()).spawn(carry).context("cannot carry")?;
                self.hand_over(dir, kernels)?;
                Ok(Some(Carrier::Thread(thread)))
            }
        }
    }

    /// A connection to the node. The inner error is why there is none, for people.
    fn reach(&self, dir: &Path) -> anyhow::Result<Result<Reached, String>> {
        let how = Attach { insecure: self.insecure, accept_new: self.accept_new, ..Attach::to(self.address.clone()) };
        let Address::Tls { .. } = self.address else { return Ok(reach(&how)) };
        let identity = Arc::new(Ok(self.signer.identity()?));
        let meeting = Meeting { identity, name: dir.display().to_string() };
        Ok(reach(&how).and_then(|reached| reached.proved(&meeting, &how)))
    }

    /// Gives the kernel a socket for as long as the mount lasts, and keeps nothing of it.
    fn hand_over(&self, dir: &Path, socket: OwnedFd) -> anyhow::Result<()> {
        let is_each = !self.insecure && !self.is_carried();
        let access = if is_each { Access::Each } else { Access::Own };
        kernel9p::mount_on(dir, socket.as_fd(), &self.address.to_string(), access)
            .map_err(|refusal| anyhow!(self.reason(dir).unwrap_or_else(|| refusal.to_string())))
            .with_context(|| format!("cannot mount {} on {}", self.address, shown(dir)))
    }

    /// Why the node does not let us in, if that is why.
    fn reason(&self, dir: &Path) -> Option<String> {
        self.reach(dir).ok()?.and_then(Reached::rehearse).err()
    }
}

/// What stays for as long as something is mounted, and ends with it or with the connection.
enum Carrier {
    Program(Program),
    Thread(JoinHandle<()>),
}

impl Carrier {
    fn stay(self) -> anyhow::Result<()> {
        match self {
            Carrier::Program(mut program) => Ok(program.wait()?),
            Carrier::Thread(thread) => thread.join().map_err(|_| anyhow!("the carrier has panicked")),
        }
    }
}
