//! Which fids a request is about.

use super::{Fid, Request};

impl Request<'_> {
    /// The fid that must be there already.
    pub const fn fid(&self) -> Option<Fid> {
        use Request::*;
        match *self {
            Version { .. } | Auth { .. } | Attach { .. } | Flush { .. } | Session { .. } | Ack { .. } | Ping => None,
            Statfs { fid } | Readlink { fid } | Clunk { fid } | Remove { fid } | Stat { fid } => Some(fid),
            Lopen { fid, .. } | Lcreate { fid, .. } | Open { fid, .. } | Create { fid, .. } | Enter { fid, .. } => {
                Some(fid)
            }
            Rename { fid, .. } | Getattr { fid, .. } | Setattr { fid, .. } | Wstat { fid, .. } => Some(fid),
            Xattrwalk { fid, .. } | Xattrcreate { fid, .. } | Walk { fid, .. } | Leave { fid, .. } => Some(fid),
            Readdir { fid, .. } | Fsync { fid, .. } | Lock { fid, .. } | Getlock { fid, .. } => Some(fid),
            Read { fid, .. } | Write { fid, .. } | Send { fid, .. } | Recv { fid, .. } => Some(fid),
            Poll { fid, .. } | Watch { fid, .. } => Some(fid),
            Symlink { dfid, .. } | Mknod { dfid, .. } | Link { dfid, .. } | Mkdir { dfid, .. } => Some(dfid),
            Unlinkat { dfid, .. } => Some(dfid),
            Renameat { olddfid, .. } => Some(olddfid),
        }
    }

    /// The fid that it makes.
    pub const fn newfid(&self) -> Option<Fid> {
        match *self {
            Request::Attach { fid, .. } => Some(fid),
            Request::Walk { newfid, .. } | Request::Xattrwalk { newfid, .. } => Some(newfid),
            _ => None,
        }
    }

    /// Another fid that must be there.
    pub const fn other_fid(&self) -> Option<Fid> {
        match *self {
            Request::Rename { dfid, .. } => Some(dfid),
            Request::Link { fid, .. } => Some(fid),
            Request::Renameat { newdfid, .. } => Some(newdfid),
            _ => None,
        }
    }

    /// Whether the fid is forgotten, whatever the reply.
    pub const fn forgets(&self) -> bool {
        matches!(self, Request::Clunk { .. } | Request::Remove { .. } | Request::Leave { .. })
    }
}
