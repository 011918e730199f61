//! Clients and servers of a service find each other.

use std::sync::Arc;

use fs9_tiers::error::Reason;
use fs9_tiers::holder::Holder;
use rustix::io::Errno;

use super::peer::{Held, Peer};
use super::waiting::Wait;
use super::{Answered, Caller, Data, Flags, Open, Server, ready};
use crate::channel::{Handle, Kind};
use crate::events::Event;
use crate::service::{Acceptor, Asked, Client, Request, Service};
use crate::spec::Program;
use crate::ticket::{Answer, Effects, Ticket, Watcher};
use crate::tree::{Attr, File, NodeId, Part, Tree};
use crate::view::View;

impl Server {
    /// Somebody opens `connect` or `accept`. Returns the connection or, as there is none yet, the service.
    pub(super) fn come_to_service(&mut self, file: File, holder: &Holder, caller: Caller) -> Answered<NodeId> {
        if self.tree.node(file.node)?.removed {
            return Err(Errno::STALE);
        }
        let service = self.tree.service_mut(file.node)?;
        if file.part == Part::B {
            service.accepts += 1;
            return Ok(file.node);
        }
        service.admit()?;
        let attr = Attr::new(0o600, caller.uid, caller.gid);
        let id = self.tree.make_unlisted(file.node, attr, Kind::Connection);
        self.tree.channel_mut(id)?.take(0)?;
        let node = self.session(caller)?.and_then(|session| session.node_of(holder).map(str::to_owned));
        let client = Client { pid: holder.pid(), uid: caller.uid, gid: caller.gid, node, key: None };
        self.tree.service_mut(file.node)?.connections.insert(id, client);
        Ok(id)
    }

    /// A new connection goes to the first server in line, or else waits for one.
    pub(super) fn offer(&mut self, service: NodeId, connection: NodeId, fx: &mut Effects) {
        let Ok(state) = self.tree.service_mut(service) else { return };
        let Some(acceptor) = state.line.pop_front() else {
            state.backlog.push_back(connection);
            if let Ok(channel) = self.tree.channel_mut(connection) {
                channel.opens += 1;
            }
            return self.start_programs(service);
        };
        self.bind(acceptor.handle, service, connection, fx);
        for Asked { ticket, request } in acceptor.asked {
            self.unpark(ticket.id());
            match request {
                Request::Read(size) => self.read_peer(acceptor.handle, size, false, ticket, fx),
                Request::Write(data, flags) => {
                    self.write_peer(acceptor.handle, Data::Owned(data), flags, ticket, fx);
                }
            }
        }
        self.wake_watchers(connection, fx);
    }

    /// The end of `accept` has a client from now on.
    fn bind(&mut self, handle: Handle, service: NodeId, connection: NodeId, fx: &mut Effects) {
        let Ok(state) = self.tree.service_mut(service) else { return };
        let client = state.connections.get(&connection).filter(|_| state.spec.hello);
        let hello = client.and_then(|client| self.store.text(client.hello()));
        let Ok(peer) = self.peer(handle) else { return };
        (peer.node, peer.bound) = (connection, true);
        peer.held = hello.map(|text| Held { delivery: None, text, seen: 0 });
        let (polled, pid, uid, file) = (peer.watch.is_some(), peer.holder.pid(), peer.uid, peer.file);
        let node = peer.node_name().map(str::to_owned);
        if let Ok(channel) = self.tree.channel_mut(connection) {
            // Nobody but an end of `accept` takes this end, and each takes another connection.
            let _ = channel.take(1);
            channel.opens += 1;
            channel.watchers.extend(polled.then_some(handle));
        }
        let event = Event { event: "accepted", pid: Some(pid), uid: Some(uid), ..Event::default() };
        let event = Event { connection: Some(Tree::number(connection)), ..event };
        self.report(Event { node: node.as_deref(), ..event }, file, fx);
    }

    /// Takes the connection that has waited longest. False when there is none.
    pub(super) fn bind_next(&mut self, handle: Handle, fx: &mut Effects) -> bool {
        let Ok(service) = self.peer(handle).map(|peer| peer.file.node) else { return false };
        let next = self.tree.service_mut(service).ok().and_then(|service| service.backlog.pop_front());
        let Some(connection) = next else { return false };
        self.bind(handle, service, connection, fx);
        self.leave_backlog(connection);
        true
    }

    /// A connection waits no more; that it did has counted as an open.
    fn leave_backlog(&mut self, connection: NodeId) {
        if let Ok(channel) = self.tree.channel_mut(connection) {
            channel.opens -= 1;
        }
    }

    /// Whom an end of `accept` is connected with; None before it has a client.
    pub fn client(&mut self, handle: Handle) -> Option<Client> {
        let peer = self.peer(handle).ok().filter(|peer| peer.bound)?;
        let (service, connection) = (peer.file.node, peer.node);
        self.tree.service_mut(service).ok()?.connections.get(&connection).cloned()
    }

    /// Whether the service of an end that has no client is there no more.
    fn is_over(&self, file: File) -> bool {
        self.tree.node(file.node).map_or(true, |node| node.removed)
    }

    /// A read of an end that has no client yet.
    pub(super) fn read_unbound(
        &mut self,
        handle: Handle,
        size: usize,
        nonblocking: bool,
        ticket: Ticket,
        fx: &mut Effects,
    ) {
        if self.bind_next(handle, fx) {
            return self.read_peer(handle, size, nonblocking, ticket, fx);
        }
        match self.peer(handle).map(|peer| (peer.file, peer.flags.read)) {
            Ok((file, true)) if self.is_over(file) => fx.answer(ticket, Answer::End),
            Ok((_, true)) if nonblocking => fx.fail(ticket, Errno::AGAIN),
            Ok((file, true)) => self.ask(handle, file, ticket, Request::Read(size), fx),
            _ => fx.fail(ticket, Errno::BADF),
        }
    }

    /// A write of an end that has no client yet.
    pub(super) fn write_unbound(
        &mut self,
        handle: Handle,
        data: Data<'_>,
        flags: Flags,
        ticket: Ticket,
        fx: &mut Effects,
    ) {
        if self.bind_next(handle, fx) {
            return self.write_peer(handle, data, flags, ticket, fx);
        }
        let Ok(file) = self.peer(handle).map(|peer| peer.file) else { return fx.fail(ticket, Errno::BADF) };
        match data.message(&self.store) {
            _ if self.is_over(file) => fx.fail(ticket, Errno::PIPE),
            _ if flags.nonblocking => fx.fail(ticket, Errno::AGAIN),
            Ok(data) => self.ask(handle, file, ticket, Request::Write(data, flags), fx),
            Err(errno) => fx.fail(ticket, errno),
        }
    }

    fn ask(&mut self, handle: Handle, file: File, ticket: Ticket, request: Request, fx: &mut Effects) {
        let id = ticket.id();
        if let Ok(service) = self.tree.service_mut(file.node) {
            service.ask(handle, Some(Asked { ticket, request }));
            self.park(id, handle, Wait::Client, fx);
        }
    }

    /// A poll of an end that has no client yet: it stands in line for one.
    pub(super) fn poll_unbound(&mut self, handle: Handle, interest: u32, watch: Option<Watcher>) -> Answered<u32> {
        let peer = self.peer(handle)?;
        let (file, flags) = (peer.file, peer.flags);
        if self.is_over(file) {
            let ready = [(flags.read, ready::IN), (flags.write, ready::OUT)];
            return Ok(ready.iter().filter(|(may, _)| *may).fold(ready::HUP, |now, (_, ready)| now | ready));
        }
        if let Some(watcher) = watch {
            self.peer(handle)?.watch_for(watcher, interest);
            self.tree.service_mut(file.node)?.ask(handle, None);
        }
        Ok(0)
    }

    /// The request `id` of an end that has no client is withdrawn.
    pub(super) fn leave_line(&mut self, handle: Handle, id: u64) -> Option<Ticket> {
        let peer = self.peer(handle).ok()?;
        let (file, polls) = (peer.file, peer.watch.is_some());
        self.tree.service_mut(file.node).ok()?.withdraw(handle, id, polls).map(|asked| asked.ticket)
    }

    /// An end of a connection is closed, or one of `accept` that had none. A client that leaves before anybody came,
    /// and has sent nothing, leaves nothing to come for.
    pub(super) fn leave_service(&mut self, handle: Handle, file: File, connection: NodeId) {
        let (is_silent, left) = match self.tree.channel(connection) {
            Ok(channel) if channel.kind() == Kind::Connection => {
                (!channel.view_of(Some(1)).0.has_message(), channel.last_left)
            }
            _ => (true, None),
        };
        let Ok(service) = self.tree.service_mut(file.node) else { return };
        service.last_left = left.or(service.last_left);
        if file.part == Part::B {
            service.accepts -= 1;
            service.leave(handle);
        } else if is_silent && let Some(place) = service.backlog.iter().position(|waiting| *waiting == connection) {
            service.backlog.remove(place);
            self.leave_backlog(connection);
        }
    }

    /// All conversations of a service end. Where it is `over`, nobody will come to those who wait for a client.
    pub(super) fn end_service(&mut self, id: NodeId, reason: Reason, over: bool, fx: &mut Effects) {
        let Ok(service) = self.tree.service_mut(id) else { return };
        let connections: Vec<NodeId> = service.connections.keys().copied().collect();
        let waiting = std::mem::take(&mut service.backlog);
        let line = if over { std::mem::take(&mut service.line) } else { Default::default() };
        for connection in connections {
            self.hang_up_channel(connection, reason, fx);
        }
        for connection in waiting {
            self.leave_backlog(connection);
            self.forget_if_unused(connection, fx);
        }
        for acceptor in line {
            self.turn_away(acceptor, fx);
        }
    }

    /// There will be no client for this end any more.
    fn turn_away(&mut self, acceptor: Acceptor, fx: &mut Effects) {
        for Asked { ticket, request } in acceptor.asked {
            self.unpark(ticket.id());
            match request {
                Request::Read(_) => fx.answer(ticket, Answer::End),
                Request::Write(..) => fx.fail(ticket, Errno::PIPE),
            }
        }
        if let Some(watch) = self.peer(acceptor.handle).ok().and_then(|peer| peer.watch.take()) {
            fx.wake(watch.watcher, ready::HUP | ready::IN | ready::OUT);
        }
    }
}

/// A service that a program serves: each process of it is a server that accepts one connection.
impl Server {
    /// As many processes as connections wait, and as may run.
    fn start_programs(&mut self, service: NodeId) {
        while self.tree.service_mut(service).is_ok_and(Service::start) {
            self.host.engage(service);
        }
    }

    /// The program behind a service, and how many bytes its messages may have.
    pub fn program(&mut self, service: NodeId) -> Option<(Arc<Program>, usize)> {
        let program = self.tree.service_mut(service).ok()?.program.clone()?;
        Some((program, self.limits.message))
    }

    /// Process `holder`, which [`Host::engage`](crate::host::Host::engage) asked for, takes the connection that has
    /// waited longest. None when nobody waits any more.
    pub fn accept(&mut self, service: NodeId, holder: Arc<Holder>, fx: &mut Effects) -> Option<Handle> {
        let state = self.tree.service_mut(service).ok()?;
        state.starting -= 1;
        if state.backlog.is_empty() {
            return None;
        }
        state.accepts += 1;
        let flags = Flags { read: true, write: true, ..Flags::default() };
        let file = File { node: service, part: Part::B };
        let mut peer = Peer::new(file, service, View::Plain, flags, holder, self.owner);
        peer.bound = false;
        let handle = self.open.insert(Open::Peer(Box::new(peer)));
        self.bind_next(handle, fx);
        Some(handle)
    }

    /// The process that was asked for could not be started: the connection that has waited longest ends.
    pub fn refuse(&mut self, service: NodeId, why: String, fx: &mut Effects) {
        let file = File { node: service, part: Part::B };
        self.report(Event { event: "refused", reason: Some(why), ..Event::default() }, file, fx);
        let Ok(state) = self.tree.service_mut(service) else { return };
        state.starting -= 1;
        let Some(connection) = state.backlog.pop_front() else { return };
        self.hang_up_channel(connection, Reason::Exited(NOT_FOUND), fx);
        self.leave_backlog(connection);
        self.forget_if_unused(connection, fx);
    }

    /// A process that was asked for is gone, or never was: there is room for another.
    pub fn dismiss(&mut self, service: NodeId) {
        if let Ok(state) = self.tree.service_mut(service) {
            state.running -= 1;
            self.start_programs(service);
        }
    }

    /// A descriptor is closed; for `reason`, where that cannot be asked of the process that has it.
    pub fn leave(&mut self, handle: Handle, reason: Option<Reason>, fx: &mut Effects) {
        match self.open.get(handle) {
            Some(Open::Peer(_)) => self.clunk_peer(handle, reason, fx),
            _ => self.clunk(handle, fx),
        }
    }

    /// The process that has `handle` sends nothing more, though it may still receive: the other end reads what was
    /// sent, and then comes to the end.
    pub fn shut(&mut self, handle: Handle, fx: &mut Effects) {
        let Ok(&mut Peer { node, end, .. }) = self.peer(handle) else { return };
        let Ok(channel) = self.tree.channel_mut(node) else { return };
        let mut done = Vec::new();
        channel.outgoing(end).hang_up(Reason::Closed, &mut done);
        self.finish(node, done, fx);
    }

    /// Tells whoever reads `events` of the process that has `handle`: that it has started, say, or what it complains
    /// of.
    pub fn tell(&mut self, handle: Handle, event: Event<'_>, fx: &mut Effects) {
        let Ok(peer) = self.peer(handle) else { return };
        let (file, pid, connection) = (peer.file, Some(peer.holder.pid()), Some(Tree::number(peer.node)));
        self.report(Event { pid, connection, ..event }, file, fx);
    }
}

/// What a shell exits with when there is no such command.
const NOT_FOUND: i32 = 127;
