//! An open descriptor of another node's file, and the process behind it: only this machine knows how that ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fs9_proto::message::Fid;
use fs9_tiers::error::Reason;
use fs9_tiers::holder::Holder;

use crate::holders::has_closed;
use crate::net::attach::Link;
use crate::server::Flags;
use crate::view::View;

/// See the [module](self).
#[derive(Debug)]
pub struct Opened {
    /// The way to its node.
    pub link: Arc<Link>,
    /// What it is there.
    pub fid: Fid,
    /// It has no position: each read is of a message.
    pub stream: bool,
    /// How its bytes are messages.
    pub view: View,
    /// How it was opened.
    pub flags: Flags,
    holder: Arc<Holder>,
    /// The holder closed it while alive, and nothing was asked of it since.
    closed: AtomicBool,
}

impl Opened {
    /// A descriptor that `holder` has.
    pub fn new(link: Arc<Link>, fid: Fid, stream: bool, view: View, flags: Flags, holder: Arc<Holder>) -> Opened {
        Opened { link, fid, stream, view, flags, holder, closed: AtomicBool::new(false) }
    }

    /// Whether the kernel is to tell of every close.
    pub fn wants_flush(&self) -> bool {
        self.stream && self.flags.read && !self.flags.write
    }

    /// The process that opened it, once it is closed.
    pub fn into_holder(self) -> Arc<Holder> {
        self.holder
    }

    /// Something is asked of it.
    pub fn note_use(&self) {
        self.closed.store(false, Ordering::Relaxed);
    }

    /// Thread `tid` has closed one of perhaps several descriptors.
    pub fn note_close(&self, tid: u32) {
        if let Some(closed) = has_closed(&self.holder, tid) {
            self.closed.store(closed, Ordering::Relaxed);
        }
    }

    /// Why it was released, as far as anybody wants to know.
    pub fn reason(&self) -> Reason {
        if !self.stream || self.closed.load(Ordering::Relaxed) { Reason::Closed } else { self.holder.ending() }
    }
}
