//! A socket that clients come to. It is there before the mount is, and gone with it.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, RenameFlags, fchmod, renameat_with};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, socket_with, sockopt,
};

use super::address::{Address, AddressError};

/// Clients that may wait to be let in; more have to try again.
const BACKLOG: i32 = 128;

/// Why there is nothing to listen on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be used.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Somebody answers there.
    #[error("{0} is in use: another server listens there")]
    Busy(Address),
    /// There is a file that is not a socket.
    #[error("{0} is in use: there is a file that is not a socket; choose another path")]
    Occupied(Address),
    /// The system says no.
    #[error("cannot listen on {address}: {error}")]
    System {
        /// Where.
        address: Address,
        /// What it says.
        error: io::Error,
    },
}

/// A listening socket. Dropped, its file is removed, if it is still its own.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    address: Address,
    _file: Option<SocketFile>,
}

impl Listener {
    /// Listens on `address`; on every number of a host that has several. A Unix socket that nobody answers at any more
    /// is replaced, and only its owner may use the new one. Elsewhere than on this machine only if `insecure`.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn on(address: &Address, insecure: bool) -> Result<Vec<Listener>, ListenError> {
        let system = |error: io::Error| match Errno::from_io_error(&error) {
            Some(Errno::ADDRINUSE) => ListenError::Busy(address.clone()),
            _ => ListenError::System { address: address.clone(), error },
        };
        if matches!(address, Address::Ssh(_)) {
            return Err(AddressError::Deaf(address.clone()).into());
        }
        let Address::Unix(path) = address else {
            let numbers = address.resolve(insecure)?;
            return numbers.iter().map(|number| Listener::tcp(address, *number).map_err(system)).collect();
        };
        match unix(path) {
            Ok((fd, file)) => Ok(vec![Listener { fd, address: address.clone(), _file: Some(file) }]),
            Err(Errno::NOTSOCK) => Err(ListenError::Occupied(address.clone())),
            Err(errno) => Err(system(errno.into())),
        }
    }

    /// For an `address` that is found at `number`.
    fn tcp(address: &Address, number: SocketAddr) -> io::Result<Listener> {
        let listener = TcpListener::bind(number)?;
        listener.set_nonblocking(true)?;
        let address = address.at(listener.local_addr()?);
        Ok(Listener { fd: listener.into(), address, _file: None })
    }

    /// Where it is found: of port 0 the one that it became.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The next client that waits, as a socket that never blocks. EAGAIN when there is none.
    ///
    /// # Errors
    /// Those of accept(2).
    pub fn accept(&self) -> rustix::io::Result<OwnedFd> {
        let socket = accept_with(&self.fd, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        if !matches!(self.address, Address::Unix(_)) {
            // Answers are written whole: there is nothing that more could be added to.
            sockopt::set_tcp_nodelay(&socket, true)?;
            sockopt::set_socket_keepalive(&socket, true)?;
        }
        Ok(socket)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The file of a Unix socket. Dropped, it is removed, if nobody has replaced it.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Which file is there: its device and number. ENOTSOCK when it is not a socket.
fn inode(path: &Path) -> rustix::io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    if file.file_type().is_socket() { Ok((file.dev(), file.ino())) } else { Err(Errno::NOTSOCK) }
}

fn unix(path: &Path) -> rustix::io::Result<(OwnedFd, SocketFile)> {
    let fd = socket()?;
    // What bind(2) makes has the mode of the socket (unix_bind_bsd in net/unix/af_unix.c): nobody gets in between.
    fchmod(&fd, Mode::RUSR | Mode::WUSR)?;
    let address = SocketAddrUnix::new(path)?;
    match bind(&fd, &address) {
        Err(Errno::ADDRINUSE) => {
            remove_stale(path, &address)?;
            bind(&fd, &address)?;
        }
        bound => bound?,
    }
    let file = SocketFile { path: path.to_owned(), inode: inode(path)? };
    listen(&fd, BACKLOG)?;
    Ok((fd, file))
}

fn socket() -> rustix::io::Result<OwnedFd> {
    socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
}

/// Removes a socket that a killed server has left. EADDRINUSE when somebody answers.
fn remove_stale(path: &Path, address: &SocketAddrUnix) -> rustix::io::Result<()> {
    let found = inode(path)?;
    match connect(&socket()?, address) {
        Err(Errno::CONNREFUSED) => {}
        _ => return Err(Errno::ADDRINUSE),
    }
    // Another server may have replaced it since. So it is put aside first, and looked at again where nobody else does.
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{}", std::process::id()));
    let aside = PathBuf::from(aside);
    renameat_with(CWD, path, CWD, &aside, RenameFlags::NOREPLACE)?;
    if inode(&aside) == Ok(found) {
        return rustix::fs::unlink(&aside);
    }
    let _ = renameat_with(CWD, &aside, CWD, path, RenameFlags::NOREPLACE);
    Err(Errno::ADDRINUSE)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn on(path: &Path) -> Result<Vec<Listener>, ListenError> {
        Listener::on(&Address::Unix(path.to_owned()), false)
    }

    #[test]
    fn a_unix_socket_is_its_owners_and_goes_with_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("p.sock");
        let listeners = on(&path).expect("a socket");
        assert_eq!(fs::metadata(&path).expect("it is there").mode() & 0o777, 0o600);
        assert_eq!(listeners[0].accept().expect_err("nobody came"), Errno::AGAIN);
        let _client = UnixStream::connect(&path).expect("it listens");
        listeners[0].accept().expect("a client");
        drop(listeners);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("p.sock");
        drop(UnixListener::bind(&path).expect("a socket that nobody removes"));
        let live = on(&path).expect("nobody answered there");
        let error = on(&path).expect_err("somebody does");
        assert!(error.to_string().contains("another server listens there"), "{error}");
        UnixStream::connect(&path).expect("and still does");
        drop(live);
        fs::write(&path, "x").expect("a file");
        let error = on(&path).expect_err("a file");
        assert!(error.to_string().contains("not a socket"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 1, "nothing was left aside");
    }

    #[test]
    fn who_has_replaced_the_file_keeps_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("p.sock");
        let first = on(&path).expect("a socket");
        fs::remove_file(&path).expect("somebody removes it");
        let second = on(&path).expect("another");
        drop(first);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn port_0_is_a_real_one() {
        let address: Address = "tcp://127.0.0.1:0".parse().expect("an address");
        let listeners = Listener::on(&address, false).expect("a port");
        let Address::Tcp { port, .. } = *listeners[0].address() else { panic!("tcp") };
        TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        let error = Listener::on(listeners[0].address(), false).expect_err("it is taken");
        assert!(error.to_string().contains("another server"), "{error}");
    }
}
