//! The kernel's own client of 9P: given a descriptor that is connected to a node, it shows the node's tree as a
//! directory (mount(2), v9fs(5), `trans=fd`).

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::process::geteuid;

/// Bytes of a frame: the most that this client takes (`MAX_SOCK_BUF`). What is longer than a frame it cuts.
const MSIZE: u32 = 1 << 20;

/// Why there is no mount, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is no directory.
    #[error("cannot mount on {0}: {1}; give a directory")]
    Directory(PathBuf, io::Error),
    /// Mounting is not for us.
    #[error(
        "mount(2) is for root alone (CAP_SYS_ADMIN, and not of a user namespace): run this as root, or use `fs9 attach`"
    )]
    Rights,
    /// There is no such client.
    #[error(
        "this kernel has no client of 9P: as root, run `modprobe -a 9p 9pnet_fd`, or boot a kernel with CONFIG_9P_FS and \
         CONFIG_NET_9P_FD; `fs9 attach` needs none"
    )]
    NoClient,
    /// There is, but it takes no descriptors.
    #[error("this kernel's client of 9P takes no descriptors (trans=fd): as root, run `modprobe 9pnet_fd`")]
    NoTransport,
    /// It does not want to.
    #[error("the kernel's client of 9P cannot use it: {}", io::Error::from(*.0))]
    Kernel(Errno),
}

/// Who may use the mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody, each as who he is: the node is told, and decides.
    Each,
    /// We alone: whoever asked, the node would take him for us.
    Own,
}

/// Whether this kernel would mount anything for us on `dir`. Asked with a mount that cannot be, for that has the kernel
/// load what it can load.
///
/// # Errors
/// See [`Refusal`].
pub fn probe(dir: &Path) -> Result<(), Refusal> {
    let metadata = dir.metadata().map_err(|error| Refusal::Directory(dir.to_owned(), error))?;
    if !metadata.is_dir() {
        return Err(Refusal::Directory(dir.to_owned(), io::ErrorKind::NotADirectory.into()));
    }
    match call(dir, "fs9", c"trans=fd") {
        Err(Errno::PERM | Errno::ACCESS) => Err(Refusal::Rights),
        Err(Errno::NODEV) => Err(Refusal::NoClient),
        Err(Errno::INVAL) => Err(Refusal::NoTransport),
        // It misses the descriptors.
        _ => Ok(()),
    }
}

/// Mounts the tree of the node that is at the other end of `connection` on `dir`. `source` is how /proc/mounts calls
/// it. The connection lasts as long as the mount, and nothing of it is left here.
///
/// # Errors
/// See [`Refusal`].
pub fn mount_on(dir: &Path, connection: BorrowedFd<'_>, source: &str, access: Access) -> Result<(), Refusal> {
    let fd = connection.as_raw_fd();
    let user = geteuid().as_raw();
    let access = match access {
        Access::Each => "uname=root,access=user".to_owned(),
        Access::Own => format!("uname=root,access={user}"),
    };
    let options = format!("trans=fd,rfdno={fd},wfdno={fd},version=9p2000.L,msize={MSIZE},{access}");
    let options = CString::new(options).map_err(|_| Refusal::Kernel(Errno::INVAL))?;
    call(dir, source, &options).map_err(|errno| match errno {
        Errno::PERM => Refusal::Rights,
        Errno::NODEV => Refusal::NoClient,
        errno => Refusal::Kernel(errno),
    })
}

/// What is there is another machine's: no programs with somebody's rights, no devices.
fn call(dir: &Path, source: &str, options: &CStr) -> rustix::io::Result<()> {
    mount(source, dir, "9p", MountFlags::NOSUID | MountFlags::NODEV, options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_directory_is_refused_first() {
        for (path, why) in [("/dev/null", "not a directory"), ("/nowhere/at/all", "No such file")] {
            let error = probe(Path::new(path)).expect_err(path).to_string();
            assert!(error.contains(path) && error.contains(why), "{error}");
        }
    }
}
