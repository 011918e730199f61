//! The files of a node's grants, in its state directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use fs9_grants::{Chain, GrantId, Key};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::ledger::{Ledger, LedgerError};
use crate::identity::{Identity, State, StateError};

/// What the node has granted.
const GRANTS: &str = "grants";
/// The log of its decisions.
pub const LOG: &str = "audit.log";
const REVOKED: &str = "revoked";
const LOCK: &str = "lock";

/// The files, for whoever may read them.
#[derive(Debug)]
pub struct Files {
    state: State,
    key: Key,
}

/// The files, for the one process that is the node.
#[derive(Debug)]
pub struct Store {
    /// As they are.
    pub files: Files,
    /// Held as long as this is the node.
    _lock: File,
}

/// Why a node cannot let anybody in.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file cannot be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// Another process is the node of this state directory.
    #[error("another mount listens as this node ({0} is locked): end it, or give this one a --state DIR of its own")]
    Busy(PathBuf),
    /// The system says no.
    #[error("cannot lock {0}: {1}")]
    Lock(PathBuf, std::io::Error),
    /// A line is not what it should be.
    #[error("{path}:{line}: {why}; correct or remove the line")]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// The log cannot be continued.
    #[error("{0}: {1}")]
    Ledger(PathBuf, LedgerError),
}

impl Files {
    /// Those of the node with this identity.
    pub fn of(identity: &Identity) -> Files {
        Files { state: identity.state().clone(), key: identity.key() }
    }

    /// What the node has granted, by id.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn issued(&self) -> Result<BTreeMap<GrantId, Chain>, StoreError> {
        self.lines(GRANTS, |line| {
            let chain: Chain = line.parse().map_err(|error: fs9_grants::ChainError| error.to_string())?;
            let grant = chain.last().grant();
            let verified = chain.verify(&self.key, &grant.holder, grant.not_before, |_| false);
            verified.map_err(|refusal| refusal.to_string())?;
            Ok((chain.last().id(), chain))
        })
    }

    /// What was taken back.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn revoked(&self) -> Result<BTreeSet<GrantId>, StoreError> {
        self.lines(REVOKED, |line| line.parse().map_err(|error: fs9_grants::IdError| error.to_string()))
    }

    fn lines<T, C: FromIterator<T>>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<C, StoreError> {
        let text = self.state.read(name)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().zip(1..).filter(|(line, _)| !line.is_empty());
        let wrong = |line, why| StoreError::Line { path: self.state.path(name), line, why };
        lines.map(|(text, line)| parse(text).map_err(|why| wrong(line, why))).collect()
    }
}

impl Store {
    /// The files of this node. Nobody else may have them so.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(identity: &Identity) -> Result<Store, StoreError> {
        let path = identity.state().path(LOCK);
        let failed = |error| StoreError::Lock(path.clone(), error);
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Store { files: Files::of(identity), _lock: lock }),
            Err(Errno::AGAIN) => Err(StoreError::Busy(path)),
            Err(errno) => Err(failed(errno.into())),
        }
    }

    /// The log of decisions, to be continued.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn ledger(&self) -> Result<Ledger, StoreError> {
        Ledger::open(&self.log()).map_err(|error| StoreError::Ledger(self.log(), error))
    }

    /// Where the log is.
    pub fn log(&self) -> PathBuf {
        self.files.state.path(LOG)
    }

    /// From now on the node has granted these.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn keep_issued(&self, issued: &BTreeMap<GrantId, Chain>) -> Result<(), StoreError> {
        let text: String = issued.values().map(|chain| format!("{chain}\n")).collect();
        Ok(self.files.state.replace(GRANTS, text.as_bytes())?)
    }

    /// From now on these were taken back.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn keep_revoked(&self, revoked: &BTreeSet<GrantId>) -> Result<(), StoreError> {
        let text: String = revoked.iter().map(|id| format!("{id}\n")).collect();
        Ok(self.files.state.replace(REVOKED, text.as_bytes())?)
    }
}
