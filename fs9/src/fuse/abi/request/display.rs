//! How requests are shown.

use std::fmt;

use super::*;

impl fmt::Display for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Header { unique, nodeid, uid, pid, .. } = self.header;
        write!(f, "#{unique} node {nodeid} uid {uid} pid {pid}: {}", self.operation)
    }
}

/// One line, whatever the bytes; of data only their length, for they are not ours to tell.
impl fmt::Display for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Lookup { name } => write!(f, "Lookup {}", quoted(name)),
            Self::Mknod { mode, rdev, umask, name } => {
                write!(f, "Mknod {} mode {mode:o} rdev {rdev} umask {umask:o}", quoted(name))
            }
            Self::Mkdir { mode, umask, name } => write!(f, "Mkdir {} mode {mode:o} umask {umask:o}", quoted(name)),
            Self::Unlink { name } => write!(f, "Unlink {}", quoted(name)),
            Self::Rmdir { name } => write!(f, "Rmdir {}", quoted(name)),
            Self::Rename { newdir, flags, name, newname } => {
                write!(f, "Rename {} to {} in node {newdir} flags {flags:#x}", quoted(name), quoted(newname))
            }
            Self::Create { flags, mode, umask, name } => {
                write!(f, "Create {} flags {flags:#o} mode {mode:o} umask {umask:o}", quoted(name))
            }
            Self::Write { fh, offset, flags, data } => {
                write!(f, "Write fh {fh} offset {offset} size {} flags {flags:#o}", data.len())
            }
            Self::BatchForget { forgets } => write!(f, "BatchForget {}", forgets.len()),
            Self::Other { opcode } => match Opcode::new(opcode) {
                Some(name) => write!(f, "{name:?}"),
                None => write!(f, "opcode {opcode}"),
            },
            ref numbers => write!(f, "{numbers:?}"),
        }
    }
}

fn quoted(name: &[u8]) -> impl fmt::Display {
    fmt::from_fn(move |f| write!(f, "'{}'", name.escape_ascii()))
}
