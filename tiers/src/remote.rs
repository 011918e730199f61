//! The tier of other machines: channels over a byte stream, TCP, a Unix socket, or whatever else carries bytes
//! ([`over`]).
//!
//! One program listens at an address, another dials it, and each has the end of a channel. It is used like any other:
//!
//! ```
//! use fs9_tiers::{Peer, remote};
//!
//! let listener = remote::listen("tcp://127.0.0.1:0")?;         // any port that is free
//! let address = listener.address().to_owned();
//! std::thread::spawn(move || {
//!     let client: Peer<u64, String> = remote::dial(&address)?; // mostly from another program
//!     client.send(7).map_err(std::io::Error::other)
//! });
//! let client: Peer<String, u64> = listener.accept()?;
//! assert_eq!(client.recv(), Ok(7));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The worker of `examples/worker.rs`, reached this way: `examples/remote.rs`.
//!
//! # Broken links
//!
//! A connection that breaks is not the end of its channels. Whoever dialled dials again, for
//! [`linger`](Options::linger) (30 s if nothing else is said), and both sides go on where they were: each message
//! arrives once, and in order. Nobody above sees more of it than that it takes time. A far side that says nothing at
//! all, not even that it is there, for [`keep_alive`](Options::keep_alive) (45 s) is taken for a broken link, too.
//!
//! After `linger` both ends are told [`Unreachable`](Reason::Unreachable). That is also what becomes of an end whose
//! program was killed, or ended without having dropped it: from elsewhere this looks like any other silence. Where the
//! far program was started again meanwhile, it says that it knows nothing of the session, and the reason is
//! [`Lost`](Reason::Lost).
//!
//! Who has dropped all of its ends waits for the other side to do so, too, and to have all that was sent: for
//! `keep_alive` and `linger` together, or for longer while something still goes out.
//!
//! A session is resumed at the listener that it came from. Keep that for as long as its sessions are to outlive their
//! links; once it is dropped, those that are there go on until their link breaks.
//!
//! # Other byte streams
//!
//! [`over`] dials by a closure that makes the stream, and another one after each break; the program at the other end
//! gives it to a listener ([`Listener::admit`], of [`unbound`] or any other). A stream is a pair of pipes, a socket, a
//! terminal ([`Descriptors`]), a program's standard input and output ([`Program`]: `ssh host word-counter`), or
//! whatever is a [`Stream`]. Where each stream leads to a program that was just started, the first break is the end:
//! that program knows nothing of the session ([`Lost`](Reason::Lost)).
//!
//! # What differs
//!
//! - **Ends that are handed over** beside a message (of threads, of processes, and such as this) stay in the process that gave
//!   them: it passes on what goes through them, in a thread for each, and for as long as it lives. It keeps nothing: who sends
//!   has room again when the message was received, however many have passed it on. Files, and what has come from another process and was not claimed, cannot be given away over a connection.
//! - **A message that cannot be decoded** ends its channel with [`Protocol`](Reason::Protocol) on both sides; bytes that make no
//!   sense at all end the connection.
//! - **Whom one talks to.** A socket `unix:/path` can be dialled by its owner (mode 0600), and [`Peer::credentials`] says who did.
//!   Who is at the other end of TCP is not known, nor is anything secret there: addresses that are not of this machine are
//!   refused. Let a tunnel (`ssh -L`) lead there.
//! - **A connection costs** one descriptor and the watcher's thread, which all share; one more over a stream of one's own. A listener
//!   costs three and a thread, and one without an address two.
//! - **A future** or a [`Select`](crate::Select) is woken by that thread; a thread that waits reads the socket itself, which is
//!   quicker.
#![forbid(unsafe_code)]

mod address;
mod bells;
mod carrier;
mod channel;
mod connection;
mod descriptors;
mod dial;
mod end;
mod frame;
mod hall;
mod held;
mod hello;
mod lead;
mod listen;
mod porter;
mod promise;
mod reader;
mod relay;
mod sessions;
mod socket;
mod stream;
mod writer;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use channel::Channel;
pub use descriptors::{Descriptors, Program};
pub(crate) use end::RemoteEnd;
pub use listen::Listener;
pub(crate) use relay::{Relay, hand_over};
pub use stream::Stream;

use crate::capability::Kind;
use crate::error::Reason;
use crate::message::Message;
use crate::peer::Peer;
use crate::receiver::Rx;
use crate::sender::Tx;
use crate::slot::{Deadline, Role};
use dial::Route;

/// So many ends each side can hand over to the other, and have open at the same time, over one connection.
pub const CHANNELS: usize = 256;

/// So long a far side has to answer when it is dialled, unless one says otherwise.
const PATIENCE: Duration = Duration::from_secs(10);

/// Takes `address`, at which other programs find this one while the listener is there: `unix:/path`, or
/// `tcp://host:port` with an address of this machine, where port 0 is any.
///
/// # Errors
/// [`io::ErrorKind::AddrInUse`]: somebody listens there. (A socket that nobody listens at any more is replaced.)
/// [`io::ErrorKind::InvalidInput`]: it is no address, or one that others can hear. Those of socket(2), bind(2), and of
/// starting a thread.
///
/// See [`remote`](self) for an example.
pub fn listen(address: &str) -> io::Result<Listener> {
    Options::new().listen(address)
}

/// Connects to the program that listens at `address`, which has 10 seconds to answer.
///
/// # Errors
/// [`io::ErrorKind::ConnectionRefused`] and [`io::ErrorKind::NotFound`]: nobody listens there.
/// [`io::ErrorKind::TimedOut`]. [`io::ErrorKind::InvalidData`]: somebody listens there who speaks another protocol.
/// [`io::ErrorKind::InvalidInput`]: it is no address, or one that others can hear.
///
/// See [`remote`](self) for an example.
pub fn dial<Out: Message, In: Message>(address: &str) -> io::Result<Peer<Out, In>> {
    Options::new().dial(address)
}

/// As [`dial`], with as long to answer as `timeout` says.
///
/// # Errors
/// As [`dial`].
///
/// ```
/// # use std::time::Duration;
/// # use fs9_tiers::{Peer, remote};
/// let nobody: std::io::Result<Peer<u8, u8>> = remote::dial_timeout("unix:/nowhere/at/all", Duration::from_secs(1));
/// assert_eq!(nobody.expect_err("there is none").kind(), std::io::ErrorKind::NotFound);
/// ```
pub fn dial_timeout<Out: Message, In: Message>(address: &str, timeout: Duration) -> io::Result<Peer<Out, In>> {
    Options::new().dial_timeout(address, timeout)
}

/// Connects over a byte stream that `connect` makes: a pair of pipes, the standard input and output of a program, one
/// that encrypts, see [`Stream`]. The program at the other end has it admitted by a [`Listener`], and has 10 seconds to
/// answer.
///
/// When the stream breaks, `connect` is called for another one, in a thread of its own, for as long as the session may
/// still go on; an error of it is tried again, too. Only the first one is returned.
///
/// # Errors
/// Those of `connect`, and those of [`dial`] once it leads somewhere.
///
/// ```
/// use std::os::unix::net::UnixStream;
/// use std::sync::mpsc::channel;
/// use fs9_tiers::{Peer, remote};
/// use remote::Descriptors;
///
/// let (to_listener, streams) = channel();
/// let listener = remote::unbound()?;
/// let accept = std::thread::spawn(move || -> std::io::Result<(remote::Listener, Peer<String, u64>)> {
///     listener.admit(streams.recv().map_err(std::io::Error::other)?)?; // and those that come later
///     let far = listener.accept()?;
///     Ok((listener, far))
/// });
/// let near: Peer<u64, String> = remote::over(move || {
///     let (here, there) = UnixStream::pair()?;
///     to_listener.send(Descriptors::both(there)?).map_err(std::io::Error::other)?;
///     Descriptors::both(here)
/// })?;
/// let (_listener, far) = accept.join().expect("it does not panic")?;
/// near.send(7)?;
/// assert_eq!(far.recv(), Ok(7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn over<Out: Message, In: Message, S: Stream>(
    connect: impl FnMut() -> io::Result<S> + Send + 'static,
) -> io::Result<Peer<Out, In>> {
    Options::new().over(connect)
}

/// A listener without an address, for streams that somebody else makes: they are given to [`Listener::admit`].
///
/// # Errors
/// Those of eventfd(2) and getrandom(2).
///
/// See [`over`] for an example.
pub fn unbound() -> io::Result<Listener> {
    Options::new().unbound()
}

/// How long a connection bears silence.
///
/// ```
/// use std::time::Duration;
/// use fs9_tiers::{Peer, remote};
///
/// let patient = remote::Options::new().linger(Duration::from_secs(3600));
/// let listener = patient.listen("tcp://127.0.0.1:0")?;
/// let near: Peer<u8, u8> = patient.dial(listener.address())?;
/// let far: Peer<u8, u8> = listener.accept()?;
/// near.send(1)?;
/// assert_eq!(far.recv(), Ok(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Options {
    linger: Duration,
    keep_alive: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options { linger: Duration::from_secs(30), keep_alive: Duration::from_secs(45) }
    }
}

impl Options {
    /// 30 seconds to linger, 45 to keep alive.
    pub fn new() -> Self {
        Options::default()
    }

    /// How long this side waits for a link that broke to come back.
    #[must_use]
    pub fn linger(self, linger: Duration) -> Self {
        Options { linger, ..self }
    }

    /// How long a far side may be silent before its link is taken for broken. Where there is nothing to say it is asked
    /// whether it is there, three times in that time; so both sides should be told the same.
    #[must_use]
    pub fn keep_alive(self, keep_alive: Duration) -> Self {
        // Less would only keep both sides busy.
        Options { keep_alive: keep_alive.max(Duration::from_millis(30)), ..self }
    }

    /// As [`listen`].
    ///
    /// # Errors
    /// As [`listen`].
    pub fn listen(&self, address: &str) -> io::Result<Listener> {
        Listener::new(&address.parse()?, self.clone())
    }

    /// As [`dial`].
    ///
    /// # Errors
    /// As [`dial`].
    pub fn dial<Out: Message, In: Message>(&self, address: &str) -> io::Result<Peer<Out, In>> {
        self.dial_timeout(address, PATIENCE)
    }

    /// As [`dial_timeout`].
    ///
    /// # Errors
    /// As [`dial`].
    pub fn dial_timeout<Out: Message, In: Message>(
        &self,
        address: &str,
        timeout: Duration,
    ) -> io::Result<Peer<Out, In>> {
        self.begin(Route::Address(address.parse()?), timeout)
    }

    /// As [`unbound`].
    ///
    /// # Errors
    /// As [`unbound`].
    pub fn unbound(&self) -> io::Result<Listener> {
        Listener::unbound(self.clone())
    }

    /// As [`over`].
    ///
    /// # Errors
    /// As [`over`].
    pub fn over<Out: Message, In: Message, S: Stream>(
        &self,
        connect: impl FnMut() -> io::Result<S> + Send + 'static,
    ) -> io::Result<Peer<Out, In>> {
        self.begin(Route::over(connect), PATIENCE)
    }

    fn begin<Out: Message, In: Message>(&self, route: Route, timeout: Duration) -> io::Result<Peer<Out, In>> {
        Ok(peer(dial::first(route, self.clone(), Deadline::after(timeout))?))
    }
}

/// How a connection came about.
enum Origin {
    Dialled(Route),
    Accepted,
}

impl Origin {
    /// Of the numbers of the channels that this side opens.
    fn parity(&self) -> u32 {
        match self {
            Origin::Dialled(_) => 1,
            Origin::Accepted => 0,
        }
    }

    /// Of those that the other side opens.
    fn other(&self) -> u32 {
        1 - self.parity()
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Dialled(route) => write!(f, "dialled {route}"),
            Origin::Accepted => f.write_str("accepted"),
        }
    }
}

/// The whole end of a channel.
fn peer<Out, In>(channel: Arc<Channel>) -> Peer<Out, In> {
    Peer::new(Tx::Remote(Arc::clone(&channel)), Rx::Remote(channel))
}

/// An end that nobody has taken yet. Dropped, it closes.
struct Loose {
    channel: Arc<Channel>,
    is_taken: bool,
}

impl Loose {
    fn new(channel: Arc<Channel>) -> Loose {
        Loose { channel, is_taken: false }
    }

    fn peer<Out, In>(mut self) -> Peer<Out, In> {
        self.is_taken = true;
        peer(Arc::clone(&self.channel))
    }
}

impl Drop for Loose {
    fn drop(&mut self) {
        if !self.is_taken {
            self.channel.close(Role::Receiver, Reason::Closed);
            self.channel.close(Role::Sender, Reason::Closed);
        }
    }
}

/// An end that came beside a message, and that nobody has claimed yet.
pub(crate) struct Arrived {
    end: Loose,
    kind: Kind,
}

impl Arrived {
    fn new(channel: Arc<Channel>, kind: Kind) -> Arrived {
        Arrived { end: Loose::new(channel), kind }
    }

    /// What a claim must name.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The end.
    pub fn claim<Out, In>(self) -> Peer<Out, In> {
        self.end.peer()
    }
}
