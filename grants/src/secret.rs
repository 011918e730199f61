//! The private key of a node: who has it is that node.

use std::fmt;

use ed25519_dalek::{Signer, SigningKey};

use crate::Key;

/// An Ed25519 private key. It is overwritten when it is dropped, and nothing prints it.
///
/// It lies in one place and is never copied: what is moved is where it lies.
pub struct Secret(Box<SigningKey>);

impl Secret {
    /// The private key of this seed: 32 random bytes, which are all there is to know of it (RFC 8032, 5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Secret {
        Secret(Box::new(SigningKey::from_bytes(seed)))
    }

    /// The public key that belongs to it.
    pub fn key(&self) -> Key {
        Key::of(&self.0)
    }

    /// Its signature of `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret(of {})", self.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_its_public_key_only() {
        let secret = Secret::from_seed(&[1; 32]);
        assert_eq!(format!("{secret:?}"), format!("Secret(of {})", secret.key()));
    }

    #[test]
    fn a_secret_overwrites_itself() {
        fn overwrites<T: zeroize::ZeroizeOnDrop>() {}
        overwrites::<SigningKey>();
    }
}
