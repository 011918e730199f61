//! Grants that were passed on: each names the one before, and allows no more.

use std::str::FromStr;
use std::{fmt, iter};

use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::Signature;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::grant::{DEEPEST, Grant, GrantId, Terms};
use crate::{Granted, Key, Secret, text};

/// What the text of a chain begins with.
const PREFIX: &str = "fs9grant:";

/// One to four grants: first the node's own, then what each holder passed on, last what somebody now has.
///
/// Its bytes are those of the grants with their signatures, in postcard, one after another; its text is `fs9grant:` and
/// these in base64url without padding. There is one such text of each chain. Whoever copies it has nothing: it counts
/// for the one who has the private key of the last holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    root: Link,
    further: Vec<Link>,
    bytes: Vec<u8>,
}

/// A grant with its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    signed: Signed,
    /// What the signature is of.
    message: Vec<u8>,
    id: GrantId,
}

/// As it lies in the bytes of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Signed {
    grant: Grant,
    /// R and S (RFC 8032, 5.1.6).
    signature: ([u8; 32], [u8; 32]),
}

/// Why something is no chain of grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// Longer than any that is accepted.
    #[error("a chain of grants has at most {most} bytes", most = Chain::LONGEST)]
    Long,
    /// The text is not one of a chain.
    #[error("a grant is written as {PREFIX} and letters of base64url, as `fs9 grant` prints it")]
    Text,
    /// The bytes are not those of one to four grants, in the one form they have.
    #[error("these are not the bytes of one to four grants, each in its one form")]
    Form,
}

/// Why a chain of grants allows nothing, or cannot be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A grant of it is about another node.
    #[error("it is a grant for another node")]
    Audience,
    /// The first one is not the node's own.
    #[error("it does not begin with a grant of this node's own")]
    Root,
    /// One was not made by the holder of the one before.
    #[error("a grant in it was passed on by somebody else than its holder")]
    Issuer,
    /// One names another as the one it is part of.
    #[error("a grant in it is not derived from the one before")]
    Parent,
    /// One is about more names than the one before.
    #[error("it passes on more names than its giver has")]
    Names,
    /// One allows more than the one before.
    #[error("it passes on more rights than its giver has")]
    Rights,
    /// One lasts longer than the one before, or began earlier.
    #[error("it passes on more time than its giver has")]
    Time,
    /// One was passed on that was not to be, or more often than it might.
    #[error("it was passed on more often than it may be")]
    Depth,
    /// It was passed on to a relay, and not by the one who shows it.
    #[error("it was not passed on by the key that shows it")]
    Giver,
    /// It was made for another key than the one that has it.
    #[error("it was made for another key")]
    Holder,
    /// It begins later.
    #[error("it is not valid yet by this node's clock")]
    NotYet,
    /// It has ended.
    #[error("it has expired")]
    Expired,
    /// It was revoked, or one that it is derived from.
    #[error("grant {0} was revoked")]
    Revoked(GrantId),
    /// One was not signed by who is said to have made it.
    #[error("a signature in it is wrong")]
    Signature,
    /// It is none, or would be none.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

impl Link {
    /// What was granted.
    pub fn grant(&self) -> &Grant {
        &self.signed.grant
    }

    /// What it is called.
    pub fn id(&self) -> GrantId {
        self.id
    }

    fn new(signed: Signed) -> Result<Link, ChainError> {
        let message = signed.grant.to_signed().map_err(|_| ChainError::Form)?;
        let id = GrantId::of(&message);
        Ok(Link { signed, message, id })
    }

    fn sign(grant: Grant, secret: &Secret) -> Result<Link, ChainError> {
        let message = grant.to_signed().map_err(|_| ChainError::Form)?;
        let signature = Signature::from_bytes(&secret.sign(&message));
        Link::new(Signed { grant, signature: (*signature.r_bytes(), *signature.s_bytes()) })
    }

    fn is_signed(&self) -> bool {
        let (r, s) = self.signed.signature;
        self.grant().issuer.verifies(&self.message, &Signature::from_components(r, s).to_bytes())
    }

    /// Whether `next` passes on no more than this.
    fn covers(&self, next: &Link) -> Result<(), Refusal> {
        let (giver, given) = (self.grant(), next.grant());
        let refuse = |fits: bool, refusal| if fits { Ok(()) } else { Err(refusal) };
        refuse(given.issuer == giver.holder, Refusal::Issuer)?;
        refuse(given.parent == Some(self.id), Refusal::Parent)?;
        refuse(given.depth < giver.depth, Refusal::Depth)?;
        refuse(giver.names.include(&given.names), Refusal::Names)?;
        refuse(giver.rights.includes(given.rights), Refusal::Rights)?;
        refuse(giver.not_before <= given.not_before && given.not_after <= giver.not_after, Refusal::Time)
    }
}

impl Chain {
    /// So many bytes it may have.
    pub const LONGEST: usize = 4096;

    /// A grant of a node's own: of the node that has this key.
    ///
    /// # Errors
    /// It would be too long.
    pub fn issue(secret: &Secret, terms: Terms) -> Result<Chain, ChainError> {
        let node = secret.key();
        Chain::new(Link::sign(Grant::new(node, node, None, terms), secret)?, Vec::new())
    }

    /// A part of what this chain allows, passed on by its holder.
    ///
    /// # Errors
    /// It is not the holder's key, or more than may be passed on.
    pub fn delegate(&self, secret: &Secret, terms: Terms) -> Result<Chain, Refusal> {
        let last = self.last();
        let next = Link::sign(Grant::new(secret.key(), last.grant().audience, Some(last.id), terms), secret)?;
        last.covers(&next)?;
        Ok(Chain::new(self.root.clone(), self.further.iter().cloned().chain([next]).collect())?)
    }

    /// Whether the one with the key `holder` may do at the node `audience`, at `now` (seconds since 1970), what this
    /// says.
    ///
    /// # Errors
    /// Why not. Signatures, which cost the most, are looked at last.
    pub fn verify(
        &self,
        audience: &Key,
        holder: &Key,
        now: u64,
        revoked: impl Fn(&GrantId) -> bool,
    ) -> Result<Granted, Refusal> {
        let (root, last) = (self.root.grant(), self.last().grant());
        if self.links().any(|link| link.grant().audience != *audience) {
            return Err(Refusal::Audience);
        }
        if root.issuer != *audience || root.parent.is_some() {
            return Err(Refusal::Root);
        }
        self.links().zip(&self.further).try_for_each(|(link, next)| link.covers(next))?;
        if last.holder != *holder {
            return Err(Refusal::Holder);
        }
        // The others begin no later and end no earlier.
        if now < last.not_before {
            return Err(Refusal::NotYet);
        }
        if now >= last.not_after {
            return Err(Refusal::Expired);
        }
        if let Some(link) = self.links().find(|link| revoked(&link.id)) {
            return Err(Refusal::Revoked(link.id));
        }
        if !self.links().all(Link::is_signed) {
            return Err(Refusal::Signature);
        }
        Ok(Granted::by(self.clone()))
    }

    /// Whether the node with the key `relay` may use this at the node `audience`, at `now`, for the one with the key
    /// `guest`, who has passed it on to it. So a relay does nothing for one guest with what is another's, and nothing
    /// with what is its own.
    ///
    /// # Errors
    /// Why not. What was revoked is known at `audience` alone.
    pub fn verify_relayed(&self, audience: &Key, relay: &Key, guest: &Key, now: u64) -> Result<(), Refusal> {
        if self.last().grant().issuer != *guest {
            return Err(Refusal::Giver);
        }
        self.verify(audience, relay, now, |_| false).map(drop)
    }

    /// The grants, the node's own first.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        iter::once(&self.root).chain(&self.further)
    }

    /// The last one: what its holder has.
    pub fn last(&self) -> &Link {
        self.further.last().unwrap_or(&self.root)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The chain with these bytes. Nothing in it is verified.
    ///
    /// # Errors
    /// It is too long, or not in the one form that a chain has.
    pub fn from_bytes(bytes: &[u8]) -> Result<Chain, ChainError> {
        if bytes.len() > Chain::LONGEST {
            return Err(ChainError::Long);
        }
        let (root, mut rest) = take(bytes)?;
        let mut further = Vec::new();
        while !rest.is_empty() && further.len() < usize::from(DEEPEST) {
            let (link, after) = take(rest)?;
            further.push(link);
            rest = after;
        }
        let chain = Chain::new(root, further)?;
        // Numbers have several encodings in postcard, and what is left over is no grant.
        if chain.bytes == bytes { Ok(chain) } else { Err(ChainError::Form) }
    }

    fn new(root: Link, further: Vec<Link>) -> Result<Chain, ChainError> {
        let mut bytes = Vec::new();
        for link in iter::once(&root).chain(&further) {
            bytes = postcard::to_extend(&link.signed, bytes).map_err(|_| ChainError::Form)?;
        }
        if bytes.len() > Chain::LONGEST { Err(ChainError::Long) } else { Ok(Chain { root, further, bytes }) }
    }
}

/// The grant that `bytes` begin with, and what is behind it.
fn take(bytes: &[u8]) -> Result<(Link, &[u8]), ChainError> {
    let (signed, rest) = postcard::take_from_bytes(bytes).map_err(|_| ChainError::Form)?;
    Ok((Link::new(signed)?, rest))
}

impl FromStr for Chain {
    type Err = ChainError;

    fn from_str(text: &str) -> Result<Chain, ChainError> {
        let letters = text.strip_prefix(PREFIX).ok_or(ChainError::Text)?;
        if letters.len() > (Chain::LONGEST * 4).div_ceil(3) {
            return Err(ChainError::Long);
        }
        Chain::from_bytes(&BASE64URL_NOPAD.decode(letters.as_bytes()).map_err(|_| ChainError::Text)?)
    }
}

impl Serialize for Chain {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Chain {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Chain, D::Error> {
        text::deserialize(from)
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", BASE64URL_NOPAD.encode(&self.bytes))
    }
}

#[cfg(test)]
pub(crate) mod tests;
