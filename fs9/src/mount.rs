//! A mount with its server: made usable by [`Mount::new`], served by [`Mount::serve`], ended by a [`Stopper`].

use std::io;
use std::path::{Path, PathBuf};

/// What one mount allows at most. Over a limit the one who asks gets an error; nobody else is disturbed.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of one message; longer is EMSGSIZE. At most (and by default) 1,044,480.
    pub message: usize,
    /// Channels; one more is ENOSPC.
    pub channels: usize,
    /// Descriptors open at once; one more is EMFILE.
    pub opens: usize,
    /// Bytes of messages that the server holds for writers in line; more is ENOSPC.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { message: 1_044_480, channels: 131_072, opens: 65_536, bytes: 1 << 30 }
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
}

/// Why a directory could not be mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The kernel or fusermount3 refused.
    #[error("cannot mount on {dir}: {error}")]
    Refused {
        /// The mount point.
        dir: PathBuf,
        /// What was said.
        error: io::Error,
    },
}

/// A mounted directory and the server behind it. Dropping it unmounts.
#[derive(Debug)]
pub struct Mount;

/// Ends a mount from another thread.
#[derive(Debug, Clone)]
pub struct Stopper;

impl Stopper {
    /// Fails everything that waits with ESHUTDOWN and unmounts; [`Mount::serve`] then returns.
    pub fn stop(&self) {}
}

impl Mount {
    /// Mounts on `dir` (absolute). When this returns the files are there; they answer once [`Mount::serve`] runs.
    pub fn new(dir: &Path, options: &Options) -> Result<Mount, MountError> {
        let _ = (dir, options);
        unimplemented!()
    }
    /// A handle that ends this mount.
    pub fn stopper(&self) -> Stopper {
        Stopper
    }
    /// Serves until stopped or unmounted.
    pub fn serve(self) -> io::Result<()> {
        Ok(())
    }
}
