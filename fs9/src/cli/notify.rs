//! Tells systemd that the mount is usable: one datagram to the socket that it names, as in sd_notify(3).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// How long a socket may be full.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tells, where somebody wants to know.
///
/// # Errors
/// There is no such socket, or nobody reads from it.
pub fn ready() -> io::Result<()> {
    std::env::var_os("NOTIFY_SOCKET").map_or(Ok(()), |socket| tell(&socket, b"READY=1"))
}

fn tell(socket: &OsStr, state: &[u8]) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    let from = UnixDatagram::unbound()?;
    from.set_write_timeout(Some(PATIENCE))?;
    from.send_to_addr(state, &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_with_and_without_a_file() {
        let name = format!("fs9-notify-{}", std::process::id());
        let file = std::env::temp_dir().join(&name);
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        for (socket, listener) in [
            (file.clone().into_os_string(), UnixDatagram::bind(&file).expect("a new file")),
            (format!("@{name}").into(), UnixDatagram::bind_addr(&address).expect("a new name")),
        ] {
            tell(&socket, b"READY=1").expect("it listens");
            let mut said = [0; 64];
            let len = listener.recv(&mut said).expect("it was sent");
            assert_eq!(&said[..len], b"READY=1");
        }
        std::fs::remove_file(&file).expect("it is there");
        assert!(tell(file.as_os_str(), b"READY=1").is_err());
    }
}
