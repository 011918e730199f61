//! TLS between nodes: version 1.3 and nothing older (RFC 8446), both ends prove an Ed25519 key that they show as it is
//! (raw public keys, RFC 7250), and both say that they speak `fs9/1` (ALPN, RFC 7301). Nothing is resumed: each
//! connection is a handshake of its own, so whoever is no longer trusted does not come in by an earlier one.
//!
//! A server takes every key that is proved: what it may do is decided above. A client talks to no key but the one that
//! it knows, see [`Trust`].

mod key;
mod stream;
#[cfg(test)]
mod tests;
mod verify;

use std::sync::Arc;

use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

use crate::identity::Identity;
pub use stream::{TlsError, TlsStream};
pub use verify::Trust;
use verify::{AnyNode, OneNode};

/// What is spoken.
const ALPN: &[u8] = b"fs9/1";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// How a node with this identity is a server.
///
/// # Errors
/// The library cannot do what it is asked for.
pub fn server(identity: &Identity) -> Result<Arc<ServerConfig>, rustls::Error> {
    let resolver = AlwaysResolvesServerRawPublicKeys::new(key::certified(identity));
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(AnyNode))
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// How it is a client of a node that it trusts so.
///
/// # Errors
/// As [`server`].
pub fn client(identity: &Identity, trust: Trust) -> Result<Arc<ClientConfig>, rustls::Error> {
    let resolver = AlwaysResolvesClientRawPublicKeys::new(key::certified(identity));
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous() // what rustls calls everything that is not its own verifier of certificates
        .with_custom_certificate_verifier(Arc::new(OneNode(trust)))
        .with_client_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    config.enable_early_data = false;
    Ok(Arc::new(config))
}

/// The name that the library wants for a server. Servers are known by their keys: it is neither sent nor looked at.
fn nobody() -> ServerName<'static> {
    ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into())
}
