//! `fs9 down`: ends a mount and the server behind it.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::errno::{Verb, failed};
use super::failure::TimedOut;
use super::output::print;
use super::place::Place;
use super::report::status;
use super::shell::shown;
use super::wait::Wait;
use crate::mountpoint::{self, MountInfo};

/// How long the whole command may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a server may live on without its mount. A program that embeds fs9 has its own reasons to live.
const AFTERLIFE: Duration = Duration::from_secs(2);

/// End a mount: whatever waits in it fails at once, and the directory is empty again
///
/// Returns when the mount is gone and its server has ended. A mount whose server
/// was killed is cleaned up.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Down {
    /// The mount point
    dir: PathBuf,
}

impl Down {
    pub fn run(self) -> anyhow::Result<()> {
        let mount = find(&self.dir)?;
        let dir = shown(&mount.point);
        let wait = Wait::new(Some(PATIENCE))?;
        // An interrupted look counts as alive; the next call then meets the deadline.
        if wait.run("the server", || Ok(mount.is_dead())).unwrap_or(false) {
            clean(&mount)?;
            return print(format!("the server of {dir} had died: its mount is cleaned up\n"));
        }
        stop(&mount, &wait).context("ending the server")?;
        print(format!("fs9 is down on {dir}\n"))
    }
}

/// The fs9 mount on exactly this directory.
fn find(dir: &Path) -> anyhow::Result<MountInfo> {
    let look = || {
        let dir = dir.canonicalize().or_else(|_| mountpoint::locate(dir))?;
        mountpoint::mounted_at(&dir)
    };
    match look().map_err(|error| failed(Verb::Look, dir, error))? {
        Some(mount) if mount.is_fs9() => Ok(mount),
        Some(mount) => bail!("{} is a mount, but not of fs9 ({}): use umount", shown(dir), mount.fstype),
        None => bail!("fs9 is not up on {}: `fs9 doctor` lists where it is", shown(dir)),
    }
}

fn clean(mount: &MountInfo) -> anyhow::Result<()> {
    let dir = shown(&mount.point);
    if !mount.is_mine() {
        bail!("{dir} is the dead mount of another user: its owner or root can end it");
    }
    mountpoint::detach(&mount.point).with_context(|| format!("cannot take the dead mount on {dir} away"))
}

fn stop(mount: &MountInfo, wait: &Wait) -> anyhow::Result<()> {
    let root = Place::root_of(&mount.point);
    let pid = server_pid(&root, wait)?;
    // Taken before it is asked to end, so that the number cannot have passed to another process. A server that cannot
    // be seen from here (another PID namespace) is known by its mount alone.
    let server = pid.and_then(|pid| pidfd_open(Pid::from_raw(i32::try_from(pid).ok()?)?, PidfdFlags::empty()).ok());
    let asked = root.control(Verb::Stop, "stop", wait);
    // A server that ends fast may not answer the write any more.
    if asked.is_err() && mountpoint::still_mounted(mount.id)? && !mount.is_dead() {
        overrule(mount, asked)?;
    }
    let what = format!("the server of {} to end", shown(&mount.point));
    if Wait::new(None)?.explain(&what, || gone(mount, server))? { Ok(()) } else { bail!(not_ending(mount, pid)) }
}

/// `None` where it cannot be read, as in a mount that is full or lets only its owner in.
fn server_pid(root: &Place, wait: &Wait) -> anyhow::Result<Option<u32>> {
    match status(root, wait) {
        Ok(status) => Ok(Some(status.server.pid)),
        // Nor would it answer what comes next.
        Err(error) if error.is::<TimedOut>() => Err(error),
        Err(_) => Ok(None),
    }
}

/// Ends a mount whose server could not be asked to. A server ends by itself when its mount is taken away.
fn overrule(mount: &MountInfo, asked: anyhow::Result<()>) -> anyhow::Result<()> {
    match asked {
        Err(error) if error.is::<TimedOut>() || !mount.is_mine() => Err(error),
        _ => mountpoint::detach(&mount.point)
            .with_context(|| format!("cannot take the mount on {} away", shown(&mount.point))),
    }
}

fn not_ending(mount: &MountInfo, pid: Option<u32>) -> String {
    let (dir, limit) = (shown(&mount.point), PATIENCE.as_secs());
    match pid {
        Some(pid) => {
            format!("the server of {dir} (pid {pid}) goes on after {limit} s: `kill -9 {pid}`, then `fs9 down {dir}`")
        }
        None => format!("the server of {dir} goes on after {limit} s: kill it, then `fs9 down {dir}`"),
    }
}

/// Waits until the mount is gone and its server has ended. False when the mount outlasts the deadline.
fn gone(mount: &MountInfo, mut server: Option<OwnedFd>) -> anyhow::Result<bool> {
    let table = File::open("/proc/self/mountinfo").context("cannot watch the mounts")?;
    let mut deadline = Instant::now() + PATIENCE;
    let mut mounted = true;
    loop {
        // The table is read after it was opened or polled: a change since then ends the next poll at once.
        if mounted && !mountpoint::still_mounted(mount.id)? {
            mounted = false;
            deadline = deadline.min(Instant::now() + AFTERLIFE);
        }
        if mounted && server.is_none() && mount.is_dead() {
            clean(mount)?;
            continue;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || (server.is_none() && !mounted) {
            return Ok(!mounted);
        }
        if ended(&table, server.as_ref(), left)? {
            server = None;
        }
    }
}

/// Sleeps until the mounts change or the server ends; says whether it ended.
fn ended(table: &File, server: Option<&OwnedFd>, limit: Duration) -> anyhow::Result<bool> {
    let mut watched = vec![PollFd::new(table, PollFlags::PRI)];
    watched.extend(server.map(|server| PollFd::new(server, PollFlags::IN)));
    let limit = Timespec::try_from(limit).context("cannot watch the time")?;
    match poll(&mut watched, Some(&limit)) {
        Ok(_) | Err(Errno::INTR) => Ok(watched.get(1).is_some_and(|server| !server.revents().is_empty())),
        Err(errno) => Err(errno).context("cannot watch the server"),
    }
}
