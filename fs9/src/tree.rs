//! The tree of names: directories and channels, their modes, owners and times, and the files that each kind shows.

use std::collections::BTreeMap;
use std::time::SystemTime;

use fs9_tiers::heap;
use rustc_hash::FxHashMap;
use rustix::io::Errno;

use crate::channel::{Channel, Kind};
use crate::view::View;

/// The number of a node. Never used again for another, so that a stale one is recognised.
pub type NodeId = u64;

/// The directory at the mount point.
pub const ROOT: NodeId = 1;

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
    /// The first end of a pair.
    A,
    /// The second end of a pair.
    B,
    /// `ctl`, of the mount or of a pair.
    Ctl,
    /// `status`, of the mount or of a pair.
    Status,
    /// `status.json` of the mount.
    StatusJson,
    /// `events` of the mount.
    Events,
    /// `README` of the mount.
    Readme,
}

impl Part {
    /// Every part, at the place that is its number.
    pub const ALL: [Part; 8] =
        [Part::Own, Part::A, Part::B, Part::Ctl, Part::Status, Part::StatusJson, Part::Events, Part::Readme];

    /// The fixed files of the mount point: names and permissions.
    const OF_ROOT: [(&'static str, Part, u32); 5] = [
        ("README", Part::Readme, 0o444),
        ("ctl", Part::Ctl, 0o600),
        ("events", Part::Events, 0o400),
        ("status", Part::Status, 0o444),
        ("status.json", Part::StatusJson, 0o444),
    ];

    /// The fixed files of a pair. The ends have modes of their own.
    const OF_PAIR: [(&'static str, Part, u32); 4] =
        [("a", Part::A, 0), ("b", Part::B, 0), ("ctl", Part::Ctl, 0o600), ("status", Part::Status, 0o444)];

    /// The number of this part.
    pub fn index(self) -> u64 {
        Part::ALL.iter().position(|part| *part == self).unwrap_or(0) as u64
    }

    /// Whether this is a file to send to and receive from: a queue (a node that is no directory) or an end of a pair.
    pub fn is_peer(self, directory: bool) -> bool {
        self.end().is_some() || (self == Part::Own && !directory)
    }

    /// Which end of a pair this is: 0 or 1.
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
        if self == File::of(ROOT) { 1 } else { self.node << 3 | self.part.index() }
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
    /// What it is.
    pub body: Body,
    /// No longer in the tree, but open.
    pub removed: bool,
}

/// What a node is.
#[derive(Debug)]
pub enum Body {
    /// A plain directory and what is in it.
    Directory(BTreeMap<Box<str>, NodeId>),
    /// A queue or a pair.
    Channel(Box<Channel>),
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
    limit: usize,
}

impl Tree {
    /// The highest number of a node: a File and its view must fit into the 64 bits that a door has for it.
    pub const LAST: NodeId = (1 << 34) - 1;

    /// An empty tree of `attr` in which at most `limit` nodes can be made.
    pub fn new(attr: Attr, limit: usize) -> Tree {
        let root = Node { name: "".into(), parent: ROOT, attr, body: Body::Directory(BTreeMap::new()), removed: false };
        Tree { nodes: FxHashMap::from_iter([(ROOT, Box::new(root))]), next: ROOT + 1, limit }
    }

    /// How many nodes there are beside the mount point.
    pub fn len(&self) -> usize {
        self.nodes.len() - 1
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

    /// The channel of a number. ESTALE when it is gone, EISDIR when it is a directory.
    pub fn channel_mut(&mut self, id: NodeId) -> Result<&mut Channel, Errno> {
        match &mut self.node_mut(id)?.body {
            Body::Channel(channel) => Ok(channel),
            Body::Directory(_) => Err(Errno::ISDIR),
        }
    }

    /// Every channel that is there, also those that were removed and are still open, in no order.
    pub fn every_channel(&mut self) -> impl Iterator<Item = &mut Channel> {
        self.nodes.values_mut().filter_map(|node| match &mut node.body {
            Body::Channel(channel) => Some(&mut **channel),
            Body::Directory(_) => None,
        })
    }

    /// All channels in the tree with their paths, in the order of the names.
    pub fn channels(&self) -> Vec<(String, NodeId, &Node, &Channel)> {
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
                Ok(node @ Node { body: Body::Channel(channel), .. }) => {
                    all.push((format!("{prefix}{name}"), *id, node, &**channel));
                }
                _ => {
                    let outside = prefix.len();
                    prefix.push_str(name);
                    prefix.push('/');
                    open.extend(self.children(*id).map(|names| (outside, names)));
                }
            }
        }
        all
    }

    fn children(&self, dir: NodeId) -> Option<std::collections::btree_map::Iter<'_, Box<str>, NodeId>> {
        match self.node(dir) {
            Ok(Node { body: Body::Directory(children), .. }) => Some(children.iter()),
            _ => None,
        }
    }

    /// The path of a node from the mount point, for people to read. A removed node keeps the one it had.
    pub fn path(&self, id: NodeId) -> String {
        let mut names = Vec::new();
        let mut at = id;
        while at != ROOT {
            let Ok(node) = self.node(at) else { break };
            names.push(&*node.name);
            at = node.parent;
        }
        names.reverse();
        names.join("/")
    }

    /// The file `name` in directory `dir`, and the view that its suffix chooses.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR, ESTALE; EINVAL and ENAMETOOLONG for what cannot be a name.
    pub fn walk(&self, dir: File, name: &[u8]) -> Result<(File, View), Errno> {
        let name = text(name)?;
        let node = self.node(dir.node)?;
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
                let id = children.get(base).filter(|id| self.is_queue(**id)).ok_or(Errno::NOENT)?;
                Ok((File::of(*id), view))
            }
            Body::Channel(channel) if channel.kind() == Kind::Pair => {
                let (base, view) = View::split(name);
                let (_, part, _) = Part::OF_PAIR.into_iter().find(|(fixed, ..)| *fixed == base).ok_or(Errno::NOENT)?;
                if view != View::Plain && part.end().is_none() {
                    return Err(Errno::NOENT);
                }
                Ok((File { node: dir.node, part }, view))
            }
            Body::Channel(_) => Err(Errno::NOTDIR),
        }
    }

    fn is_queue(&self, id: NodeId) -> bool {
        matches!(self.node(id), Ok(Node { body: Body::Channel(channel), .. }) if channel.kind() != Kind::Pair)
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
        if parent.removed {
            return Err(Errno::NOENT);
        }
        children.insert(name.into(), id);
        parent.attr.mtime = attr.ctime;
        parent.attr.ctime = attr.ctime;
        let node = Node { name: name.into(), parent: dir.node, attr, body, removed: false };
        self.nodes.insert(id, Box::new(node));
        self.next += 1;
        Ok(id)
    }

    /// Takes a name out of the tree. The node stays, marked removed, until [`Tree::forget`].
    ///
    /// # Errors
    /// ENOTEMPTY for a directory with names in it, EPERM for a fixed file, ESTALE.
    pub fn remove(&mut self, file: File) -> Result<(), Errno> {
        if file.part != Part::Own || file.node == ROOT {
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
        let node = self.nodes.remove(&id);
        shrink(&mut self.nodes);
        node.map(|node| *node)
    }

    /// Gives a node another name, perhaps in another directory. What has that name already stays: a channel in use is
    /// not removed by the way.
    ///
    /// # Errors
    /// EEXIST, EPERM for fixed files, EINVAL for a directory into itself, and as [`Tree::walk`].
    pub fn rename(&mut self, dir: File, name: &[u8], new_dir: File, new_name: &[u8]) -> Result<(), Errno> {
        let (file, view) = self.walk(dir, name)?;
        let new_name = checked(new_name)?;
        if file.part != Part::Own {
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
        let fixed = |(name, part, _): (&str, Part, u32)| Entry {
            name: name.into(),
            file: File { node: dir.node, part },
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
                    entries.extend(Part::OF_ROOT.map(fixed));
                }
                entries.extend(children.iter().filter_map(|(name, id)| {
                    let directory = self.node(*id).ok()?.is_directory();
                    Some(Entry { name: name.clone(), file: File::of(*id), directory })
                }));
            }
            Body::Channel(channel) if channel.kind() == Kind::Pair => entries.extend(Part::OF_PAIR.map(fixed)),
            Body::Channel(_) => return Err(Errno::NOTDIR),
        }
        Ok(entries)
    }
}

impl Node {
    /// Whether names can be walked in it: a plain directory or a pair.
    pub fn is_directory(&self) -> bool {
        match &self.body {
            Body::Directory(_) => true,
            Body::Channel(channel) => channel.kind() == Kind::Pair,
        }
    }

    /// Mode, owner and times of one of its files.
    pub fn attr_of(&self, file: File) -> Attr {
        let fixed = if file.node == ROOT { &Part::OF_ROOT[..] } else { &Part::OF_PAIR[..] };
        match (&self.body, file.part) {
            (_, Part::Own) => self.attr,
            (Body::Channel(channel), part) if part.end().is_some() => {
                part.end().and_then(|end| channel.end_attr(end)).unwrap_or(self.attr_of_ends())
            }
            (_, part) => {
                let mode = fixed.iter().find(|(_, p, _)| *p == part).map_or(0, |(.., mode)| *mode);
                Attr { mode, ..self.attr }
            }
        }
    }

    /// The attributes of one of its files, where they can be changed.
    pub fn attr_mut(&mut self, file: File) -> Option<&mut Attr> {
        let ends = self.attr_of_ends();
        match (&mut self.body, file.part) {
            (_, Part::Own) => Some(&mut self.attr),
            (Body::Channel(channel), part) => channel.end_attr_mut(part.end()?, ends),
            _ => None,
        }
    }

    /// What the ends of a pair have until somebody changes it: the pair's owner, and the mode of new channels.
    fn attr_of_ends(&self) -> Attr {
        Attr { mode: 0o600, ..self.attr }
    }
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
