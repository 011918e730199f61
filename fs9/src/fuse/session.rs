//! Mounting, by `fuser`, and unmounting so that the mount point is free whoever still has files open.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fuser::{Config, Filesystem, InitFlags, KernelConfig, MountOption, Request, Session, SessionACL};

use super::device::Device;
use crate::mountpoint;

/// A mounted directory. Dropping it unmounts.
#[derive(Debug)]
pub struct Mounted {
    dir: PathBuf,
    id: u64,
    session: Option<Session<Init>>,
}

/// What INIT agrees on; every other request is read by our own loop.
#[derive(Debug)]
struct Init {
    max_write: u32,
}

/// Requests that the kernel may have under way without anybody waiting for them: RELEASE.
const BACKGROUND: u16 = 1024;

impl Filesystem for Init {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let wanted = [
            // Shells open with O_TRUNC; without this each such open sends a SETATTR under the inode's lock.
            InitFlags::FUSE_ATOMIC_O_TRUNC,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
        ];
        for flag in wanted {
            // What an older kernel does not have is only slower there.
            let _ = config.add_capabilities(flag);
        }
        let _ = config.set_max_background(BACKGROUND);
        config
            .set_max_write(self.max_write)
            .map(drop)
            .map_err(|nearest| io::Error::other(format!("max_write {} is not possible; {nearest} is", self.max_write)))
    }
}

impl Mounted {
    /// Mounts on `dir`, which must be absolute, with writes of up to `max_write` bytes.
    ///
    /// # Errors
    /// What the kernel or fusermount3 says.
    pub fn new(dir: &Path, max_write: u32, allow_other: bool) -> io::Result<Mounted> {
        let mut config = Config::default();
        config.acl = if allow_other { SessionACL::All } else { SessionACL::Owner };
        // The kernel checks mode bits, for everybody: a channel's mode is real.
        config.mount_options = vec![
            MountOption::FSName("fs9".into()),
            MountOption::Subtype("fs9".into()),
            MountOption::DefaultPermissions,
            MountOption::NoExec,
            MountOption::NoAtime,
        ];
        let session = Session::new(Init { max_write }, dir, &config)?;
        let id = mountpoint::mounted_at(dir)?.ok_or(rustix::io::Errno::NODEV)?.id;
        Ok(Mounted { dir: dir.to_owned(), id, session: Some(session) })
    }

    /// The device that requests come from.
    ///
    /// # Errors
    /// EMFILE.
    pub fn device(&self) -> io::Result<Arc<Device>> {
        let session = self.session.as_ref().ok_or(rustix::io::Errno::NODEV)?;
        Ok(Arc::new(Device::new(session.as_fd().try_clone_to_owned()?)))
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether it is still mounted.
    pub fn is_there(&self) -> bool {
        mountpoint::still_mounted(self.id).unwrap_or(true)
    }

    /// Whether it is what one finds at its path: nothing else was mounted on top.
    pub fn is_on_top(&self) -> bool {
        matches!(mountpoint::mounted_at(&self.dir), Ok(Some(mount)) if mount.id == self.id)
    }

    /// Unmounts, whoever has files open; nothing if that was done.
    ///
    /// # Errors
    /// EBUSY when something else is mounted on top; what umount2(2) or fusermount3 says.
    pub fn detach(&self) -> io::Result<()> {
        match (self.is_on_top(), self.is_there()) {
            (true, _) => mountpoint::detach(&self.dir),
            (false, true) => Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!("something else is mounted on top of {}: unmount it, then this", self.dir.display()),
            )),
            (false, false) => Ok(()),
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = self.detach() {
            tracing::error!(dir = %self.dir.display(), %error, "cannot unmount");
        }
        let Some(session) = self.session.take() else { return };
        // While files are open in it fuser takes a detached mount for a mounted one and unmounts whatever is at the
        // path. When that is another mount by now, the descriptor is left to the end of the process instead.
        if !matches!(mountpoint::mounted_at(&self.dir), Ok(None)) {
            std::mem::forget(session);
        }
    }
}
