//! A file is a handle.

fn main() {
    let _ = fs9_tiers::pair::<std::fs::File, ()>();
}
