//! The state directory: what a node keeps from one run to the next. It is its user's alone, and so are its files.

use std::env;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, fstat, fsync, mkdirat, openat, renameat_with, unlinkat};
use rustix::io::Errno;
use rustix::process::geteuid;
use zeroize::Zeroizing;

use crate::random::random;

/// Bytes of a file that are read at most.
const MOST: usize = 1 << 20;
/// What only the owner may do.
const OTHERS: u32 = 0o077;
/// What makes a directory somebody else's too.
const OTHERS_WRITE: u32 = 0o022;

/// See the [module](self). Made when something is first kept there.
#[derive(Debug, Clone)]
pub struct State {
    dir: PathBuf,
}

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Nobody says where it is.
    #[error("there is no place for this node's key: neither XDG_CONFIG_HOME nor HOME is set; give --state DIR")]
    Homeless,
    /// Somebody else may change what is in it.
    #[error(
        "{0} is not its user's alone: `chmod 700 {0}`, and chown it to the user who runs fs9, or give another --state"
    )]
    Shared(PathBuf),
    /// Somebody else may have read it.
    #[error("{0} can be read by others: `chmod 600 {0}`; or move it away, for a new one that nobody has seen")]
    Exposed(PathBuf),
    /// It has more bytes than such a file can have.
    #[error("{0} is too long: it has more than {MOST} bytes")]
    Long(PathBuf),
    /// The system says no.
    #[error("cannot {what} {path}: {error}; correct that, or give another place: --state DIR")]
    System {
        /// What was to be done.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl State {
    /// The usual one: `$XDG_CONFIG_HOME/fs9`, or `~/.config/fs9` (XDG Base Directory Specification).
    ///
    /// # Errors
    /// [`StateError::Homeless`].
    pub fn usual() -> Result<State, StateError> {
        let config = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(".config"));
        let config = config.or_else(home).ok_or(StateError::Homeless)?;
        Ok(State { dir: config.join("fs9") })
    }

    /// The directory `dir`, from wherever this process goes.
    ///
    /// # Errors
    /// There is no current directory, from which a relative path begins.
    pub fn at(dir: &Path) -> Result<State, StateError> {
        let absolute = std::path::absolute(dir);
        let failed = |error| StateError::System { what: "find", path: dir.to_owned(), error };
        Ok(State { dir: absolute.map_err(failed)? })
    }

    /// `dir` where it was given, else the usual one.
    ///
    /// # Errors
    /// Those of [`State::at`] and [`State::usual`].
    pub fn find(dir: Option<&Path>) -> Result<State, StateError> {
        dir.map_or_else(State::usual, State::at)
    }

    /// Where a file of it is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(super) fn failed(&self, name: &str, what: &'static str, errno: Errno) -> StateError {
        StateError::System { what, path: self.path(name), error: errno.into() }
    }

    /// The directory itself, made if it is not there.
    fn open(&self) -> Result<OwnedFd, StateError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = match openat(CWD, &self.dir, flags, Mode::empty()) {
            Err(Errno::NOENT) => {
                self.make()?;
                openat(CWD, &self.dir, flags, Mode::empty())
            }
            opened => opened,
        };
        let dir = opened.map_err(|errno| self.failed("", "open", errno))?;
        let stat = fstat(&dir).map_err(|errno| self.failed("", "open", errno))?;
        let is_own = stat.st_uid == geteuid().as_raw() && stat.st_mode & OTHERS_WRITE == 0;
        if is_own { Ok(dir) } else { Err(StateError::Shared(self.dir.clone())) }
    }

    fn make(&self) -> Result<(), StateError> {
        let parent = self.dir.parent().unwrap_or(&self.dir);
        let failed = |error| StateError::System { what: "make", path: parent.to_owned(), error };
        std::fs::create_dir_all(parent).map_err(failed)?;
        match mkdirat(CWD, &self.dir, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(self.failed("", "make", errno)),
        }
    }

    /// All of a file; None when it is not there.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        let Some(file) = self.open_file(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        self.read_all(&file, name, &mut bytes).map(|()| Some(bytes))
    }

    /// All of a file that nobody else may have read, overwritten when it is dropped.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn read_secret(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StateError> {
        let Some(file) = self.open_file(name)? else { return Ok(None) };
        let stat = fstat(&file).map_err(|errno| self.failed(name, "read", errno))?;
        if stat.st_uid != geteuid().as_raw() || stat.st_mode & OTHERS != 0 {
            return Err(StateError::Exposed(self.path(name)));
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(4096)); // so that no copy of a secret is left where it grew
        self.read_all(&file, name, &mut bytes).map(|()| Some(bytes))
    }

    fn open_file(&self, name: &str) -> Result<Option<OwnedFd>, StateError> {
        match openat(&self.open()?, name, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty()) {
            Ok(file) => Ok(Some(file)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.failed(name, "open", errno)),
        }
    }

    fn read_all(&self, file: &OwnedFd, name: &str, bytes: &mut Vec<u8>) -> Result<(), StateError> {
        loop {
            bytes.reserve(4096);
            match rustix::io::read(file, rustix::buffer::spare_capacity(bytes)) {
                Ok(0) => return Ok(()),
                Ok(_) if bytes.len() > MOST => return Err(StateError::Long(self.path(name))),
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(self.failed(name, "read", errno)),
            }
        }
    }

    /// Makes a file of mode 0600 with these bytes, whole or not at all, and lasting once this returns. Where one is
    /// there that stays as it is.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn create(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let dir = self.open()?;
        let temporary = format!(".{name}.{:016x}", u64::from_ne_bytes(random()));
        let written = write_new(&dir, &temporary, bytes)
            .and_then(|()| renameat_with(&dir, &temporary, &dir, name, RenameFlags::NOREPLACE));
        if written.is_err() {
            let _ = unlinkat(&dir, &temporary, AtFlags::empty());
        }
        match written {
            Ok(()) | Err(Errno::EXIST) => fsync(&dir).map_err(|errno| self.failed(name, "keep", errno)),
            Err(errno) => Err(self.failed(name, "write", errno)),
        }
    }

    /// Has a file of mode 0600 have these bytes: those that it had, or these, and lasting once this returns.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        if bytes.len() > MOST {
            return Err(StateError::Long(self.path(name)));
        }
        let dir = self.open()?;
        let temporary = format!(".{name}.{:016x}", u64::from_ne_bytes(random()));
        let written = write_new(&dir, &temporary, bytes)
            .and_then(|()| renameat_with(&dir, &temporary, &dir, name, RenameFlags::empty()))
            .and_then(|()| fsync(&dir));
        written.map_err(|errno| {
            let _ = unlinkat(&dir, &temporary, AtFlags::empty());
            self.failed(name, "write", errno)
        })
    }

    /// Adds a line at the end of a file that is made as needed. It lasts once this returns.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn append(&self, name: &str, line: &str) -> Result<(), StateError> {
        let dir = self.open()?;
        let append = || {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC;
            let file = openat(&dir, name, flags, Mode::RUSR | Mode::WUSR)?;
            write_all(&file, line.as_bytes())?;
            fsync(&file)?;
            fsync(&dir)
        };
        append().map_err(|errno| self.failed(name, "write", errno))
    }
}

fn write_new(dir: &OwnedFd, name: &str, bytes: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(dir, name, flags, Mode::RUSR | Mode::WUSR)?;
    write_all(&file, bytes)?;
    fsync(&file)
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
