//! A service: clients that wait for a server, servers that wait for a client, and the account of all connections.
//!
//! A connection is a channel of its own, which the tree does not list. It waits in the backlog until an end of `accept`
//! asks for a client; an end that asks first stands in line. So at most one of the two lines is not empty.

use std::collections::VecDeque;
use std::sync::Arc;

use fs9_tiers::channel::Ledger;
use fs9_tiers::error::Reason;
use rustc_hash::FxHashMap;
use rustix::io::Errno;
use serde::Serialize;

use crate::channel::Handle;
use crate::message::Message;
use crate::server::Flags;
use crate::spec::{Program, ServiceSpec};
use crate::ticket::Ticket;
use crate::tree::NodeId;

/// See the [module](self).
#[derive(Debug)]
pub struct Service {
    /// What it was made as.
    pub spec: ServiceSpec,
    /// Its program, which connections are served by.
    pub program: Option<Arc<Program>>,
    /// Connections that nobody has accepted, in the order of their coming.
    pub backlog: VecDeque<NodeId>,
    /// Ends that have asked for a client, in the order of their asking.
    pub line: VecDeque<Acceptor>,
    /// Every connection that somebody has open or that waits.
    pub connections: FxHashMap<NodeId, Client>,
    /// Descriptors of `accept`, with a client or without.
    pub accepts: usize,
    /// Processes of the program that run or are about to.
    pub running: usize,
    /// Those that have not taken a connection yet.
    pub starting: usize,
    /// The process that left a connection last, and why.
    pub last_left: Option<(u32, Reason)>,
    /// The account of connections that are over: what clients sent, what servers sent.
    pub past: [Ledger; 2],
}

/// Who opened a connection: what `--hello` tells the server. It is known where it came from (`node`) and which key
/// proved it only of one that came from elsewhere.
#[derive(Debug, Clone, Serialize)]
pub struct Client {
    /// The process; 0 where it cannot be seen.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// The node it is on, if that is another one.
    pub node: Option<String>,
    /// The key that it proved.
    pub key: Option<&'static str>,
}

impl Client {
    /// The first message of a connection: a line of JSON.
    pub fn hello(&self) -> String {
        // Numbers always have a JSON form.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }
}

/// An end that has asked for a client.
#[derive(Debug)]
pub struct Acceptor {
    /// The descriptor.
    pub handle: Handle,
    /// What it will do once it has one. Nothing, where it only polls.
    pub asked: Vec<Asked>,
}

/// A request that waits for a client first.
#[derive(Debug)]
pub struct Asked {
    /// Who is to be answered.
    pub ticket: Ticket,
    /// The request.
    pub request: Request,
}

/// See [`Asked`].
#[derive(Debug)]
pub enum Request {
    /// At most so many bytes.
    Read(usize),
    /// These.
    Write(Message, Flags),
}

impl Service {
    /// A service that nobody has come to.
    pub fn new(mut spec: ServiceSpec) -> Service {
        let program = spec.program.take().map(Arc::new);
        Service {
            spec,
            program,
            backlog: VecDeque::new(),
            line: VecDeque::new(),
            connections: FxHashMap::default(),
            accepts: 0,
            running: 0,
            starting: 0,
            last_left: None,
            past: [Ledger::default(); 2],
        }
    }

    /// Whether nobody has anything of it open.
    pub fn is_unused(&self) -> bool {
        self.accepts == 0 && self.connections.is_empty()
    }

    /// Whether another client may come.
    ///
    /// # Errors
    /// ECONNREFUSED when nobody accepts and it was made so, EAGAIN when enough wait already.
    pub fn admit(&self) -> Result<(), Errno> {
        let is_served = self.program.is_some() || self.accepts > 0;
        match () {
            () if !self.line.is_empty() || self.can_start() => Ok(()),
            () if self.spec.refuse && !is_served => Err(Errno::CONNREFUSED),
            () if self.backlog.len() >= self.spec.backlog.saturating_add(self.starting) => Err(Errno::AGAIN),
            () => Ok(()),
        }
    }

    /// Whether another process of the program may be started.
    fn can_start(&self) -> bool {
        self.program.as_ref().is_some_and(|program| self.running < program.max)
    }

    /// Starts another process of the program, if one is missing.
    pub fn start(&mut self) -> bool {
        let starts = self.can_start() && self.starting < self.backlog.len();
        self.running += usize::from(starts);
        self.starting += usize::from(starts);
        starts
    }

    /// The place of an end in line.
    pub fn place(&self, handle: Handle) -> Option<usize> {
        self.line.iter().position(|acceptor| acceptor.handle == handle)
    }

    /// A request of an end in line; the end goes to the back of the line if it was not in it.
    pub fn ask(&mut self, handle: Handle, asked: Option<Asked>) {
        let place = self.place(handle).unwrap_or_else(|| {
            self.line.push_back(Acceptor { handle, asked: Vec::new() });
            self.line.len() - 1
        });
        self.line[place].asked.extend(asked);
    }

    /// The request `id` of an end is withdrawn, and with its last one the end leaves the line, unless it `polls`.
    pub fn withdraw(&mut self, handle: Handle, id: u64, polls: bool) -> Option<Asked> {
        let place = self.place(handle)?;
        let asked = &mut self.line[place].asked;
        let index = asked.iter().position(|asked| asked.ticket.id() == id)?;
        let withdrawn = asked.remove(index);
        if asked.is_empty() && !polls {
            self.line.remove(place);
        }
        Some(withdrawn)
    }

    /// The descriptor is closed.
    pub fn leave(&mut self, handle: Handle) {
        if let Some(place) = self.place(handle) {
            self.line.remove(place);
        }
    }
}
