//! What needs `unsafe`.

pub mod alloc;
pub mod packet;
