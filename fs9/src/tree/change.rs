//! How the tree changes: names are made, taken away, and given anew.

use std::time::SystemTime;

use rustix::io::Errno;

use super::name::{checked, text};
use super::{Attr, Body, File, NODES, Node, NodeId, Part, ROOT, TIMERS, Tree, shrink};
use crate::attachment::{self, Attachment};
use crate::channel::{Channel, Kind};
use crate::timer;
use crate::view::View;

impl Tree {
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
}

/// Whether this is nothing that could be removed or renamed: a directory that is always there, a timer, an attachment.
fn is_fixed(id: NodeId) -> bool {
    matches!(id, ROOT | TIMERS | NODES) || timer::period(id).is_some() || attachment::is_one(id)
}
