//! What a server answers.

use std::fmt;

use super::table::{Spoken, messages, put, take};
use super::{Dialect, Qids, Tag};
use crate::attr::{Attr, Statfs};
use crate::phrase;
use crate::qid::Qid;
use crate::stat::Stat;
use crate::wire::{Fault, Field, ParseError, Reader, Writer, head};

/// Rerror, which only 9P2000 has; Rlerror is in the table.
const RERROR: u8 = 107;

messages! {
    /// What a server answers.
    ///
    /// The layouts are without `size[4] number[1] tag[2]`, which every message begins with. `iounit` is how much one
    /// read or write takes at most; 0: as much as a frame has room for.
    "R" Reply {
        /// `lerror ecode[4]`, and in 9P2000.L.fs9 `reason[s]`; in 9P2000 `error ename[s]`: instead of any other reply.
        /// The number is Linux's; of a phrase it is the best guess, see [`phrase`]. An empty reason is left to the
        /// number.
        7 Linux Error { errno: u32, reason: &'a str => reason },
        /// `statfs` and a [`Statfs`].
        9 Linux Statfs { statfs: Statfs },
        /// `lopen qid[13] iounit[4]`
        13 Linux Lopen { qid: Qid, iounit: u32 },
        /// `lcreate qid[13] iounit[4]`
        15 Linux Lcreate { qid: Qid, iounit: u32 },
        /// `symlink qid[13]`
        17 Linux Symlink { qid: Qid },
        /// `mknod qid[13]`
        19 Linux Mknod { qid: Qid },
        /// `rename`
        21 Linux Rename,
        /// `readlink target[s]`
        23 Linux Readlink { target: &'a str },
        /// `getattr` and an [`Attr`].
        25 Linux Getattr { attr: Attr },
        /// `setattr`
        27 Linux Setattr,
        /// `xattrwalk size[8]`: bytes of the attribute.
        31 Linux Xattrwalk { size: u64 },
        /// `xattrcreate`
        33 Linux Xattrcreate,
        /// `readdir count[4] data[count]`: each an [`Entry`](crate::entry::Entry); none at the end.
        41 Linux Readdir { data: &'a [u8] },
        /// `fsync`
        51 Linux Fsync,
        /// `lock status[1]`: 0 is had, 1 blocked, 2 an error, 3 grace.
        53 Linux Lock { status: u8 },
        /// `getlock type[1] start[8] length[8] proc_id[4] client_id[s]`
        55 Linux Getlock { kind: u8, start: u64, length: u64, pid: u32, client: &'a str },
        /// `link`
        71 Linux Link,
        /// `mkdir qid[13]`
        73 Linux Mkdir { qid: Qid },
        /// `renameat`
        75 Linux Renameat,
        /// `unlinkat`
        77 Linux Unlinkat,
        /// `version msize[4] version[s]`: what both know.
        101 All Version { msize: u32, version: &'a str },
        /// `auth aqid[13]`
        103 All Auth { aqid: Qid },
        /// `attach qid[13]`: of the root.
        105 All Attach { qid: Qid },
        /// `flush`: no reply comes to the old tag any more.
        109 All Flush,
        /// `walk nwqid[2] nwqid*(qid[13])`: fewer than the names that were asked for, and then `newfid` is nothing.
        111 All Walk { qids: Qids },
        /// `open qid[13] iounit[4]`
        113 Old Open { qid: Qid, iounit: u32 },
        /// `create qid[13] iounit[4]`
        115 Old Create { qid: Qid, iounit: u32 },
        /// `read count[4] data[count]`: nothing at the end.
        117 All Read { data: &'a [u8] },
        /// `write count[4]`: so many bytes were written.
        119 All Write { count: u32 },
        /// `clunk`
        121 All Clunk,
        /// `remove`
        123 All Remove,
        /// `stat n[2]` and a [`Stat`].
        125 Old Stat { stat: Stat<'a> => counted },
        /// `wstat`
        127 Old Wstat,
        /// `session id[16] epoch[8] received[8] linger_ms[4] keep_alive_ms[4] limit[4]`: the session, how long it
        /// outlives a connection and that a silence, and the longest message.
        201 Own Session { id: [u8; 16], epoch: u64, received: u64, linger_ms: u32, keep_alive_ms: u32, limit: u32 },
        /// `enter qid[13] stream[1]`: of a stream offsets mean nothing, and Tsend and Trecv are for it.
        203 Own Enter { qid: Qid, stream: bool },
        /// `send count[4]`: so many bytes were sent.
        205 Own Send { count: u32 },
        /// `recv data[rest]`: nothing at the end.
        207 Own Recv { data: &'a [u8] => rest },
        /// `poll ready[4]`
        209 Own Poll { ready: u32 },
        /// `watch ready[4]`
        211 Own Watch { ready: u32 },
        /// `leave`
        213 Own Leave,
        /// `ping`
        217 Own Ping,
    }
}

impl<'a> Reply<'a> {
    /// The message in a whole frame, `size[4]` included.
    pub fn parse(dialect: Dialect, frame: &'a [u8]) -> Result<(Tag, Self), ParseError> {
        let (number, tag, mut body) = head(dialect, frame)?;
        let reply = match (number, dialect) {
            (RERROR, Dialect::Old) => body.take().map(Self::phrased),
            _ => Self::take(number, &mut body),
        };
        reply.and_then(|reply| body.end().map(|()| (tag, reply))).map_err(|fault| ParseError { tag: Some(tag), fault })
    }

    fn phrased(words: &'a str) -> Self {
        let errno = phrase::errno(words);
        Self::Error { errno, reason: if words.is_empty() { phrase::of(errno) } else { words } }
    }

    /// Appends its frame.
    pub fn emit(&self, dialect: Dialect, tag: Tag, out: &mut Vec<u8>) {
        let data = self.emit_head(dialect, tag, out);
        out.extend_from_slice(data);
    }

    /// Appends its frame but for the data at its end, which is returned: a long message need not be copied to be sent.
    pub fn emit_head(&self, dialect: Dialect, tag: Tag, out: &mut Vec<u8>) -> &'a [u8] {
        if let (Self::Error { errno, reason }, Dialect::Old) = (*self, dialect) {
            let mut to = Writer::new(dialect, RERROR, tag, out);
            if reason.is_empty() {
                to.put(phrase::of(errno))
            } else {
                to.put(reason)
            }
            return to.end();
        }
        let mut to = Writer::new(dialect, self.kind().0, tag, out);
        self.put(&mut to);
        to.end()
    }
}
