//! A peer goes beside a message, never inside.

use fs9_tiers::Peer;

fn main() {
    let _ = fs9_tiers::pair::<Peer<u8, u8>, ()>();
}
