//! Who may come to this node, and what they may do: what was granted and revoked, kept in the state directory, and the
//! log of every decision. The rules themselves are those of `fs9_grants`; here they meet the clock, the files and those
//! who ask.
//!
//! - `grants` has a line for each grant of this node's own that has not ended, as `fs9 grant` prints it.
//! - `revoked` has a line for each grant that was taken back: its id.
//! - `audit.log` has a line for each decision.
//!
//! Files are replaced whole or not at all, and that before anything is answered. One process at a time answers as the
//! node of a state directory.

mod allowance;
mod clock;
mod guest;
mod ledger;
mod shown;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use fs9_grants::audit::{Event, Record};
use fs9_grants::{Chain, GrantId, Granted, Key, Refusal};
use rustix::io::Errno;

use crate::allotment::Exhausted;
use crate::identity::{Identity, State};
use allowance::Allowance;
pub use clock::{Clock, wall};
pub use guest::{Guest, Manner, Wish};
use ledger::Ledger;
pub use shown::{Shown, lines};
use store::{Files, Store};
pub use store::{LOG, StoreError};

/// So many grants of its own a node has at once.
const MOST: usize = 1024;

/// See the [module](self).
#[derive(Debug)]
pub struct Grants {
    key: Key,
    clock: Arc<Clock>,
    sessions: AtomicU64,
    desk: Mutex<Desk>,
    /// Woken when a guest has less than before.
    less: OnceLock<Waker>,
}

/// What changes.
#[derive(Debug)]
struct Desk {
    store: Store,
    ledger: Ledger,
    issued: BTreeMap<GrantId, Chain>,
    revoked: BTreeSet<GrantId>,
    guests: Vec<Weak<Guest>>,
    strangers: Allowance,
}

/// What the mount's owner decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// To let somebody in, by a grant of the node's own.
    Grant(Box<Chain>),
    /// To take a grant back: its id, or the beginning of it.
    Revoke(String),
}

impl Decision {
    /// To let somebody in, as a grant in text says.
    pub fn grant(text: &str) -> Option<Decision> {
        text.parse().ok().map(|chain| Decision::Grant(Box::new(chain)))
    }
}

/// A grant of this node's own.
#[derive(Debug)]
pub struct Issued {
    /// The grant.
    pub chain: Chain,
    /// It was taken back.
    pub revoked: bool,
}

/// What a node has granted, by its files.
///
/// # Errors
/// They cannot be read.
pub fn issued(identity: &Identity) -> Result<Vec<Issued>, StoreError> {
    let files = Files::of(identity);
    let revoked = files.revoked()?;
    let issued = files.issued()?.into_iter();
    Ok(issued.map(|(id, chain)| Issued { chain, revoked: revoked.contains(&id) }).collect())
}

/// When a node has last decided anything, in seconds since 1970.
pub fn last(state: &State) -> u64 {
    ledger::last(&state.path(LOG))
}

/// Why somebody is not let in, or not let through.
#[derive(Debug)]
pub struct Refused {
    /// As it is answered.
    pub errno: Errno,
    /// As it is told.
    pub reason: String,
}

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Refused {
        Refused { errno, reason: String::new() }
    }
}

impl Grants {
    /// Those of the node with this identity.
    ///
    /// # Errors
    /// Its files cannot be read, or another process uses them.
    pub fn open(identity: &Identity) -> Result<Grants, StoreError> {
        let key = identity.key();
        let store = Store::open(identity)?;
        let (issued, revoked, mut ledger) = (store.files.issued()?, store.files.revoked()?, store.ledger()?);
        let clock = Arc::new(Clock::since(ledger.last()));
        let started = Record { key: Some(key), ..Record::of(Event::Started) };
        ledger.write(clock.now(), started).map_err(|error| StoreError::Ledger(store.log(), error.into()))?;
        let (guests, strangers) = (Vec::new(), Allowance::full());
        let desk = Mutex::new(Desk { store, ledger, issued, revoked, guests, strangers });
        Ok(Grants { key, clock, sessions: AtomicU64::new(1), desk, less: OnceLock::new() })
    }

    /// `waker` is woken whenever something was taken back.
    pub fn when_less(&self, waker: Waker) {
        // There is one loop that serves guests, for good.
        let _ = self.less.set(waker);
    }

    /// The clock by which what was granted begins and ends.
    pub fn clock(&self) -> Arc<Clock> {
        self.clock.clone()
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets somebody in who has proved `key`: by the chain of grants that is shown for this node, or else by all that
    /// this node has granted that key. Chains for other nodes are kept, for those that are reached through this one. It
    /// is written down before this returns.
    ///
    /// # Errors
    /// EACCES where nothing was granted, EKEYREVOKED where it has ended, EIO where it cannot be written down.
    pub fn admit(&self, key: Key, shown: Option<&[u8]>) -> Result<(Arc<Guest>, Record), Refused> {
        let now = self.clock.now();
        let session = self.sessions.fetch_add(1, Ordering::Relaxed);
        let mut desk = self.desk();
        let record = Record { session: Some(session), key: Some(key), ..started() };
        let mut shown = match Shown::parse(shown.unwrap_or_default()) {
            Ok(shown) => shown,
            Err(error) => return Err(desk.refuse(now, Errno::ACCESS, error.to_string(), record)),
        };
        let chain = shown.take(&self.key);
        let granted = match &chain {
            Some(chain) => desk.verify(&self.key, key, now, chain).map(|granted| vec![granted]),
            None => desk.granted_to(&self.key, key, now),
        };
        let record = Record { chain, ..record };
        let granted = granted.map_err(|(errno, reason)| {
            let reason = match shown.first() {
                Some(_) if record.chain.is_none() => format!("{reason}; what was shown is for another node"),
                _ => reason,
            };
            desk.refuse(now, errno, reason, record.clone())
        })?;
        let grants = granted.iter().map(Granted::id).collect();
        let record = Record { event: Event::Admitted, grants, ..record };
        if let Err(error) = desk.ledger.write(now, record.clone()) {
            let reason = format!("it cannot be written down: {error}");
            return Err(Refused { errno: Errno::IO, reason });
        }
        let guest = Arc::new(Guest::new(key, session, granted, shown, self.clock.clone()));
        desk.guests.retain(|guest| guest.strong_count() > 0);
        desk.guests.push(Arc::downgrade(&guest));
        Ok((guest, record))
    }

    /// By which chain of grants this node goes on to another for a guest: to the one with the key `node`, which is
    /// attached as `path`. What is returned too was written down, and if it cannot be it is not done.
    pub fn relay(&self, guest: &Guest, path: &str, node: &Key) -> (Result<Chain, Refused>, Record) {
        let now = self.clock.now();
        let (session, key, name) = (Some(guest.session), Some(guest.key), Some(path.to_owned()));
        let record = Record { session, key, name, ..started() };
        let (chain, record) = match guest.passed_on(node, &self.key, now) {
            Ok(chain) => (Ok(chain.clone()), Record { event: Event::Relayed, chain: Some(chain.clone()), ..record }),
            Err((errno, why)) => {
                let reason = format!("{path} is used with a grant of its own node: {why}");
                (Err(Refused { errno, reason: reason.clone() }), Record { reason: Some(reason), ..record })
            }
        };
        match self.desk().record(now, record.clone()) {
            Ok(_) => (chain, record),
            Err(errno) => (Err(Refused { errno, reason: "it cannot be written down".into() }), record),
        }
    }

    /// Turns somebody away who has proved `key`, and has as much as a key may have. It is written down.
    pub fn turn_away(&self, key: Key, exhausted: Exhausted) -> Refused {
        let session = Some(self.sessions.fetch_add(1, Ordering::Relaxed));
        let record = Record { session, key: Some(key), ..started() };
        self.desk().refuse(self.clock.now(), exhausted.errno, exhausted.reason, record)
    }

    /// Does what the owner has decided. Returns what was written down, which may be more: decisions about guests that
    /// came before.
    ///
    /// # Errors
    /// Those of [`Grants::issue`] and [`Grants::revoke`].
    pub fn carry_out(&self, decision: Decision) -> Result<Vec<Record>, Errno> {
        match decision {
            Decision::Grant(chain) => self.issue(*chain),
            Decision::Revoke(beginning) => self.revoke(&beginning),
        }
    }

    /// Takes in a grant of this node's own, as `fs9 grant` has signed it. Returns what was written down.
    ///
    /// # Errors
    /// EKEYREJECTED where it is none of its own, EKEYEXPIRED, EKEYREVOKED, ENOSPC where there are too many, EIO.
    pub fn issue(&self, chain: Chain) -> Result<Vec<Record>, Errno> {
        let now = self.clock.now();
        let (id, holder) = (chain.last().id(), chain.last().grant().holder);
        let mut desk = self.desk();
        match chain.verify(&self.key, &holder, now, |id| desk.revoked.contains(id)) {
            Ok(_) | Err(Refusal::NotYet) if chain.links().count() == 1 => {}
            Err(Refusal::Expired) => return Err(Errno::KEYEXPIRED),
            Err(Refusal::Revoked(_)) => return Err(Errno::KEYREVOKED),
            _ => return Err(Errno::KEYREJECTED),
        }
        let mut issued = desk.issued.clone();
        issued.retain(|_, chain| now < chain.last().grant().not_after);
        issued.insert(id, chain.clone());
        if issued.len() > MOST {
            return Err(Errno::NOSPC);
        }
        desk.store.keep_issued(&issued).map_err(said)?;
        desk.issued = issued;
        let granted = Record { key: Some(holder), grants: vec![id], chain: Some(chain), ..Record::of(Event::Granted) };
        desk.record_after(Guest::take_decided, now, granted)
    }

    /// Takes back a grant, and with it all that follows from it: its whole id, or the beginning of one that is known
    /// here.
    ///
    /// # Errors
    /// ENOENT where none is known that begins so, ENOTUNIQ where several are, EIO.
    pub fn revoke(&self, beginning: &str) -> Result<Vec<Record>, Errno> {
        let now = self.clock.now();
        let mut desk = self.desk();
        let id = desk.find(beginning)?;
        let mut revoked = desk.revoked.clone();
        revoked.insert(id);
        desk.store.keep_revoked(&revoked).map_err(said)?;
        desk.revoked = revoked;
        let revoked = Record { grants: vec![id], ..Record::of(Event::Revoked) };
        let records = desk.record_after(|guest| guest.revoke(&id), now, revoked);
        self.less.get().into_iter().for_each(Waker::wake_by_ref);
        records
    }

    /// Writes down what was decided about a guest. Returns it.
    ///
    /// # Errors
    /// It cannot be written: then it must not be done.
    pub fn record(&self, guest: &Guest) -> Result<Vec<Record>, Errno> {
        if !guest.has_decided() {
            return Ok(Vec::new());
        }
        // Nothing is taken back between taking it and writing it.
        let mut desk = self.desk();
        let decided = guest.take_decided();
        // At the time at which it was decided, by which it is judged.
        decided.into_iter().map(|record| desk.record(record.time, record)).collect()
    }

    /// In how long the next thing ends that some guest has; None if nothing does.
    pub fn next_end(&self) -> Option<Duration> {
        let guests: Vec<_> = self.desk().guests.iter().filter_map(Weak::upgrade).collect();
        let next = guests.iter().filter_map(|guest| guest.next_end()).min()?;
        Some(Duration::from_secs(next.saturating_sub(self.clock.now())))
    }
}

/// A record of a decision about somebody who comes; what was decided is filled in.
fn started() -> Record {
    Record::of(Event::Refused)
}

/// What is answered where a file cannot be written; the log of the process has the rest.
fn said(error: StoreError) -> Errno {
    tracing::error!(%error, "a grant cannot be kept");
    Errno::IO
}

impl Desk {
    fn verify(&self, node: &Key, key: Key, now: u64, chain: &Chain) -> Result<Granted, (Errno, String)> {
        let verified = chain.verify(node, &key, now, |id| self.revoked.contains(id));
        verified.map_err(|refusal| match refusal {
            Refusal::Expired | Refusal::Revoked(_) => (Errno::KEYREVOKED, refusal.to_string()),
            refusal => (Errno::ACCESS, refusal.to_string()),
        })
    }

    /// All that the node itself has granted to a key.
    fn granted_to(&self, node: &Key, key: Key, now: u64) -> Result<Vec<Granted>, (Errno, String)> {
        let own = self.issued.values().filter(|chain| chain.last().grant().holder == key);
        let (granted, ended): (Vec<_>, Vec<_>) =
            own.map(|chain| self.verify(node, key, now, chain)).partition(|verified| verified.is_ok());
        let granted: Vec<_> = granted.into_iter().flatten().collect();
        let nothing = || {
            (
                Errno::ACCESS,
                format!("nothing is granted to {key}: `fs9 grant DIR/NAME --to {key} --read` there lets it read NAME"),
            )
        };
        match ended.into_iter().find_map(Result::err) {
            _ if !granted.is_empty() => Ok(granted),
            Some(why) => Err(why),
            None => Err(nothing()),
        }
    }

    /// Writes down that somebody is not let in, unless there are too many of them.
    fn refuse(&mut self, now: u64, errno: Errno, reason: String, record: Record) -> Refused {
        if let Some(left_out) = self.strangers.take(Instant::now()) {
            let more = if left_out == 0 { String::new() } else { format!(" ({left_out} before it are left out)") };
            // If that fails nobody is let in any more.
            let _ = self.record(now, Record { reason: Some(format!("{reason}{more}")), ..record });
        }
        Refused { errno, reason }
    }

    /// Writes down what guests were told before, by what `decided` says of each, and then `record`.
    fn record_after(
        &mut self,
        decided: impl Fn(&Guest) -> Vec<Record>,
        now: u64,
        record: Record,
    ) -> Result<Vec<Record>, Errno> {
        let (mut written, mut failed) = (Vec::new(), None);
        let guests: Vec<_> = self.guests.iter().filter_map(Weak::upgrade).collect();
        for guest in guests {
            let records = decided(&guest);
            match records.iter().try_for_each(|record| self.record(record.time, record.clone()).map(drop)) {
                Ok(()) => written.extend(records),
                // Whoever is to tell the guest finds out, and does not.
                Err(errno) => {
                    guest.put_back(records);
                    failed = Some(errno);
                }
            }
        }
        written.push(self.record(now, record)?);
        failed.map_or(Ok(written), Err)
    }

    fn record(&mut self, now: u64, record: Record) -> Result<Record, Errno> {
        self.ledger.write(now, record.clone()).map(|()| record).map_err(|error| {
            tracing::error!(%error, "a decision cannot be written down");
            Errno::IO
        })
    }

    fn find(&self, beginning: &str) -> Result<GrantId, Errno> {
        if let Ok(id) = beginning.parse() {
            return Ok(id);
        }
        let guests: Vec<_> = self.guests.iter().filter_map(Weak::upgrade).collect();
        let mut known: BTreeSet<_> = self.issued.keys().copied().collect();
        known.extend(guests.iter().flat_map(|guest| guest.ids()));
        let mut fitting = known.into_iter().filter(|id| id.to_string().starts_with(beginning));
        match (fitting.next(), fitting.next()) {
            (Some(id), None) if !beginning.is_empty() => Ok(id),
            (None, _) => Err(Errno::NOENT),
            _ => Err(Errno::NOTUNIQ),
        }
    }
}

#[cfg(test)]
mod tests;
