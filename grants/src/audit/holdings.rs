//! Who had what when, by what the log says.

use std::collections::BTreeMap;

use super::{Event, Record};
use crate::{GrantId, Key, Link, Names, Rights};

/// What somebody had, by one grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The grant.
    pub id: GrantId,
    /// The one of which it is part, if it was passed on.
    pub parent: Option<GrantId>,
    /// Who had it.
    pub key: Key,
    /// With which names.
    pub names: Names,
    /// What might be done.
    pub rights: Rights,
    /// From when on, in seconds since 1970.
    pub from: u64,
    /// Until when: it ended or was revoked at that second.
    pub until: u64,
    /// Whether it, or what it follows from, was revoked.
    pub revoked: bool,
}

/// All that a log says was granted. Of what was passed on a node knows what was shown to it.
#[derive(Debug, Clone, Default)]
pub struct Holdings(BTreeMap<GrantId, Held>);

impl Holdings {
    /// Takes in the next record.
    pub fn add(&mut self, record: &Record) {
        match record.event {
            Event::Granted | Event::Admitted => {
                record.chain.iter().flat_map(|chain| chain.links()).for_each(|link| self.hold(link, record.time));
            }
            Event::Revoked => record.grants.iter().for_each(|id| self.revoke(*id, record.time)),
            Event::Started | Event::Relayed | Event::Allowed | Event::Refused | Event::Ended => {}
        }
    }

    /// What was held at `time`, in seconds since 1970.
    pub fn at(&self, time: u64) -> impl Iterator<Item = &Held> {
        self.iter().filter(move |held| held.from <= time && time < held.until)
    }

    /// All that was ever held.
    pub fn iter(&self) -> impl Iterator<Item = &Held> {
        self.0.values()
    }

    fn hold(&mut self, link: &Link, time: u64) {
        let grant = link.grant();
        let (id, parent) = (link.id(), grant.parent);
        // One that was passed on counts from the moment it was shown: whether it existed before, nobody knows.
        let from = grant.not_before.max(time);
        let (key, names, rights, until) = (grant.holder, grant.names.clone(), grant.rights, grant.not_after);
        self.0.entry(id).or_insert(Held { id, parent, key, names, rights, from, until, revoked: false });
    }

    fn revoke(&mut self, id: GrantId, time: u64) {
        let mut ended = vec![id];
        while let Some(id) = ended.pop() {
            if let Some(held) = self.0.get_mut(&id) {
                held.until = held.until.min(time);
                held.revoked = true;
            }
            let derived = self.iter().filter(|held| held.parent == Some(id) && !held.revoked);
            ended.extend(derived.map(|held| held.id));
        }
    }
}
