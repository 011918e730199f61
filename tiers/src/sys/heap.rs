//! glibc's heap, asked to give memory back (mallopt(3), malloc_trim(3)). Other C libraries do so by themselves, or not
//! at all; there these do nothing.

/// Allocations of `bytes` and more are mapped on their own, and unmapped as soon as they are freed.
pub fn map_from(bytes: i32) {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt takes two integers and only sets a parameter of the allocator, under the allocator's own lock.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, bytes);
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = bytes;
}

/// Returns every free page of the heap to the kernel. Takes milliseconds where there are many.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim releases only memory that is not allocated, under the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}
