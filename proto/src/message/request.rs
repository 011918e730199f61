//! What a client sends.

use std::fmt;

use super::table::{Spoken, messages, put, take};
use super::{Dialect, Fid, Names, Tag};
use crate::attr::SetAttr;
use crate::stat::Stat;
use crate::wire::{Fault, Field, ParseError, Reader, Writer, head};

messages! {
    /// What a client sends.
    ///
    /// The layouts are without `size[4] number[1] tag[2]`, which every message begins with. `flags` of an open are
    /// those of Linux on x86-64, `mode` and `gid` of what is made those of the system calls.
    "T" Request {
        /// `statfs fid[4]`: the figures of the file system.
        8 Linux Statfs { fid: Fid },
        /// `lopen fid[4] flags[4]`: opens a file; O_CREAT may be among the flags and means nothing here.
        12 Linux Lopen { fid: Fid, flags: u32 },
        /// `lcreate fid[4] name[s] flags[4] mode[4] gid[4]`: makes a file in the directory and opens it; the fid is
        /// then the file's.
        14 Linux Lcreate { fid: Fid, name: &'a str, flags: u32, mode: u32, gid: u32 },
        /// `symlink dfid[4] name[s] target[s] gid[4]`: makes a symbolic link.
        16 Linux Symlink { dfid: Fid, name: &'a str, target: &'a str, gid: u32 },
        /// `mknod dfid[4] name[s] mode[4] major[4] minor[4] gid[4]`: makes a file or device.
        18 Linux Mknod { dfid: Fid, name: &'a str, mode: u32, major: u32, minor: u32, gid: u32 },
        /// `rename fid[4] dfid[4] name[s]`: moves a file.
        20 Linux Rename { fid: Fid, dfid: Fid, name: &'a str },
        /// `readlink fid[4]`: where a symbolic link points.
        22 Linux Readlink { fid: Fid },
        /// `getattr fid[4] mask[8]`: attributes, those of [`BASIC`](crate::attr::BASIC) at least.
        24 Linux Getattr { fid: Fid, mask: u64 },
        /// `setattr fid[4]` and a [`SetAttr`]: changes attributes.
        26 Linux Setattr { fid: Fid, attr: SetAttr },
        /// `xattrwalk fid[4] newfid[4] name[s]`: a fid to read an extended attribute from.
        30 Linux Xattrwalk { fid: Fid, newfid: Fid, name: &'a str },
        /// `xattrcreate fid[4] name[s] size[8] flags[4]`: makes the fid one to write an extended attribute to.
        32 Linux Xattrcreate { fid: Fid, name: &'a str, size: u64, flags: u32 },
        /// `readdir fid[4] offset[8] count[4]`: entries of an open directory after `offset`.
        40 Linux Readdir { fid: Fid, offset: u64, count: u32 },
        /// `fsync fid[4] datasync[4]`: fsync(2).
        50 Linux Fsync { fid: Fid, datasync: u32 },
        /// `lock fid[4] type[1] flags[4] start[8] length[8] proc_id[4] client_id[s]`: a lock of fcntl(2).
        52 Linux Lock { fid: Fid, kind: u8, flags: u32, start: u64, length: u64, pid: u32, client: &'a str },
        /// `getlock fid[4] type[1] start[8] length[8] proc_id[4] client_id[s]`: who would be in the way of such a lock.
        54 Linux Getlock { fid: Fid, kind: u8, start: u64, length: u64, pid: u32, client: &'a str },
        /// `link dfid[4] fid[4] name[s]`: makes a hard link.
        70 Linux Link { dfid: Fid, fid: Fid, name: &'a str },
        /// `mkdir dfid[4] name[s] mode[4] gid[4]`: makes a directory.
        72 Linux Mkdir { dfid: Fid, name: &'a str, mode: u32, gid: u32 },
        /// `renameat olddfid[4] oldname[s] newdfid[4] newname[s]`: moves a file.
        74 Linux Renameat { olddfid: Fid, oldname: &'a str, newdfid: Fid, newname: &'a str },
        /// `unlinkat dfid[4] name[s] flags[4]`: removes a file, with AT_REMOVEDIR (0x200) a directory.
        76 Linux Unlinkat { dfid: Fid, name: &'a str, flags: u32 },
        /// `version msize[4] version[s]`: the first message: begins anew, with the dialect and the largest frame that
        /// the client knows.
        100 All Version { msize: u32, version: &'a str },
        /// `auth afid[4] uname[s] aname[s]`, and in 9P2000.L `n_uname[4]`: asks for a fid to authenticate with.
        102 All Auth { afid: Fid, uname: &'a str, aname: &'a str, uid: Option<u32> },
        /// `attach fid[4] afid[4] uname[s] aname[s]`, and in 9P2000.L `n_uname[4]`: the fid is now the root of the tree
        /// `aname`, for the user `n_uname` or else `uname`.
        104 All Attach { fid: Fid, afid: Fid, uname: &'a str, aname: &'a str, uid: Option<u32> },
        /// `flush oldtag[2]`: nobody waits for the answer of that request any more.
        108 All Flush { oldtag: Tag },
        /// `walk fid[4] newfid[4] nwname[2] nwname*(wname[s])`: `newfid` is now what these names lead to from `fid`.
        110 All Walk { fid: Fid, newfid: Fid, names: Names<'a> },
        /// `open fid[4] mode[1]`: opens a file; for the mode see [`mode`](super::mode).
        112 Old Open { fid: Fid, mode: u8 },
        /// `create fid[4] name[s] perm[4] mode[1]`: makes a file in the directory and opens it; the fid is then the
        /// file's.
        114 Old Create { fid: Fid, name: &'a str, perm: u32, mode: u8 },
        /// `read fid[4] offset[8] count[4]`: bytes of an open file, in 9P2000 also of a directory.
        116 All Read { fid: Fid, offset: u64, count: u32 },
        /// `write fid[4] offset[8] count[4] data[count]`: bytes to an open file.
        118 All Write { fid: Fid, offset: u64, data: &'a [u8] },
        /// `clunk fid[4]`: closes the file, and forgets the fid.
        120 All Clunk { fid: Fid },
        /// `remove fid[4]`: removes the file, and forgets the fid even if it cannot be removed.
        122 All Remove { fid: Fid },
        /// `stat fid[4]`: attributes.
        124 Old Stat { fid: Fid },
        /// `wstat fid[4] n[2]` and a [`Stat`]: changes attributes.
        126 Old Wstat { fid: Fid, stat: Stat<'a> => counted },
        /// `session id[16] epoch[8] received[8]`: begins a session (all zeros) or resumes one; its tag is
        /// [`NO_TAG`](super::NO_TAG), as that of Tversion.
        200 Own Session { id: [u8; 16], epoch: u64, received: u64 },
        /// `enter fid[4] flags[4] pid[4]`: opens a file for a process of the client's machine.
        202 Own Enter { fid: Fid, flags: u32, pid: u32 },
        /// `send fid[4] flags[1] data[rest]`: one whole message; the flags are [`NONBLOCK`](super::NONBLOCK),
        /// [`SYNC`](super::SYNC) and [`CONTINUED`](super::CONTINUED).
        204 Own Send { fid: Fid, flags: u8, data: &'a [u8] => rest },
        /// `recv fid[4] flags[1] count[4]`: at most so many bytes of one message; the flags are
        /// [`NONBLOCK`](super::NONBLOCK).
        206 Own Recv { fid: Fid, flags: u8, count: u32 },
        /// `poll fid[4] interest[4]`: what is ready now, as bits of poll(2).
        208 Own Poll { fid: Fid, interest: u32 },
        /// `watch fid[4] interest[4]`: waits until something of interest is ready.
        210 Own Watch { fid: Fid, interest: u32 },
        /// `leave fid[4] kind[1] code[4]`: a clunk, and how the holder went.
        212 Own Leave { fid: Fid, kind: u8, code: i32 },
        /// `ack received[8]`: so many frames have come; no reply, and its tag is [`NO_TAG`](super::NO_TAG).
        214 Own Ack { received: u64 },
        /// `ping`: is anybody there?
        216 Own Ping,
    }
}

impl<'a> Request<'a> {
    /// The message in a whole frame, `size[4]` included.
    pub fn parse(dialect: Dialect, frame: &'a [u8]) -> Result<(Tag, Self), ParseError> {
        let (number, tag, mut body) = head(dialect, frame)?;
        Self::take(number, &mut body)
            .and_then(|request| body.end().map(|()| (tag, request)))
            .map_err(|fault| ParseError { tag: Some(tag), fault })
    }

    /// Appends its frame.
    pub fn emit(&self, dialect: Dialect, tag: Tag, out: &mut Vec<u8>) {
        let data = self.emit_head(dialect, tag, out);
        out.extend_from_slice(data);
    }

    /// Appends its frame but for the data at its end, which is returned: a long message need not be copied to be sent.
    pub fn emit_head(&self, dialect: Dialect, tag: Tag, out: &mut Vec<u8>) -> &'a [u8] {
        let mut to = Writer::new(dialect, self.kind().0, tag, out);
        self.put(&mut to);
        to.end()
    }
}
