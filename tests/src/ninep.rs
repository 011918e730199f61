//! A small 9P client over a real socket: it says what it is told to and hears what comes, nothing more.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use fs9_proto::entry::Entry;
use fs9_proto::message::Names;
use fs9_proto::{Dialect, Fid, NO_FID, NO_TAG, Reply, Request, Tag};

use crate::DEADLINE;

/// The root, in every test.
pub const ROOT: Fid = Fid(0);

/// O_RDONLY, O_WRONLY, O_RDWR.
pub const READ: u32 = 0;
/// See [`READ`].
pub const WRITE: u32 = 1;
/// See [`READ`].
pub const BOTH: u32 = 2;
/// O_NONBLOCK.
pub const NONBLOCK: u32 = 0o4000;

/// Bytes both ways.
pub trait Socket: Read + Write + Send {}

impl<T: Read + Write + Send> Socket for T {}

/// A client.
pub struct Client {
    socket: Box<dyn Socket>,
    dialect: Dialect,
    /// Replies that came before they were asked for, as frames.
    heard: HashMap<Tag, Vec<u8>>,
    /// The session: id, epoch, and how many counted frames have come.
    pub session: ([u8; 16], u64, u64),
}

/// What an answer was, in words that a test can compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It went well.
    Done,
    /// These bytes.
    Data(Vec<u8>),
    /// So many bytes were written.
    Wrote(u32),
    /// Ready for this.
    Ready(u32),
    /// It did not: the number of the error.
    Failed(u32),
}

impl Said {
    /// These bytes, as text.
    pub fn text(&self) -> &str {
        match self {
            Said::Data(bytes) => std::str::from_utf8(bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

/// These bytes.
pub fn data(text: &str) -> Said {
    Said::Data(text.as_bytes().to_vec())
}

impl Client {
    /// Connects to a Unix socket and attaches as whoever runs the test.
    pub fn unix(path: &Path, dialect: Dialect) -> Client {
        let socket = UnixStream::connect(path).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Client::new(Box::new(socket), dialect).attached()
    }

    /// The same, by TCP.
    pub fn tcp(port: u16, dialect: Dialect) -> Client {
        let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Client::new(Box::new(socket), dialect).attached()
    }

    /// A client that has said nothing.
    pub fn new(socket: Box<dyn Socket>, dialect: Dialect) -> Client {
        Client { socket, dialect, heard: HashMap::new(), session: ([0; 16], 0, 0) }
    }

    /// Says its version; and, where it has one, which session.
    pub fn greeted(mut self) -> Client {
        let version = Request::Version { msize: 1 << 17, version: self.dialect.version() };
        self.say(NO_TAG, &version);
        let frame = self.frame();
        let said = Reply::parse(self.dialect, &frame).unwrap();
        assert!(
            matches!(said, (NO_TAG, Reply::Version { version, .. }) if version == self.dialect.version()),
            "{said:?}"
        );
        if self.dialect == Dialect::Own {
            let (id, epoch, received) = self.session;
            self.say(Tag(0), &Request::Session { id, epoch, received });
            let frame = self.frame();
            match Reply::parse(self.dialect, &frame).unwrap() {
                (Tag(0), Reply::Session { id, epoch, .. }) => self.session = (id, epoch, received),
                other => panic!("{other:?}"),
            }
        }
        self
    }

    /// Greeted, and attached as [`ROOT`].
    pub fn attached(self) -> Client {
        let mut client = self.greeted();
        let uid = (client.dialect != Dialect::Old).then_some(u32::MAX);
        let attach = Request::Attach { fid: ROOT, afid: NO_FID, uname: "", aname: "", uid };
        assert_eq!(client.ask(&attach), Said::Done);
        client
    }

    /// The same session over another socket. What has not come yet comes again.
    pub fn resumed(self, socket: Box<dyn Socket>) -> Client {
        Client { socket, ..self }.greeted()
    }

    /// Says something.
    pub fn say(&mut self, tag: Tag, request: &Request<'_>) {
        let mut bytes = Vec::new();
        request.emit(self.dialect, tag, &mut bytes);
        self.socket.write_all(&bytes).unwrap();
    }

    /// Says it and hears the answer.
    pub fn ask(&mut self, request: &Request<'_>) -> Said {
        let tag = Tag(999);
        self.say(tag, request);
        self.hear(tag)
    }

    /// Hears the answer of `tag`.
    pub fn hear(&mut self, tag: Tag) -> Said {
        loop {
            if let Some(frame) = self.heard.remove(&tag) {
                return said(self.dialect, &frame);
            }
            let frame = self.frame();
            let of = Tag(u16::from_le_bytes([frame[5], frame[6]]));
            if frame[4] == 214 {
                continue; // Tack
            }
            self.session.2 += 1;
            assert!(self.heard.insert(of, frame).is_none(), "two answers to {of}");
        }
    }

    /// Whether the server hangs up, after what it may have to say.
    pub fn is_hung_up(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }

    fn frame(&mut self) -> Vec<u8> {
        let mut size = [0; 4];
        self.socket.read_exact(&mut size).unwrap();
        let mut frame = size.to_vec();
        frame.resize(u32::from_le_bytes(size) as usize, 0);
        self.socket.read_exact(&mut frame[4..]).unwrap();
        frame
    }

    /// Raw bytes.
    pub fn raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// Walks from the root to `path`.
    pub fn walk(&mut self, fid: u32, path: &str) -> Said {
        let names = Names::new(path.split('/').filter(|name| !name.is_empty())).unwrap();
        let len = names.len() as u32;
        match self.ask(&Request::Walk { fid: ROOT, newfid: Fid(fid), names }) {
            Said::Wrote(steps) if steps == len => Said::Done,
            Said::Wrote(_) => Said::Failed(2), // ENOENT: it came only so far
            other => other,
        }
    }

    /// Opens what `fid` was walked to; in our own dialect for process `pid`.
    pub fn open(&mut self, fid: u32, flags: u32) -> Said {
        let fid = Fid(fid);
        match self.dialect {
            Dialect::Old => self.ask(&Request::Open { fid, mode: (flags & 3) as u8 }),
            Dialect::Linux => self.ask(&Request::Lopen { fid, flags }),
            Dialect::Own => self.ask(&Request::Enter { fid, flags, pid: 4711 }),
        }
    }

    /// Walks and opens, which must go well.
    pub fn opened(&mut self, fid: u32, path: &str, flags: u32) -> Fid {
        assert_eq!(self.walk(fid, path), Said::Done, "{path}");
        assert_eq!(self.open(fid, flags), Said::Done, "{path}");
        Fid(fid)
    }

    /// Asks for bytes, and does not wait.
    pub fn begin_read(&mut self, tag: u16, fid: Fid) -> Tag {
        let request = match self.dialect {
            Dialect::Own => Request::Recv { fid, flags: 0, count: 65_536 },
            _ => Request::Read { fid, offset: 0, count: 65_536 },
        };
        self.say(Tag(tag), &request);
        Tag(tag)
    }

    /// Reads.
    pub fn read(&mut self, fid: Fid) -> Said {
        let tag = self.begin_read(998, fid);
        self.hear(tag)
    }

    /// Writes, and does not wait.
    pub fn begin_write(&mut self, tag: u16, fid: Fid, data: &[u8]) -> Tag {
        let request = match self.dialect {
            Dialect::Own => Request::Send { fid, flags: 0, data },
            _ => Request::Write { fid, offset: 0, data },
        };
        self.say(Tag(tag), &request);
        Tag(tag)
    }

    /// Writes.
    pub fn write(&mut self, fid: Fid, text: &str) -> Said {
        let tag = self.begin_write(997, fid, text.as_bytes());
        self.hear(tag)
    }

    /// Closes.
    pub fn clunk(&mut self, fid: Fid) -> Said {
        self.ask(&Request::Clunk { fid })
    }

    /// Nobody waits for `tag` any more.
    pub fn flush(&mut self, tag: Tag) -> Said {
        self.ask(&Request::Flush { oldtag: tag })
    }

    /// Makes a queue and opens it.
    pub fn create(&mut self, fid: u32, name: &str) -> Fid {
        assert_eq!(self.walk(fid, ""), Said::Done);
        let fid = Fid(fid);
        let request = match self.dialect {
            Dialect::Old => Request::Create { fid, name, perm: 0o600, mode: 2 },
            _ => Request::Lcreate { fid, name, flags: BOTH, mode: 0o600, gid: 0 },
        };
        assert_eq!(self.ask(&request), Said::Done);
        fid
    }

    /// The names in the directory that `fid` has open.
    pub fn list(&mut self, fid: Fid) -> Vec<String> {
        let mut names = Vec::new();
        let mut offset = 0;
        loop {
            let said = match self.dialect {
                Dialect::Old => self.ask(&Request::Read { fid, offset, count: 500 }),
                _ => self.ask(&Request::Readdir { fid, offset, count: 200 }),
            };
            let Said::Data(bytes) = said else { panic!("{said:?}") };
            if bytes.is_empty() {
                return names;
            }
            if self.dialect == Dialect::Old {
                offset += bytes.len() as u64;
                names.extend(fs9_proto::stat::Stat::listed(&bytes).map(|stat| stat.unwrap().name.to_owned()));
                continue;
            }
            for entry in Entry::listed(&bytes) {
                let entry = entry.unwrap();
                offset = entry.offset;
                names.push(entry.name.to_owned());
            }
        }
    }
}

/// Sets how long a TCP or Unix socket waits for bytes; see [`Client::new`].
pub fn connect(path: &Path) -> Box<dyn Socket> {
    let socket = UnixStream::connect(path).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    Box::new(socket)
}

fn said(dialect: Dialect, frame: &[u8]) -> Said {
    match Reply::parse(dialect, frame).unwrap().1 {
        Reply::Read { data } | Reply::Recv { data } | Reply::Readdir { data } => Said::Data(data.to_vec()),
        Reply::Write { count } | Reply::Send { count } => Said::Wrote(count),
        Reply::Poll { ready } | Reply::Watch { ready } => Said::Ready(ready & 0x1d),
        Reply::Error { errno, .. } => Said::Failed(errno),
        Reply::Walk { qids } => Said::Wrote(qids.len() as u32),
        _ => Said::Done,
    }
}
