//! What joins the two cables: passes every packet on, sooner or later, out of order or never, as the weather is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fs9_tests::sys::packet;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::dice::Dice;

/// What becomes of packets.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// Each is this late.
    pub delay: Duration,
    /// And up to so much later, each by itself: so they overtake one another.
    pub jitter: Duration,
    /// So many of a hundred are lost.
    pub loss: u64,
    /// All that go to the far end, or come from there, are lost.
    pub cut: [bool; 2],
}

/// A thread that passes packets on.
pub struct Bridge {
    weather: Arc<Mutex<Weather>>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Bridge {
    /// Between two interfaces of the thread's network namespace: the near end's and the far end's.
    pub fn between(near: &str, far: &str, seed: u64) -> Bridge {
        let sockets = [near, far].map(|name| packet::at_interface(index(name)).unwrap());
        let weather = Arc::new(Mutex::new(Weather::default()));
        let stopped = Arc::new(AtomicBool::new(false));
        let state = (weather.clone(), stopped.clone());
        let thread = thread::spawn(move || pass(&sockets, &state.0, &state.1, Dice::new(seed)));
        Bridge { weather, stopped, thread: Some(thread) }
    }

    /// From now on.
    pub fn set(&self, weather: Weather) {
        *self.weather.lock().unwrap() = weather;
    }

    pub fn stop(&mut self) {
        self.stopped.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn index(name: &str) -> u32 {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    rustix::net::netdevice::name_to_index(socket, name).unwrap()
}

/// Packets that wait, the one that is due first at the top: when, the how-manieth, where to, and its bytes.
type Waiting = BinaryHeap<Reverse<(Instant, u64, usize, Vec<u8>)>>;

fn pass(sockets: &[OwnedFd; 2], weather: &Mutex<Weather>, stopped: &AtomicBool, mut dice: Dice) {
    let (mut waiting, mut number) = (Waiting::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    while !stopped.load(Relaxed) {
        let due =
            waiting.peek().map_or(Duration::from_millis(50), |next| next.0.0.saturating_duration_since(Instant::now()));
        let mut polled = sockets.each_ref().map(|socket| PollFd::new(socket, PollFlags::IN));
        poll(&mut polled, Some(&Timespec::try_from(due).unwrap())).unwrap();
        for from in [0, 1] {
            while let Ok((len, _)) = recv(sockets[from].as_fd(), &mut buffer, RecvFlags::empty()) {
                let now = *weather.lock().unwrap();
                if now.cut[from] || dice.below(100) < now.loss {
                    continue;
                }
                number += 1;
                let late = now.delay + Duration::from_micros(dice.below(now.jitter.as_micros() as u64 + 1));
                waiting.push(Reverse((Instant::now() + late, number, 1 - from, buffer[..len].to_vec())));
            }
        }
        while waiting.peek().is_some_and(|next| next.0.0 <= Instant::now()) {
            let Reverse((_, _, to, packet)) = waiting.pop().unwrap();
            // A cable that takes no more loses it, as cables do.
            let _ = send(&sockets[to], &packet, SendFlags::empty());
        }
    }
}
