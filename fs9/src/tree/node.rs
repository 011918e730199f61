//! A name in the tree, and what it is.

use std::collections::BTreeMap;

use super::attr::Attr;
use super::file::{File, Part};
use super::{NodeId, ROOT};
use crate::allotment::Share;
use crate::attachment::Attachment;
use crate::channel::{Channel, Kind};
use crate::service::Service;
use crate::spec::Spec;
use crate::topic::Topic;

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

impl Node {
    pub(super) fn new(name: &str, parent: NodeId, attr: Attr, body: Body) -> Box<Node> {
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
    pub(super) fn fixed(&self) -> &'static [(&'static str, Part, u32)] {
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
    pub(super) fn has_ends(&self) -> bool {
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
