//! From names to files and back: walking, paths, listings. Nothing is changed here.

use std::collections::btree_map;

use rustix::io::Errno;

use super::name::text;
use super::{Attr, Body, File, NODES, Node, NodeId, Part, ROOT, Stat, TIMERS, Tree};
use crate::attachment::Attachment;
use crate::channel::Kind;
use crate::timer;
use crate::view::View;

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

impl Tree {
    /// All channels, services and topics in the tree with their paths, in the order of the names.
    pub fn channels(&self) -> Vec<(String, NodeId, &Node)> {
        let mut all = Vec::new();
        // A stack instead of recursion, and one prefix that grows and shrinks instead of one a level: directories can
        // be nested deeper than a thread's stack is.
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

    pub(super) fn children(&self, dir: NodeId) -> Option<btree_map::Iter<'_, Box<str>, NodeId>> {
        match self.node(dir) {
            Ok(Node { body: Body::Directory(children), .. }) => Some(children.iter()),
            _ => None,
        }
    }

    /// The path of a node from the mount point, for people to read. A removed node keeps the one it had; one without a
    /// name has that of what it is part of.
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
