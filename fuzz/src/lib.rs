//! What the fuzz targets share: frames that state their own size, and an account of memory.

use std::alloc::System;

use cap::Cap;
use fs9_proto::Dialect;

/// Counts what is allocated; more than this fails, and is a finding.
#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, 64 << 20);

/// Bytes that are allocated now.
pub fn allocated() -> usize {
    MEMORY.allocated()
}

/// Runs something that must not allocate. (It is asked of all that was ever allocated, so giving back does not hide
/// it.)
pub fn quietly<T>(run: impl FnOnce() -> T) -> T {
    let before = MEMORY.total_allocated();
    let result = run();
    assert_eq!(MEMORY.total_allocated(), before, "something was allocated");
    result
}

/// Runs something that must not allocate more than `most` bytes in all.
pub fn sparingly<T>(most: usize, run: impl FnOnce() -> T) -> T {
    let before = MEMORY.total_allocated();
    let result = run();
    assert!(MEMORY.total_allocated() - before <= most, "more than {most} bytes were allocated");
    result
}

/// The first byte as a dialect, the rest as a frame whose size is right, or chance seldom gets beyond the header.
pub fn framed(bytes: &[u8]) -> Option<(Dialect, Vec<u8>)> {
    let (first, rest) = bytes.split_first()?;
    let dialect = [Dialect::Old, Dialect::Linux, Dialect::Own][usize::from(*first % 3)];
    Some((dialect, sized(rest)))
}

/// `size[4]`, and these bytes.
pub fn sized(body: &[u8]) -> Vec<u8> {
    let size = body.len() as u32 + 4;
    [&size.to_le_bytes(), body].concat()
}
