//! Guests at nodes that are attached here. Two decide: this node, which has granted them names below `n/NAME`, and the
//! other, which is shown what they have there and passed on to this node for that ([`Branch`]). So nobody uses what
//! this node has there.

use std::sync::Arc;

use fs9_grants::{Key, Right, Rights};
use fs9_proto::attr::{SetAttr, SetTime};
use fs9_proto::message::{Fid, Request, mode};
use fs9_proto::stat::{self, DMDIR};
use fs9_tiers::error::Reason;
use rustix::io::Errno;

use super::super::super::attach::{Branch, Link, Path};
use super::super::super::spot::{Place, There};
use super::super::{Door, O_DIRECTORY, Replied};
use super::Owed;
use crate::allotment::{Exhausted, Good, Share};
use crate::grants::{Guest, Manner, Refused, Wish};
use crate::identity::Known;
use crate::local::verb;
use crate::net::porter::House;
use crate::server::Flags;
use crate::server::access::{Sight, rights};
use crate::ticket::Effects;
use crate::tree::{File, NodeId};
use crate::view::View;

/// What shows or controls more than itself, wherever it is.
const TEXTS: [&str; 4] = ["ctl", "status", "status.json", "events"];

impl Door<'_> {
    /// The guest's own link to what is attached as `root`; made, and that written down, if there is none yet.
    pub(in super::super) fn branch(&self, root: File, guest: &Guest) -> Result<Arc<Link>, Refused> {
        let place = (guest.session, root.node);
        let mut state = self.client.state();
        let guests: Vec<_> = state.guests().iter().filter(|guest| Arc::strong_count(guest) > 1).cloned().collect();
        let is_gone = |session| guests.iter().all(|guest| guest.session != session);
        // One that the node has refused is tried anew; who has no fid any more needs none.
        let is_over = |place: &(u64, NodeId), branch: &mut Branch| branch.link().ended().is_some() || is_gone(place.0);
        let ended: Vec<_> = state.branches.extract_if(.., is_over).collect();
        let known = state.branches.get(&place).map(|branch| branch.link().clone());
        drop(state);
        drop(ended);
        if let Some(link) = known {
            return Ok(link);
        }
        let branch = self.new_branch(root, guest)?;
        let link = branch.link().clone();
        self.house.keeper.reach(link.clone());
        self.client.state().branches.insert(place, branch);
        Ok(link)
    }

    fn new_branch(&self, root: File, guest: &Guest) -> Result<Branch, Refused> {
        let grants = self.house.grants.as_deref().ok_or(Errno::ACCESS)?;
        let trunk = self.house.links().get(root.node).ok_or(Errno::STALE)?;
        let (path, name) = {
            let server = self.server();
            (server.path_of(root)?, server.node_name(root.node))
        };
        let node = pinned(self.house, &name, &trunk)?;
        let share = self.share_of_links(guest)?;
        let (chain, record) = grants.relay(guest, &path, &node);
        verb(&self.house.server, |server, fx| server.tell_decision(&record, fx));
        Ok(Branch::new(self.house.links(), &trunk, chain?, share)?)
    }

    /// One of the links that a guest's key may have.
    fn share_of_links(&self, guest: &Guest) -> Result<Option<Share>, Refused> {
        let allotment = self.client.origin.allotment.as_ref();
        let share = allotment.map(|allotment| allotment.take(Good::Links)).transpose();
        share.map_err(|Exhausted { errno, reason }| {
            let (node, key) = (&self.client.origin.node, Some(&guest.key));
            verb(&self.house.server, |server, fx| server.turn_off(node, key, reason.clone(), fx));
            Refused { errno, reason }
        })
    }

    /// The path of a file there from the root of this node's tree, as grants have it: its views belong to a name.
    fn path_here(&self, there: &There, path: &Path) -> Result<String, Errno> {
        let mut whole = self.server().path_of(there.root)?;
        for name in path.names() {
            whole.push('/');
            whole.push_str(View::split(name).0);
        }
        Ok(whole)
    }

    /// Whether who walked may know of this path. Others than guests may know of all.
    pub(super) fn check_seen_there(&self, there: &There, path: &Path) -> Replied {
        let Some(guest) = &there.who.guest else { return Ok(()) };
        guest.decide(&Wish::to_see(self.path_here(there, path)?))
    }

    /// What who walked sees of a directory there.
    pub(super) fn sight_there(&self, there: &There) -> Result<Sight, Errno> {
        Sight::of(&there.who, || self.path_here(there, &there.path))
    }

    /// What a guest must have been granted to go on with what it has open there; None where nothing is open.
    pub(in super::super) fn wish_there(&self, there: &There) -> Option<Result<Wish, Errno>> {
        let open = there.open?;
        let path = self.path_here(there, &there.path);
        Some(path.map(|path| wish(path, open.flags, open.directory)))
    }

    /// Whether this node lets a guest do what it asks. What it has open it may use: that was decided when it was
    /// opened.
    pub(super) fn allow(&self, there: &There, request: &Request<'_>) -> Replied {
        let Some(guest) = &there.who.guest else { return Ok(()) };
        let create = |path: &Path, more: Rights| {
            let (path, rights) = (self.path_here(there, path)?, more | Right::Create);
            guest.decide(&Wish { path, rights, manner: Manner::Covered })
        };
        let make = |name: &str, flags| create(&there.path.below(name)?, rights(flags));
        match *request {
            Request::Lopen { flags, .. } | Request::Enter { flags, .. } => self.allow_open(there, guest, flags),
            Request::Open { mode, .. } => {
                if mode::removes(mode) {
                    create(&there.path, Rights::NONE)?;
                }
                self.allow_open(there, guest, mode::flags(mode).ok_or(Errno::INVAL)?)
            }
            Request::Lcreate { name, flags, .. } => make(name, Flags::of_open(flags)),
            Request::Create { name, perm, .. } if perm & DMDIR != 0 => make(name, Flags::default()),
            Request::Create { name, mode, .. } => make(name, Flags::of_open(mode::flags(mode).ok_or(Errno::INVAL)?)),
            Request::Mkdir { name, .. } | Request::Mknod { name, .. } | Request::Unlinkat { name, .. } => {
                make(name, Flags::default())
            }
            Request::Remove { .. } => create(&there.path, Rights::NONE),
            Request::Rename { dfid, name, .. } => {
                create(&there.path, Rights::NONE)?;
                self.allow_name(there, dfid, name)
            }
            Request::Renameat { oldname, newdfid, newname, .. } => {
                make(oldname, Flags::default())?;
                self.allow_name(there, newdfid, newname)
            }
            Request::Setattr { ref attr, .. } => self.allow_change(there, guest, attr),
            Request::Wstat { ref stat, .. } => {
                if !stat.name.is_empty() && stat.name != there.path.name() {
                    create(&there.path, Rights::NONE)?;
                    create(&there.path.parent().below(stat.name)?, Rights::NONE)?;
                }
                let is_changed = stat::Stat { name: "", ..*stat } != stat::Stat::KEEP;
                if is_changed { create(&there.path, Rights::NONE) } else { Ok(()) }
            }
            Request::Getattr { .. } | Request::Stat { .. } => self.check_seen_there(there, &there.path),
            _ => Ok(()),
        }
    }

    /// Of what nobody has looked at yet only its node knows whether it is a directory: who may read it as one of both
    /// may try.
    fn allow_open(&self, there: &There, guest: &Guest, flags: u32) -> Replied {
        let path = self.path_here(there, &there.path)?;
        let wishes = |is_directory| wish(path.clone(), Flags::of_open(flags), is_directory);
        let is_directory = flags & O_DIRECTORY != 0 || there.path.is_root();
        let browses = guest.may(&wishes(false)).is_err() && guest.may(&wishes(true)).is_ok();
        guest.decide(&wishes(is_directory || (browses && !Flags::of_open(flags).write)))
    }

    /// A name in the directory of another fid, to which something is moved.
    fn allow_name(&self, there: &There, dir: Fid, name: &str) -> Replied {
        match self.place(dir)? {
            Place::There(to) if Arc::ptr_eq(&to.link, &there.link) => {
                self.allow(&to, &Request::Unlinkat { dfid: dir, name, flags: 0 })
            }
            _ => Err(Errno::XDEV),
        }
    }

    /// As for this node's own files, see [`Server::check_change`](crate::server::Server::check_change).
    fn allow_change(&self, there: &There, guest: &Guest, to: &SetAttr) -> Replied {
        if to.uid.is_some() || to.gid.is_some() {
            return Err(Errno::PERM);
        }
        if to.size.is_some() && there.open.is_some_and(|open| open.flags.write) {
            return Ok(());
        }
        let is_own = to.mode.is_some() || [to.atime, to.mtime].iter().any(|time| matches!(time, Some(SetTime::At(_))));
        let right = if is_own { Right::Create } else { Right::Write };
        let path = self.path_here(there, &there.path)?;
        guest.decide(&Wish { path, rights: right.into(), manner: Manner::Covered })
    }
}

/// What must have been granted to open a file there so.
fn wish(path: String, flags: Flags, is_directory: bool) -> Wish {
    let name = path.rsplit('/').next().unwrap_or_default();
    let (rights, manner) = match () {
        () if is_directory => (Right::List.into(), Manner::Browsed),
        () if TEXTS.contains(&name) => (rights(flags), Manner::Named),
        () => (rights(flags), Manner::Covered),
    };
    Wish { path, rights, manner }
}

/// The key that a node had when this one has met it.
fn pinned(house: &House, name: &str, trunk: &Link) -> Result<Key, Refused> {
    let refused = |reason: String| Refused { errno: Errno::ACCESS, reason };
    let identity = Result::as_ref(&*house.identity).map_err(|error| refused(error.to_string()))?;
    match identity.known_nodes().find(name, &trunk.how.address) {
        Ok(Known::Pinned(key, _)) => Ok(key),
        Ok(Known::Unknown) => Err(refused(format!("n/{name} has no key: only nodes at tls:// let others' guests in"))),
        Err(error) => Err(refused(error.to_string())),
    }
}

impl Owed {
    /// Whether a guest may have open what it has opened, now that this is known: otherwise it is closed again, and that
    /// is written down.
    pub(super) fn recheck(&self, fid: Fid, there: &Arc<There>) -> Replied {
        let door = Door { house: &self.house, client: &self.client, tag: self.tag };
        let (Some(guest), Some(wish)) = (&there.who.guest, door.wish_there(there)) else { return Ok(()) };
        let wish = wish?;
        if guest.may(&wish).is_ok() {
            return Ok(());
        }
        let mut fx = Effects::default();
        let decided = guest.decide(&wish);
        let place = Place::There(there.clone());
        if self.client.state().exchange(fid, there, Some(place.clone().closed())) {
            door.release(&place, Reason::Revoked, &mut fx);
        }
        door.write_down(&mut fx);
        fx.carry_out();
        decided
    }
}
