//! From nothing to the first message through TLS: a handshake of the library alone and an echo, and a client of 9P that
//! attaches our mount, opens a queue and writes to it.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use fs9_proto::message::Names;
use fs9_proto::{Dialect, Fid, NO_FID, NO_TAG, Reply, Request, Tag};
use fs9_tests::tls;
use rustls::{ClientConnection, ServerConnection, StreamOwned};

use crate::clients::Sample;
use crate::median;
use crate::servers::{Nodes, Place};

/// The key of the client.
pub const SEED: u8 = 7;
const BYTES: usize = 64;

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// The library alone: a server that answers each connection once.
pub struct Bare {
    port: u16,
}

impl Bare {
    /// Starts it, for as long as this process lives.
    pub fn up(place: Place) -> Bare {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = Arc::new(tls::server(8));
        thread::spawn(move || {
            place.take();
            for socket in listener.incoming() {
                let socket = socket.unwrap();
                socket.set_nodelay(true).unwrap();
                let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), socket);
                let mut message = [0; BYTES];
                // A connection of which nothing comes has been measured.
                if stream.read_exact(&mut message).is_ok() {
                    stream.write_all(&message).unwrap();
                }
            }
        });
        Bare { port }
    }

    /// Microseconds of a connection, a handshake and an echo.
    pub fn measure(&self, place: Place) -> Sample {
        let once = || {
            let mut stream = tls::connect(self.port, SEED);
            stream.write_all(&[7; BYTES]).unwrap();
            stream.read_exact(&mut [0; BYTES]).unwrap();
        };
        measure(place, once, || {})
    }
}

/// Microseconds of a connection to `nodes`, a handshake, and everything up to the answer to the first message.
pub fn attach(nodes: &Nodes, place: Place) -> Sample {
    let (port, mut reader) = (nodes.port(), File::open(nodes.queue()).unwrap());
    let once = || {
        let mut stream = tls::connect(port, SEED);
        let mut said = Vec::new();
        say(&mut said, NO_TAG, &Request::Version { msize: 1 << 20, version: Dialect::Linux.version() });
        stream.write_all(&said).unwrap();
        hear(&mut stream);
        said.clear();
        let (root, queue) = (Fid(0), Fid(1));
        say(&mut said, Tag(1), &Request::Attach { fid: root, afid: NO_FID, uname: "", aname: "", uid: Some(0) });
        say(&mut said, Tag(2), &Request::Walk { fid: root, newfid: queue, names: Names::new(["q"]).unwrap() });
        say(&mut said, Tag(3), &Request::Lopen { fid: queue, flags: 1 });
        say(&mut said, Tag(4), &Request::Write { fid: queue, offset: 0, data: &[7; BYTES] });
        stream.write_all(&said).unwrap();
        (0..4).for_each(|_| hear(&mut stream));
    };
    measure(place, once, || assert_eq!(reader.read(&mut [0; 2 * BYTES]).unwrap(), BYTES))
}

fn say(said: &mut Vec<u8>, tag: Tag, request: &Request<'_>) {
    request.emit(Dialect::Linux, tag, said);
}

/// Hears one reply, which must be none of an error.
fn hear(stream: &mut Stream) {
    let mut size = [0; 4];
    stream.read_exact(&mut size).unwrap();
    let mut frame = size.to_vec();
    frame.resize(u32::from_le_bytes(size) as usize, 0);
    stream.read_exact(&mut frame[4..]).unwrap();
    let reply = Reply::parse(Dialect::Linux, &frame).unwrap();
    assert!(!matches!(reply.1, Reply::Error { .. }), "{reply:?}");
}

/// The median of many, in a thread of its own: what it runs on is for it alone.
fn measure(place: Place, mut once: impl FnMut() + Send, mut after: impl FnMut() + Send) -> Sample {
    let run = || {
        place.take();
        let timed = |_| {
            let start = Instant::now();
            once();
            let time = start.elapsed().as_secs_f64() * 1e6;
            after();
            time
        };
        median((0..300).map(timed).collect())
    };
    thread::scope(|scope| scope.spawn(run).join().unwrap())
}
