//! Clients and servers of TLS with any key, written apart from fs9: only the library below is the same.

use std::net::TcpStream;
use std::sync::Arc;

use fs9_grants::{Chain, Key, Secret, Terms};
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{ring, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    StreamOwned,
};

use crate::DEADLINE;

/// What comes before a private key (RFC 8410, 7), and before a public one (4).
const PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

/// The key of the node that was made of 32 times this byte.
pub fn key_of(seed: u8) -> Key {
    Secret::from_seed(&[seed; 32]).key()
}

/// What the key of `seed` was granted, as it passes all of it on to the key `holder`: a line.
pub fn passed_on(granted: &str, seed: u8, holder: &str) -> String {
    let chain: Chain = granted.parse().unwrap();
    let given = chain.last().grant().clone();
    let terms = Terms {
        holder: holder.parse().unwrap(),
        names: given.names,
        rights: given.rights,
        not_before: given.not_before,
        not_after: given.not_after,
        nonce: [1; 16],
        depth: Default::default(),
    };
    format!("{}\n", chain.delegate(&Secret::from_seed(&[seed; 32]), terms).unwrap())
}

/// A client with the key of `seed`, which speaks `alpn`, and to everybody.
pub fn config(seed: u8, alpn: &[&[u8]]) -> ClientConfig {
    let resolver = AlwaysResolvesClientRawPublicKeys::new(certified(seed));
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_client_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config
}

/// A server with the key of `seed`, for everybody.
pub fn server(seed: u8) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(Anybody))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified(seed))));
    config.alpn_protocols = vec![b"fs9/1".to_vec()];
    config.send_tls13_tickets = 0;
    config
}

fn certified(seed: u8) -> Arc<CertifiedKey> {
    let private = [&PKCS8[..], &[seed; 32]].concat();
    let private = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(private)).unwrap();
    let public = [&SPKI[..], key_of(seed).as_bytes()].concat();
    Arc::new(CertifiedKey::new(vec![public.into()], private))
}

/// A connection with what is listening at `port`, as the node of `seed`. Its handshake happens when it is used.
pub fn connect(port: u16, seed: u8) -> StreamOwned<ClientConnection, TcpStream> {
    over(TcpStream::connect(("127.0.0.1", port)).unwrap(), config(seed, &[b"fs9/1"]))
}

/// The same over a socket that is there.
pub fn over(socket: TcpStream, config: ClientConfig) -> StreamOwned<ClientConnection, TcpStream> {
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.set_nodelay(true).unwrap();
    let name = ServerName::try_from("nobody").unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), socket)
}

/// Takes every key that is proved.
#[derive(Debug)]
struct Anybody;

fn proved(
    message: &[u8],
    shown: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let known = ring::default_provider().signature_verification_algorithms;
    verify_tls13_signature_with_raw_key(message, &shown.as_ref().into(), signed, &known)
}

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        unreachable!("TLS 1.2 is not spoken")
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        proved(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        unreachable!("TLS 1.2 is not spoken")
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        proved(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
