//! Names come and go: make, remove, rename.

use fs9_tiers::error::Reason;
use rustix::io::Errno;

use super::{Answered, Caller, Server};
use crate::channel::{Channel, Kind};
use crate::events::Event;
use crate::ticket::Effects;
use crate::tree::{Attr, Body, File, NodeId, Part};
use crate::view::View;

impl Server {
    /// Makes a queue called `name` in `dir`. `NAME:line` and `NAME:whole` make `NAME`.
    ///
    /// # Errors
    /// As [`Tree::make`].
    pub fn make_queue(
        &mut self,
        dir: File,
        name: &[u8],
        mode: u32,
        caller: Caller,
        fx: &mut Effects,
    ) -> Answered<(File, View)> {
        let (base, view) = std::str::from_utf8(name).map_or((name, View::Plain), |name| {
            let (base, view) = View::split(name);
            (base.as_bytes(), view)
        });
        let id = self.make(dir, base, Attr::new(mode, caller.uid, caller.gid), Kind::Queue { ack: false }, fx)?;
        Ok((File::of(id), view))
    }

    /// Removes what [`Server::make_queue`] made for somebody who then could not open it.
    pub fn unmake(&mut self, file: File, fx: &mut Effects) {
        let _ = self.remove_file(file, fx);
    }

    pub(super) fn make(
        &mut self,
        dir: File,
        name: &[u8],
        attr: Attr,
        kind: Kind,
        fx: &mut Effects,
    ) -> Answered<NodeId> {
        if self.stopping {
            return Err(Errno::SHUTDOWN);
        }
        // A pair is walked into, so its owner may; its ends are plain files.
        let (attr, channel) = match kind {
            Kind::Queue { ack } => (attr, Channel::queue(ack)),
            Kind::Pair => (Attr { mode: attr.mode | 0o100, ..attr }, Channel::pair()),
        };
        let id = self.tree.make(dir, name, attr, Body::Channel(Box::new(channel)))?;
        self.report(Event { event: "created", uid: Some(attr.uid), ..Event::default() }, id, None, fx);
        Ok(id)
    }

    /// Makes a plain directory.
    ///
    /// # Errors
    /// As [`Tree::make`].
    pub fn make_directory(&mut self, dir: File, name: &[u8], mode: u32, caller: Caller) -> Answered<File> {
        let attr = Attr::new(mode, caller.uid, caller.gid);
        Ok(File::of(self.tree.make(dir, name, attr, Body::Directory(Default::default()))?))
    }

    /// Removes `name` from `dir`: rmdir(2) where `directory`, else unlink(2). Who waits at a channel is hung up first.
    ///
    /// # Errors
    /// EISDIR and ENOTDIR for the other call's kind, ENOTEMPTY, EPERM for fixed files, ENOENT.
    pub fn remove(&mut self, dir: File, name: &[u8], directory: bool, fx: &mut Effects) -> Answered<()> {
        let (file, view) = self.tree.walk(dir, name)?;
        if view != View::Plain {
            return Err(Errno::INVAL);
        }
        let is_directory = file.part == Part::Own && self.tree.node(file.node)?.is_directory();
        match (is_directory, directory) {
            (true, false) => Err(Errno::ISDIR),
            (false, true) => Err(Errno::NOTDIR),
            _ => self.remove_file(file, fx),
        }
    }

    pub(super) fn remove_file(&mut self, file: File, fx: &mut Effects) -> Answered<()> {
        self.tree.remove(file)?;
        let mut done = Vec::new();
        if let Ok(channel) = self.tree.channel_mut(file.node) {
            channel.hang_up(Reason::Removed, &mut done);
            self.report(Event { event: "removed", ..Event::default() }, file.node, None, fx);
        }
        self.finish(file.node, done, fx);
        self.forget_if_unused(file.node, fx);
        Ok(())
    }

    /// A removed node goes when nobody has it open.
    pub(super) fn forget_if_unused(&mut self, id: NodeId, fx: &mut Effects) {
        let unused = match self.tree.node(id) {
            Ok(node) if node.removed => match &node.body {
                Body::Channel(channel) => channel.opens == 0,
                Body::Directory(_) => true,
            },
            _ => false,
        };
        if unused {
            self.report_undelivered(id, fx);
            self.tree.forget(id);
        }
    }

    /// Tells of what is in the slots of a removed channel: nobody will read it.
    fn report_undelivered(&mut self, id: NodeId, fx: &mut Effects) {
        let Ok(channel) = self.tree.channel_mut(id) else { return };
        let count = channel.lanes().map(|(_, lane)| lane.ledger().slot).sum();
        if count > 0 {
            let reason = Some(Reason::Removed.to_string());
            self.report(Event { event: "dropped", reason, count: Some(count), ..Event::default() }, id, None, fx);
        }
    }

    /// Renames.
    ///
    /// # Errors
    /// As [`Tree::rename`].
    pub fn rename(&mut self, dir: File, name: &[u8], new_dir: File, new_name: &[u8]) -> Answered<()> {
        self.tree.rename(dir, name, new_dir, new_name)
    }
}
