//! The wire format of the FUSE protocol (`linux/fuse.h`, 7.38 and later): bytes of /dev/fuse in, bytes for it out.
//!
//! - `layout`: every C structure used, in the order of the header, and its constants.
//! - `request`: [`Request::parse`] checks every length and yields an [`Operation`] that borrows from the buffer.
//! - `reply`: [`OutHeader`] and, for directories, [`DirBuffer`]; a reply is a header and at most one structure, each
//!   `as_bytes()`, in one `writev(2)`.
//!
//! It does no I/O and allocates nothing, but for a directory's listing. It does not decide: what a name may be, and
//! which errno answers what, is the server's rule. INIT is recognised but not parsed, for the mount has completed it
//! before our loop reads the device. Numbers are in the machine's own byte order, as the kernel sends them.

use zerocopy::FromBytes;

mod layout;
mod reply;
mod request;

/// Whether a request that was read is a RELEASE or RELEASEDIR, without parsing the rest of it.
pub fn is_release(bytes: &[u8]) -> bool {
    let opcode = Header::read_from_prefix(bytes).ok().and_then(|(header, _)| Opcode::new(header.opcode));
    matches!(opcode, Some(Opcode::Release | Opcode::Releasedir))
}

pub use layout::*;
pub use reply::DirBuffer;
pub use request::{Fault, Operation, ParseError, Request, SetTime, Setattr};
