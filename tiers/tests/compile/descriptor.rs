//! A descriptor is a handle, also inside of something else.

fn main() {
    let _ = fs9_tiers::pair::<(), Vec<std::os::fd::OwnedFd>>();
}
