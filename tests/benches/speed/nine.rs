//! Twrite and Tread: a client of 9P2000.L that waits for each reply, at a file of diod's and at a queue of ours.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::thread;
use std::time::Instant;

use fs9_proto::message::Names;
use fs9_proto::{Dialect, Fid, NO_FID, NO_TAG, Reply, Request, Tag};
use fs9_tests::process::{Running, free_port};
use fs9_tests::wait_for;
use tempfile::TempDir;

use crate::clients::Sample;
use crate::median;
use crate::servers::Place;

/// What we ask for. diod grants 64 KiB.
const MSIZE: u32 = 1 << 20;
/// Bytes of a frame that are not its data, as all clients reckon (`P9_IOHDRSZ`).
const HEADER: u32 = 24;

const ROOT: Fid = Fid(0);
const WRITES: Fid = Fid(1);
const READS: Fid = Fid(2);

/// A connection with one fid of a file open for writing and one for reading.
struct Client {
    socket: TcpStream,
    asked: Vec<u8>,
    reply: Vec<u8>,
    /// Bytes of data that fit into one frame.
    piece: usize,
}

impl Client {
    fn of(port: u16, tree: &str, file: &str) -> Client {
        let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_nodelay(true).unwrap();
        let mut client = Client { socket, asked: Vec::new(), reply: vec![0; MSIZE as usize], piece: 0 };
        let version = Request::Version { msize: MSIZE, version: Dialect::Linux.version() };
        let Reply::Version { msize, .. } = client.ask(NO_TAG, &version) else { panic!("no Rversion") };
        client.piece = (msize - HEADER) as usize;
        client.say(&Request::Attach { fid: ROOT, afid: NO_FID, uname: "root", aname: tree, uid: Some(0) });
        for (fid, flags) in [(WRITES, 1), (READS, 0)] {
            client.say(&Request::Walk { fid: ROOT, newfid: fid, names: Names::new([file]).unwrap() });
            client.say(&Request::Lopen { fid, flags });
        }
        client
    }

    /// Asks for something that must be done.
    fn say(&mut self, request: &Request<'_>) -> Reply<'_> {
        self.ask(Tag(0), request)
    }

    fn ask(&mut self, tag: Tag, request: &Request<'_>) -> Reply<'_> {
        self.asked.clear();
        request.emit(Dialect::Linux, tag, &mut self.asked);
        self.socket.write_all(&self.asked).unwrap();
        let mut have = 0;
        while have < 4 || have < u32::from_le_bytes(*self.reply.first_chunk().unwrap()) as usize {
            let len = self.socket.read(&mut self.reply[have..]).unwrap();
            assert!(len > 0, "the server hung up after {request:?}");
            have += len;
        }
        match Reply::parse(Dialect::Linux, &self.reply[..have]).unwrap() {
            (_, Reply::Error { errno, .. }) => panic!("{request:?}: error {errno}"),
            (_, reply) => reply,
        }
    }

    /// Writes all of `data` and reads as much, in pieces that the server's frames can hold.
    fn write_and_read(&mut self, data: &[u8]) {
        for (offset, data) in (0..).step_by(self.piece).zip(data.chunks(self.piece)) {
            let count = data.len() as u32;
            assert_eq!(self.say(&Request::Write { fid: WRITES, offset, data }), Reply::Write { count });
        }
        for (offset, data) in (0..).step_by(self.piece).zip(data.chunks(self.piece)) {
            let count = data.len() as u32;
            assert_eq!(self.say(&Request::Read { fid: READS, offset, count }), Reply::Read { data });
        }
    }

    /// What it has read is delivered: a queue takes back the message in the hands of a client that is lost.
    fn leave(mut self) {
        for fid in [WRITES, READS] {
            self.say(&Request::Clunk { fid });
        }
    }
}

/// Microseconds that Twrite of so many bytes to `q` and Tread of them take together.
pub fn write_and_read(port: u16, tree: &str, bytes: usize, rounds: usize, place: Place) -> Sample {
    let measure = || {
        place.take();
        let mut client = Client::of(port, tree, "q");
        let data = vec![7; bytes];
        let round = |_| {
            let start = Instant::now();
            client.write_and_read(&data);
            start.elapsed().as_secs_f64() * 1e6
        };
        let sample = median((0..rounds).map(round).collect());
        client.leave();
        sample
    };
    // In a thread of its own, because what it runs on is for it alone.
    thread::scope(|scope| scope.spawn(measure).join().unwrap())
}

/// diod, with an empty file `q`.
pub struct Diod {
    port: u16,
    _server: Running,
    dir: TempDir,
}

impl Diod {
    /// Starts it.
    pub fn up(place: Place) -> Diod {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("q"), "").unwrap();
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let mut command = place.command("diod".as_ref());
        command.args(["-c", "/dev/null", "-f", "-n", "-L", "stderr", "-l", &listen, "-e"]).arg(dir.path());
        let server = Running::new(command.stderr(Stdio::null()));
        wait_for("diod to listen", || TcpStream::connect(("127.0.0.1", port)).ok());
        Diod { port, _server: server, dir }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it calls the tree with the file.
    pub fn tree(&self) -> &str {
        self.dir.path().to_str().unwrap()
    }
}
