//! A type of one's own needs serde's two traits, and zerocopy's four to be plain.

use fs9_tiers::Pod;

struct Mine {
    _field: u8,
}

fn main() {
    let _ = fs9_tiers::pair::<Mine, Pod<Mine>>();
}
