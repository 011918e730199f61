//! `fs9 serve --stdio`: what `fs9 attach DIR/n/NAME ssh://HOST/DIR` runs on the other machine. It carries bytes between
//! its standard input and output and the Unix socket of a mount, and knows nothing of what they mean.

use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, bail};
use clap::Args;
use rustix::io::{Errno, read, retry_on_intr, write};

use super::place::Place;
use super::report::status;
use super::shell::shown;
use super::wait::Wait;
use crate::mountpoint;
use crate::net::address::Address;

/// Bytes that are carried at once.
const BUFFER: usize = 64 << 10;

/// Serve the tree of a mount on standard input and output
///
/// This is what `fs9 attach DIR/n/NAME ssh://HOST/MOUNT` runs on the other machine.
/// The mount is one that was brought up with `--listen unix:/PATH`, by the same
/// user. To let a key do this and nothing else, its line in authorized_keys begins
/// so:
///
///   restrict,command="fs9 serve --stdio /MOUNT" ssh-ed25519 ...
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Serve {
    /// Speak through standard input and output
    #[arg(long, required = true)]
    stdio: bool,
    /// The mount [default: the only one of yours that listens on a Unix socket]
    dir: Option<PathBuf>,
}

impl Serve {
    pub fn run(self) -> anyhow::Result<()> {
        let wait = Wait::new(None)?;
        let path = match &self.dir {
            Some(dir) => socket(&Place::here(dir)?, &wait)?.with_context(|| {
                format!("{0} listens on no Unix socket: `fs9 up {0} --listen unix:/PATH`", shown(dir))
            })?,
            None => only(&wait)?,
        };
        let node = UnixStream::connect(&path).with_context(|| format!("cannot reach unix:{}", path.display()))?;
        carry(&node).context("carrying between standard input, output and the mount")
    }
}

/// The Unix socket that a mount listens on.
fn socket(mount: &Place, wait: &Wait) -> anyhow::Result<Option<PathBuf>> {
    let listening = status(mount, wait)?.listen;
    Ok(listening.iter().find_map(|address| match address.parse() {
        Ok(Address::Unix(path)) => Some(path),
        _ => None,
    }))
}

/// The socket of the only mount of this user that listens on one.
fn only(wait: &Wait) -> anyhow::Result<PathBuf> {
    let mut found = Vec::new();
    for mount in mountpoint::fs9_mounts().context("cannot list the mounts")? {
        if !mount.is_mine() || wait.run("a mount", || Ok(mount.is_dead())).unwrap_or(true) {
            continue;
        }
        found.extend(socket(&Place::root_of(&mount.point), wait)?.map(|path| (mount.point, path)));
    }
    match &*found {
        [] => bail!("no mount of yours listens on a Unix socket: `fs9 up DIR --listen unix:/PATH`"),
        [(_, path)] => Ok(path.clone()),
        some => {
            let mounts: Vec<_> = some.iter().map(|(mount, _)| shown(mount)).collect();
            bail!("there are several mounts: give one of {}", mounts.join(", "))
        }
    }
}

/// Carries both ways until the mount has hung up. That this side has ended is told to it.
fn carry(node: &UnixStream) -> io::Result<()> {
    // Not those of the library: they keep back what is not a whole line.
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    let to = node.try_clone()?;
    thread::Builder::new().spawn(move || {
        // What cannot be read or written any more is as good as its end.
        let _ = copy(&input, &to);
        let _ = to.shutdown(Shutdown::Write);
    })?;
    match copy(node, &output) {
        Err(Errno::PIPE) => Ok(()),
        copied => Ok(copied?),
    }
}

/// Copies until the end. (Not by io::copy, which uses splice(2): that waits for a socket with the pipe locked, and who
/// reads the pipe waits with it, poll(2) or not.)
fn copy(from: impl AsFd, to: impl AsFd) -> rustix::io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let mut rest = match retry_on_intr(|| read(&from, &mut buffer))? {
            0 => return Ok(()),
            len => &buffer[..len],
        };
        while !rest.is_empty() {
            let written = retry_on_intr(|| write(&to, rest))?;
            rest = &rest[written..];
        }
    }
}
