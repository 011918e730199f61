//! Names come and go: make, remove, rename.

use fs9_tiers::error::Reason;
use rustix::io::Errno;

use super::{Answered, Caller, Server};
use crate::allotment::Good;
use crate::channel::Kind;
use crate::config::Item;
use crate::events::Event;
use crate::spec::Spec;
use crate::ticket::Effects;
use crate::tree::{Attr, Body, File, Node, NodeId, ROOT, shrink};
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
        let id = self.make(dir, base, mode, Spec::default(), caller, fx)?;
        Ok((File::of(id), view))
    }

    /// Removes what [`Server::make_queue`] made for somebody who then could not open it.
    pub fn unmake(&mut self, file: File, fx: &mut Effects) {
        let _ = self.remove_file(file, fx);
    }

    /// Makes what `spec` says, called `name`, in `dir`, as the caller's.
    ///
    /// # Errors
    /// As [`Tree::make`](crate::tree::Tree::make); ENOSPC also where the caller's key has enough.
    pub fn make(
        &mut self,
        dir: File,
        name: &[u8],
        mode: u32,
        spec: Spec,
        caller: Caller,
        fx: &mut Effects,
    ) -> Answered<NodeId> {
        if self.stopping {
            return Err(Errno::SHUTDOWN);
        }
        let (body, attr) = (Body::from(spec), Attr::new(mode, caller.uid, caller.gid));
        let share = self.share(Good::Channels, caller, dir, fx)?;
        let id = self.tree.make(dir, name, body.own_attr(attr), body)?;
        self.tree.node_mut(id)?.share = share;
        self.report(Event { event: "created", uid: Some(caller.uid), ..Event::default() }, File::of(id), fx);
        Ok(id)
    }

    /// Makes what the mount has from the start. Nobody is there yet who could be told.
    ///
    /// # Errors
    /// As [`Tree::furnish`](crate::tree::Tree::furnish).
    pub fn furnish(&mut self, item: &Item) -> Answered<()> {
        let node = self.tree.furnish(item)?;
        self.reach(node)
    }

    /// Makes what `spec` says at `path`, with the directories that it takes.
    ///
    /// # Errors
    /// As [`Server::make`].
    pub fn put(&mut self, path: &str, spec: Spec, caller: Caller, fx: &mut Effects) -> Answered<NodeId> {
        let (dir, name) = match path.rsplit_once('/') {
            Some((above, name)) => (self.tree.directory(above, Attr::new(0o755, caller.uid, caller.gid))?, name),
            None => (File::of(ROOT), path),
        };
        self.make(dir, name.as_bytes(), 0o600, spec, caller, fx)
    }

    /// Takes away what [`Server::put`] made, if that has not been done.
    pub fn take_away(&mut self, id: NodeId, fx: &mut Effects) {
        if !self.stopping && self.tree.node(id).is_ok_and(|node| !node.removed) {
            let _ = self.remove_file(File::of(id), fx);
        }
    }

    /// Takes a pair away whose `b` was left, so that nobody comes to it and waits for ever; but not before somebody has
    /// come to learn why.
    pub fn retire(&mut self, pair: NodeId, fx: &mut Effects) {
        let came = self.tree.channel(pair).is_ok_and(|channel| channel.is_held() || channel.left().count() == 2);
        if came {
            self.take_away(pair, fx);
        } else if let Ok(channel) = self.tree.channel_mut(pair) {
            channel.retired = true;
        }
    }

    /// Makes a plain directory.
    ///
    /// # Errors
    /// As [`Server::make`].
    pub fn make_directory(
        &mut self,
        dir: File,
        name: &[u8],
        mode: u32,
        caller: Caller,
        fx: &mut Effects,
    ) -> Answered<File> {
        let share = self.share(Good::Channels, caller, dir, fx)?;
        let attr = Attr::new(mode, caller.uid, caller.gid);
        let id = self.tree.make(dir, name, attr, Body::Directory(Default::default()))?;
        self.tree.node_mut(id)?.share = share;
        Ok(File::of(id))
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
        let is_directory = self.tree.stat(file)?.directory;
        match (is_directory, directory) {
            (true, false) => Err(Errno::ISDIR),
            (false, true) => Err(Errno::NOTDIR),
            _ => self.remove_file(file, fx),
        }
    }

    pub(super) fn remove_file(&mut self, file: File, fx: &mut Effects) -> Answered<()> {
        self.tree.remove(file)?;
        if !matches!(self.tree.node(file.node)?.body, Body::Directory(_)) {
            self.report(Event { event: "removed", ..Event::default() }, file, fx);
        }
        let readers = self.tree.topic_mut(file.node).map(|topic| topic.readers.clone()).unwrap_or_default();
        // The writers of a topic first: their messages are not for readers that go.
        for channel in [file.node].into_iter().chain(readers) {
            self.hang_up_channel(channel, Reason::Removed, fx);
        }
        self.end_service(file.node, Reason::Removed, true, fx);
        self.forget_if_unused(file.node, fx);
        Ok(())
    }

    /// Readers of a channel take what is there and come to the end, writers are broken.
    pub(super) fn hang_up_channel(&mut self, node: NodeId, reason: Reason, fx: &mut Effects) {
        let Ok(channel) = self.tree.channel_mut(node) else { return };
        let mut done = Vec::new();
        channel.hang_up(reason, &mut done);
        self.finish(node, done, fx);
    }

    /// A removed node goes when nobody has it open.
    pub(super) fn forget_if_unused(&mut self, id: NodeId, fx: &mut Effects) {
        let unused = match self.tree.node(id) {
            Ok(node) if node.removed => match &node.body {
                Body::Channel(channel) => channel.opens == 0,
                Body::Topic(topic) => topic.channel.opens == 0 && topic.readers.is_empty(),
                Body::Service(service) => service.is_unused(),
                Body::Directory(_) | Body::Timers | Body::Attached(_) => true,
            },
            _ => false,
        };
        if unused {
            self.report_undelivered(id, fx);
            self.tree.forget(id).into_iter().for_each(|node| self.settle_account(id, &node, fx));
        }
    }

    /// What a channel without a name has done goes to the account of what it was part of.
    fn settle_account(&mut self, id: NodeId, node: &Node, fx: &mut Effects) {
        let Some(channel) = node.body.channel() else { return };
        let accounts = channel.lanes().map(|(_, lane)| {
            let mut account = lane.ledger();
            account.close(Reason::Removed);
            account
        });
        match channel.kind() {
            Kind::Connection => {
                let Ok(service) = self.tree.service_mut(node.parent) else { return };
                service.connections.remove(&id);
                shrink(&mut service.connections);
                service.past.iter_mut().zip(accounts).for_each(|(past, account)| past.add(&account));
                self.forget_if_unused(node.parent, fx);
            }
            Kind::Copies => {
                let Some(topic) = self.tree.topic_mut(node.parent) else { return };
                accounts.for_each(|account| topic.past.add(&account));
                self.unsubscribe(node.parent, id, fx);
            }
            Kind::Ticks => self.timers.end(id),
            Kind::Queue { .. } | Kind::Pair | Kind::Topic => {}
        }
    }

    /// Tells of what is in the slots of a removed channel: nobody will read it.
    fn report_undelivered(&mut self, id: NodeId, fx: &mut Effects) {
        let Ok(channel) = self.tree.channel_mut(id) else { return };
        let count = channel.lanes().map(|(_, lane)| lane.ledger().slot).sum();
        if count > 0 {
            let reason = Some(Reason::Removed.to_string());
            let event = Event { event: "dropped", reason, count: Some(count), ..Event::default() };
            self.report(event, File::of(id), fx);
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
