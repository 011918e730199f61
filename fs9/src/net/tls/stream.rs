//! A connection that speaks TLS: a socket that never blocks, and what the library knows of it.
//!
//! Whoever reads and whoever writes may be two threads; each has it for as long as one system call and its bytes take.

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fs9_grants::Key;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use rustls::{ClientConfig, ClientConnection, Connection, Error, ServerConfig, ServerConnection};

use super::{ALPN, key, nobody};

/// Bytes of a handshake, of which one between two nodes takes less than a tenth. Nobody sends more before it is known.
const HANDSHAKE: usize = 16 << 10;

/// How often at most the socket is read for one read: enough for the longest record. Who sends much that has no bytes
/// in it is not listened to for longer than others.
const FETCHES: usize = 8;

/// See the [module](self).
#[derive(Debug)]
pub struct TlsStream {
    socket: OwnedFd,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tls: Connection,
    /// Bytes that have come before the handshake was over.
    begun: usize,
}

/// Why a connection speaks TLS no more, or never did.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// What the system says.
    #[error("{}", io::Error::from(*.0))]
    System(#[from] Errno),
    /// It is not TLS as we speak it, or not who was meant.
    #[error("{}", said(.0))]
    Tls(#[from] Error),
    /// It means something else.
    #[error("it does not speak fs9/1 (ALPN): it is no node, or one of another version")]
    Protocol,
    /// It does not come to an end with its handshake.
    #[error("its handshake has more than {HANDSHAKE} bytes")]
    Long,
    /// It has hung up.
    #[error("it has hung up")]
    Gone,
}

impl TlsStream {
    /// The server's end.
    ///
    /// # Errors
    /// The library cannot do as the configuration says.
    pub fn server(socket: OwnedFd, config: Arc<ServerConfig>) -> Result<TlsStream, TlsError> {
        Ok(TlsStream::new(socket, ServerConnection::new(config)?.into()))
    }

    /// The client's end.
    ///
    /// # Errors
    /// As [`TlsStream::server`].
    pub fn client(socket: OwnedFd, config: Arc<ClientConfig>) -> Result<TlsStream, TlsError> {
        Ok(TlsStream::new(socket, ClientConnection::new(config, nobody())?.into()))
    }

    fn new(socket: OwnedFd, tls: Connection) -> TlsStream {
        TlsStream { socket, state: Mutex::new(State { tls, begun: 0 }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on with the handshake. Returns the key that the other end has proved once it is over, and None while there
    /// is something to wait for: more of it, and where [`TlsStream::is_stuck`] room in the socket.
    ///
    /// # Errors
    /// See [`TlsError`]; the connection is then of no use.
    pub fn handshake(&self) -> Result<Option<Key>, TlsError> {
        let mut state = self.state();
        loop {
            if state.flush(&self.socket)? == Flushed::Stuck {
                return Ok(None);
            }
            if !state.tls.is_handshaking() {
                return state.peer().map(Some);
            }
            match state.fetch(&self.socket) {
                Ok(0) => return Err(TlsError::Gone),
                Ok(bytes) => state.begun += bytes,
                Err(TlsError::System(Errno::AGAIN)) => return Ok(None),
                Err(error) => return Err(error),
            }
            if state.begun > HANDSHAKE {
                return Err(TlsError::Long);
            }
        }
    }

    /// Reads what has come. 0 at the end.
    ///
    /// # Errors
    /// EAGAIN when nothing has, or not yet: the socket says when to ask again. See [`TlsError`].
    pub fn read(&self, space: &mut [u8]) -> Result<usize, TlsError> {
        let mut state = self.state();
        for _ in 0..FETCHES {
            if let Some(len) = state.take(space) {
                return Ok(len);
            }
            if state.fetch(&self.socket)? == 0 {
                return Ok(0);
            }
            state.flush(&self.socket)?;
        }
        state.take(space).ok_or(TlsError::System(Errno::AGAIN))
    }

    /// Whether more can be read of what the socket has given already, so that nobody need wait for it.
    pub fn holds_input(&self) -> bool {
        let mut state = self.state();
        state.tls.process_new_packets().is_ok_and(|now| now.plaintext_bytes_to_read() > 0)
    }

    /// Sends bytes of `parts`, and returns how many. Some of them may be left to [`TlsStream::flush`].
    ///
    /// # Errors
    /// EAGAIN when too many are left already; those of the socket.
    pub fn send(&self, parts: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let mut state = self.state();
        let taken = state.tls.writer().write_vectored(parts).map_err(errno)?;
        state.flush(&self.socket)?;
        if taken == 0 { Err(Errno::AGAIN) } else { Ok(taken) }
    }

    /// Sends what was left.
    ///
    /// # Errors
    /// Those of the socket, but for EAGAIN.
    pub fn flush(&self) -> Result<(), Errno> {
        self.state().flush(&self.socket).map(drop)
    }

    /// Whether something is left that the socket has not taken.
    pub fn is_stuck(&self) -> bool {
        self.state().tls.wants_write()
    }

    /// Says that nothing more comes (RFC 8446, 6.1). So it does when it is dropped.
    pub fn close(&self) {
        let mut state = self.state();
        state.tls.send_close_notify();
        // Who does not take it learns it from the socket.
        let _ = state.flush(&self.socket);
    }
}

impl Drop for TlsStream {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
impl TlsStream {
    /// Whether it was a handshake of its own.
    pub fn handshake_kind(&self) -> Option<rustls::HandshakeKind> {
        self.state().tls.handshake_kind()
    }

    /// Tickets to come in by once more, of which there are to be none.
    pub fn tickets(&self) -> u32 {
        match &self.state().tls {
            Connection::Client(client) => client.tls13_tickets_received(),
            Connection::Server(_) => 0,
        }
    }
}

impl AsFd for TlsStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Whether everything was sent.
#[derive(Debug, PartialEq, Eq)]
enum Flushed {
    All,
    Stuck,
}

impl State {
    /// Bytes that have been read from the socket; 0 at the end, None when there are none yet.
    fn take(&mut self, space: &mut [u8]) -> Option<usize> {
        match self.tls.reader().read(space) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            // Where it has gone without a word, that is the end too.
            read => Some(read.unwrap_or(0)),
        }
    }

    /// Reads once from the socket. What has come is then to be read, or was for TLS itself. 0 at the end.
    fn fetch(&mut self, socket: &OwnedFd) -> Result<usize, TlsError> {
        let bytes = self.tls.read_tls(&mut Socket(socket)).map_err(errno)?;
        if let Err(error) = self.tls.process_new_packets() {
            // The other end is told why, if it listens.
            let _ = self.flush(socket);
            return Err(error.into());
        }
        Ok(bytes)
    }

    fn flush(&mut self, socket: &OwnedFd) -> Result<Flushed, Errno> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Socket(socket)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Flushed::Stuck),
                Err(error) => return Err(errno(error)),
            }
        }
        Ok(Flushed::All)
    }

    /// Who is at the other end of a handshake that is over.
    fn peer(&self) -> Result<Key, TlsError> {
        if self.tls.alpn_protocol() != Some(ALPN) {
            return Err(TlsError::Protocol);
        }
        let shown = self.tls.peer_certificates().and_then(<[_]>::first).ok_or(Error::NoCertificatesPresented)?;
        Ok(key::read(shown)?)
    }
}

/// The socket, as the library reads and writes it. An interrupted call is made again.
struct Socket<'a>(&'a OwnedFd);

impl Read for Socket<'_> {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::io::read(self.0, &mut *space))?)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let send = || sendmsg(self.0, parts, &mut SendAncillaryBuffer::default(), flags);
        Ok(rustix::io::retry_on_intr(send)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The number of an error of the socket; of one of the library EPROTO.
fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::PROTO)
}

/// What the library says, for people.
fn said(error: &Error) -> String {
    match error {
        Error::Other(reason) => reason.0.to_string(),
        Error::AlertReceived(alert) => format!("it ends the handshake: TLS alert {alert:?}"),
        Error::InvalidMessage(_) => "what it says is not TLS".into(),
        Error::NoCertificatesPresented => "it shows no key".into(),
        Error::NoApplicationProtocol => TlsError::Protocol.to_string(),
        Error::PeerIncompatible(what) => {
            format!("it speaks no TLS 1.3 with raw public keys of Ed25519 (RFC 7250): {what:?}")
        }
        Error::InvalidCertificate(what) => format!("it does not prove the key that it shows: {what:?}"),
        other => other.to_string(),
    }
}
