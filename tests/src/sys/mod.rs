//! What needs `unsafe`.

pub mod alloc;
