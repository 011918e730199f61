//! Where another machine is found, as people write it: `unix:/path`, `tls://host:port`, `tcp://host:port`,
//! `ssh://host/mount`.

mod ssh;

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use ssh::Ssh;

/// The port of 9P, which is meant where none is given.
pub const PORT: u16 = 5640;

/// What a host is made of besides letters and digits, be it a name or a number.
const HOST: &[u8] = b".-_:%";

/// The longest path that fits into the address of a socket (`sun_path` in unix(7), with its end).
const LONGEST: usize = 107;

/// An address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A Unix socket, by its absolute path.
    Unix(PathBuf),
    /// A host, by name or number, and a port. What is said there can be heard and changed by others.
    Tcp {
        /// An IPv6 number is without its brackets.
        host: String,
        /// 0 is any, to listen on.
        port: u16,
    },
    /// The same, where both ends prove their keys and nobody else can hear them.
    Tls {
        /// As of [`Address::Tcp`].
        host: String,
        /// As of [`Address::Tcp`].
        port: u16,
    },
    /// A mount of a machine that one may log in to. Nobody can listen there.
    Ssh(Ssh),
}

/// Why something is no address, or none that can be used.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// Of a kind that there is not.
    #[error("{0:?} is no address: write unix:/path, tls://host:port, tcp://host:port, or ssh://host/mount")]
    Unknown(String),
    /// A path that no socket can have.
    #[error("{0:?} cannot be the path of a socket: it begins with / and has 107 bytes at most")]
    Path(PathBuf),
    /// No host to log in to.
    #[error("{0:?} is no machine to log in to: write ssh://host, ssh://user@host:port, or ssh://host/mount")]
    Login(String),
    /// Nobody can listen there.
    #[error("nobody can listen on {0}: it is a way to attach; listen on unix:/path, and log in to this machine")]
    Deaf(Address),
    /// No host or port.
    #[error("{0:?} is no host and port: write tls://host:port, tls://[::1]:port, or leave the port out ({PORT})")]
    Host(String),
    /// It can be heard by others.
    #[error(
        "{0} is not of this machine, and what is said there can be read and changed on the way: use tls:// there, or tcp://127.0.0.1 \
         or unix:/path and a tunnel (ssh -L), or --insecure"
    )]
    Insecure(Address),
    /// It is nowhere.
    #[error("cannot find {address}: {error}")]
    Nowhere {
        /// What was looked for.
        address: Address,
        /// What the system says.
        error: io::Error,
    },
}

impl Address {
    /// The numbers of a host; empty for what is reached by another way. This may wait for a name service.
    ///
    /// # Errors
    /// [`AddressError::Nowhere`]; unless `insecure`, [`AddressError::Insecure`] where one is not of this machine and
    /// all can hear what is said.
    pub fn resolve(&self, insecure: bool) -> Result<Vec<SocketAddr>, AddressError> {
        let (host, port, is_private) = match self {
            Address::Unix(_) | Address::Ssh(_) => return Ok(Vec::new()),
            Address::Tcp { host, port } => (host, port, false),
            Address::Tls { host, port } => (host, port, true),
        };
        let nowhere = |error| AddressError::Nowhere { address: self.clone(), error };
        let found: Vec<SocketAddr> = (&**host, *port).to_socket_addrs().map_err(nowhere)?.collect();
        match &*found {
            [] => Err(nowhere(io::ErrorKind::NotFound.into())),
            all if insecure || is_private || all.iter().all(|address| address.ip().to_canonical().is_loopback()) => {
                Ok(found)
            }
            _ => Err(AddressError::Insecure(self.clone())),
        }
    }

    /// The same, where a path that was relative begins at the directory of this process.
    fn unix(path: &Path) -> Result<Address, AddressError> {
        let is_path = path.is_absolute() && path.as_os_str().len() <= LONGEST && path.file_name().is_some();
        if is_path { Ok(Address::Unix(path.to_owned())) } else { Err(AddressError::Path(path.to_owned())) }
    }

    /// A socket of TCP at `number`, for the same kind of address as this.
    pub fn at(&self, number: SocketAddr) -> Address {
        let (host, port) = (number.ip().to_string(), number.port());
        if matches!(self, Address::Tls { .. }) { Address::Tls { host, port } } else { Address::Tcp { host, port } }
    }
}

/// `HOST`, `HOST:PORT`, `[V6]` or `[V6]:PORT`: the host without its brackets, and the port where there is one. What the
/// host is made of is not looked at.
fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => text.find(':').map_or((text, ""), |colon| text.split_at(colon)),
    };
    match port.strip_prefix(':') {
        Some(port) if port.bytes().all(|digit| digit.is_ascii_digit()) => Some((host, Some(port.parse().ok()?))),
        None if port.is_empty() => Some((host, None)),
        _ => None,
    }
}

/// A word of letters, digits and `others`.
fn is_word(text: &str, others: &[u8]) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Address::unix(Path::new(path));
        }
        let host = |rest: &str| {
            let found = host_and_port(rest.strip_suffix('/').unwrap_or(rest)).filter(|(host, _)| is_word(host, HOST));
            let found = found.map(|(host, port)| (host.to_owned(), port.unwrap_or(PORT)));
            found.ok_or_else(|| AddressError::Host(text.to_owned()))
        };
        match text.split_once("://") {
            Some(("tcp", rest)) => host(rest).map(|(host, port)| Address::Tcp { host, port }),
            Some(("tls", rest)) => host(rest).map(|(host, port)| Address::Tls { host, port }),
            Some(("ssh", rest)) => {
                Ssh::parse(rest).map(Address::Ssh).ok_or_else(|| AddressError::Login(text.to_owned()))
            }
            _ => Err(AddressError::Unknown(text.to_owned())),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::Tcp { host: address.ip().to_string(), port: address.port() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, host, port) = match self {
            Address::Unix(path) => return write!(f, "unix:{}", path.display()),
            Address::Ssh(ssh) => return ssh.fmt(f),
            Address::Tcp { host, port } => ("tcp", host, port),
            Address::Tls { host, port } => ("tls", host, port),
        };
        if host.contains(':') { write!(f, "{kind}://[{host}]:{port}") } else { write!(f, "{kind}://{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        text.parse::<Address>().map(|address| address.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn addresses_are_written_as_they_are_read() {
        for (text, address) in [
            ("unix:/run/p.sock", "unix:/run/p.sock"),
            ("tcp://127.0.0.1:99", "tcp://127.0.0.1:99"),
            ("tcp://localhost", "tcp://localhost:5640"),
            ("tcp://[::1]", "tcp://[::1]:5640"),
            ("tcp://[::1]:0/", "tcp://[::1]:0"),
            ("ssh://me@host/p", "ssh://me@host/p"),
            ("tls://example.org", "tls://example.org:5640"),
            ("tls://[2001:db8::1]:7", "tls://[2001:db8::1]:7"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(address), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_told_what_to_write() {
        for (text, said) in [
            ("127.0.0.1:99", "write unix:/path, tls://host:port, tcp://host:port"),
            ("", "is no address"),
            ("tls://", "no host and port"),
            ("tls://host:5640/x", "no host and port"),
            ("ssh://-oProxyCommand=x", "no machine to log in to"),
            ("unix:p.sock", "begins with /"),
            ("unix:/", "path of a socket"),
            (&format!("unix:/{}", "x".repeat(107)), "107 bytes"),
            ("tcp://:99", "no host and port"),
            ("tcp://host:port", "no host and port"),
            ("tcp://host:65536", "no host and port"),
            ("tcp://::1:99", "no host and port"),
            ("tcp://[::1", "no host and port"),
            ("tcp://[::1]x", "no host and port"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn others_can_be_reached_only_where_it_was_said() {
        let address = |text: &str| text.parse::<Address>().expect("an address");
        let here = address("tcp://127.0.0.1:7").resolve(false).expect("this machine");
        assert_eq!(here, ["127.0.0.1:7".parse().expect("numbers")]);
        address("tcp://[::1]:7").resolve(false).expect("this machine");
        let error = address("tcp://0.0.0.0:7").resolve(false).expect_err("all machines");
        assert!(error.to_string().contains("--insecure"), "{error}");
        address("tcp://192.0.2.1:7").resolve(true).expect("it was said");
        address("tls://192.0.2.1:7").resolve(false).expect("nobody can hear it");
        assert!(address("unix:/p").resolve(false).expect("a path").is_empty());
    }
}
