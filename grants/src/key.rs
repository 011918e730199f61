//! The public key of a node: its name towards the others.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use crate::text;

/// What the text of a key begins with.
const PREFIX: &str = "fs9:";

/// An Ed25519 public key (RFC 8032) that can stand for somebody: a point in its one encoding, and of high order, so
/// that no signature fits several messages.
///
/// Its text is `fs9:` and 52 letters of base32.
///
/// ```
/// use fs9_grants::{Key, Secret};
///
/// let key = Secret::from_seed(&[7; 32]).key();
/// assert_eq!(key.to_string(), "fs9:5jfgyy7ctrjavpxvkb5rglwf7gkuo5vox27hxescd3vgsfcg2iwa");
/// assert_eq!(key.to_string().parse(), Ok(key));
/// ```
///
/// It is kept as its 32 bytes: the point is six times as large, and found again where a signature is checked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 32]);

/// Why something is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is not one of a key.
    #[error("a key is fs9: and 52 of the letters a-z and 2-7, as `fs9 id` prints it")]
    Text,
    /// The bytes are not a point of the curve as RFC 8032, 5.1.2 encodes it.
    #[error("these 32 bytes are no Ed25519 public key")]
    Point,
    /// A point of small order: anybody can sign for it.
    #[error("this key is weak: anybody can sign for it")]
    Weak,
}

impl Key {
    /// The key with these bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Key, KeyError> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::Point)?;
        if key.is_weak() {
            return Err(KeyError::Weak);
        }
        // Some points have a second encoding, which would be a second name of the same node.
        if key.to_edwards().compress().as_bytes() != bytes {
            return Err(KeyError::Point);
        }
        Ok(Key(*bytes))
    }

    /// The key that belongs to a private one: as it was made it is neither weak nor in a second encoding.
    pub(crate) fn of(secret: &SigningKey) -> Key {
        Key(secret.verifying_key().to_bytes())
    }

    /// Its bytes, as RFC 8032 encodes them.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether this is a signature of `message` by this key. Of all encodings of a signature one is accepted.
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = Signature::from_bytes(signature);
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.collect_str(self) } else { self.as_bytes().serialize(to) }
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Key, D::Error> {
        if from.is_human_readable() {
            return text::deserialize(from);
        }
        Key::from_bytes(&<[u8; 32]>::deserialize(from)?).map_err(de::Error::custom)
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Key, KeyError> {
        let letters = text.strip_prefix(PREFIX).ok_or(KeyError::Text)?;
        Key::from_bytes(&text::parse_base32(letters).ok_or(KeyError::Text)?)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{PREFIX}{}", text::base32(self.as_bytes())))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;
    use crate::Secret;

    /// `bytes` in hexadecimal.
    fn hex<const N: usize>(text: &str) -> [u8; N] {
        data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
    }

    #[test]
    fn rfc_8032_signs_and_verifies() {
        // 7.1, test 2: a message of one byte.
        let secret = Secret::from_seed(&hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"));
        let key = hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        let signature = hex(concat!(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ));
        assert_eq!(secret.key(), Key::from_bytes(&key).unwrap());
        assert_eq!(secret.sign(&[0x72]), signature);
        assert!(secret.key().verifies(&[0x72], &signature));
        assert!(!secret.key().verifies(&[0x73], &signature));
        assert!(!Secret::from_seed(&[1; 32]).key().verifies(&[0x72], &signature));
    }

    #[test]
    fn a_signature_has_one_encoding() {
        let secret = Secret::from_seed(&[1; 32]);
        let mut signature = secret.sign(b"a");
        // The same s, with the order of the group (RFC 8032, 5.1) added.
        let order: [u8; 32] = hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
        let mut carry = 0;
        for (byte, more) in signature[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(more) + carry;
            *byte = sum as u8;
            carry = sum >> 8;
        }
        assert_eq!(carry, 0);
        assert!(!secret.key().verifies(b"a", &signature));
    }

    #[test]
    fn text_and_key_lead_to_each_other() {
        let key = Secret::from_seed(&[1; 32]).key();
        let text = key.to_string();
        assert_eq!(text.len(), 56);
        assert_eq!(text.parse(), Ok(key));
        assert_eq!(format!("{key:?}"), text);
        assert_eq!(format!("{key:60}"), format!("{text}    "), "a column of a table");
        for wrong in
            ["", "fs9:", &text[4..], &text[..55], &format!("{text}a"), &text.to_uppercase(), &format!(" {text}")]
        {
            assert_eq!(wrong.parse::<Key>(), Err(KeyError::Text), "{wrong}");
        }
    }

    #[test]
    fn weak_points_and_second_encodings_are_no_keys() {
        // The neutral element, the point of order 2, and one of order 8.
        let one = hex("0100000000000000000000000000000000000000000000000000000000000000");
        let two = hex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
        let eight = hex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05");
        for weak in [one, two, eight] {
            assert_eq!(Key::from_bytes(&weak), Err(KeyError::Weak));
        }
        // y = 3 is a point of high order, and so is p + 3, which is the same.
        let three = hex("0300000000000000000000000000000000000000000000000000000000000000");
        let again = hex("f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
        assert!(Key::from_bytes(&three).is_ok());
        assert_eq!(Key::from_bytes(&again), Err(KeyError::Point));
        // y = 2 is on no point.
        let none = hex("0200000000000000000000000000000000000000000000000000000000000000");
        assert_eq!(Key::from_bytes(&none), Err(KeyError::Point));
    }

    #[test]
    fn keys_are_equal_and_ordered_by_their_bytes() {
        let (a, b) = (Secret::from_seed(&[1; 32]).key(), Secret::from_seed(&[2; 32]).key());
        assert_ne!(a, b);
        assert_eq!(a.cmp(&b), a.as_bytes().cmp(b.as_bytes()));
        assert_eq!(a.partial_cmp(&b), Some(a.cmp(&b)));
        let hash = |key: Key| std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::default().hash_one(key);
        assert_ne!(hash(a), hash(b));
    }
}
