//! What a mount has from the start.

use rustix::io::Errno;

use super::{Attr, Body, File, NodeId, Part, ROOT, Tree};
use crate::attachment::Attachment;
use crate::config::{Item, What};
use crate::view::View;

/// The longest path that open(2) takes.
const LONGEST: usize = 4095;

impl Tree {
    /// Makes one item, and the directories in front of it that are not there. What it does not say of owner and group
    /// is as at the mount point.
    ///
    /// # Errors
    /// As [`Tree::make`], and ENAMETOOLONG for a path that nobody could open. Directories in front of it may then be
    /// there.
    pub fn furnish(&mut self, item: &Item) -> Result<NodeId, Errno> {
        if item.path.len() > LONGEST {
            return Err(Errno::NAMETOOLONG);
        }
        let root = self.node(ROOT)?.attr;
        let attr = Attr::new(item.mode, item.uid.unwrap_or(root.uid), item.gid.unwrap_or(root.gid));
        let body = match &item.what {
            What::Directory => Body::Directory(Default::default()),
            What::Channel(spec) => Body::from(spec.clone()),
            What::Node(how) => {
                let name = item.path.strip_prefix("n/").unwrap_or(&item.path);
                return self.attach(name, attr, Attachment::new(how.clone()));
            }
        };
        let ends = ends_for_all(&body);
        let (dir, name) = match item.path.rsplit_once('/') {
            Some((above, name)) => (self.directory(above, root)?, name),
            None => (File::of(ROOT), &*item.path),
        };
        let id = self.make(dir, name.as_bytes(), body.own_attr(attr), body)?;
        for part in ends {
            let node = self.node_mut(id)?;
            node.attr_mut(File { node: id, part: *part }).into_iter().for_each(|end| end.mode = attr.mode);
        }
        Ok(id)
    }

    /// The directory of a path; of what it leads through, that is made with `attr` which is not there.
    ///
    /// # Errors
    /// As [`Tree::make`]. What was made by then stays.
    pub fn directory(&mut self, path: &str, attr: Attr) -> Result<File, Errno> {
        path.split('/').try_fold(File::of(ROOT), |dir, name| match self.walk(dir, name.as_bytes()) {
            Ok((file, View::Plain)) => Ok(file),
            Ok(_) => Err(Errno::INVAL),
            Err(Errno::NOENT) => {
                self.make(dir, name.as_bytes(), attr, Body::Directory(Default::default())).map(File::of)
            }
            Err(errno) => Err(errno),
        })
    }
}

/// The ends that the mode of an item is about. Who may serve is another question: that is for the owner.
fn ends_for_all(body: &Body) -> &'static [Part] {
    match body {
        Body::Service(_) => &[Part::A],
        body if body.has_ends() => &[Part::A, Part::B],
        _ => &[],
    }
}
