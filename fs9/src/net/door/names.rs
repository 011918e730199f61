//! Names: attach, walk, make, remove, rename.

use std::ffi::CString;
use std::sync::Arc;

use fs9_proto::message::{Dialect, Names, Qids, mode};
use fs9_proto::stat::DMDIR;
use fs9_proto::{Fid, NO_FID, Qid, Reply};
use nix::unistd::{Gid, Uid, User, getgrouplist};
use rustix::fs::FileType;
use rustix::io::Errno;

use super::super::spot::Spot;
use super::{Door, Replied, errno_of, fresh, known};
use crate::server::access::{SEARCH, Who};
use crate::server::{Flags, Server};
use crate::ticket::Effects;
use crate::tree::{File, NODES, ROOT};
use crate::view::View;

/// No user (`P9_NONUNAME`): the name counts.
const NO_USER: u32 = u32::MAX;

impl Door<'_> {
    pub(super) fn attach(&self, fid: Fid, afid: Fid, uname: &str, aname: &str, uid: Option<u32>) -> Replied {
        if afid != NO_FID {
            return Err(Errno::BADF);
        }
        self.client.state().talk.admit(fid).map_err(errno_of)?;
        let who = self.who(uname, uid)?;
        let server = self.server();
        let (mut file, mut view) = (File::of(ROOT), View::Plain);
        for name in aname.split('/').filter(|name| !name.is_empty()) {
            (file, view) = step(&server, file, view, name, &who)?;
        }
        let qid = fresh(file, &server)?;
        drop(server);
        self.bind(fid, Spot { file, view, qid, who, open: None });
        self.reply(&Reply::Attach { qid });
        Ok(())
    }

    /// As whom somebody asks: root may be anybody, all others only themselves.
    fn who(&self, uname: &str, uid: Option<u32>) -> Result<Arc<Who>, Errno> {
        let own = &self.client.who;
        let named = match (own.uid, uid) {
            (0, Some(uid)) if uid != NO_USER => Some(uid),
            (0, _) => uname.parse().ok(),
            _ => return Ok(own.clone()),
        };
        if named == Some(0) || (named.is_none() && uname.is_empty()) {
            return Ok(own.clone());
        }
        let user = match named {
            Some(uid) => User::from_uid(Uid::from_raw(uid)),
            None => User::from_name(uname),
        };
        match (user.ok().flatten(), named) {
            (Some(user), _) => Ok(Arc::new(with_groups(&user))),
            // A number is a user also where nobody has given it a name.
            (None, Some(uid)) => Ok(Arc::new(Who { uid, gid: uid, groups: [].into() })),
            (None, None) => Err(Errno::ACCESS),
        }
    }

    pub(super) fn walk(&self, fid: Fid, newfid: Fid, names: &Names<'_>) -> Replied {
        let mut spot = self.spot(fid)?;
        if newfid != fid {
            self.client.state().talk.admit(newfid).map_err(errno_of)?;
        } else if spot.open.is_some() {
            return Err(Errno::BADF);
        }
        spot.open = None;
        // Our own client sees to its inodes itself, and shows the number to stat(2).
        let number = if self.client.state().talk.dialect() == Dialect::Own { known } else { fresh };
        let server = self.server();
        let mut qids = Qids::none();
        for (place, name) in names.iter().enumerate() {
            let next = step(&server, spot.file, spot.view, name, &spot.who);
            let next = next.and_then(|(file, view)| Ok((file, view, number(file, &server)?)));
            match next {
                Ok((file, view, qid)) => (spot.file, spot.view, spot.qid) = (file, view, qid),
                Err(errno) if place == 0 => return Err(errno),
                // So far it came, and `newfid` is nothing.
                Err(_) => {
                    drop(server);
                    self.reply(&Reply::Walk { qids });
                    return Ok(());
                }
            }
            qids.push(spot.qid);
        }
        drop(server);
        self.bind(newfid, spot);
        self.reply(&Reply::Walk { qids });
        Ok(())
    }

    pub(super) fn old_create(&self, fid: Fid, name: &str, perm: u32, mode: u8, fx: &mut Effects) -> Replied {
        /// DMEXCL, DMAUTH, and those of 9P2000.u for links, devices, pipes and sockets: nothing that is here.
        const OTHERS: u32 = 0x2000_0000 | 0x0800_0000 | 0x03b0_0000;
        let flags = mode::flags(mode).ok_or(Errno::INVAL)?;
        if perm & OTHERS != 0 {
            return Err(Errno::PERM);
        }
        let qid = if perm & DMDIR == 0 {
            self.create(fid, name, flags, mode::removes(mode), fx)?
        } else if Flags::of_open(flags).write {
            return Err(Errno::ISDIR);
        } else {
            let dir = self.spot(fid)?;
            let qid = self.mkdir(fid, name, perm & 0o777)?;
            let (file, view, _) = self.server().walk(dir.file, name.as_bytes())?;
            self.bind(fid, Spot { file, view, qid, who: dir.who, open: None });
            self.open(fid, flags, mode::removes(mode), 0, fx)?.0
        };
        self.reply(&Reply::Create { qid, iounit: 0 });
        Ok(())
    }

    pub(super) fn mkdir(&self, dir: Fid, name: &str, mode: u32) -> Result<Qid, Errno> {
        let dir = self.spot(dir)?;
        let mut server = self.server();
        server.check_make(dir.file, &dir.who)?;
        let made = server.make_directory(dir.file, name.as_bytes(), mode, self.caller(&dir.who, 0))?;
        fresh(made, &server)
    }

    pub(super) fn mknod(&self, dir: Fid, name: &str, mode: u32, fx: &mut Effects) -> Replied {
        let kind = FileType::from_raw_mode(mode);
        if kind != FileType::RegularFile && mode & !0o7777 != 0 {
            return Err(Errno::PERM);
        }
        let dir = self.spot(dir)?;
        let mut server = self.server();
        server.check_make(dir.file, &dir.who)?;
        let (file, _) = server.make_queue(dir.file, name.as_bytes(), 0o600, self.caller(&dir.who, 0), fx)?;
        let qid = fresh(file, &server)?;
        drop(server);
        self.reply(&Reply::Mknod { qid });
        Ok(())
    }

    pub(super) fn unlink(&self, dir: Fid, name: &str, directory: bool, fx: &mut Effects) -> Replied {
        let dir = self.spot(dir)?;
        let mut server = self.server();
        server.check_remove(dir.file, name.as_bytes(), &dir.who)?;
        server.remove(dir.file, name.as_bytes(), directory, fx)
    }

    /// Removes what a fid is of.
    pub(super) fn remove_spot(&self, spot: &Spot, fx: &mut Effects) -> Replied {
        let mut server = self.server();
        let (dir, name) = server.place(spot.file)?;
        server.check_remove(dir, name.as_bytes(), &spot.who)?;
        let directory = server.stat(spot.file)?.directory;
        server.remove(dir, name.as_bytes(), directory, fx)
    }

    pub(super) fn rename(&self, dir: File, name: &str, new_dir: File, new_name: &str, who: &Who) -> Replied {
        let mut server = self.server();
        server.check_rename(dir, name.as_bytes(), new_dir, who)?;
        server.rename(dir, name.as_bytes(), new_dir, new_name.as_bytes())
    }
}

/// One step of a walk.
fn step(server: &Server, from: File, view: View, name: &str, who: &Who) -> Result<(File, View), Errno> {
    if view != View::Plain || !server.stat(from)?.directory {
        return Err(Errno::NOTDIR);
    }
    server.check(from, who, SEARCH)?;
    match name {
        // 9P has no such name, but diod's clients walk to it.
        "." => return Ok((from, View::Plain)),
        ".." => return server.place(from).map(|(dir, _)| (dir, View::Plain)),
        _ => {}
    }
    let (file, view, _) = server.walk(from, name.as_bytes())?;
    // Other nodes are not passed on.
    if file == File::of(NODES) { Err(Errno::NOENT) } else { Ok((file, view)) }
}

fn with_groups(user: &User) -> Who {
    let name = CString::new(&*user.name).unwrap_or_default();
    let groups = getgrouplist(&name, user.gid).unwrap_or_default();
    Who { uid: user.uid.as_raw(), gid: user.gid.as_raw(), groups: groups.into_iter().map(Gid::as_raw).collect() }
}
