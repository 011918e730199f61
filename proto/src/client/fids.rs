//! Which fids are given out, and when one may be given out again.

use rustc_hash::FxHashMap;

use super::{AUTH, ROOT};
use crate::message::Fid;

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Requests that make something of it and were not withdrawn.
    binders: u32,
    leaving: bool,
}

/// Numbers go up over all sessions, so that a fid of an earlier one is never taken for one of this.
#[derive(Debug)]
pub(super) struct Fids {
    used: FxHashMap<Fid, State>,
    free: Vec<Fid>,
    next: u32,
}

impl Default for Fids {
    fn default() -> Fids {
        Fids { used: FxHashMap::default(), free: Vec::new(), next: ROOT.0 + 1 }
    }
}

impl Fids {
    pub fn alloc(&mut self) -> Fid {
        let fid = self.free.pop().unwrap_or_else(|| {
            loop {
                // 2^32 opens later the numbers begin again; those that are still in use are left out.
                let fid = Fid(self.next);
                self.next = if self.next == AUTH.0 - 1 { ROOT.0 + 1 } else { self.next + 1 };
                if !self.used.contains_key(&fid) {
                    break fid;
                }
            }
        });
        self.used.insert(fid, State::default());
        fid
    }

    pub fn is_usable(&self, fid: Fid) -> bool {
        fid == ROOT || self.used.get(&fid).is_some_and(|state| !state.leaving)
    }

    /// A request that makes something of it is on its way.
    pub fn bind(&mut self, fid: Fid) {
        if let Some(state) = self.used.get_mut(&fid) {
            state.binders += 1;
        }
    }

    /// One such request will never be sent. True if the far side will never have heard of the fid, which is then free
    /// if it was given back.
    pub fn unbind(&mut self, fid: Fid) -> bool {
        let Some(state) = self.used.get_mut(&fid) else { return false };
        state.binders = state.binders.saturating_sub(1);
        let (unknown, leaving) = (state.binders == 0, state.leaving);
        if unknown && leaving {
            self.free(fid);
        }
        unknown && leaving
    }

    /// It is given back. True if the far side is to be told; otherwise it is free.
    pub fn leave(&mut self, fid: Fid) -> bool {
        let Some(state) = self.used.get_mut(&fid).filter(|state| !state.leaving) else { return false };
        state.leaving = true;
        let known = state.binders > 0;
        if !known {
            self.free(fid);
        }
        known
    }

    /// The far side has forgotten it.
    pub fn free(&mut self, fid: Fid) {
        if self.used.remove(&fid).is_some() {
            self.free.push(fid);
        }
    }

    /// The session is gone.
    pub fn clear(&mut self) {
        self.used.clear();
        self.free.clear();
    }

    pub fn len(&self) -> usize {
        self.used.len()
    }
}
