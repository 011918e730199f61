//! What one key lets another do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::{Key, Names, Rights, text};

/// So often a grant may be passed on, at most.
pub const DEEPEST: u8 = 3;

/// What is signed begins with this, so that no signature of a grant is one of anything else.
const DOMAIN: &[u8] = b"fs9 grant 1\0";

/// What the holder of one key may do at a node, says the holder of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Of the fields that follow.
    version: Version,
    /// Who says so.
    pub issuer: Key,
    /// At which node.
    pub audience: Key,
    /// Who may.
    pub holder: Key,
    /// With which names.
    pub names: Names,
    /// Do what.
    pub rights: Rights,
    /// From when on, in seconds since 1970.
    pub not_before: u64,
    /// Until when, in seconds since 1970: at that second it has ended.
    pub not_after: u64,
    /// Tells it from others that say the same.
    pub nonce: [u8; 16],
    /// The grant of which this passes on a part; None if it is the node's own.
    pub parent: Option<GrantId>,
    /// How often it may be passed on further.
    pub depth: Depth,
}

/// What the maker of a grant chooses; the rest follows from whose it is and what it is derived from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// See [`Grant::holder`].
    pub holder: Key,
    /// See [`Grant::names`].
    pub names: Names,
    /// See [`Grant::rights`].
    pub rights: Rights,
    /// See [`Grant::not_before`].
    pub not_before: u64,
    /// See [`Grant::not_after`].
    pub not_after: u64,
    /// See [`Grant::nonce`]: 16 random bytes.
    pub nonce: [u8; 16],
    /// See [`Grant::depth`].
    pub depth: Depth,
}

impl Grant {
    /// That the holder of `issuer` agrees to these terms, at the node `audience`.
    pub(crate) fn new(issuer: Key, audience: Key, parent: Option<GrantId>, terms: Terms) -> Grant {
        let Terms { holder, names, rights, not_before, not_after, nonce, depth } = terms;
        let version = Version;
        Grant { version, issuer, audience, holder, names, rights, not_before, not_after, nonce, parent, depth }
    }

    /// The bytes that are signed.
    pub(crate) fn to_signed(&self) -> postcard::Result<Vec<u8>> {
        postcard::to_extend(self, DOMAIN.to_vec())
    }
}

/// What a grant is called: the SHA-256 of the bytes that are signed. Its text is 52 letters of base32.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantId([u8; 32]);

/// The text is not one of a grant's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a grant's id is 52 of the letters a-z and 2-7")]
pub struct IdError;

impl GrantId {
    pub(crate) fn of(signed: &[u8]) -> GrantId {
        GrantId(Sha256::digest(signed).into())
    }
}

impl FromStr for GrantId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<GrantId, IdError> {
        text::parse_base32(text).map(GrantId).ok_or(IdError)
    }
}

impl Serialize for GrantId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.collect_str(self) } else { self.0.serialize(to) }
    }
}

impl<'de> Deserialize<'de> for GrantId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<GrantId, D::Error> {
        if from.is_human_readable() { text::deserialize(from) } else { <[u8; 32]>::deserialize(from).map(GrantId) }
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&text::base32(&self.0))
    }
}

impl fmt::Debug for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How often a grant may be passed on: 0 to [`DEEPEST`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Depth(u8);

/// A grant may be passed on three times at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a grant may be passed on at most {DEEPEST} times")]
pub struct DepthError;

impl TryFrom<u8> for Depth {
    type Error = DepthError;

    fn try_from(times: u8) -> Result<Depth, DepthError> {
        if times <= DEEPEST { Ok(Depth(times)) } else { Err(DepthError) }
    }
}

impl From<Depth> for u8 {
    fn from(depth: Depth) -> u8 {
        depth.0
    }
}

/// The version of what is signed: 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
struct Version;

impl TryFrom<u8> for Version {
    type Error = &'static str;

    fn try_from(version: u8) -> Result<Version, &'static str> {
        if version == 1 { Ok(Version) } else { Err("a grant of another version") }
    }
}

impl From<Version> for u8 {
    fn from(Version: Version) -> u8 {
        1
    }
}
