//! `known_nodes`: which key a node had when it was first attached. A line a node: its name, its address, its key, in
//! words as of sh; what follows a `#` is a remark.

use fs9_grants::Key;

use super::state::{State, StateError};
use crate::net::address::Address;

/// The file in the state directory.
const KNOWN_NODES: &str = "known_nodes";

/// See the [module](self).
#[derive(Debug)]
pub struct KnownNodes<'a> {
    state: &'a State,
}

/// What is known of the node at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It had this key, says the line of this number.
    Pinned(Key, usize),
    /// Nothing.
    Unknown,
}

/// Why it cannot be told what is known.
#[derive(Debug, thiserror::Error)]
pub enum KnownError {
    /// The file cannot be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// A line is not one of a node.
    #[error(
        "{path}:{line}: a line is NAME ADDRESS KEY, such as `alpha tls://example.org:5640 fs9:...`: correct or remove it"
    )]
    Line {
        /// The file.
        path: String,
        /// Its line, from 1 on.
        line: usize,
    },
    /// A name that no line can hold.
    #[error("the name {0:?} cannot be written down: a name with a line break or NUL byte in it has no line")]
    Name(String),
}

impl<'a> KnownNodes<'a> {
    pub(super) fn new(state: &'a State) -> KnownNodes<'a> {
        KnownNodes { state }
    }

    /// Where they are written, for people.
    pub fn place(&self) -> String {
        self.state.path(KNOWN_NODES).display().to_string()
    }

    /// Which key the node `name` at `address` had.
    ///
    /// # Errors
    /// See [`KnownError`]. With a line that cannot be understood nobody is known: it may be of this very node.
    pub fn find(&self, name: &str, address: &Address) -> Result<Known, KnownError> {
        let text = self.state.read(KNOWN_NODES)?.unwrap_or_default();
        let mut found = Known::Unknown;
        for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            let wrong = || KnownError::Line { path: self.place(), line: number };
            let words = std::str::from_utf8(line).ok().and_then(shlex::split).ok_or_else(wrong)?;
            match &words[..] {
                [] => {}
                [called, at, key] => {
                    let (at, key): (Address, Key) = at.parse().ok().zip(key.parse().ok()).ok_or_else(wrong)?;
                    if called == name && at == *address && found == Known::Unknown {
                        found = Known::Pinned(key, number);
                    }
                }
                _ => return Err(wrong()),
            }
        }
        Ok(found)
    }

    /// Writes down which key the node has.
    ///
    /// # Errors
    /// See [`KnownError`].
    pub fn pin(&self, name: &str, address: &Address, key: &Key) -> Result<(), KnownError> {
        let words = [name, &address.to_string(), &key.to_string()];
        let line = shlex::try_join(words).ok().filter(|line| !line.contains('\n'));
        let line = line.ok_or_else(|| KnownError::Name(name.to_owned()))?;
        // Somebody may have left the last line without an end.
        let before = self.state.read(KNOWN_NODES)?.unwrap_or_default();
        let end = if before.last().is_none_or(|last| *last == b'\n') { "" } else { "\n" };
        Ok(self.state.append(KNOWN_NODES, &format!("{end}{line}\n"))?)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use fs9_grants::Secret;

    use super::*;

    fn address(text: &str) -> Address {
        text.parse().expect("an address")
    }

    #[test]
    fn a_node_that_was_pinned_is_known_by_name_and_address() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = State::at(dir.path()).expect("a path");
        let known = KnownNodes::new(&state);
        let (a, b) = (Secret::from_seed(&[1; 32]).key(), Secret::from_seed(&[2; 32]).key());
        let (here, there) = (address("tls://a.example"), address("tls://[::1]:99"));
        assert_eq!(known.find("a b", &here).expect("no file"), Known::Unknown);
        known.pin("a b", &here, &a).expect("written");
        fs::write(known.place(), format!("# mine\n\n{}", fs::read_to_string(known.place()).expect("text").trim_end()))
            .expect("edited by hand");
        known.pin("#c", &there, &b).expect("written");
        assert_eq!(known.find("a b", &here).expect("known"), Known::Pinned(a, 3));
        assert_eq!(known.find("#c", &there).expect("known"), Known::Pinned(b, 4));
        for (name, address) in [("a b", &there), ("a", &here), ("#c", &here)] {
            assert_eq!(known.find(name, address).expect("another"), Known::Unknown, "{name}");
        }
        assert!(known.pin("a\nb", &here, &a).is_err());
    }

    #[test]
    fn with_a_line_that_cannot_be_understood_nobody_is_known() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = State::at(dir.path()).expect("a path");
        let known = KnownNodes::new(&state);
        let (here, key) = (address("tls://a"), Secret::from_seed(&[1; 32]).key());
        known.pin("a", &here, &key).expect("written");
        let good = fs::read_to_string(known.place()).expect("text");
        for bad in ["a", "a tls://a", "a tls://a fs9:x", "a nowhere fs9:x", "'a", "a b c d", "\u{fffd}\u{0}"] {
            fs::write(known.place(), format!("{good}{bad}\n")).expect("edited by hand");
            let error = known.find("a", &here).expect_err(bad).to_string();
            assert!(error.contains("known_nodes:2: a line is NAME ADDRESS KEY"), "{error}");
        }
    }
}
