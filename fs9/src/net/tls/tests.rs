//! Two ends with pipes between them, and those who come with something else than a node does.

use std::io::{IoSlice, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use fs9_grants::{Key, Secret};
use rustix::io::Errno;
use rustls::client::{AlwaysResolvesClientRawPublicKeys, ResolvesClientCert};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, HandshakeKind, ServerConfig, SignatureScheme};
use tempfile::TempDir;

use super::verify::{AnyNode, OneNode};
use super::*;
use crate::identity::State;

/// A node of the test: `who` is all that makes it another than others.
fn node(who: u8) -> (Identity, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let state = State::at(dir.path()).unwrap();
    state.create("key", &[who; 32]).unwrap();
    (Identity::load(state).unwrap(), dir)
}

fn key_of(who: u8) -> Key {
    Secret::from_seed(&[who; 32]).key()
}

fn serving() -> Arc<ServerConfig> {
    server(&node(1).0).unwrap()
}

/// As node 2, for node 1.
fn asking() -> Arc<ClientConfig> {
    client(&node(2).0, Trust::Pinned(key_of(1), "known_nodes:1".into())).unwrap()
}

fn socket_pair() -> (UnixStream, UnixStream) {
    let (one, other) = UnixStream::pair().unwrap();
    one.set_nonblocking(true).unwrap();
    other.set_nonblocking(true).unwrap();
    (one, other)
}

fn ends(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> (TlsStream, TlsStream) {
    let (near, far) = socket_pair();
    (TlsStream::client(near.into(), client).unwrap(), TlsStream::server(far.into(), server).unwrap())
}

type Met = Result<Key, String>;

/// What each end takes the other for. Of a client whose server refuses it, what it reads first.
fn meet(client: &TlsStream, server: &TlsStream) -> (Met, Met) {
    let step = |end: &TlsStream, met: &mut Option<Met>| {
        if met.is_none() {
            *met = end.handshake().map_err(|error| error.to_string()).transpose();
        }
    };
    let (mut near, mut far) = (None, None);
    for _ in 0..8 {
        step(client, &mut near);
        step(server, &mut far);
    }
    let far = far.unwrap_or(Err("it waits".into()));
    let near = near.unwrap_or(Err("it waits".into()));
    let heard = || client.read(&mut [0; 9]).map_err(|error| error.to_string()).err();
    let heard = if near.is_ok() && far.is_err() { heard() } else { None };
    (heard.map_or(near, Err), far)
}

/// What a server says of somebody who is no node: the bytes that it is sent.
fn told(serving: &Arc<ServerConfig>, bytes: &[u8]) -> Result<Option<Key>, TlsError> {
    let (mut near, far) = socket_pair();
    let server = TlsStream::server(far.into(), serving.clone()).unwrap();
    near.write_all(bytes).unwrap();
    server.handshake()
}

fn refused(met: Met, said: &str) {
    let error = met.expect_err("it must be refused");
    assert!(error.contains(said), "{error:?} has no {said:?}");
}

#[test]
fn two_nodes_know_each_other_and_speak() {
    let (near, far) = ends(asking(), serving());
    assert_eq!(meet(&near, &far), (Ok(key_of(1)), Ok(key_of(2))));
    let mut space = [0; 64];
    assert!(matches!(far.read(&mut space), Err(TlsError::System(Errno::AGAIN))));
    assert_eq!(near.send(&[IoSlice::new(b"he"), IoSlice::new(b"llo")]), Ok(5));
    assert_eq!(far.read(&mut space[..4]).unwrap(), 4);
    assert!(far.holds_input() && !near.holds_input());
    assert_eq!(far.read(&mut space[4..]).unwrap(), 1);
    assert_eq!(&space[..5], b"hello");
    near.close();
    assert_eq!(far.read(&mut space).unwrap(), 0);
}

#[test]
fn who_first_goes_on_speaks_behind_the_handshake() {
    let (near, far) = ends(asking(), serving());
    assert!(near.handshake().unwrap().is_none() && far.handshake().unwrap().is_none());
    assert_eq!(near.handshake().unwrap(), Some(key_of(1)));
    near.send(&[IoSlice::new(b"early")]).unwrap();
    assert_eq!(far.handshake().unwrap(), Some(key_of(2)));
    assert!(far.holds_input(), "the socket will not say it again");
    assert_eq!(far.read(&mut [0; 9]).unwrap(), 5);
}

#[test]
fn a_server_that_is_not_the_one_is_told_nothing() {
    let asking = |trust| client(&node(2).0, trust).unwrap();
    let (near, far) = ends(asking(Trust::Nobody), serving());
    let (there, here) = meet(&near, &far);
    refused(there, &format!("its key is not known: {}", key_of(1)));
    refused(here, "TLS alert");
    let (near, far) = ends(asking(Trust::Pinned(key_of(3), "known_nodes:7".into())), serving());
    let (there, here) = meet(&near, &far);
    let there = there.unwrap_err();
    for part in ["HAS CHANGED", &key_of(1).to_string(), &key_of(3).to_string(), "remove known_nodes:7"] {
        assert!(there.contains(part), "{there}");
    }
    refused(here, "TLS alert");
    let (near, far) = ends(asking(Trust::New), serving());
    assert_eq!(meet(&near, &far).0, Ok(key_of(1)));
}

/// A client that trusts everybody, with another thing to show.
fn client_with(resolver: Arc<dyn ResolvesClientCert>) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(OneNode(Trust::New)))
        .with_client_cert_resolver(resolver);
    config.alpn_protocols = vec![ALPN.to_vec()];
    Arc::new(config)
}

/// What `thief` has, who shows the key of another: `shown`.
fn stolen(shown: Vec<u8>, thief: u8) -> Arc<CertifiedKey> {
    Arc::new(CertifiedKey::new(vec![shown.into()], key::certified(&node(thief).0).key.clone()))
}

#[derive(Debug)]
struct Shy;

impl ResolvesClientCert for Shy {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[test]
fn who_shows_no_key_is_nobody() {
    let (near, far) = ends(client_with(Arc::new(Shy)), serving());
    let (there, here) = meet(&near, &far);
    refused(here, "it shows no key");
    refused(there, "CertificateRequired");
    let plain = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(OneNode(Trust::New)))
        .with_no_client_auth();
    let (near, far) = ends(Arc::new(plain), serving());
    refused(meet(&near, &far).1, "RFC 7250");
}

#[test]
fn who_shows_the_key_of_another_cannot_prove_it() {
    let victim = key::shown(&key_of(2));
    let resolver = AlwaysResolvesClientRawPublicKeys::new(stolen(victim, 3));
    let (near, far) = ends(client_with(Arc::new(resolver)), serving());
    let (there, here) = meet(&near, &far);
    refused(here, "does not prove the key that it shows: BadSignature");
    refused(there, "TLS alert");

    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(AnyNode))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(stolen(key::shown(&key_of(1)), 3))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    let (near, far) = ends(asking(), Arc::new(config));
    refused(meet(&near, &far).0, "does not prove the key that it shows: BadSignature");
}

#[test]
fn what_is_no_key_is_not_taken_for_one() {
    let mut small_order = key::shown(&key_of(2));
    small_order[12..].fill(0);
    small_order[12] = 1;
    let long = [key::shown(&key_of(2)), vec![0]].concat();
    for shown in [small_order, long, key_of(2).as_bytes().to_vec(), Vec::new()] {
        let resolver = AlwaysResolvesClientRawPublicKeys::new(stolen(shown, 2));
        let (near, far) = ends(client_with(Arc::new(resolver)), serving());
        refused(meet(&near, &far).1, "");
    }
    let two = CertifiedKey {
        cert: vec![key::shown(&key_of(2)).into(), key::shown(&key_of(3)).into()],
        ..(*stolen(Vec::new(), 2)).clone()
    };
    let resolver = AlwaysResolvesClientRawPublicKeys::new(Arc::new(two));
    let (near, far) = ends(client_with(Arc::new(resolver)), serving());
    assert_ne!(meet(&near, &far).1, Ok(key_of(3)));
}

#[test]
fn who_means_another_protocol_is_sent_away() {
    for spoken in [vec![b"fs9/2".to_vec()], vec![b"h2".to_vec()], vec![]] {
        let mut config = (*asking()).clone();
        config.alpn_protocols = spoken;
        let (near, far) = ends(Arc::new(config), serving());
        refused(meet(&near, &far).1, "it does not speak fs9/1");
        let mut config = (*serving()).clone();
        config.alpn_protocols = vec![];
        let (near, far) = ends(asking(), Arc::new(config));
        refused(meet(&near, &far).0, "it does not speak fs9/1");
    }
}

/// A ClientHello as TLS 1.2 has it (RFC 5246, 7.4.1.2), with the signature schemes and groups that we take.
fn hello_of_tls_12() -> Vec<u8> {
    let extensions: &[u8] = &[0, 10, 0, 4, 0, 2, 0, 29, 0, 13, 0, 4, 0, 2, 8, 7];
    let suites: &[u8] = &[0, 4, 0xc0, 0x2b, 0xc0, 0x2c];
    let length = [(extensions.len() >> 8) as u8, extensions.len() as u8];
    let body = [&[3, 3][..], &[7; 32], &[0], suites, &[1, 0], &length, extensions].concat();
    let size = |bytes: usize| [(bytes >> 8) as u8, bytes as u8];
    let message = [&[1, 0][..], &size(body.len()), &body].concat();
    [&[22, 3, 1][..], &size(message.len()), &message].concat()
}

#[test]
fn older_versions_plain_text_and_garbage_are_refused() {
    let serving = serving();
    let told = |bytes: &[u8]| told(&serving, bytes);
    let said = |bytes: &[u8]| told(bytes).expect_err("refused").to_string();
    assert!(said(&hello_of_tls_12()).contains("it speaks no TLS 1.3"), "{}", said(&hello_of_tls_12()));
    let version = b"\x13\0\0\0\x64\xff\xff\0\x20\0\0\x08\09P2000.L";
    for bytes in [&version[..], b"GET / HTTP/1.1\r\n\r\n", &[0xff; 512], &[0; 64]] {
        assert_eq!(said(bytes), "what it says is not TLS", "{bytes:?}");
    }
    // Most of it is the beginning of something: then the deadline ends it.
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..10_000 {
        let garbage: Vec<u8> = (0..64)
            .map(|_| {
                seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                (seed >> 33) as u8
            })
            .collect();
        assert!(!matches!(told(&garbage), Ok(Some(_))), "{garbage:?}");
    }
}

#[test]
fn a_handshake_that_does_not_end_is_ended() {
    let (mut near, far) = socket_pair();
    let server = TlsStream::server(far.into(), serving()).unwrap();
    // A message that says it has 60,000 bytes, a record of 1,000 at a time.
    let mut error = None;
    for number in 0..64 {
        let start: &[u8] = if number == 0 { &[1, 0, 0xea, 0x60] } else { &[] };
        let record = [&[22, 3, 1, 3, 0xe8][..], start, &vec![0; 1000 - start.len()]].concat();
        near.write_all(&record).unwrap();
        if let Err(ended) = server.handshake() {
            error = Some(ended);
            break;
        }
    }
    assert!(matches!(error, Some(TlsError::Long)), "{error:?}");
}

#[test]
fn nothing_is_resumed() {
    let (config, serving) = (asking(), serving());
    for _ in 0..3 {
        let (near, far) = ends(config.clone(), serving.clone());
        assert_eq!(meet(&near, &far), (Ok(key_of(1)), Ok(key_of(2))));
        far.send(&[IoSlice::new(b"x")]).unwrap();
        assert_eq!(near.read(&mut [0; 9]).unwrap(), 1);
        assert_eq!(far.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(near.tickets(), 0);
    }
}

/// A client and a server, and what is between them.
struct Between {
    near: TlsStream,
    far: TlsStream,
    middle: (UnixStream, UnixStream),
}

impl Between {
    fn new() -> Between {
        let ((near, left), (right, far)) = (socket_pair(), socket_pair());
        Between {
            near: TlsStream::client(near.into(), asking()).unwrap(),
            far: TlsStream::server(far.into(), serving()).unwrap(),
            middle: (left, right),
        }
    }

    /// What one of the two has said, passed on as `change` makes it.
    fn pass(&mut self, to_server: bool, change: impl FnOnce(&mut Vec<u8>)) {
        let (from, to) = if to_server { (&self.middle.0, &self.middle.1) } else { (&self.middle.1, &self.middle.0) };
        let mut bytes = vec![0; 1 << 16];
        let len = (&mut &*from).read(&mut bytes).unwrap_or(0);
        bytes.truncate(len);
        change(&mut bytes);
        (&mut &*to).write_all(&bytes).unwrap();
    }
}

#[test]
fn a_bit_that_was_changed_on_the_way_ends_it() {
    // Flights of a handshake, and a message.
    for flight in 0..4 {
        let mut between = Between::new();
        let flip = |at: usize| {
            move |bytes: &mut Vec<u8>| {
                let middle = bytes.len() / 2;
                if at == flight
                    && let Some(byte) = bytes.get_mut(middle)
                {
                    *byte ^= 4;
                }
            }
        };
        let _ = between.near.handshake();
        between.pass(true, flip(0));
        let _ = between.far.handshake();
        between.pass(false, flip(1));
        let _ = between.near.handshake();
        between.pass(true, flip(2));
        let mut met = between.far.handshake().map(|met| met.is_some());
        if flight == 3 {
            assert!(matches!(met, Ok(true)));
            between.near.send(&[IoSlice::new(b"hello")]).unwrap();
            between.pass(true, flip(3));
            met = between.far.read(&mut [0; 9]).map(|_| true);
        }
        assert!(!matches!(met, Ok(true)), "flight {flight}: {met:?}");
    }
}

#[test]
fn a_handshake_may_come_a_byte_at_a_time() {
    let mut between = Between::new();
    let (mut near, mut far) = (None, None);
    for _ in 0..4 {
        near = near.or(between.near.handshake().unwrap());
        let mut all = Vec::new();
        between.pass(true, |bytes| all = std::mem::take(bytes));
        for byte in all {
            assert_eq!(far, None);
            (&between.middle.1).write_all(&[byte]).unwrap();
            far = between.far.handshake().unwrap();
        }
        between.pass(false, |_| {});
    }
    assert_eq!((near, far), (Some(key_of(1)), Some(key_of(2))));
}

#[test]
fn what_the_socket_does_not_take_is_kept_within_bounds() {
    let (near, far) = ends(asking(), serving());
    meet(&near, &far).1.unwrap();
    let message: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let (mut sent, mut got, mut space) = (0, Vec::new(), vec![0; 70_000]);
    let mut was_stuck = false;
    while got.len() < message.len() {
        while sent < message.len() {
            match near.send(&[IoSlice::new(&message[sent..])]) {
                Ok(taken) => sent += taken,
                Err(errno) => {
                    assert_eq!(errno, Errno::AGAIN);
                    break;
                }
            }
        }
        near.flush().unwrap();
        was_stuck |= near.is_stuck();
        match far.read(&mut space) {
            Ok(len) => got.extend_from_slice(&space[..len]),
            Err(TlsError::System(Errno::AGAIN)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(was_stuck && !near.is_stuck());
    assert_eq!(got, message);
}
