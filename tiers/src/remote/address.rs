//! Where a program listens: `unix:/path` or `tcp://host:port`.
#![forbid(unsafe_code)]

use std::fmt;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, chmod, flock, open};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout, set_tcp_nodelay};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with};

use crate::slot::Deadline;

/// Connections that wait to be taken by the listener's thread.
const BACKLOG: i32 = 128;

/// An address that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

impl FromStr for Address {
    type Err = io::Error;

    fn from_str(text: &str) -> io::Result<Address> {
        let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
        if let Some(path) = text.strip_prefix("unix:") {
            let path = std::path::absolute(path)?;
            // It is an address of the system, too.
            SocketAddrUnix::new(&path)
                .map_err(|_| invalid(format!("{text:?} is no path of a socket, of 107 bytes")))?;
            return Ok(Address::Unix(path));
        }
        let Some(place) = text.strip_prefix("tcp://") else {
            return Err(invalid(format!("{text:?} is no address; write unix:/path or tcp://host:port")));
        };
        let mut found = place.to_socket_addrs()?;
        match found.next() {
            Some(first) if first.ip().is_loopback() => Ok(Address::Tcp(first)),
            Some(_) => Err(invalid(format!(
                "{text:?} can be heard and changed by others on the way; use an address of this machine, and a tunnel \
                 (ssh -L) that leads there"
            ))),
            None => Err(invalid(format!("{text:?} is nowhere"))),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

impl Address {
    /// # Errors
    /// Those of connect(2), and [`io::ErrorKind::TimedOut`].
    pub fn connect(&self, deadline: Deadline) -> io::Result<OwnedFd> {
        let left = match deadline {
            Deadline::At(end) => Some(end.saturating_duration_since(Instant::now()).max(Duration::from_micros(1))),
            Deadline::Now => Some(Duration::from_micros(1)),
            Deadline::Never => None,
        };
        match self {
            Address::Tcp(address) => {
                let stream = match left {
                    Some(left) => TcpStream::connect_timeout(address, left)?,
                    None => TcpStream::connect(address)?,
                };
                without_delay(stream.into())
            }
            Address::Unix(path) => {
                let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
                // A listener whose line is full makes us wait in connect(2), which has no deadline of its own.
                set_socket_timeout(&socket, Timeout::Send, left)?;
                match connect(&socket, &SocketAddrUnix::new(path)?) {
                    Err(Errno::AGAIN) => Err(io::ErrorKind::TimedOut.into()),
                    done => Ok(done.map(|()| socket)?),
                }
            }
        }
    }
}

/// A segment goes when it is written: what belongs together is written together.
pub(super) fn without_delay(socket: OwnedFd) -> io::Result<OwnedFd> {
    set_tcp_nodelay(&socket, true)?;
    Ok(socket)
}

/// A place where somebody listens. Dropped, it is free for others.
pub(super) struct Place {
    pub address: Address,
    /// The file of a Unix socket: its device and its number.
    file: Option<(u64, u64)>,
}

impl Place {
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`]; those of bind(2) and listen(2).
    pub fn take(address: &Address) -> io::Result<(Place, OwnedFd)> {
        match address {
            Address::Tcp(address) => {
                let listener = TcpListener::bind(address).map_err(|error| in_use(error, &Address::Tcp(*address)))?;
                let address = Address::Tcp(listener.local_addr()?);
                Ok((Place { address, file: None }, listener.into()))
            }
            Address::Unix(path) => {
                let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
                // Two that find the same stale socket must not both replace it.
                let directory = open(
                    path.parent().unwrap_or(Path::new("/")),
                    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
                    Mode::empty(),
                )?;
                flock(&directory, FlockOperation::LockExclusive)?;
                let at = SocketAddrUnix::new(path)?;
                if bind(&socket, &at) == Err(Errno::ADDRINUSE) {
                    remove_stale(address, path)?;
                    bind(&socket, &at)?;
                }
                let place = Place { address: address.clone(), file: Some(identity(path)?) };
                // Nobody can connect before listen(2).
                chmod(path, Mode::RUSR | Mode::WUSR)?;
                listen(&socket, BACKLOG)?;
                Ok((place, socket))
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let (Address::Unix(path), Some(file)) = (&self.address, self.file)
            && identity(path).is_ok_and(|now| now == file)
        {
            // Somebody may have removed it.
            let _ = fs::remove_file(path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Removes a socket at which nobody listens any more.
fn remove_stale(address: &Address, path: &Path) -> io::Result<()> {
    let probe = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // A live one whose line is full would keep us waiting.
    rustix::io::ioctl_fionbio(&probe, true)?;
    match connect(&probe, &SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED) if is_socket(path) => fs::remove_file(path),
        _ => Err(in_use(io::ErrorKind::AddrInUse.into(), address)),
    }
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

fn in_use(error: io::Error, address: &Address) -> io::Error {
    if error.kind() != io::ErrorKind::AddrInUse {
        return error;
    }
    let advice = format!("somebody listens at {address} already; end that program or take another address");
    io::Error::new(io::ErrorKind::AddrInUse, advice)
}
