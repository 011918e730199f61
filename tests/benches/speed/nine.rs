//! Twrite and Tread: one client that speaks just enough of 9P2000.L, at a file of diod's and at a queue of ours.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};
use tempfile::TempDir;

use crate::clients::Sample;
use crate::servers::Place;

const FRAME: u32 = 65536;
const WRITES: u32 = 1;
const READS: u32 = 2;

/// A connection with one fid open for writing and one for reading.
struct Client {
    socket: TcpStream,
    reply: Vec<u8>,
}

impl Client {
    fn of(port: u16, tree: &str, file: &str) -> Client {
        let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_nodelay(true).unwrap();
        let mut client = Client { socket, reply: vec![0; FRAME as usize] };
        client.ask(100, &[&FRAME.to_le_bytes(), &string("9P2000.L")]);
        let none = u32::MAX.to_le_bytes();
        client.ask(104, &[&0_u32.to_le_bytes(), &none, &string("root"), &string(tree), &0_u32.to_le_bytes()]);
        for (fid, flags) in [(WRITES, 1_u32), (READS, 0)] {
            client.ask(110, &[&0_u32.to_le_bytes(), &fid.to_le_bytes(), &1_u16.to_le_bytes(), &string(file)]);
            client.ask(12, &[&fid.to_le_bytes(), &flags.to_le_bytes()]);
        }
        client
    }

    /// Sends one request and returns how long the reply is, which must be the one that belongs to it.
    fn ask(&mut self, kind: u8, parts: &[&[u8]]) -> usize {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let mut frame = Vec::with_capacity(7 + len);
        frame.extend_from_slice(&(7 + len as u32).to_le_bytes());
        frame.push(kind);
        frame.extend_from_slice(&if kind == 100 { u16::MAX } else { 0 }.to_le_bytes());
        parts.iter().for_each(|part| frame.extend_from_slice(part));
        self.socket.write_all(&frame).unwrap();
        let mut have = 0;
        loop {
            let len = self.socket.read(&mut self.reply[have..]).unwrap();
            assert!(len > 0, "the server hung up after a request {kind}");
            have += len;
            let size = self.reply.first_chunk().map(|size| u32::from_le_bytes(*size) as usize);
            if size == Some(have) {
                assert_eq!(self.reply[4], kind + 1, "no reply to a request {kind}: {:?}", &self.reply[..have.min(40)]);
                return have;
            }
        }
    }

    fn write_and_read(&mut self, data: &[u8]) {
        let (nothing, len) = (0_u64.to_le_bytes(), (data.len() as u32).to_le_bytes());
        self.ask(118, &[&WRITES.to_le_bytes(), &nothing, &len, data]);
        let got = self.ask(116, &[&READS.to_le_bytes(), &nothing, &len]);
        assert_eq!(got, 11 + data.len());
    }
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat()
}

/// Microseconds that one Twrite of so many bytes to `q` and one Tread of them take together.
pub fn on_its_own(port: u16, tree: &str, bytes: usize, rounds: u32, place: Place) -> Sample {
    let measure = || {
        if place == Place::Pinned {
            let mut first = CpuSet::new();
            first.set(0);
            sched_setaffinity(None, &first).unwrap();
        }
        let mut client = Client::of(port, tree, "q");
        let data = vec![7; bytes];
        (0..rounds / 10).for_each(|_| client.write_and_read(&data));
        let start = Instant::now();
        (0..rounds).for_each(|_| client.write_and_read(&data));
        start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds)
    };
    // A thread, because what it runs on is for it alone.
    std::thread::scope(|scope| scope.spawn(measure).join().unwrap())
}

/// diod, with an empty file `q`.
pub struct Diod {
    dir: TempDir,
    server: Child,
    port: u16,
}

impl Diod {
    pub fn up(place: Place) -> Diod {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("q"), "").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = match place {
            Place::Pinned => Command::new("taskset"),
            Place::Unpinned => Command::new("env"),
        };
        if place == Place::Pinned {
            command.args(["-c", "0"]);
        }
        command.args(["diod", "-c", "/dev/null", "-f", "-n", "-L", "stderr", "-l", &format!("127.0.0.1:{port}"), "-e"]);
        let server = command.arg(dir.path()).stderr(Stdio::null()).spawn().unwrap();
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(5), "diod does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Diod { dir, server, port }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it calls the tree with the file.
    pub fn tree(&self) -> &str {
        self.dir.path().to_str().unwrap()
    }
}

impl Drop for Diod {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
