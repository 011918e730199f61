//! What is measured: round trips, timed one by one, and the figures that are made of them.
//!
//! Everybody pays the same for the clock: one reading of it a round trip.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

/// 64 bytes.
pub type Message = [u64; 8];

/// In the first word of a message: the other end leaves, without an answer.
pub const STOP: u64 = u64::MAX;

const WARM_UP: Duration = Duration::from_millis(60);
const REPETITION: Duration = Duration::from_millis(300);

/// Microseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// The median.
    pub p50: f64,
    /// The mean: all the time there was, by the number of round trips.
    pub mean: f64,
    /// What 99 of 100 do not exceed.
    pub p99: f64,
}

/// One of the [`Figures`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// The median.
    P50,
    /// The mean.
    Mean,
    /// The 99th percentile.
    P99,
}

impl Figure {
    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Figure::P50 => "p50",
            Figure::Mean => "mean",
            Figure::P99 => "p99",
        }
    }
}

impl Figures {
    /// One of them.
    pub fn get(&self, figure: Figure) -> f64 {
        match figure {
            Figure::P50 => self.p50,
            Figure::Mean => self.mean,
            Figure::P99 => self.p99,
        }
    }

    /// As a line, for the process that prints the table.
    pub fn line(&self) -> String {
        format!("{} {} {}", self.p50, self.mean, self.p99)
    }

    /// The reverse of [`Figures::line`].
    pub fn parse(line: &str) -> Figures {
        let numbers: Vec<f64> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
        Figures { p50: numbers[0], mean: numbers[1], p99: numbers[2] }
    }
}

/// Times `once` for one repetition, after a warm-up that says how often. It is given a number that grows; `finish` is
/// called at the end of the warm-up and of the repetition, within their time: it waits for what is still on its way.
pub fn repeat(mut once: impl FnMut(u64), mut finish: impl FnMut()) -> Figures {
    let (start, mut number) = (Instant::now(), 0);
    while number < 20 || start.elapsed() < WARM_UP {
        once(number);
        number += 1;
    }
    finish();
    let rounds = (number as f64 * REPETITION.as_secs_f64() / start.elapsed().as_secs_f64()).max(50.0) as u64;
    // Written to before it is timed, so that no page of it is faulted in between.
    let mut times = vec![u32::MAX; rounds as usize];
    let start = Instant::now();
    let mut before = start;
    for (round, time) in (number..).zip(&mut times) {
        once(round);
        let now = Instant::now();
        *time = u32::try_from((now - before).as_nanos()).unwrap_or(u32::MAX);
        before = now;
    }
    finish();
    let mean = start.elapsed().as_secs_f64() * 1e6 / rounds as f64;
    times.sort_unstable();
    let at = |per_cent: usize| f64::from(times[(times.len() - 1) * per_cent / 100]) / 1e3;
    Figures { p50: at(50), mean, p99: at(99) }
}

/// Times round trips of 64 bytes: `exchange` sends a message and returns the answer, which must be the same.
pub fn round_trips(mut exchange: impl FnMut(Message) -> Message) -> Figures {
    repeat(
        |number| {
            let sent = [number; 8];
            assert_eq!(exchange(sent), sent, "an echo returns what it was sent");
        },
        || (),
    )
}

/// The message that ends an echo.
pub fn stop() -> Message {
    [STOP; 8]
}

/// The bytes of a message.
pub fn bytes_of(message: Message) -> [u8; 64] {
    let mut bytes = [0; 64];
    for (bytes, word) in bytes.chunks_exact_mut(8).zip(message) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

/// The reverse of [`bytes_of`].
pub fn message_of(bytes: &[u8]) -> Message {
    let mut message = [0; 8];
    for (word, bytes) in message.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_ne_bytes(bytes.try_into().unwrap());
    }
    message
}
