//! Who a node is: its key, in a directory of its own beside what it knows of other nodes.
//!
//! The key is made when it is first asked for, and is there whole or not at all. Two processes that ask at once get the
//! same one.

mod known;
mod state;

use std::path::PathBuf;
use std::sync::Arc;

use fs9_grants::{Key, Secret};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use zeroize::Zeroizing;

use crate::random::random;
pub use known::{Known, KnownNodes};
pub use state::{State, StateError};

/// The file of the key in the state directory: the 32 bytes of its seed.
const KEY: &str = "key";

/// The key of a node, and where it is kept.
#[derive(Debug, Clone)]
pub struct Identity {
    secret: Arc<Secret>,
    state: State,
}

/// Why a node has no key.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Its directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The file is of another length.
    #[error("{0} is no key: it has not the 32 bytes of one; put the right file there, or move it away for a new key")]
    Length(PathBuf),
    /// This process could not be kept out of core files.
    #[error("cannot keep this node's key out of core files: {0}; where prctl(2) is filtered, allow PR_SET_DUMPABLE")]
    Dumpable(Errno),
}

impl Identity {
    /// The identity that `state` holds, made now if there is none. From here on this process leaves no core file, and
    /// is shown to and traced by nobody but root (PR_SET_DUMPABLE in prctl(2); RLIMIT_CORE does not count for a core
    /// file that a program takes, see core(5)).
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn load(state: State) -> Result<Identity, IdentityError> {
        set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(IdentityError::Dumpable)?;
        let bytes = match state.read_secret(KEY)? {
            Some(bytes) => bytes,
            None => make(&state)?,
        };
        let seed: &[u8; 32] = bytes.as_slice().try_into().map_err(|_| IdentityError::Length(state.path(KEY)))?;
        Ok(Identity { secret: Arc::new(Secret::from_seed(seed)), state })
    }

    /// Its public key: its name towards all others.
    pub fn key(&self) -> Key {
        self.secret.key()
    }

    /// What it signs with.
    pub fn secret(&self) -> &Arc<Secret> {
        &self.secret
    }

    /// Where it is kept.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The nodes that it knows.
    pub fn known_nodes(&self) -> KnownNodes<'_> {
        KnownNodes::new(&self.state)
    }
}

/// Makes a key, unless somebody else is faster; what is there then.
fn make(state: &State) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
    let seed = Zeroizing::new(random::<32>());
    state.create(KEY, &*seed)?;
    let missing = || state.failed(KEY, "read", Errno::NOENT);
    Ok(state.read_secret(KEY)?.ok_or_else(missing)?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    fn state(dir: &tempfile::TempDir) -> State {
        State::at(&dir.path().join("fs9")).expect("a path")
    }

    #[test]
    fn a_key_is_made_once_and_is_its_owners_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = Identity::load(state(&dir)).expect("a key").key();
        assert_eq!(Identity::load(state(&dir)).expect("the key").key(), first);
        let mode = |path: PathBuf| fs::metadata(path).expect("it is there").mode() & 0o777;
        assert_eq!((mode(state(&dir).path("")), mode(state(&dir).path("key"))), (0o700, 0o600));
        assert_eq!(fs::read(state(&dir).path("key")).expect("bytes").len(), 32);
        assert_eq!(fs::read_dir(state(&dir).path("")).expect("a directory").count(), 1, "nothing else was left");
    }

    #[test]
    fn all_who_come_at_once_get_the_same() {
        let dir = tempfile::tempdir().expect("a directory");
        let (state, start) = (state(&dir), Barrier::new(16));
        let load = || {
            start.wait();
            Identity::load(state.clone()).expect("a key").key()
        };
        let keys: Vec<Key> = thread::scope(|scope| {
            let all: Vec<_> = (0..16).map(|_| scope.spawn(load)).collect();
            all.into_iter().map(|one| one.join().expect("a key")).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
        assert_eq!(fs::read_dir(state.path("")).expect("a directory").count(), 1, "nothing else was left");
    }

    #[test]
    fn who_has_a_key_leaves_no_core_file() {
        let dir = tempfile::tempdir().expect("a directory");
        Identity::load(state(&dir)).expect("a key");
        assert_eq!(rustix::process::dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
    }

    #[test]
    fn what_is_no_key_is_told_and_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = state(&dir).path("key");
        Identity::load(state(&dir)).expect("a key");
        let refused = || Identity::load(state(&dir)).expect_err("refused").to_string();
        fs::write(&path, [1; 31]).expect("written");
        assert!(refused().contains("32 bytes"), "{}", refused());
        fs::write(&path, [1; 4096]).expect("written");
        assert!(refused().contains("32 bytes"), "{}", refused());
        fs::write(&path, [1; 32]).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("chmod");
        assert!(refused().contains("chmod 600"), "{}", refused());
        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("a directory");
        assert!(refused().contains("fs9/key"), "{}", refused());
        fs::set_permissions(state(&dir).path(""), fs::Permissions::from_mode(0o770)).expect("chmod");
        assert!(refused().contains("chmod 700"), "{}", refused());
    }
}
