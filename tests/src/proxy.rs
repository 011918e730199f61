//! A proxy for TCP that breaks what goes through it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use crate::tiers::Random;

/// What it does to a connection after a random number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing, ever.
    None,
    /// It closes both sides, resets them, or stands still for a while; then the next one comes.
    Random,
}

/// A place to dial in place of another. Dropped, nobody answers there, and what went through it is cut.
#[derive(Debug)]
pub struct Proxy {
    address: String,
    shared: Arc<Shared>,
    seed: u64,
}

#[derive(Debug)]
struct Shared {
    target: String,
    fault: Fault,
    is_closed: AtomicBool,
    /// Nothing that is sent arrives.
    is_silent: AtomicBool,
    connections: AtomicU64,
    has_broken: AtomicBool,
    /// Nobody gets through.
    is_shut: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Before `target`, which is an address as `remote::listen` has it.
    pub fn before(target: &str, fault: Fault, seed: u64) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("tcp://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            target: target.strip_prefix("tcp://").unwrap().to_owned(),
            fault,
            is_closed: AtomicBool::new(false),
            is_silent: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            has_broken: AtomicBool::new(false),
            is_shut: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let running = Arc::clone(&shared);
        thread::spawn(move || running.run(&listener, seed));
        Proxy { address, shared, seed }
    }

    /// What to dial.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How many connections there have been.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Whether one of them has ended, by whoever.
    pub fn has_broken(&self) -> bool {
        self.shared.has_broken.load(Ordering::SeqCst)
    }

    /// Those that are there transport nothing any more, and stay open; later ones do.
    pub fn silence(&self) {
        self.shared.is_silent.store(true, Ordering::SeqCst);
    }

    /// Cuts all that is there, and lets nobody through until it is [opened](Proxy::open).
    pub fn shut(&self) {
        self.shared.is_shut.store(true, Ordering::SeqCst);
        self.cut();
    }

    /// Lets everybody through again.
    pub fn open(&self) {
        self.shared.is_shut.store(false, Ordering::SeqCst);
    }

    /// Cuts all that is there.
    pub fn cut(&self) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// With what it throws its dice.
    pub fn seed(&self) -> u64 {
        self.seed
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_closed.store(true, Ordering::SeqCst);
        // So that it looks.
        let _ = TcpStream::connect(self.address.strip_prefix("tcp://").unwrap());
        self.cut();
    }
}

impl Shared {
    fn run(self: &Arc<Self>, listener: &TcpListener, seed: u64) {
        let mut random = Random(seed | 1);
        loop {
            let Ok((near, _)) = listener.accept() else { return };
            if self.is_closed.load(Ordering::SeqCst) {
                return;
            }
            if self.is_shut.load(Ordering::SeqCst) {
                continue;
            }
            let Ok(far) = TcpStream::connect(&self.target) else { continue };
            let number = self.connections.fetch_add(1, Ordering::SeqCst) + 1;
            for stream in [&near, &far] {
                stream.set_nodelay(true).unwrap();
                self.open.lock().unwrap().push(stream.try_clone().unwrap());
            }
            for (from, to) in [(&near, &far), (&far, &near)] {
                let ends = [from.try_clone().unwrap(), to.try_clone().unwrap()];
                let (shared, mut random) = (Arc::clone(self), Random(random.next() | 1));
                thread::spawn(move || shared.transport(ends, number, &mut random));
            }
        }
    }

    fn transport(&self, [mut from, mut to]: [TcpStream; 2], number: u64, random: &mut Random) {
        let mut buffer = [0; 4096];
        let most = [100, 5_000, 300_000, 3_000_000][random.below(4)];
        let mut left = match self.fault {
            Fault::None => usize::MAX,
            Fault::Random => 1 + random.below(most),
        };
        loop {
            let most = buffer.len().min(left).min(1 + random.below(4096));
            let Ok(len @ 1..) = from.read(&mut buffer[..most]) else { break };
            if number == 1 && self.is_silent.load(Ordering::SeqCst) {
                continue;
            }
            if to.write_all(&buffer[..len]).is_err() {
                break;
            }
            left -= len;
            if left == 0 {
                match random.below(3) {
                    0 => thread::sleep(Duration::from_millis(30)),
                    1 => [&from, &to].iter().for_each(|end| set_socket_linger(end, Some(Duration::ZERO)).unwrap()),
                    _ => {}
                }
                break;
            }
        }
        self.has_broken.store(true, Ordering::SeqCst);
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
