//! Keys as TLS has them: shown as a SubjectPublicKeyInfo, and used through the one copy of the secret that there is.

use std::sync::Arc;

use fs9_grants::{Key, Secret};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{CertificateError, Error, SignatureAlgorithm, SignatureScheme};

use crate::identity::Identity;

/// What comes before the 32 bytes of an Ed25519 key in its SubjectPublicKeyInfo (RFC 8410, 4 and 10.1).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A key as it is shown.
pub fn shown(key: &Key) -> Vec<u8> {
    [&SPKI[..], key.as_bytes()].concat()
}

/// The key that is shown, in the one encoding there is.
///
/// # Errors
/// It is no Ed25519 key, or one that anybody can sign for.
pub fn read(shown: &[u8]) -> Result<Key, Error> {
    let bytes = shown.strip_prefix(&SPKI).and_then(|bytes| bytes.try_into().ok());
    let key = bytes.and_then(|bytes| Key::from_bytes(bytes).ok());
    key.ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
}

/// What a node shows and signs with.
pub fn certified(identity: &Identity) -> Arc<CertifiedKey> {
    let shown = shown(&identity.key());
    let own = OwnKey { secret: identity.secret().clone(), shown: shown.clone() };
    Arc::new(CertifiedKey::new(vec![shown.into()], Arc::new(own)))
}

#[derive(Debug)]
struct OwnKey {
    secret: Arc<Secret>,
    shown: Vec<u8>,
}

impl SigningKey for OwnKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let is_offered = offered.contains(&SignatureScheme::ED25519);
        is_offered.then(|| Box::new(OwnSigner(self.secret.clone())) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(&self.shown[..]))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

#[derive(Debug)]
struct OwnSigner(Arc<Secret>);

impl Signer for OwnSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.0.sign(message).to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}
