//! The processes of this machine that have descriptors: one pidfd serves all that a process has.

use std::sync::{Arc, Weak};

use fs9_tiers::error::Reason;
use fs9_tiers::holder::Holder;
use rustc_hash::FxHashMap;
use rustix::io::Errno;

use crate::tree::shrink;

/// The processes, by their numbers.
#[derive(Debug, Default)]
pub struct Holders(FxHashMap<u32, Weak<Holder>>);

impl Holders {
    /// The process of a thread.
    ///
    /// # Errors
    /// EMFILE, ESRCH.
    pub fn of(&mut self, tid: u32) -> Result<Arc<Holder>, Errno> {
        if let Some(holder) = self.known(tid) {
            return Ok(holder);
        }
        let holder = Holder::of(tid).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        let pid = holder.pid();
        if pid == 0 {
            return Ok(Arc::new(holder));
        }
        // Asked for by the number of a thread it may be known by that of its process.
        if pid != tid
            && let Some(known) = self.known(pid)
        {
            return Ok(known);
        }
        if self.0.len() == self.0.capacity() {
            self.0.retain(|_, holder| holder.strong_count() > 0);
        }
        let holder = Arc::new(holder);
        self.0.insert(pid, Arc::downgrade(&holder));
        Ok(holder)
    }

    fn known(&self, pid: u32) -> Option<Arc<Holder>> {
        self.0.get(&pid).and_then(Weak::upgrade).filter(|holder| holder.is_current())
    }

    /// A descriptor of this process is closed.
    pub fn release(&mut self, holder: Arc<Holder>) {
        let pid = holder.pid();
        drop(holder);
        if self.0.get(&pid).is_some_and(|holder| holder.strong_count() == 0) {
            self.0.remove(&pid);
            shrink(&mut self.0);
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Thread `tid` has closed one of perhaps several descriptors that `holder` has. None where it is not the holder's;
/// otherwise whether the holder has closed it, and is not on its way out: that is why it is asked now, while the closer
/// waits for us.
pub fn has_closed(holder: &Holder, tid: u32) -> Option<bool> {
    holder.owns(tid).then(|| holder.ending() == Reason::Closed)
}
