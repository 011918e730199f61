//! What a node has decided: a record a line, each with the hash of the line before, so that no line can be changed,
//! left out or put in without all that follow telling so. (Lines at the end can be cut off; who wants to notice keeps
//! the last hash.)
//!
//! A line is a JSON object. Times are seconds since 1970, and never go back.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Chain, GrantId, Key, Rights, text};

mod holdings;

pub use holdings::{Held, Holdings};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// The node began to let others in.
    Started,
    /// The node has granted something: `chain` says what.
    Granted,
    /// A grant was taken back, and with it all that follows from it.
    Revoked,
    /// A key came and may do something: by the chain that it brought, or else by what the node has granted it.
    Admitted,
    /// Who was admitted goes on to the node that is attached as `name`, by `chain`, which was shown for that node.
    Relayed,
    /// Something was done: `name` with `rights`, under `grant`.
    Allowed,
    /// Something was refused: to come in at all, or `name` with `rights`.
    Refused,
    /// What was open under `grant` was closed, since that has ended or was revoked.
    Ended,
}

impl Event {
    /// Its name in the log and elsewhere.
    pub fn word(self) -> &'static str {
        match self {
            Event::Started => "started",
            Event::Granted => "granted",
            Event::Revoked => "revoked",
            Event::Admitted => "admitted",
            Event::Relayed => "relayed",
            Event::Allowed => "allowed",
            Event::Refused => "refused",
            Event::Ended => "ended",
        }
    }
}

/// A line of the log. Fields that do not apply are left out of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Counts the lines, from 0.
    pub sequence: u64,
    /// When it happened.
    pub time: u64,
    /// What happened.
    pub event: Event,
    /// The connection: the same for all that is done after somebody was admitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<u64>,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// By which grants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<GrantId>,
    /// The chain that was issued or shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<Chain>,
    /// The path, from the root of the mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What was done with it, or was to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rights: Option<Rights>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The hash of the line before: SHA-256 in base32; of the first, that of an empty line.
    pub prev: String,
}

impl Record {
    /// That `event` happened. What it says of its place in the log is filled in by [`Trail::write`].
    pub fn of(event: Event) -> Record {
        let (session, key, chain, name, rights, reason) = Default::default();
        let (sequence, time, grants, prev) = Default::default();
        Record { sequence, time, event, session, key, grants, chain, name, rights, reason, prev }
    }
}

/// Why a log is not as it was written. The lines before are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrailError {
    /// The line is none of a log.
    #[error("line {line} is no record: {why}")]
    Form {
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// A line before was changed, or lines were left out or put in.
    #[error("line {line} does not follow from the line before: the log was changed there or before")]
    Broken {
        /// Counted from 1.
        line: u64,
    },
}

/// A log, as far as it was read or written: what the next line follows from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trail {
    /// The sequence of the next line.
    next: u64,
    /// When the last thing happened.
    time: u64,
    /// The hash of the last line.
    hash: String,
}

impl Default for Trail {
    /// An empty log.
    fn default() -> Trail {
        Trail { next: 0, time: 0, hash: hash("") }
    }
}

impl Trail {
    /// A log of which only the last line is known, and is taken as it is.
    ///
    /// # Errors
    /// It is no record.
    pub fn after(last: &str) -> Result<Trail, TrailError> {
        let record = parse(last, 0)?;
        Ok(Trail { next: record.sequence.saturating_add(1), time: record.time, hash: hash(last) })
    }

    /// The time by this log when a clock shows `clock`: a clock that was set back does not bring back what has ended.
    pub fn now(&self, clock: u64) -> u64 {
        self.time.max(clock)
    }

    /// How many lines there are.
    pub fn lines(&self) -> u64 {
        self.next
    }

    /// The hash of the last line.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The line that says `record` happened when a clock showed `clock`; its end of line is not part of it.
    ///
    /// # Errors
    /// None that a record of this crate could cause.
    pub fn write(&mut self, clock: u64, record: Record) -> Result<String, serde_json::Error> {
        let record = Record { sequence: self.next, time: self.now(clock), prev: self.hash.clone(), ..record };
        let line = serde_json::to_string(&record)?;
        self.advance(&record, &line);
        Ok(line)
    }

    /// Reads the next line, without its end of line.
    ///
    /// # Errors
    /// It is not the next line of this log.
    pub fn read(&mut self, line: &str) -> Result<Record, TrailError> {
        let record = parse(line, self.next)?;
        let follows = record.sequence == self.next && record.time >= self.time && record.prev == self.hash;
        if !follows {
            return Err(TrailError::Broken { line: self.next + 1 });
        }
        self.advance(&record, line);
        Ok(record)
    }

    fn advance(&mut self, record: &Record, line: &str) {
        *self = Trail { next: self.next + 1, time: record.time, hash: hash(line) };
    }
}

fn parse(line: &str, number: u64) -> Result<Record, TrailError> {
    serde_json::from_str(line).map_err(|error| TrailError::Form { line: number + 1, why: error.to_string() })
}

fn hash(line: &str) -> String {
    text::base32(&Sha256::digest(line))
}

#[cfg(test)]
mod tests;
