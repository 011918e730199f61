//! Being dialled: a thread that greets who comes, and has those who were here before go on.
#![forbid(unsafe_code)]

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{Errno, ioctl_fionbio, read, write};
use rustix::net::{SocketFlags, accept_with};

use super::address::{Address, Place, without_delay};
use super::connection::Connection;
use super::hello::{Hello, Identity, LEN, random};
use super::socket::{Patience, Socket};
use super::{Loose, Options, Origin, PATIENCE};
use crate::message::Message;
use crate::peer::Peer;
use crate::process::link::Credentials;
use crate::readiness::wait_for;
use crate::slot::Deadline;
use crate::sys::socket::peer_credentials;

/// So many can be in the middle of their greeting; the oldest goes for one more.
const GREETED: usize = 64;
/// So many wait to be accepted; more wait in connect(2).
const WAITING: usize = 64;
/// So long nobody is let in after the system had no room for one.
const PAUSE: Duration = Duration::from_millis(50);

/// An address at which other programs can dial. Dropped, the address is free. Connections that were accepted stay, until their link
/// breaks.
///
/// ```
/// # use std::io::ErrorKind;
/// # use fs9_tiers::remote::listen;
/// # let address = format!("unix:/tmp/fs9-doc-{}.socket", std::process::id());
/// let listener = listen(&address)?;
/// assert_eq!(listen(&address).expect_err("taken").kind(), ErrorKind::AddrInUse);
/// drop(listener);
/// listen(&address)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "a listener that is dropped gives its address back"]
pub struct Listener {
    hall: Arc<Hall>,
    address: String,
    thread: Option<JoinHandle<()>>,
}

/// What the listener and its thread share.
struct Hall {
    waiting: Mutex<VecDeque<Loose>>,
    /// Counts those who wait.
    bell: OwnedFd,
    /// Wakes the thread.
    nudge: OwnedFd,
    is_closed: AtomicBool,
}

/// The thread's part.
struct Porter {
    hall: Arc<Hall>,
    // Dropped in this order: who finds the place free can bind.
    _place: Place,
    socket: OwnedFd,
    is_unix: bool,
    options: Options,
    epoch: u64,
    sessions: HashMap<[u8; 16], Weak<Connection>>,
    guests: VecDeque<Guest>,
    /// Nobody is let in before.
    pause: Option<Instant>,
}

/// Somebody who has not said everything yet.
struct Guest {
    socket: Socket,
    credentials: Option<Credentials>,
    bytes: [u8; LEN],
    len: usize,
    until: Instant,
}

impl Listener {
    pub(super) fn new(address: &Address, options: Options) -> io::Result<Listener> {
        let (place, socket) = Place::take(address)?;
        ioctl_fionbio(&socket, true)?;
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let hall = Arc::new(Hall {
            waiting: Mutex::default(),
            bell: eventfd(0, flags | EventfdFlags::SEMAPHORE)?,
            nudge: eventfd(0, flags)?,
            is_closed: AtomicBool::new(false),
        });
        let address = place.address.to_string();
        let mut porter = Porter {
            hall: Arc::clone(&hall),
            is_unix: matches!(place.address, Address::Unix(_)),
            _place: place,
            socket,
            options,
            epoch: u64::from_le_bytes(random()?),
            sessions: HashMap::new(),
            guests: VecDeque::new(),
            pause: None,
        };
        let name = "fs9-listen".to_owned();
        let thread = thread::Builder::new().name(name).stack_size(256 * 1024).spawn(move || porter.run())?;
        Ok(Listener { hall, address, thread: Some(thread) })
    }

    /// What to dial: of `tcp://127.0.0.1:0` with the port that was free.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Waits for a program that dials.
    ///
    /// The types are what both sides agreed on: another type is found out only by the bytes.
    ///
    /// # Errors
    /// Those of poll(2).
    ///
    /// See [`remote`](crate::remote) for an example.
    pub fn accept<Out: Message, In: Message>(&self) -> io::Result<Peer<Out, In>> {
        self.accept_by(Deadline::Never)
    }

    /// As [`Listener::accept`], waiting no longer than `timeout`.
    ///
    /// # Errors
    /// As [`Listener::accept`], and [`io::ErrorKind::TimedOut`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use fs9_tiers::{Peer, remote};
    /// let listener = remote::listen("tcp://127.0.0.1:0")?;
    /// let nobody: std::io::Result<Peer<u8, u8>> = listener.accept_timeout(Duration::from_millis(1));
    /// assert_eq!(nobody.expect_err("nobody came").kind(), std::io::ErrorKind::TimedOut);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn accept_timeout<Out: Message, In: Message>(&self, timeout: Duration) -> io::Result<Peer<Out, In>> {
        self.accept_by(Deadline::after(timeout))
    }

    fn accept_by<Out: Message, In: Message>(&self, deadline: Deadline) -> io::Result<Peer<Out, In>> {
        loop {
            match read(&self.hall.bell, &mut [0; 8]) {
                Ok(_) => {
                    let next = self.hall.waiting().pop_front();
                    // There is room for one more.
                    self.hall.nudge();
                    if let Some(peer) = next.map(Loose::peer) {
                        return Ok(peer);
                    }
                }
                Err(Errno::AGAIN) => {
                    if wait_for(&self.hall.bell, PollFlags::IN, deadline)?.is_empty() {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Readable when somebody waits to be accepted; for a [`Select`](crate::Select).
impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.hall.bell.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.hall.is_closed.store(true, Ordering::SeqCst);
        self.hall.nudge();
        if let Some(thread) = self.thread.take() {
            // It waits for nothing but us.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Hall {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Loose>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nudge(&self) {
        // Fails only where it is full, and has been heard.
        let _ = write(&self.nudge, &1u64.to_ne_bytes());
    }
}

impl Porter {
    fn run(&mut self) {
        while !self.hall.is_closed.load(Ordering::SeqCst) {
            let (is_open, heard) = match self.wait() {
                Ok(ready) => ready,
                // For want of memory, which may pass.
                Err(_) => {
                    thread::sleep(PAUSE);
                    continue;
                }
            };
            let _ = read(&self.hall.nudge, &mut [0; 8]);
            self.listen_to(&heard);
            if is_open {
                self.let_in();
            }
        }
    }

    /// Waits for something to do: whether somebody knocks, and who of the guests has something to say.
    fn wait(&self) -> Result<(bool, Vec<bool>), Errno> {
        let now = Instant::now();
        let has_room = self.hall.waiting().len() < WAITING && self.pause.is_none_or(|until| until <= now);
        let mut polled = vec![PollFd::new(&self.hall.nudge, PollFlags::IN)];
        polled.push(PollFd::new(&self.socket, if has_room { PollFlags::IN } else { PollFlags::empty() }));
        polled.extend(self.guests.iter().map(|guest| PollFd::new(&guest.socket, PollFlags::IN)));
        let next = self.guests.iter().map(|guest| guest.until).chain(self.pause.filter(|until| *until > now)).min();
        let left = next.and_then(|until| Timespec::try_from(until.saturating_duration_since(now)).ok());
        match poll(&mut polled, left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let heard = polled[2..].iter().map(|guest| !guest.revents().is_empty()).collect();
        Ok((has_room && !polled[1].revents().is_empty(), heard))
    }

    fn let_in(&mut self) {
        self.pause = None;
        let socket = match accept_with(&self.socket, SocketFlags::CLOEXEC) {
            Ok(socket) => socket,
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return,
            // Too many descriptors, no memory: whoever knocks goes on doing so.
            Err(_) => {
                self.pause = Some(Instant::now() + PAUSE);
                return;
            }
        };
        let Ok((socket, credentials)) = self.receive(socket) else { return };
        if self.guests.len() >= GREETED {
            self.guests.pop_front();
        }
        let until = Instant::now() + PATIENCE;
        self.guests.push_back(Guest { socket, credentials, bytes: [0; LEN], len: 0, until });
    }

    fn receive(&self, socket: OwnedFd) -> io::Result<(Socket, Option<Credentials>)> {
        if self.is_unix {
            let (pid, uid, gid) = peer_credentials(&socket)?;
            return Ok((Socket::new(socket)?, Some(Credentials { pid, uid, gid })));
        }
        Ok((Socket::new(without_delay(socket)?)?, None))
    }

    /// Hears what the guests have to say, and sends those away who have said nothing for too long.
    fn listen_to(&mut self, heard: &[bool]) {
        let now = Instant::now();
        let guests = std::mem::take(&mut self.guests);
        for (mut guest, heard) in guests.into_iter().zip(heard) {
            match if *heard { guest.hear() } else { Ok(false) } {
                Ok(true) => self.greet(guest),
                Ok(false) if guest.until > now => self.guests.push_back(guest),
                Ok(false) | Err(_) => {}
            }
        }
    }

    /// Somebody has said everything.
    fn greet(&mut self, guest: Guest) {
        let Ok(hello) = Hello::parse(&guest.bytes) else { return };
        // Who is sent away dials again, or not.
        let _ = if hello.identity == Identity::NONE { self.begin(guest) } else { self.go_on(guest, &hello) };
    }

    fn begin(&mut self, guest: Guest) -> io::Result<()> {
        let identity = Identity::fresh(self.epoch)?;
        Hello { identity, received: 0 }.say(&guest.socket)?;
        let options = self.options.clone();
        let first = Connection::begin(guest.socket, options, Origin::Accepted, identity, guest.credentials)?;
        self.sessions.retain(|_, connection| connection.upgrade().is_some_and(|connection| !connection.is_over()));
        self.sessions.insert(identity.session, Arc::downgrade(first.connection()));
        self.hall.waiting().push_back(Loose::new(first));
        write(&self.hall.bell, &1u64.to_ne_bytes())?;
        Ok(())
    }

    fn go_on(&mut self, guest: Guest, hello: &Hello) -> io::Result<()> {
        let known = self.sessions.get(&hello.identity.session).and_then(Weak::upgrade);
        let connection = known.filter(|connection| {
            let is_the_same = connection.credentials().map(|who| who.uid) == guest.credentials.map(|who| who.uid);
            hello.identity == connection.identity() && !connection.is_over() && is_the_same
        });
        let Some(connection) = connection else {
            return Hello { identity: Identity::NONE, received: 0 }.say(&guest.socket);
        };
        let received = connection.suspend();
        Hello { identity: hello.identity, received }.say(&guest.socket)?;
        connection.resume(guest.socket, hello.received);
        Ok(())
    }
}

impl Guest {
    /// Whether that was everything.
    fn hear(&mut self) -> io::Result<bool> {
        match self.socket.receive(&mut self.bytes[self.len..], Patience::None) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(more) => {
                self.len += more;
                Ok(self.len == LEN)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
