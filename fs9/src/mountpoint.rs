//! Mount points: which directories are fs9 mounts, whether one can become one, and how a dead one is taken away.
//!
//! The kernel's own list (/proc/self/mountinfo) is the only source: nothing is remembered between two commands. A mount
//! is *dead* when its server is gone and the kernel answers ENOTCONN for it; only its owner and root may detach it.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::io::Errno;
use rustix::mount::UnmountFlags;

const MOUNTINFO: &str = "/proc/self/mountinfo";

/// The sysctls that abort a whole mount when one request waits too long, as a blocked read does by design.
pub const REQUEST_TIMEOUTS: [&str; 2] = ["max_request_timeout", "default_request_timeout"];

/// One line of /proc/self/mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountInfo {
    /// The kernel's number of this mount; free for another one once it is gone.
    pub id: u64,
    /// Major and minor number, `st_dev` of the files in it.
    pub device: (u32, u32),
    /// Where it is mounted.
    pub point: PathBuf,
    /// The type: `fuse` when root mounted it directly, `fuse.fs9` through fusermount3.
    pub fstype: String,
    /// What is mounted: `fs9` for ours.
    pub source: String,
    /// Options of the file system, with commas: `rw,user_id=0,...`.
    pub super_options: String,
}

impl MountInfo {
    /// Reads one line. `None` when it does not have the fields that proc(5) names.
    fn parse(line: &[u8]) -> Option<MountInfo> {
        let mut fields = line.split(|&byte| byte == b' ').map(unescape);
        let id = text(fields.next()?).parse().ok()?;
        let (major, minor) = fields.nth(1).map(text)?.split_once(':').map(|(a, b)| (a.parse(), b.parse()))?;
        let point = PathBuf::from(OsString::from_vec(fields.nth(1)?));
        // Optional fields follow, as many as there are, up to a lone hyphen.
        let mut fields = fields.skip_while(|field| field != b"-").skip(1).map(text);
        let (fstype, source, super_options) = (fields.next()?, fields.next()?, fields.next()?);
        Some(MountInfo { id, device: (major.ok()?, minor.ok()?), point, fstype, source, super_options })
    }

    /// Whether fs9 made this mount.
    pub fn is_fs9(&self) -> bool {
        self.source == "fs9" && matches!(self.fstype.as_str(), "fuse" | "fuse.fs9")
    }

    /// Whether its server is gone. Asks with statfs(2), whose answer the kernel never keeps.
    pub fn is_dead(&self) -> bool {
        matches!(rustix::fs::statfs(&self.point), Err(Errno::NOTCONN | Errno::CONNABORTED))
    }

    /// Whether this process may detach it: it is root, or the mount is its user's.
    pub fn is_mine(&self) -> bool {
        let user = rustix::process::geteuid();
        user.is_root() || self.owner() == Some(user.as_raw())
    }

    /// The user who mounted it, when it is a FUSE mount.
    fn owner(&self) -> Option<u32> {
        self.super_options.split(',').find_map(|option| option.strip_prefix("user_id=")?.parse().ok())
    }
}

/// The bytes of a field with `\040` and its like turned back.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        match octal(rest) {
            Some(byte) => (bytes.push(byte), rest = &rest[4..]),
            None => (bytes.push(first), rest = tail),
        };
    }
    bytes
}

/// The byte that an escape at the start of `rest` stands for.
fn octal(rest: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(rest.strip_prefix(b"\\")?.get(..3)?).ok()?;
    u8::from_str_radix(digits, 8).ok()
}

fn text(field: Vec<u8>) -> String {
    String::from_utf8_lossy(&field).into_owned()
}

/// Every mount that this process sees, the oldest first.
fn mounts() -> io::Result<Vec<MountInfo>> {
    let table = std::fs::read(MOUNTINFO)?;
    Ok(table.split(|&byte| byte == b'\n').filter_map(MountInfo::parse).collect())
}

/// Every fs9 mount that this process sees.
pub fn fs9_mounts() -> io::Result<Vec<MountInfo>> {
    Ok(mounts()?.into_iter().filter(MountInfo::is_fs9).collect())
}

/// What is mounted at `dir` (absolute, canonical): the topmost when there are several.
pub fn mounted_at(dir: &Path) -> io::Result<Option<MountInfo>> {
    Ok(mounts()?.into_iter().rfind(|mount| mount.point == dir))
}

/// Whether the mount with this number is still there.
pub fn still_mounted(id: u64) -> io::Result<bool> {
    Ok(mounts()?.iter().any(|mount| mount.id == id))
}

/// Where a path lies: the root of its fs9 mount, and the way from there (empty for the root itself).
pub type Place = (PathBuf, PathBuf);

/// The fs9 mount that `path` lies in, or `None`. The last component need not exist and is not looked at inside a mount.
pub fn containing(path: &Path) -> io::Result<Option<Place>> {
    let mounts = mounts()?;
    if let Some(place) = place_among(&mounts, &locate(path)?) {
        return Ok(Some(place));
    }
    // Outside a mount a look costs nothing: the last component may be a symbolic link into one.
    match path.canonicalize() {
        Ok(target) => Ok(place_among(&mounts, &target)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// An absolute path without symbolic links in all but the last component, which stays as it was written.
pub fn locate(path: &Path) -> io::Result<PathBuf> {
    let Some(name) = path.file_name() else { return path.canonicalize() };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(parent.canonicalize()?.join(name))
}

/// The mount with the longest way to `path`, if that one is fs9's: another file system may be mounted inside ours.
fn place_among(mounts: &[MountInfo], path: &Path) -> Option<Place> {
    let within = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    let mount = within.max_by_key(|mount| mount.point.as_os_str().as_bytes().len())?;
    let relative = path.strip_prefix(&mount.point).ok()?;
    mount.is_fs9().then(|| (mount.point.clone(), relative.to_owned()))
}

/// Takes the mount at `dir` away, also while it is in use or dead: root does it itself, others ask fusermount3.
pub fn detach(dir: &Path) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(rustix::mount::unmount(dir, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?);
    }
    let output = Command::new("fusermount3").args(["-u", "-z", "--"]).arg(dir).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// A directory that can be mounted on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Prepared {
    /// The directory: absolute, without symbolic links.
    pub dir: PathBuf,
    /// Whether a dead fs9 mount had to be taken away first.
    pub cleaned: bool,
}

/// Why a directory cannot be mounted on, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is nothing by that name.
    #[error("{0} does not exist: make it first, with mkdir")]
    Missing(PathBuf),
    /// It is a file of another kind.
    #[error("{0} is not a directory: give an empty directory")]
    NotDirectory(PathBuf),
    /// What it holds would be hidden.
    #[error("{0} is not empty: the mount would hide what is in it, so give an empty directory")]
    NotEmpty(PathBuf),
    /// A live fs9 serves it.
    #[error("fs9 is already up on {0}: use it, or end it with `fs9 down` first")]
    AlreadyUp(PathBuf),
    /// Another file system is mounted there.
    #[error("{dir} already has a file system mounted on it ({fstype}): unmount that first, or give another directory")]
    Occupied {
        /// The directory.
        dir: PathBuf,
        /// The type of what is mounted.
        fstype: String,
    },
    /// A dead fs9 mount of another user.
    #[error("{0} holds the dead fs9 mount of another user: its owner or root can end it with `fs9 down`")]
    NotOurs(PathBuf),
    /// A dead fs9 mount that does not go away.
    #[error("the dead fs9 mount on {dir} cannot be taken away ({error}): unmount it by hand, with `umount -l`")]
    Stuck {
        /// The directory.
        dir: PathBuf,
        /// What the kernel or fusermount3 said.
        error: io::Error,
    },
    /// The kernel would abort the mount.
    #[error(
        "the kernel would abort the mount when one read waits for {seconds} s (fs.fuse.{sysctl}): \
         as root, run `sysctl fs.fuse.{sysctl}=0`"
    )]
    RequestTimeout {
        /// The sysctl's name below fs.fuse.
        sysctl: &'static str,
        /// Its value.
        seconds: u64,
    },
    /// It cannot be looked at.
    #[error("cannot look at {dir}: {error}")]
    Unreadable {
        /// The directory.
        dir: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

/// Makes sure that `dir` can be mounted on: takes a dead fs9 mount of ours away, refuses all else that is in the way.
pub fn prepare(dir: &Path) -> Result<Prepared, Refusal> {
    let unreadable = |error| Refusal::Unreadable { dir: dir.to_owned(), error };
    let dir = dir.canonicalize().or_else(|_| locate(dir)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Refusal::Missing(dir.to_owned()),
        _ => unreadable(error),
    })?;
    let mut cleaned = false;
    while let Some(mount) = mounted_at(&dir).map_err(unreadable)? {
        clean(&dir, &mount)?;
        cleaned = true;
    }
    refuse_contents(&dir)?;
    match request_timeouts().next() {
        Some((sysctl, seconds)) => Err(Refusal::RequestTimeout { sysctl, seconds }),
        None => Ok(Prepared { dir, cleaned }),
    }
}

/// Takes one dead mount of ours away; afterwards it is certainly gone.
fn clean(dir: &Path, mount: &MountInfo) -> Result<(), Refusal> {
    match (mount.is_fs9(), mount.is_dead()) {
        (false, _) => return Err(Refusal::Occupied { dir: dir.to_owned(), fstype: mount.fstype.clone() }),
        (true, false) => return Err(Refusal::AlreadyUp(dir.to_owned())),
        (true, true) if !mount.is_mine() => return Err(Refusal::NotOurs(dir.to_owned())),
        (true, true) => {}
    }
    match detach(dir).and_then(|()| still_mounted(mount.id)) {
        Ok(false) => Ok(()),
        Ok(true) => Err(Refusal::Stuck { dir: dir.to_owned(), error: io::Error::other("it is still there") }),
        Err(error) => Err(Refusal::Stuck { dir: dir.to_owned(), error }),
    }
}

fn refuse_contents(dir: &Path) -> Result<(), Refusal> {
    let mut entries = dir.read_dir().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Refusal::Missing(dir.to_owned()),
        io::ErrorKind::NotADirectory => Refusal::NotDirectory(dir.to_owned()),
        _ => Refusal::Unreadable { dir: dir.to_owned(), error },
    })?;
    match entries.next() {
        Some(_) => Err(Refusal::NotEmpty(dir.to_owned())),
        None => Ok(()),
    }
}

/// The sysctls of [`REQUEST_TIMEOUTS`] that are set, with their seconds.
pub fn request_timeouts() -> impl Iterator<Item = (&'static str, u64)> {
    REQUEST_TIMEOUTS
        .into_iter()
        .filter_map(|name| Some((name, fuse_sysctl(name)?)))
        .filter(|(_, seconds)| *seconds != 0)
}

/// The number in /proc/sys/fs/fuse/`name`; `None` on a kernel that does not have it.
pub fn fuse_sysctl(name: &str) -> Option<u64> {
    std::fs::read_to_string(Path::new("/proc/sys/fs/fuse").join(name)).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard";
    const DIRECT: &str = "85 27 0:45 / /tmp/a\\040b rw,nosuid shared:7 master:1 - fuse fs9 rw,user_id=0,group_id=0";
    const HELPED: &str = "86 27 0:46 / /p rw,nosuid,nodev - fuse.fs9 fs9 rw,user_id=1000,group_id=1000,allow_other";
    const INSIDE: &str = "87 86 0:47 / /p/dir rw - tmpfs none rw";

    fn parsed(lines: &[&str]) -> Vec<MountInfo> {
        lines.iter().filter_map(|line| MountInfo::parse(line.as_bytes())).collect()
    }

    #[test]
    fn a_line_with_escapes_and_optional_fields() {
        let expected = MountInfo {
            id: 85,
            device: (0, 45),
            point: PathBuf::from("/tmp/a b"),
            fstype: "fuse".into(),
            source: "fs9".into(),
            super_options: "rw,user_id=0,group_id=0".into(),
        };
        assert_eq!(MountInfo::parse(DIRECT.as_bytes()), Some(expected));
    }

    #[test]
    fn a_line_without_the_fields_is_skipped() {
        for line in ["", "27", "x 1 0:1 / / rw - a b c", "27 1 254 / / rw - a b c", "27 1 0:1 / / rw a b c"] {
            assert_eq!(MountInfo::parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn escapes() {
        assert_eq!(unescape(b"a\\040b\\134c"), b"a b\\c");
        assert_eq!(unescape(b"tail\\04"), b"tail\\04");
        assert_eq!(unescape(b"\\999"), b"\\999");
    }

    #[test]
    fn ours_and_the_owner() {
        let mounts = parsed(&[ROOT, DIRECT, HELPED, INSIDE]);
        assert_eq!(mounts.iter().map(MountInfo::is_fs9).collect::<Vec<_>>(), [false, true, true, false]);
        assert_eq!(mounts[2].owner(), Some(1000));
        assert_eq!(mounts[3].owner(), None);
    }

    #[test]
    fn the_innermost_mount_counts() {
        let mounts = parsed(&[ROOT, DIRECT, HELPED, INSIDE]);
        let place = |path: &str| place_among(&mounts, Path::new(path));
        assert_eq!(place("/p/new/jobs"), Some(("/p".into(), "new/jobs".into())));
        assert_eq!(place("/p"), Some(("/p".into(), "".into())));
        assert_eq!(place("/tmp/a b/x"), Some(("/tmp/a b".into(), "x".into())));
        assert_eq!(place("/p/dir/x"), None);
        assert_eq!(place("/pp"), None);
    }

    #[test]
    fn the_last_component_stays_as_written() {
        let here = std::env::current_dir().expect("a directory");
        assert_eq!(locate(Path::new("nowhere")).expect("its parent exists"), here.join("nowhere"));
        assert_eq!(locate(Path::new(".")).expect("exists"), here);
        assert!(locate(Path::new("nowhere/below")).is_err());
        assert_eq!(containing(Path::new("nowhere")).expect("its parent exists"), None);
    }

    #[test]
    fn prepare_refuses_what_is_in_the_way() {
        let dir = std::env::temp_dir().join(format!("fs9-prepare-{}", std::process::id()));
        assert!(matches!(prepare(&dir), Err(Refusal::Missing(_))));
        std::fs::create_dir(&dir).expect("a new directory");
        assert_eq!(prepare(&dir).expect("it is empty").dir, dir.canonicalize().expect("it exists"));
        std::fs::write(dir.join("file"), "").expect("a new file");
        assert!(matches!(prepare(&dir), Err(Refusal::NotEmpty(_))));
        assert!(matches!(prepare(&dir.join("file")), Err(Refusal::NotDirectory(_))));
        assert!(matches!(prepare(Path::new("/proc")), Err(Refusal::Occupied { .. })));
        std::fs::remove_dir_all(&dir).expect("it was ours");
    }
}
