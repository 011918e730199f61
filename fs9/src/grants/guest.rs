//! Somebody who has come with a key: what may be done, as long as it lasts, and what was decided.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fs9_grants::audit::{Event, Record};
use fs9_grants::{Chain, GrantId, Granted, Key, Refusal, Right, Rights};
use rustix::io::Errno;

use super::clock::Clock;
use super::shown::Shown;

/// See the [module](self). Each attach makes one; what is walked to and opened from there goes by it.
#[derive(Debug)]
pub struct Guest {
    /// Which key was proved.
    pub key: Key,
    /// Which one of all since the node began.
    pub session: u64,
    passes: Vec<Pass>,
    /// What it has shown for other nodes.
    shown: Shown,
    clock: Arc<Clock>,
    /// What was decided and is to be written down.
    decided: Mutex<Vec<Record>>,
}

/// What was granted, and whether it has ended.
#[derive(Debug)]
struct Pass {
    granted: Granted,
    revoked: AtomicBool,
    /// That it has ended was seen to.
    ended: AtomicBool,
}

/// What is to be done with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Its path from the root of the mount; `.` is the root.
    pub path: String,
    /// What is to be done.
    pub rights: Rights,
    /// How it must have been granted.
    pub manner: Manner,
}

/// How something must have been granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// By any name that covers it.
    Covered,
    /// By its very name: it shows or controls more than itself.
    Named,
    /// A directory that is read: also one that is on the way.
    Browsed,
    /// Walked to.
    Seen,
}

impl Guest {
    /// The one with this key, to whom all this was granted, and who has shown this for other nodes.
    pub fn new(
        key: Key,
        session: u64,
        granted: impl IntoIterator<Item = Granted>,
        shown: Shown,
        clock: Arc<Clock>,
    ) -> Guest {
        let pass = |granted| Pass { granted, revoked: AtomicBool::new(false), ended: AtomicBool::new(false) };
        let passes = granted.into_iter().map(pass).collect();
        Guest { key, session, passes, shown, clock, decided: Mutex::default() }
    }

    /// Whether this may be done now; that is written down.
    ///
    /// # Errors
    /// EACCES; EKEYREVOKED where it might have been done by what has ended.
    pub fn decide(&self, wish: &Wish) -> Result<(), Errno> {
        // It is decided and noted at once: nothing is taken back in between.
        let mut decided = self.decided();
        let decision = self.may(wish);
        let refused = |errno| if errno == Errno::KEYREVOKED { "it has ended" } else { "it was not granted" };
        let record = match decision {
            // Who walks has done nothing yet.
            Ok(_) if wish.manner == Manner::Seen => return Ok(()),
            Ok(id) => Record { grants: vec![id], ..Record::of(Event::Allowed) },
            Err(errno) => Record { reason: Some(refused(errno).into()), ..Record::of(Event::Refused) },
        };
        let (name, rights) = (Some(wish.path.clone()), Some(wish.rights));
        self.note(&mut decided, Record { name, rights, ..record });
        decision.map(drop)
    }

    /// Whether this may be done now, and by which grant. Nobody is told.
    ///
    /// # Errors
    /// As [`Guest::decide`].
    pub fn may(&self, wish: &Wish) -> Result<GrantId, Errno> {
        let now = self.clock.now();
        let mut fitting = self.passes.iter().filter(|pass| wish.fits(&pass.granted)).peekable();
        let errno = if fitting.peek().is_some() { Errno::KEYREVOKED } else { Errno::ACCESS };
        fitting.find(|pass| pass.lasts(now)).map(|pass| pass.granted.id()).ok_or(errno)
    }

    /// Whether an entry of a directory is seen there.
    pub fn lists(&self, path: &str) -> bool {
        let now = self.clock.now();
        self.passes.iter().any(|pass| pass.lasts(now) && pass.granted.lists(path))
    }

    /// Whether something has ended that had not been seen to: what is open may have to be closed.
    pub fn has_lost(&self) -> bool {
        let now = self.clock.now();
        let mut lost = false;
        if self.passes.iter().all(|pass| pass.lasts(now)) {
            return lost;
        }
        let mut decided = self.decided();
        for pass in self.passes.iter().filter(|pass| !pass.lasts(now)) {
            if !pass.ended.swap(true, Ordering::Relaxed) {
                let why = if pass.revoked.load(Ordering::Relaxed) { "revoked" } else { "expired" };
                let (grants, reason) = (vec![pass.granted.id()], Some(why.to_owned()));
                self.note(&mut decided, Record { grants, reason, ..Record::of(Event::Ended) });
                lost = true;
            }
        }
        lost
    }

    /// Whether something was taken away.
    pub fn has_less(&self) -> bool {
        self.passes.iter().any(|pass| pass.ended.load(Ordering::Relaxed))
    }

    /// The chain of grants for `node` that it has passed on to this node, whose key is `own`, as one that counts there
    /// now.
    ///
    /// # Errors
    /// EACCES, or EKEYREVOKED where it has expired, and why.
    pub fn passed_on(&self, node: &Key, own: &Key, now: u64) -> Result<&Chain, (Errno, String)> {
        let chain = self.shown.get(node).ok_or_else(|| {
            let how = format!("`fs9 delegate GRANT --to {own}`, and show that with `fs9 attach --grant`");
            (Errno::ACCESS, format!("none of {node} was shown: {how}"))
        })?;
        match chain.verify_relayed(node, own, &self.key, now) {
            Ok(()) => Ok(chain),
            Err(Refusal::Expired) => Err((Errno::KEYREVOKED, Refusal::Expired.to_string())),
            Err(refusal) => Err((Errno::ACCESS, refusal.to_string())),
        }
    }

    /// When the next thing ends, in seconds since 1970.
    pub fn next_end(&self) -> Option<u64> {
        let lasting = self.passes.iter().filter(|pass| !pass.ended.load(Ordering::Relaxed));
        lasting.map(|pass| pass.granted.ends()).min()
    }

    /// The grants by which it came, and those that they follow from.
    pub fn ids(&self) -> impl Iterator<Item = GrantId> {
        self.passes.iter().flat_map(|pass| pass.granted.ids())
    }

    /// All that follows from a grant has ended. Returns what was decided before.
    pub fn revoke(&self, id: &GrantId) -> Vec<Record> {
        let mut decided = self.decided();
        let follow = self.passes.iter().filter(|pass| pass.granted.ids().any(|one| one == *id));
        follow.for_each(|pass| pass.revoked.store(true, Ordering::Relaxed));
        std::mem::take(&mut *decided)
    }

    /// Whether anything was decided since that was last taken.
    pub fn has_decided(&self) -> bool {
        !self.decided().is_empty()
    }

    /// What was decided since this was last asked.
    pub fn take_decided(&self) -> Vec<Record> {
        std::mem::take(&mut *self.decided())
    }

    /// These could not be written down.
    pub fn put_back(&self, mut records: Vec<Record>) {
        let mut decided = self.decided();
        records.append(&mut decided);
        *decided = records;
    }

    fn decided(&self) -> MutexGuard<'_, Vec<Record>> {
        self.decided.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, decided: &mut Vec<Record>, record: Record) {
        decided.push(Record { time: self.clock.now(), session: Some(self.session), key: Some(self.key), ..record });
    }
}

impl PartialEq for Guest {
    fn eq(&self, other: &Guest) -> bool {
        self.session == other.session
    }
}

impl Eq for Guest {}

impl Pass {
    fn lasts(&self, now: u64) -> bool {
        !self.revoked.load(Ordering::Relaxed) && now < self.granted.ends()
    }
}

impl Wish {
    /// To walk to `path`.
    pub fn to_see(path: String) -> Wish {
        Wish { path, rights: Rights::NONE, manner: Manner::Seen }
    }

    fn fits(&self, granted: &Granted) -> bool {
        let all = |allows: &dyn Fn(Right) -> bool| self.rights.iter().all(allows);
        match self.manner {
            Manner::Covered => all(&|right| granted.allows(&self.path, right)),
            Manner::Named => all(&|right| granted.names(&self.path, right)),
            Manner::Browsed => granted.opens(&self.path),
            Manner::Seen => granted.shows(&self.path),
        }
    }
}

#[cfg(test)]
mod tests;
