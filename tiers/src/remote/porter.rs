//! The thread of a listener that has an address: it lets in who knocks, and hears what they want.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use super::PATIENCE;
use super::address::{Address, Place, without_delay};
use super::carrier::Carrier;
use super::hall::Hall;
use super::hello::{Hello, LEN};
use super::sessions::Caller;
use super::socket::Socket;
use crate::process::link::Credentials;
use crate::slot::Deadline;
use crate::sys::socket::peer_credentials;

/// So many can be in the middle of their greeting; the oldest goes for one more.
const GREETED: usize = 64;
/// So long nobody is let in after the system had no room for one.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Porter {
    hall: Arc<Hall>,
    // Dropped in this order: who finds the place free can bind.
    _place: Place,
    socket: OwnedFd,
    is_unix: bool,
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

impl Porter {
    /// For the listener at `place`, whose socket does not wait.
    pub fn new(hall: Arc<Hall>, place: Place, socket: OwnedFd) -> Porter {
        let is_unix = matches!(place.address, Address::Unix(_));
        Porter { hall, _place: place, socket, is_unix, guests: VecDeque::new(), pause: None }
    }

    /// Until the listener is dropped.
    pub fn run(&mut self) {
        while !self.hall.is_closed() {
            let (is_open, heard) = match self.wait() {
                Ok(ready) => ready,
                // For want of memory, which may pass.
                Err(_) => {
                    thread::sleep(PAUSE);
                    continue;
                }
            };
            self.hall.calm();
            self.listen_to(&heard);
            if is_open {
                self.let_in();
            }
        }
    }

    /// Waits for something to do: whether somebody knocks, and who of the guests has something to say.
    fn wait(&self) -> Result<(bool, Vec<bool>), Errno> {
        let now = Instant::now();
        let has_room = self.hall.has_room() && self.pause.is_none_or(|until| until <= now);
        let mut polled = vec![PollFd::from_borrowed_fd(self.hall.nudged(), PollFlags::IN)];
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
        let caller = Caller { carrier: Arc::new(guest.socket), credentials: guest.credentials };
        // A socket takes the answer at once, or is not worth it; who is sent away dials again, or not.
        let _ = self.hall.greet(&hello, caller, Deadline::Now);
    }
}

impl Guest {
    /// Whether that was everything.
    fn hear(&mut self) -> io::Result<bool> {
        match self.socket.read(&mut self.bytes[self.len..]) {
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
