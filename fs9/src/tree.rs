//! The tree of names: directories and channels, their modes, owners and times, and the files that each kind shows.

mod furnish;

use std::collections::BTreeMap;
use std::time::SystemTime;

use fs9_tiers::heap;
use rustc_hash::FxHashMap;
use rustix::io::Errno;

use crate::allotment::Share;
use crate::attachment::{self, Attachment};
use crate::channel::{Channel, Kind};
use crate::service::Service;
use crate::spec::Spec;
use crate::timer;
use crate::topic::Topic;
use crate::view::View;

/// The number of a node. Never used again for another, so that a stale one is recognised.
pub type NodeId = u64;

/// The directory at the mount point.
pub const ROOT: NodeId = 1;

/// The directory in which every duration is the name of a timer.
pub const TIMERS: NodeId = 2;

/// The directory of the trees of other nodes, each under a name.
pub const NODES: NodeId = 3;

/// The file a request speaks of: a node, or one of the fixed files in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct File {
    /// The node.
    pub node: NodeId,
    /// Which file of it.
    pub part: Part,
}

/// The files that a node consists of. Only directories and queues stand for themselves alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The node itself.
    Own,
    /// The first end: `a` of a pair, `connect` of a service.
    A,
    /// The second end: `b` of a pair, `accept` of a service.
    B,
    /// `ctl`, of the mount, a pair or a service.
    Ctl,
    /// `status`, of the mount, a pair or a service.
    Status,
    /// `status.json` of the mount.
    StatusJson,
    /// `events` of the mount.
    Events,
    /// `README` of the mount.
    Readme,
    /// `id` of the mount.
    Id,
}

impl Part {
    /// Every part, at the place that is its number.
    pub const ALL: [Part; 9] =
        [Part::Own, Part::A, Part::B, Part::Ctl, Part::Status, Part::StatusJson, Part::Events, Part::Readme, Part::Id];

    /// The fixed files of the mount point: names and permissions.
    const OF_ROOT: [(&'static str, Part, u32); 6] = [
        ("README", Part::Readme, 0o444),
        ("ctl", Part::Ctl, 0o600),
        ("events", Part::Events, 0o400),
        ("id", Part::Id, 0o444),
        ("status", Part::Status, 0o444),
        ("status.json", Part::StatusJson, 0o444),
    ];

    /// The fixed files of a pair. The ends have modes of their own.
    const OF_PAIR: [(&'static str, Part, u32); 4] =
        [("a", Part::A, 0), ("b", Part::B, 0), ("ctl", Part::Ctl, 0o600), ("status", Part::Status, 0o444)];

    /// The fixed files of a service. Of one that a program serves nobody else accepts.
    const OF_SERVICE: [(&'static str, Part, u32); 4] =
        [("accept", Part::B, 0), ("connect", Part::A, 0), ("ctl", Part::Ctl, 0o600), ("status", Part::Status, 0o444)];

    /// The number of this part.
    pub fn index(self) -> u64 {
        Part::ALL.iter().position(|part| *part == self).unwrap_or(0) as u64
    }

    /// Whether this is a file to send to and receive from: a node that is no directory, or an end.
    pub fn is_peer(self, directory: bool) -> bool {
        self.end().is_some() || (self == Part::Own && !directory)
    }

    /// Which end this is: 0 or 1.
    pub fn end(self) -> Option<usize> {
        match self {
            Part::A => Some(0),
            Part::B => Some(1),
            _ => None,
        }
    }
}

impl File {
    /// The node itself.
    pub const fn of(node: NodeId) -> File {
        File { node, part: Part::Own }
    }

    /// The inode number that stat(2) shows: the same for every view and every opener of a file.
    pub fn ino(self) -> u64 {
        if self == File::of(ROOT) { 1 } else { self.node << 4 | self.part.index() }
    }
}

/// Mode, owner and times of a file.
#[derive(Debug, Clone, Copy)]
pub struct Attr {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last read of a message.
    pub atime: SystemTime,
    /// Last message sent.
    pub mtime: SystemTime,
    /// Last change of mode, owner or name.
    pub ctime: SystemTime,
}

impl Attr {
    /// Attributes of something made now.
    pub fn new(mode: u32, uid: u32, gid: u32) -> Attr {
        let now = SystemTime::now();
        Attr { mode: mode & 0o7777, uid, gid, atime: now, mtime: now, ctime: now }
    }

    /// Those of a directory whose files have these: who may use the files may walk to them, and so may the owner.
    fn walkable(self) -> Attr {
        let class = |shift: u32| if self.mode >> shift & 0o6 == 0 { 0 } else { 0o5 << shift };
        Attr { mode: 0o700 | class(3) | class(0), ..self }
    }
}

/// What stat(2) shows of a file. Sizes are 0: a peer has no length.
#[derive(Debug, Clone, Copy)]
pub struct Stat {
    /// Inode number.
    pub ino: u64,
    /// Whether it is a directory; everything else is a regular file.
    pub directory: bool,
    /// Links.
    pub nlink: u32,
    /// Mode, owner and times.
    pub attr: Attr,
}

/// A name in the tree.
#[derive(Debug)]
pub struct Node {
    /// Its name in its parent.
    pub name: Box<str>,
    /// The directory it is in.
    pub parent: NodeId,
    /// Mode, owner and times.
    pub attr: Attr,
    /// Those of its ends, where they have their own. Rare, so a node that has none is small.
    ends: Option<Box<[Option<Attr>; 2]>>,
    /// What it is.
    pub body: Body,
    /// Not in the tree (any more), but open.
    pub removed: bool,
    /// Of what the key may have that made it.
    pub share: Option<Share>,
}

/// What a node is.
#[derive(Debug)]
pub enum Body {
    /// A plain directory and what is in it.
    Directory(BTreeMap<Box<str>, NodeId>),
    /// The directory of all timers.
    Timers,
    /// The root of another node's tree, of which nothing is known here but that it is there.
    Attached(Box<Attachment>),
    /// A queue or a pair; or what the tree does not list: a connection, the copies or ticks of one reader.
    Channel(Box<Channel>),
    /// A service.
    Service(Box<Service>),
    /// A topic.
    Topic(Box<Topic>),
}

impl Body {
    /// Its own channel, if it has one.
    pub fn channel(&self) -> Option<&Channel> {
        match self {
            Body::Channel(channel) => Some(channel),
            Body::Topic(topic) => Some(&topic.channel),
            Body::Directory(_) | Body::Timers | Body::Attached(_) | Body::Service(_) => None,
        }
    }

    /// The same, to change.
    pub fn channel_mut(&mut self) -> Option<&mut Channel> {
        match self {
            Body::Channel(channel) => Some(channel),
            Body::Topic(topic) => Some(&mut topic.channel),
            Body::Directory(_) | Body::Timers | Body::Attached(_) | Body::Service(_) => None,
        }
    }

    /// Whether it is walked into, to its ends.
    fn has_ends(&self) -> bool {
        matches!(self, Body::Service(_)) || self.channel().is_some_and(|channel| channel.kind() == Kind::Pair)
    }

    /// What it has itself where those who use it are to have `attr`.
    pub fn own_attr(&self, attr: Attr) -> Attr {
        if self.has_ends() { attr.walkable() } else { attr }
    }

    /// Drops everything that waits, which answers it.
    pub fn abandon(&mut self) {
        match self {
            Body::Service(service) => service.line.clear(),
            other => drop(other.channel_mut().map(Channel::abandon)),
        }
    }
}

impl From<Spec> for Body {
    fn from(spec: Spec) -> Body {
        let channel = |kind| Body::Channel(Box::new(Channel::new(kind)));
        match spec {
            Spec::Queue { ack } => channel(Kind::Queue { ack }),
            Spec::Pair => channel(Kind::Pair),
            Spec::Service(service) => Body::Service(Box::new(Service::new(service))),
            Spec::Topic { latest } => Body::Topic(Box::new(Topic::new(latest))),
        }
    }
}

/// One line of a directory listing.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The name.
    pub name: Box<str>,
    /// The file.
    pub file: File,
    /// Whether it is a directory.
    pub directory: bool,
}

/// The tree.
#[derive(Debug)]
pub struct Tree {
    nodes: FxHashMap<NodeId, Box<Node>>,
    next: NodeId,
    next_unlisted: NodeId,
    next_attached: NodeId,
    /// How many nodes there are that do not count.
    uncounted: usize,
    limit: usize,
}

impl Tree {
    /// The highest number of a node that has a name and is no attachment: a File and its view must fit into the 64 bits that
    /// a door has for it, attachments need as many, and timers twice as many.
    pub const LAST: NodeId = attachment::FIRST - 1;

    /// An empty tree of `attr` in which at most `limit` nodes can be made.
    pub fn new(attr: Attr, limit: usize) -> Tree {
        let names = BTreeMap::from_iter([("n".into(), NODES), ("timer".into(), TIMERS)]);
        let root = Node::new("", ROOT, attr, Body::Directory(names));
        let timers = Node::new("timer", ROOT, attr, Body::Timers);
        let attached = Node::new("n", ROOT, attr, Body::Directory(BTreeMap::new()));
        Tree {
            nodes: [(ROOT, root), (TIMERS, timers), (NODES, attached)].into_iter().collect(),
            next: NODES + 1,
            next_unlisted: Tree::FIRST_UNLISTED,
            next_attached: attachment::FIRST,
            uncounted: 3,
            limit,
        }
    }

    /// The lowest number of a node that no door ever hears of.
    const FIRST_UNLISTED: NodeId = 1 << 40;

    /// A node without a name as people are told of it.
    pub fn number(id: NodeId) -> u64 {
        id.saturating_sub(Tree::FIRST_UNLISTED) + 1
    }

    /// How many nodes there are without a name.
    #[cfg(test)]
    pub fn unlisted(&self) -> usize {
        self.nodes.keys().filter(|id| **id >= Tree::FIRST_UNLISTED).count()
    }

    /// How many nodes there are that somebody has made and named.
    pub fn len(&self) -> usize {
        self.nodes.len() - self.uncounted
    }

    /// The node of a number.
    ///
    /// # Errors
    /// ESTALE when it is gone.
    pub fn node(&self, id: NodeId) -> Result<&Node, Errno> {
        self.nodes.get(&id).map(|node| &**node).ok_or(Errno::STALE)
    }

    /// The node of a number, to change. Errors as [`Tree::node`].
    pub fn node_mut(&mut self, id: NodeId) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&id).map(|node| &mut **node).ok_or(Errno::STALE)
    }

    /// The channel of a number. ESTALE when it is gone, EISDIR when it has none.
    pub fn channel_mut(&mut self, id: NodeId) -> Result<&mut Channel, Errno> {
        self.node_mut(id)?.body.channel_mut().ok_or(Errno::ISDIR)
    }

    /// The channel of a number. Errors as [`Tree::channel_mut`].
    pub fn channel(&self, id: NodeId) -> Result<&Channel, Errno> {
        self.node(id)?.body.channel().ok_or(Errno::ISDIR)
    }

    /// The service of a number. ESTALE when it is gone, ENOTCONN when it is none.
    pub fn service_mut(&mut self, id: NodeId) -> Result<&mut Service, Errno> {
        match &mut self.node_mut(id)?.body {
            Body::Service(service) => Ok(service),
            _ => Err(Errno::NOTCONN),
        }
    }

    /// The topic of a number; None when it is none, or gone.
    pub fn topic_mut(&mut self, id: NodeId) -> Option<&mut Topic> {
        match self.node_mut(id) {
            Ok(Node { body: Body::Topic(topic), .. }) => Some(topic),
            _ => None,
        }
    }

    /// Every node that is there, also those that were removed and are still open, in no order.
    pub fn every_node(&mut self) -> impl Iterator<Item = &mut Node> {
        self.nodes.values_mut().map(|node| &mut **node)
    }

    /// All channels, services and topics in the tree with their paths, in the order of the names.
    pub fn channels(&self) -> Vec<(String, NodeId, &Node)> {
        let mut all = Vec::new();
        // A stack instead of recursion, and one prefix that grows and shrinks instead of one a level: directories can be
        // nested deeper than a thread's stack is.
        let mut prefix = String::new();
        let mut open: Vec<_> = self.children(ROOT).map(|names| (0, names)).into_iter().collect();
        while let Some((outside, names)) = open.last_mut() {
            let Some((name, id)) = names.next() else {
                prefix.truncate(*outside);
                open.pop();
                continue;
            };
            match self.node(*id) {
                Ok(Node { body: Body::Directory(_), .. }) => {
                    let outside = prefix.len();
                    prefix.push_str(name);
                    prefix.push('/');
                    open.extend(self.children(*id).map(|names| (outside, names)));
                }
                Ok(Node { body: Body::Timers | Body::Attached(_), .. }) | Err(_) => {}
                Ok(node) => all.push((format!("{prefix}{name}"), *id, node)),
            }
        }
        all
    }

    /// Every attachment with its name, in the order of the names.
    pub fn attachments(&self) -> impl Iterator<Item = (&str, &Attachment)> {
        let attached = self.children(NODES).into_iter().flatten();
        attached.filter_map(|(name, id)| match &self.node(*id).ok()?.body {
            Body::Attached(attachment) => Some((&**name, &**attachment)),
            _ => None,
        })
    }

    fn children(&self, dir: NodeId) -> Option<std::collections::btree_map::Iter<'_, Box<str>, NodeId>> {
        match self.node(dir) {
            Ok(Node { body: Body::Directory(children), .. }) => Some(children.iter()),
            _ => None,
        }
    }

    /// The path of a node from the mount point, for people to read. A removed node keeps the one it had; one without a name
    /// has that of what it is part of.
    pub fn path(&self, id: NodeId) -> String {
        let mut names = Vec::new();
        let mut at = id;
        while at != ROOT {
            let Ok(node) = self.node(at) else { break };
            names.extend(Some(&*node.name).filter(|name| !name.is_empty()));
            at = node.parent;
        }
        names.reverse();
        names.join("/")
    }

    /// The path of a file's node.
    pub fn path_of(&self, file: File) -> String {
        match timer::period(file.node) {
            Some(period) => format!("{}/{}", self.path(TIMERS), humantime::format_duration(period)),
            None => self.path(file.node),
        }
    }

    /// The directory that a file is in, and its name there. The root is in itself.
    ///
    /// # Errors
    /// ESTALE when it is gone.
    pub fn place(&self, file: File) -> Result<(File, String), Errno> {
        if let Some(period) = timer::period(file.node) {
            return Ok((File::of(TIMERS), humantime::format_duration(period).to_string()));
        }
        let node = self.node(file.node)?;
        match file.part {
            Part::Own => Ok((File::of(node.parent), node.name.to_string())),
            part => {
                let fixed = if file.node == ROOT { &Part::OF_ROOT[..] } else { node.fixed() };
                let name = fixed.iter().find(|(_, of, _)| *of == part).map_or("", |(name, ..)| name);
                Ok((File::of(file.node), name.to_owned()))
            }
        }
    }

    /// The name of the end that a file is; None when it is none.
    pub fn end_name(&self, file: File) -> Option<&'static str> {
        let end = file.part.end()?;
        let kind = match &self.node(file.node).ok()?.body {
            Body::Service(_) => Kind::Connection,
            body => body.channel()?.kind(),
        };
        kind.ends().map(|ends| ends[end])
    }

    /// The file `name` in directory `dir`, and the view that its suffix chooses.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR, ESTALE; EINVAL and ENAMETOOLONG for what cannot be a name.
    pub fn walk(&self, dir: File, name: &[u8]) -> Result<(File, View), Errno> {
        let name = text(name)?;
        let node = match timer::period(dir.node) {
            None => self.node(dir.node)?,
            Some(_) => return Err(Errno::NOTDIR),
        };
        if dir.part != Part::Own {
            return Err(Errno::NOTDIR);
        }
        match &node.body {
            Body::Directory(children) => {
                if dir.node == ROOT
                    && let Some((_, part, _)) = Part::OF_ROOT.into_iter().find(|(fixed, ..)| *fixed == name)
                {
                    return Ok((File { node: ROOT, part }, View::Plain));
                }
                if let Some(id) = children.get(name) {
                    return Ok((File::of(*id), View::Plain));
                }
                let (base, view) = View::split(name);
                let id = children.get(base).filter(|id| self.has_views(**id)).ok_or(Errno::NOENT)?;
                Ok((File::of(*id), view))
            }
            Body::Timers => timer::parse(name).map(|id| (File::of(id), View::Plain)).ok_or(Errno::NOENT),
            // What is below is another server's to say.
            Body::Attached(_) => Err(Errno::XDEV),
            _ if node.is_directory() => {
                let (base, view) = View::split(name);
                let (_, part, _) = *node.fixed().iter().find(|(fixed, ..)| *fixed == base).ok_or(Errno::NOENT)?;
                if view != View::Plain && part.end().is_none() {
                    return Err(Errno::NOENT);
                }
                Ok((File { node: dir.node, part }, view))
            }
            _ => Err(Errno::NOTDIR),
        }
    }

    fn has_views(&self, id: NodeId) -> bool {
        self.node(id).is_ok_and(|node| !node.is_directory())
    }

    /// The file of a path with `/` between names.
    ///
    /// # Errors
    /// As [`Tree::walk`].
    pub fn find(&self, path: &str) -> Result<File, Errno> {
        let mut file = File::of(ROOT);
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let (next, view) = self.walk(file, name.as_bytes())?;
            if view != View::Plain {
                return Err(Errno::NOENT);
            }
            file = next;
        }
        Ok(file)
    }

    /// What stat(2) shows of a file.
    ///
    /// # Errors
    /// ESTALE when it is gone.
    pub fn stat(&self, file: File) -> Result<Stat, Errno> {
        if timer::period(file.node).is_some() {
            let attr = Attr { mode: 0o444, ..self.node(TIMERS)?.attr };
            return Ok(Stat { ino: file.ino(), directory: false, nlink: 1, attr });
        }
        let node = self.node(file.node)?;
        let directory = file.part == Part::Own && node.is_directory();
        // 1 also for directories, where it means "not counted" to find(1), as on btrfs.
        let nlink = if node.removed { 0 } else { 1 };
        Ok(Stat { ino: file.ino(), directory, nlink, attr: node.attr_of(file) })
    }

    /// Makes a node called `name` in `dir`.
    ///
    /// # Errors
    /// EEXIST, ENOTDIR, ESTALE, ENOSPC at the limit; EINVAL and ENAMETOOLONG for what cannot be a name, EPERM where
    /// nothing can be made.
    pub fn make(&mut self, dir: File, name: &[u8], attr: Attr, body: Body) -> Result<NodeId, Errno> {
        let name = checked(name)?;
        match self.walk(dir, name.as_bytes()) {
            Ok(_) => return Err(Errno::EXIST),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        if self.len() >= self.limit || self.next > Tree::LAST {
            return Err(Errno::NOSPC);
        }
        let id = self.next;
        let parent = self.node_mut(dir.node)?;
        let Body::Directory(children) = &mut parent.body else { return Err(Errno::PERM) };
        if dir.node == NODES {
            return Err(Errno::PERM);
        }
        if parent.removed {
            return Err(Errno::NOENT);
        }
        children.insert(name.into(), id);
        parent.attr.mtime = attr.ctime;
        parent.attr.ctime = attr.ctime;
        self.nodes.insert(id, Node::new(name, dir.node, attr, body));
        self.next += 1;
        Ok(id)
    }

    /// Makes the name under which another node's tree is shown. It counts as no channel.
    ///
    /// # Errors
    /// EEXIST, EINVAL, ENAMETOOLONG; ENOSPC where there are as many as there may be.
    pub fn attach(&mut self, name: &str, attr: Attr, attachment: Attachment) -> Result<NodeId, Errno> {
        let name = checked(name.as_bytes())?;
        let id = self.next_attached;
        let dir = self.node_mut(NODES)?;
        let Body::Directory(children) = &mut dir.body else { return Err(Errno::PERM) };
        if children.contains_key(name) {
            return Err(Errno::EXIST);
        }
        if children.len() >= attachment::MOST || id > attachment::LAST {
            return Err(Errno::NOSPC);
        }
        children.insert(name.into(), id);
        dir.attr.mtime = attr.ctime;
        self.nodes.insert(id, Node::new(name, NODES, attr, Body::Attached(Box::new(attachment))));
        self.next_attached += 1;
        self.uncounted += 1;
        Ok(id)
    }

    /// Takes away what [`Tree::attach`] made. Returns its number.
    ///
    /// # Errors
    /// ENOENT.
    pub fn detach(&mut self, name: &str) -> Result<NodeId, Errno> {
        let id = self.children(NODES).and_then(|mut names| names.find(|(known, _)| &***known == name));
        let id = *id.ok_or(Errno::NOENT)?.1;
        self.take_out(NODES, name);
        self.nodes.remove(&id);
        self.uncounted -= 1;
        Ok(id)
    }

    /// Makes a channel that has no name, as part of a node, for a descriptor that is being opened. It is there until
    /// [`Tree::forget`].
    pub fn make_unlisted(&mut self, parent: NodeId, attr: Attr, kind: Kind) -> NodeId {
        let mut channel = Channel::new(kind);
        channel.opens = 1;
        let id = self.next_unlisted;
        self.next_unlisted += 1;
        self.uncounted += 1;
        let mut node = Node::new("", parent, attr, Body::Channel(Box::new(channel)));
        node.removed = true;
        self.nodes.insert(id, node);
        id
    }

    /// Takes a name out of the tree. The node stays, marked removed, until [`Tree::forget`].
    ///
    /// # Errors
    /// ENOTEMPTY for a directory with names in it, EPERM for a fixed file, ESTALE.
    pub fn remove(&mut self, file: File) -> Result<(), Errno> {
        if file.part != Part::Own || is_fixed(file.node) {
            return Err(Errno::PERM);
        }
        let node = self.node_mut(file.node)?;
        if let Body::Directory(children) = &node.body
            && !children.is_empty()
        {
            return Err(Errno::NOTEMPTY);
        }
        node.removed = true;
        let (name, parent) = (node.name.clone(), node.parent);
        self.take_out(parent, &name);
        Ok(())
    }

    /// Drops a removed node and returns what it was.
    pub fn forget(&mut self, id: NodeId) -> Option<Node> {
        let node = self.nodes.remove(&id)?;
        self.uncounted -= usize::from(id >= Tree::FIRST_UNLISTED);
        shrink(&mut self.nodes);
        Some(*node)
    }

    /// Gives a node another name, perhaps in another directory. What has that name already stays: a channel in use is
    /// not removed by the way.
    ///
    /// # Errors
    /// EEXIST, EPERM for fixed files, EINVAL for a directory into itself, and as [`Tree::walk`].
    pub fn rename(&mut self, dir: File, name: &[u8], new_dir: File, new_name: &[u8]) -> Result<(), Errno> {
        let (file, view) = self.walk(dir, name)?;
        let new_name = checked(new_name)?;
        if file.part != Part::Own || is_fixed(file.node) {
            return Err(Errno::PERM);
        }
        if view != View::Plain {
            return Err(Errno::INVAL);
        }
        match self.walk(new_dir, new_name.as_bytes()) {
            Ok((same, _)) if same == file => return Ok(()),
            Ok(_) => return Err(Errno::EXIST),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        let mut above = new_dir.node;
        while above != ROOT {
            if above == file.node {
                return Err(Errno::INVAL);
            }
            above = self.node(above)?.parent;
        }
        let old_name = text(name)?;
        let Body::Directory(children) = &mut self.node_mut(new_dir.node)?.body else { return Err(Errno::PERM) };
        if new_dir.node == NODES {
            return Err(Errno::PERM);
        }
        children.insert(new_name.into(), file.node);
        self.take_out(dir.node, old_name);
        let now = SystemTime::now();
        self.node_mut(new_dir.node)?.attr.mtime = now;
        let node = self.node_mut(file.node)?;
        (node.name, node.parent) = (new_name.into(), new_dir.node);
        node.attr.ctime = now;
        Ok(())
    }

    fn take_out(&mut self, dir: NodeId, name: &str) {
        if let Ok(Node { body: Body::Directory(children), attr, .. }) = self.node_mut(dir) {
            children.remove(name);
            attr.mtime = SystemTime::now();
        }
    }

    /// What a directory lists: the fixed files, then the names in order.
    ///
    /// # Errors
    /// ENOTDIR, ESTALE.
    pub fn list(&self, dir: File) -> Result<Vec<Entry>, Errno> {
        let node = self.node(dir.node)?;
        let fixed = |(name, part, _): &(&str, Part, u32)| Entry {
            name: (*name).into(),
            file: File { node: dir.node, part: *part },
            directory: false,
        };
        let dots = [(".", dir.node), ("..", node.parent)].map(|(name, id)| Entry {
            name: name.into(),
            file: File::of(id),
            directory: true,
        });
        let mut entries = Vec::from(dots);
        match &node.body {
            Body::Directory(children) => {
                if dir.node == ROOT {
                    entries.extend(Part::OF_ROOT.iter().map(fixed));
                }
                entries.extend(children.iter().filter_map(|(name, id)| {
                    let directory = self.node(*id).ok()?.is_directory();
                    Some(Entry { name: name.clone(), file: File::of(*id), directory })
                }));
            }
            _ if node.is_directory() => entries.extend(node.fixed().iter().map(fixed)),
            _ => return Err(Errno::NOTDIR),
        }
        Ok(entries)
    }
}

impl Node {
    fn new(name: &str, parent: NodeId, attr: Attr, body: Body) -> Box<Node> {
        Box::new(Node { name: name.into(), parent, attr, ends: None, body, removed: false, share: None })
    }

    /// Whether names can be walked in it: a plain directory, a pair, a service.
    pub fn is_directory(&self) -> bool {
        match &self.body {
            Body::Directory(_) | Body::Timers | Body::Attached(_) | Body::Service(_) => true,
            Body::Channel(channel) => channel.kind().ends().is_some(),
            Body::Topic(_) => false,
        }
    }

    /// The fixed files in it.
    fn fixed(&self) -> &'static [(&'static str, Part, u32)] {
        match &self.body {
            Body::Channel(channel) if channel.kind() == Kind::Pair => &Part::OF_PAIR,
            Body::Service(service) if service.program.is_some() => &Part::OF_SERVICE[1..],
            Body::Service(_) => &Part::OF_SERVICE,
            _ => &[],
        }
    }

    /// Mode, owner and times of one of its files.
    pub fn attr_of(&self, file: File) -> Attr {
        match (file.part, file.part.end()) {
            (Part::Own, _) => self.attr,
            (_, Some(end)) => self.ends.as_ref().and_then(|ends| ends[end]).unwrap_or(self.attr_of_ends()),
            (part, None) => {
                let fixed = if file.node == ROOT { &Part::OF_ROOT[..] } else { self.fixed() };
                let mode = fixed.iter().find(|(_, p, _)| *p == part).map_or(0, |(.., mode)| *mode);
                Attr { mode, ..self.attr }
            }
        }
    }

    /// The attributes of one of its files, where they can be changed: of an end its own from now on.
    pub fn attr_mut(&mut self, file: File) -> Option<&mut Attr> {
        if file.part == Part::Own {
            return Some(&mut self.attr);
        }
        let (end, attr) = (file.part.end()?, self.attr_of_ends());
        Some(self.ends.get_or_insert_default()[end].get_or_insert(attr))
    }

    /// What the ends have until somebody changes it: the owner, and the mode of new channels.
    fn attr_of_ends(&self) -> Attr {
        Attr { mode: 0o600, ..self.attr }
    }
}

/// Whether this is nothing that could be removed or renamed: a directory that is always there, a timer, an attachment.
fn is_fixed(id: NodeId) -> bool {
    matches!(id, ROOT | TIMERS | NODES) || timer::period(id).is_some() || attachment::is_one(id)
}

/// Gives memory back that a table took when it held many times more.
pub fn shrink<K: Eq + std::hash::Hash, V>(table: &mut FxHashMap<K, V>) {
    if table.capacity() > 1024 && table.len() < table.capacity() / 8 {
        table.shrink_to(table.len() * 2);
        heap::trim();
    }
}

/// A name as text. EINVAL when it is not UTF-8, ENAMETOOLONG when no name (with the suffix of a view) is so long.
fn text(name: &[u8]) -> Result<&str, Errno> {
    if name.len() > 255 + ":whole".len() {
        return Err(Errno::NAMETOOLONG);
    }
    std::str::from_utf8(name).map_err(|_| Errno::INVAL)
}

/// A name for something new.
///
/// # Errors
/// ENAMETOOLONG over 255 bytes; EINVAL for the empty name, `.`, `..`, a `/`, NUL or other control character (a listing
/// must stay one line a name), bytes that are not UTF-8, or the suffix of a view.
fn checked(name: &[u8]) -> Result<&str, Errno> {
    if name.len() > 255 {
        return Err(Errno::NAMETOOLONG);
    }
    let name = text(name)?;
    let is_view = View::split(name).1 != View::Plain;
    if name.is_empty() || name == "." || name == ".." || is_view || name.contains(|c: char| c == '/' || c.is_control())
    {
        return Err(Errno::INVAL);
    }
    Ok(name)
}

#[cfg(test)]
mod tests;
