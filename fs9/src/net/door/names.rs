//! Names: attach, walk, make, remove, rename.

use std::sync::Arc;

use fs9_proto::message::{Dialect, Names, Qids, mode};
use fs9_proto::stat::DMDIR;
use fs9_proto::{Fid, Qid, Reply};
use rustix::fs::FileType;
use rustix::io::Errno;

use super::super::origin::Party;
use super::super::spot::{Place, Spot, There};
use super::super::user::Named;
use super::{Door, Replied, errno_of, fresh, known};
use crate::attachment;
use crate::grants::Refused;
use crate::server::access::{SEARCH, Who};
use crate::server::{Flags, Server};
use crate::ticket::Effects;
use crate::tree::{File, NODES, ROOT};
use crate::view::View;

/// No user (`P9_NONUNAME`): the name counts.
const NO_USER: u32 = u32::MAX;

impl Door<'_> {
    pub(super) fn attach(
        &self,
        fid: Fid,
        afid: Fid,
        uname: &str,
        aname: &str,
        uid: Option<u32>,
        fx: &mut Effects,
    ) -> Replied {
        let shown = self.shown(afid)?;
        let own = match &*self.client.party {
            Party::User(own) => own,
            Party::Key(key) => {
                self.client.state().talk.admit(fid).map_err(errno_of)?;
                let guest = self.admit(key, shown.as_deref(), fx);
                return guest.map_or(Ok(()), |who| self.attach_as(fid, aname, who));
            }
        };
        match named_beside(own, uname, uid) {
            None => self.attach_as(fid, aname, own.clone()),
            Some(named) => self.attach_once_known(fid, aname.to_owned(), named),
        }
    }

    /// Attaches for somebody who is looked up first. Until then nothing more is read from the client.
    fn attach_once_known(&self, fid: Fid, aname: String, named: Named) -> Replied {
        let (house, client, tag) = (self.house.clone(), self.client.clone(), self.tag);
        self.client.state().hold();
        let asked = self.house.clerk.ask(move || {
            let door = Door { house: &house, client: &client, tag };
            let attached = named.look_up().and_then(|who| door.attach_as(fid, &aname, Arc::new(who)));
            client.state().is_admitted |= attached.is_ok();
            attached.unwrap_or_else(|errno| client.fail(tag, errno));
            client.state().let_go();
        });
        asked.inspect_err(|_| self.client.state().let_go())
    }

    fn attach_as(&self, fid: Fid, aname: &str, who: Arc<Who>) -> Replied {
        self.client.state().talk.admit(fid).map_err(errno_of)?;
        let server = self.server();
        let (mut file, mut view) = (File::of(ROOT), View::Plain);
        let mut names = aname.split('/').filter(|name| !name.is_empty());
        while let Some(name) = names.next() {
            (file, view) = self.step(&server, file, view, name, &who)?;
            if attachment::is_one(file.node) {
                drop(server);
                return match self.root_of(file, who) {
                    Ok(root) => self.attach_there(fid, &root, names),
                    Err(refused) => {
                        self.refuse(&refused);
                        Ok(())
                    }
                };
            }
        }
        let qid = fresh(file, &server)?;
        drop(server);
        self.bind(fid, Place::Here(Spot { file, view, qid, who, open: None }));
        self.reply(&Reply::Attach { qid });
        Ok(())
    }

    pub(super) fn walk(&self, fid: Fid, newfid: Fid, names: &Names<'_>) -> Replied {
        let from = self.place(fid)?;
        let is_open = match &from {
            Place::Here(spot) => spot.open.is_some(),
            Place::There(there) => there.open.is_some(),
        };
        if newfid != fid {
            self.client.state().talk.admit(newfid).map_err(errno_of)?;
        } else if is_open {
            return Err(Errno::BADF);
        }
        let mut qids = Qids::none();
        let mut place = from.closed();
        for (count, name) in names.iter().enumerate() {
            let spot = match &place {
                Place::Here(spot) => spot.clone(),
                // Above the root of another node is this one's tree.
                Place::There(there) if there.path.is_root() && *name == ".." => self.spot_of_root(there)?,
                Place::There(there) => return self.walk_there((fid, newfid), there, names, (qids, count)),
            };
            match self.step_to(&spot, name) {
                Ok((next, qid)) => {
                    place = match attachment::is_one(next.file.node) {
                        false => Place::Here(next),
                        true => match self.root_of(next.file, next.who) {
                            Ok(there) => Place::There(there),
                            Err(refused) => {
                                self.refuse(&refused);
                                return Ok(());
                            }
                        },
                    };
                    qids.push(qid);
                }
                Err(errno) if count == 0 => return Err(errno),
                // So far it came, and `newfid` is nothing.
                Err(_) => {
                    self.reply(&Reply::Walk { qids });
                    return Ok(());
                }
            }
        }
        self.bind(newfid, place);
        self.reply(&Reply::Walk { qids });
        Ok(())
    }

    /// One step of a walk from a file of this node, and what the client knows it by.
    fn step_to(&self, from: &Spot, name: &str) -> Result<(Spot, Qid), Errno> {
        // Our own client sees to its inodes itself, and shows the number to stat(2).
        let number = if self.client.state().talk.dialect() == Dialect::Own { known } else { fresh };
        let server = self.server();
        let (file, view) = self.step(&server, from.file, from.view, name, &from.who)?;
        let qid = number(file, &server)?;
        Ok((Spot { file, view, qid, who: from.who.clone(), open: None }, qid))
    }

    /// The root of what is attached as `file`.
    fn root_of(&self, file: File, who: Arc<Who>) -> Result<Arc<There>, Refused> {
        let link = match &who.guest {
            None => self.house.links().get(file.node).ok_or(Errno::STALE)?,
            Some(guest) => self.branch(file, guest)?,
        };
        Ok(Arc::new(There::new(file, link, who)))
    }

    /// The root of another node as a file of this one, which its attributes are.
    pub(super) fn spot_of_root(&self, there: &There) -> Result<Spot, Errno> {
        let qid = known(there.root, &self.server())?;
        Ok(Spot { file: there.root, view: View::Plain, qid, who: there.who.clone(), open: None })
    }

    /// One step of a walk.
    fn step(&self, server: &Server, from: File, view: View, name: &str, who: &Who) -> Result<(File, View), Errno> {
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
        let (file, view) = server.walk_as(from, name.as_bytes(), who)?;
        let is_hidden = file == File::of(NODES) && !self.house.export_nodes;
        if is_hidden { Err(Errno::NOENT) } else { Ok((file, view)) }
    }

    pub(super) fn old_create(&self, fid: Fid, name: &str, perm: u32, mode: u8, fx: &mut Effects) -> Replied {
        let flags = flags_of_create(perm, mode)?;
        let qid = if perm & DMDIR == 0 {
            self.create(fid, name, flags, mode::removes(mode), fx)?
        } else if Flags::of_open(flags).write {
            return Err(Errno::ISDIR);
        } else {
            let dir = self.spot(fid)?;
            let qid = self.mkdir(fid, name, perm & 0o777, fx)?;
            let (file, view, _) = self.server().walk(dir.file, name.as_bytes())?;
            self.bind(fid, Place::Here(Spot { file, view, qid, who: dir.who, open: None }));
            self.open(fid, flags, mode::removes(mode), 0, fx)?.0
        };
        self.reply(&Reply::Create { qid, iounit: 0 });
        Ok(())
    }

    pub(super) fn mkdir(&self, dir: Fid, name: &str, mode: u32, fx: &mut Effects) -> Result<Qid, Errno> {
        let dir = self.spot(dir)?;
        let mut server = self.server();
        server.check_make(dir.file, name.as_bytes(), &dir.who, None)?;
        let made = server.make_directory(dir.file, name.as_bytes(), mode, self.caller(&dir.who, 0), fx)?;
        fresh(made, &server)
    }

    pub(super) fn mknod(&self, dir: Fid, name: &str, mode: u32, fx: &mut Effects) -> Replied {
        let kind = FileType::from_raw_mode(mode);
        if kind != FileType::RegularFile && mode & !0o7777 != 0 {
            return Err(Errno::PERM);
        }
        let dir = self.spot(dir)?;
        let mut server = self.server();
        server.check_make(dir.file, name.as_bytes(), &dir.who, None)?;
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
        server.check_rename((dir, name.as_bytes()), (new_dir, new_name.as_bytes()), who)?;
        server.rename(dir, name.as_bytes(), new_dir, new_name.as_bytes())
    }
}

/// The O_* flags for what Tcreate makes and opens.
pub(super) fn flags_of_create(perm: u32, mode: u8) -> Result<u32, Errno> {
    /// DMEXCL, DMAUTH, and those of 9P2000.u for links, devices, pipes and sockets: nothing that is here.
    const OTHERS: u32 = 0x2000_0000 | 0x0800_0000 | 0x03b0_0000;
    if perm & OTHERS != 0 { Err(Errno::PERM) } else { mode::flags(mode).ok_or(Errno::INVAL) }
}

/// Whom a client names that came as `own`: root may be anybody, all others are only themselves.
fn named_beside(own: &Who, uname: &str, uid: Option<u32>) -> Option<Named> {
    let named = match (own.uid, uid) {
        (0, Some(uid)) if uid != NO_USER => Some(uid),
        (0, _) => uname.parse().ok(),
        _ => return None,
    };
    let is_root = named == Some(0) || (named.is_none() && uname.is_empty());
    (!is_root).then(|| Named { uid: named, name: uname.to_owned() })
}
