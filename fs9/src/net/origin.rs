//! Who made a connection: as which user it asks, and from where.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use fs9_tiers::holder::Holder;
use fs9_tiers::process::Credentials;
use rustix::io::Errno;
use rustix::net::{getpeername, getsockname};

use fs9_grants::Key;

use super::address::Address;
use crate::server::Origin;
use crate::server::access::Who;

/// The group of who has none that can be seen (`fs.overflowgid`).
const NO_GROUP: u32 = 65_534;

/// As whom a connection comes. What it may do is decided when it attaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Party {
    /// A user of this machine, or one who is taken for one.
    User(Arc<Who>),
    /// Whoever has this key.
    Key(Key),
}

impl Party {
    /// Whether a session of one is the other's.
    pub fn is_same(&self, other: &Party) -> bool {
        match (self, other) {
            (Party::User(one), Party::User(other)) => one.uid == other.uid,
            (one, other) => one == other,
        }
    }
}

/// Who made the connection `socket`, which `address` took, not being one of TLS.
///
/// Of a Unix socket the kernel says (SO_PEERCRED). Of a TCP connection on this machine it is the user who has the
/// socket at its other end, of whom no group is known. Any other is taken for `owner`: nobody proves who it is, which
/// is why one must ask for such addresses (`--insecure`).
///
/// # Errors
/// Those of the system; EACCES when the socket at the other end is gone, so that it is nobody's.
pub fn of(socket: &OwnedFd, address: &Address, owner: &Who) -> io::Result<(Origin, Who)> {
    match address {
        Address::Unix(_) => of_unix(socket),
        Address::Tcp { .. } | Address::Tls { .. } => of_tcp(socket, owner),
        // Nobody can listen there.
        Address::Ssh(_) => Err(Errno::ADDRNOTAVAIL.into()),
    }
}

fn of_unix(socket: &OwnedFd) -> io::Result<(Origin, Who)> {
    let who = Credentials::of(socket)?;
    // Of one that is gone nothing more can be found out.
    let process = Holder::of_socket(socket).ok().map(Arc::new);
    let groups = if process.is_some() { groups_of(who.pid) } else { Vec::new() };
    let node = format!("unix pid {}", who.pid);
    let origin = Origin { node, uid: who.uid, process, key: None };
    Ok((origin, Who { uid: who.uid, gid: who.gid, groups: groups.into(), guest: None }))
}

/// The further groups of a process (`Groups` in proc_pid_status(5)).
fn groups_of(pid: u32) -> Vec<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap_or_default();
    groups.split_ascii_whitespace().filter_map(|group| group.parse().ok()).collect()
}

fn of_tcp(socket: &OwnedFd, owner: &Who) -> io::Result<(Origin, Who)> {
    let (here, there) = (number(getsockname(socket.as_fd())?)?, peer(socket)?);
    let who = if there.ip().is_loopback() {
        let uid = owner_of(there, here)?;
        Who { uid, gid: if uid == 0 { 0 } else { NO_GROUP }, groups: [].into(), guest: None }
    } else {
        owner.clone()
    };
    Ok((Origin { node: Address::from(there).to_string(), uid: who.uid, process: None, key: None }, who))
}

/// Where the other end of a socket of TCP is.
///
/// # Errors
/// Those of the system; ENOTCONN when it is gone.
pub fn peer(socket: &OwnedFd) -> io::Result<SocketAddr> {
    number(getpeername(socket)?.ok_or(Errno::NOTCONN)?)
}

fn number(address: rustix::net::SocketAddrAny) -> io::Result<SocketAddr> {
    let number = SocketAddr::try_from(address)?;
    Ok(SocketAddr::new(number.ip().to_canonical(), number.port()))
}

/// The user who has the socket at `local` that is connected with `remote`, both on this machine.
fn owner_of(local: SocketAddr, remote: SocketAddr) -> io::Result<u32> {
    for table in ["tcp", "tcp6"] {
        // Without IPv6 there is no such table.
        let Ok(table) = fs::read_to_string(format!("/proc/thread-self/net/{table}")) else { continue };
        if let Some(uid) = table.lines().find_map(|line| owner_in(line, local, remote)) {
            return Ok(uid);
        }
    }
    Err(Errno::ACCESS.into())
}

/// The user of a line of /proc/net/tcp (proc_pid_net(5)), if it is of this connection. What has been closed is shown as
/// root's, and with inode 0: that is nobody's.
fn owner_in(line: &str, local: SocketAddr, remote: SocketAddr) -> Option<u32> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let is_it = end(fields.next()?)? == local && end(fields.next()?)? == remote;
    let (uid, inode) = (fields.nth(4)?, fields.nth(1)?);
    if is_it && inode != "0" { uid.parse().ok() } else { None }
}

/// An address and port, as the table has them: 32 bits at a time, each as the processor keeps them.
fn end(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word =
        |place: usize| u32::from_str_radix(address.get(place * 8..place * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip: IpAddr = match address.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            Ipv6Addr::from(<[u8; 16]>::try_from(words.as_flattened()).ok()?).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip.to_canonical(), u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn owner() -> Who {
        Who { uid: 7, gid: 7, groups: [].into(), guest: None }
    }

    fn here() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    #[test]
    fn a_unix_socket_says_who_is_there() {
        let (socket, _other) = UnixStream::pair().expect("a pair");
        let address = Address::Unix("/p".into());
        let (origin, who) = of(&socket.into(), &address, &owner()).expect("this process");
        assert_eq!((who.uid, origin.uid), (here(), here()));
        assert_eq!(origin.node, format!("unix pid {}", std::process::id()));
        assert_eq!(origin.process.expect("a process").pid(), std::process::id());
    }

    #[test]
    fn a_connection_of_this_machine_is_the_users_who_has_its_other_end() {
        for host in ["127.0.0.1", "::1"] {
            let Ok(listener) = TcpListener::bind((host, 0)) else { continue }; // a machine without IPv6
            let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
            let (socket, from) = listener.accept().expect("a client");
            let (origin, who) = of(&socket.into(), &from.into(), &owner()).expect("this process");
            assert_eq!((who.uid, origin.node), (here(), Address::from(from).to_string()));
            drop(client);
        }
    }

    #[test]
    fn who_has_closed_it_is_nobody() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let (socket, from) = listener.accept().expect("a client");
        drop(client);
        let error = of(&socket.into(), &from.into(), &owner()).expect_err("the table says root");
        assert_eq!(error.raw_os_error(), Some(Errno::ACCESS.raw_os_error()));
    }

    #[test]
    fn a_line_of_the_table() {
        let line = "   7: 0100007F:A0F2 0100007F:1608 01 00000000:00000000 00:00000000 00000000  1000        0 4711 1";
        let (local, remote) = ("127.0.0.1:41202".parse().expect("a"), "127.0.0.1:5640".parse().expect("b"));
        assert_eq!(owner_in(line, local, remote), Some(1000));
        assert_eq!(owner_in(line, remote, local), None);
        assert_eq!(owner_in(&line.replace("4711", "0"), local, remote), None);
        assert_eq!(owner_in("  sl  local_address rem_address   st", local, remote), None);
    }
}
