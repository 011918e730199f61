//! A connection that is cut where one says: passes 9P frames on between who connects here and the far node, and resets
//! both sides at the end of a frame, or within one.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_linger;

/// Where the next connections break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Break {
    /// After so many more frames, of both directions.
    pub after: u64,
    /// And so many bytes of the one after these.
    pub bytes: usize,
    /// Which sides are reset; the other one hears nothing more, as over a cable that was pulled: near, far.
    pub resets: [bool; 2],
}

/// Where connections come in. Its threads end with the process.
pub struct Wire {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    far: SocketAddr,
    next: Mutex<Option<Break>>,
    /// Connections that were broken.
    broken: AtomicU64,
}

impl Wire {
    /// Listens on a port of 127.0.0.1 in the thread's namespace, and connects to `far` from there.
    pub fn to(far: SocketAddr) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (next, broken) = (Mutex::new(None), AtomicU64::new(0));
        let shared = Arc::new(Shared { far, next, broken });
        let state = shared.clone();
        thread::spawn(move || {
            for near in listener.incoming() {
                let state = state.clone();
                // Threads are in the namespace of the thread that starts them.
                thread::spawn(move || near.and_then(|near| join(near, &state)));
            }
        });
        Wire { address, shared }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks what passes next.
    pub fn break_at(&self, place: Break) {
        *self.shared.next.lock().unwrap() = Some(place);
    }

    /// Whether the break that was asked for last is still to come; takes it back if so.
    pub fn take_back(&self) -> bool {
        self.shared.next.lock().unwrap().take().is_some()
    }

    /// How many connections were broken.
    pub fn broken(&self) -> u64 {
        self.shared.broken.load(SeqCst)
    }
}

/// Passes frames on until either side ends or the break comes.
fn join(near: TcpStream, shared: &Shared) -> io::Result<()> {
    let far = TcpStream::connect_timeout(&shared.far, Duration::from_secs(2))?;
    let sides = [near, far];
    for side in &sides {
        side.set_nodelay(true)?;
        side.set_write_timeout(Some(Duration::from_secs(5)))?;
    }
    // What has come of a frame that is not whole yet, from either side.
    let mut pieces = [Vec::new(), Vec::new()];
    let mut buffer = vec![0; 1 << 16];
    loop {
        let mut polled = sides.each_ref().map(|side| PollFd::new(side, PollFlags::IN));
        poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 20_000_000 }))?;
        let ready = polled.map(|side| !side.revents().is_empty());
        for from in [0, 1] {
            if !ready[from] {
                continue;
            }
            match (&sides[from]).read(&mut buffer) {
                Ok(0) | Err(_) => return Ok(()),
                Ok(len) => pieces[from].extend_from_slice(&buffer[..len]),
            }
            if let Some(place) = pass(&mut pieces[from], &sides[1 - from], shared)? {
                return end(sides, place, shared);
            }
        }
    }
}

/// Passes the whole frames of a direction on; the break when it has come to it.
fn pass(bytes: &mut Vec<u8>, mut to: &TcpStream, shared: &Shared) -> io::Result<Option<Break>> {
    while let Some(size) = bytes.first_chunk().map(|size| u32::from_le_bytes(*size) as usize) {
        if size > bytes.len() {
            break;
        }
        let rest = bytes.split_off(size.max(4));
        let frame = std::mem::replace(bytes, rest);
        let mut next = shared.next.lock().unwrap();
        if let Some(place) = next.take_if(|place| place.after == 0) {
            to.write_all(&frame[..place.bytes.min(frame.len())])?;
            return Ok(Some(place));
        }
        to.write_all(&frame)?;
        if let Some(place) = &mut *next {
            place.after -= 1;
            if let Some(place) = next.take_if(|place| (place.after, place.bytes) == (0, 0)) {
                return Ok(Some(place));
            }
        }
    }
    Ok(None)
}

/// Resets the sides that are to be, and keeps the others open and silent for a while.
fn end(sides: [TcpStream; 2], place: Break, shared: &Shared) -> io::Result<()> {
    shared.broken.fetch_add(1, SeqCst);
    let mut silent = Vec::new();
    for (side, reset) in sides.into_iter().zip(place.resets) {
        if reset {
            // Closed with no time to linger: RST, whatever was on its way.
            set_socket_linger(&side, Some(Duration::ZERO))?;
        } else {
            silent.push(side);
        }
    }
    if !silent.is_empty() {
        thread::sleep(Duration::from_secs(20));
    }
    Ok(())
}
