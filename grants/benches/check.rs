//! What it costs to check a chain of grants, against a bare verification of one signature of Ed25519, in turn:
//! `cargo bench -p fs9-grants`. It is done once when somebody attaches.
#![allow(clippy::unwrap_used, reason = "a measurement")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use fs9_grants::{Chain, Key, Names, Right, Secret, Terms};

const NOW: u64 = 1_900_000_000;
const ROUNDS: usize = 5000;

fn person(number: u8) -> Secret {
    Secret::from_seed(&[number; 32])
}

/// The holder of each grant has passed it on to the next, and the node itself has granted the first.
fn chain_of(length: u8) -> (Chain, Key) {
    let terms = |holder: Key, depth: u8| Terms {
        holder,
        names: Names::new(["jobs"]).unwrap(),
        rights: Right::Read.into(),
        not_before: NOW,
        not_after: NOW + 600,
        nonce: [7; 16],
        depth: depth.try_into().unwrap(),
    };
    let first = Chain::issue(&person(0), terms(person(1).key(), 3)).unwrap();
    let chain = (1..length).fold(first, |chain, number| {
        chain.delegate(&person(number), terms(person(number + 1).key(), 3 - number)).unwrap()
    });
    (chain, person(length).key())
}

/// What `check` takes: the median, and the 99th of a hundred.
fn times(mut all: Vec<Duration>) -> (Duration, Duration) {
    all.sort();
    (all[all.len() / 2], all[all.len() * 99 / 100])
}

fn timed<T>(check: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    black_box(check());
    start.elapsed()
}

fn main() {
    let signer = SigningKey::from_bytes(&[7; 32]);
    let (key, message) = (VerifyingKey::from(&signer), [9; 250]);
    let signature: Signature = signer.sign(&message);
    for length in 1..=4 {
        let (chain, holder) = chain_of(length);
        let (text, node) = (chain.to_string(), person(0).key());
        let check = || text.parse::<Chain>().unwrap().verify(&node, &holder, NOW, |_| false).unwrap();
        let both = (0..ROUNDS).map(|_| (timed(|| key.verify_strict(&message, &signature).unwrap()), timed(check)));
        let (bare, checks): (Vec<_>, Vec<_>) = both.unzip();
        let (bare, (median, late)) = (times(bare).0, times(checks));
        let ratio = median.as_secs_f64() / bare.as_secs_f64();
        println!("a chain of {length}: {median:.1?}, 99th {late:.1?}; one signature: {bare:.1?}; ratio {ratio:.2}");
    }
}
