//! A name that a program has put into its mount, and why one could not be put there.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;

use crate::crew::Group;
use crate::local::verb;
use crate::serve::Stage;
use crate::tree::NodeId;

/// A name in a [`Mount`](crate::Mount), and what is behind it. Dropped, it is taken away: whoever waits there is hung
/// up on, and what answered there ends.
///
/// A function that is just running is waited for, no longer than [`Builder::grace`](crate::Builder::grace); its answer
/// goes nowhere.
///
/// Somebody may have removed the name before (`rm`, `fs9 rm`), which does the same.
#[must_use = "a name that is dropped is taken away; `keep` leaves it until the mount ends"]
pub struct Name {
    path: PathBuf,
    stage: Stage,
    node: NodeId,
    group: Group,
    grace: Duration,
    is_kept: bool,
}

impl Name {
    pub(crate) fn new(path: PathBuf, stage: Stage, node: NodeId, group: Group, grace: Duration) -> Name {
        Name { path, stage, node, group, grace, is_kept: false }
    }

    /// Where it is, below the directory that was mounted on.
    ///
    /// ```no_run
    /// # let mount = fs9::Mount::builder().mount("p")?;
    /// let calc = mount.serve("calc", |request| request.to_vec())?;
    /// println!("fs9 call {} hello", calc.path().join("connect").display());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it in the mount until that ends, or somebody removes it.
    ///
    /// ```no_run
    /// # let mount = fs9::Mount::builder().mount("p")?;
    /// mount.make("jobs", fs9::Spec::Queue { ack: true })?.keep();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        verb(&self.stage.server, |server, fx| server.take_away(self.node, fx));
        if !self.stage.crew.end_group(self.group, self.grace) {
            tracing::warn!(name = %self.path.display(), "what answers there does not end");
        }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Name").field(&self.path).finish()
    }
}

/// Why nothing could be put into a mount under a name.
///
/// ```no_run
/// use fs9::NameError;
///
/// let mount = fs9::Mount::builder().mount("p")?;
/// let _echo = mount.serve("echo", |request| request.to_vec())?;
/// match mount.serve("echo", |_| "twice") {
///     Err(NameError::Taken(name)) => assert_eq!(name, "echo"),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is something of that name.
    #[error("{0:?} is taken: choose another name, or remove what is there first")]
    Taken(String),
    /// What should be a directory on the way is not.
    #[error("{0:?} leads through something that is no directory: choose another name")]
    NotDirectory(String),
    /// It cannot be a name.
    #[error(
        "{0:?} cannot be a name: give 1 to 255 bytes without NUL, not `.` or `..`, that do not end in `:line` or \
         `:whole`; directories are separated by `/`"
    )]
    Unfit(String),
    /// The mount is full.
    #[error(
        "there is no room for {0:?}: the mount's limit of channels or of descriptors is reached; raise it, or remove \
         some"
    )]
    Full(String),
    /// The mount has been stopped or unmounted.
    #[error("the mount has ended: mount again")]
    Ended,
    /// The system has no thread or descriptor left, or what else it says.
    #[error("cannot make {name:?}: {error}")]
    System {
        /// What was to be made.
        name: String,
        /// What the system says.
        error: std::io::Error,
    },
}

impl NameError {
    pub(crate) fn new(name: &str, errno: Errno) -> NameError {
        let name = name.to_owned();
        match errno {
            Errno::EXIST => NameError::Taken(name),
            Errno::NOTDIR => NameError::NotDirectory(name),
            Errno::INVAL | Errno::NAMETOOLONG | Errno::PERM => NameError::Unfit(name),
            Errno::NOSPC | Errno::MFILE => NameError::Full(name),
            Errno::SHUTDOWN => NameError::Ended,
            errno => NameError::System { name, error: errno.into() },
        }
    }
}

/// Who opened a connection of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Client {
    /// The process; 0 where it cannot be seen from here.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}
