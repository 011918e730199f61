//! Failure points: places between two steps of a protocol where a test may have this process killed.
//!
//! With the feature `failure-points` a process that was started with `FS9_DIE_AT=PLACE:N` kills itself (SIGKILL) when
//! it comes to PLACE for the N-th time. Without it a step is nothing.
#![forbid(unsafe_code)]

/// Marks a place; the names are of the form "module: what was just done".
#[cfg(not(feature = "failure-points"))]
pub fn step(_place: &'static str) {}

/// Marks a place, and ends the process here if the environment says so.
#[cfg(feature = "failure-points")]
pub fn step(place: &'static str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static FATAL: LazyLock<Option<(String, u32)>> = LazyLock::new(|| {
        let order = std::env::var("FS9_DIE_AT").ok()?;
        let (place, time) = order.rsplit_once(':')?;
        Some((place.to_owned(), time.parse().ok()?))
    });
    static TIMES: AtomicU32 = AtomicU32::new(0);

    if let Some((fatal, time)) = FATAL.as_ref()
        && place == fatal
        && TIMES.fetch_add(1, Ordering::Relaxed) + 1 == *time
    {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
