//! Which keys are believed: those that are proved by a signature of this very handshake, and of servers only the one
//! that was meant.

use std::sync::Arc;

use fs9_grants::Key;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme};

use super::key;

/// Whom a client takes for the server that it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Who has this key, which was written down at a place that people are told of.
    Pinned(Key, String),
    /// Whoever is there: the key is then written down.
    New,
    /// Nobody: the key is shown to whoever may know it.
    Nobody,
}

/// Why a server is not the one that was meant.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Untrusted {
    /// It was never met.
    #[error(
        "its key is not known: {0}; if `fs9 id` prints the same there, attach it with --accept-new, which writes it down"
    )]
    Unknown(Key),
    /// It was met, and had another.
    #[error(
        "ITS KEY HAS CHANGED: it is {found} and was {pinned}. Somebody may have put himself in between, or the node has a \
         new key: if `fs9 id` prints it there, remove {place} and attach it with --accept-new"
    )]
    Changed {
        /// What it shows now.
        found: Key,
        /// What it showed.
        pinned: Key,
        /// Where that is written.
        place: String,
    },
}

impl Trust {
    /// Whether this key is the one.
    fn allows(&self, found: Key) -> Result<(), Untrusted> {
        match self {
            Trust::Pinned(pinned, _) if *pinned == found => Ok(()),
            Trust::Pinned(pinned, place) => Err(Untrusted::Changed { found, pinned: *pinned, place: place.clone() }),
            Trust::New => Ok(()),
            Trust::Nobody => Err(Untrusted::Unknown(found)),
        }
    }
}

/// The key of the other end, once it is proved: RFC 8446, 4.4.3, with the one scheme there is.
fn proved(message: &[u8], shown: &CertificateDer<'_>, signed: &DigitallySignedStruct) -> Result<Key, Error> {
    let key = key::read(shown)?;
    let signature = signed.signature().try_into().ok().filter(|_| signed.scheme == SignatureScheme::ED25519);
    match signature {
        Some(signature) if key.verifies(message, signature) => Ok(key),
        _ => Err(Error::InvalidCertificate(CertificateError::BadSignature)),
    }
}

/// One key is shown, and nothing beside it.
fn one(shown: &CertificateDer<'_>, more: &[CertificateDer<'_>]) -> Result<(), Error> {
    key::read(shown)?;
    if more.is_empty() { Ok(()) } else { Err(Error::InvalidCertificate(CertificateError::BadEncoding)) }
}

/// Nothing older than TLS 1.3 is spoken.
fn too_old() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("only TLS 1.3 is spoken".into()))
}

/// Takes every client that proves its key, and none that shows none.
#[derive(Debug)]
pub struct AnyNode;

impl ClientCertVerifier for AnyNode {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        one(shown, more).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        too_old()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        proved(message, shown, signed).map(|_| HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Takes the server that is trusted. Its key is looked at once it is proved, so that nobody is shown a key that the
/// server does not have; and before anything is said of who we are.
#[derive(Debug)]
pub struct OneNode(pub Trust);

impl ServerCertVerifier for OneNode {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        one(shown, more).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        too_old()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = proved(message, shown, signed)?;
        self.0.allows(key).map_err(|untrusted| Error::Other(OtherError(Arc::new(untrusted))))?;
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
