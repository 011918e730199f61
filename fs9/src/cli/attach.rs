//! `fs9 attach` and `fs9 detach`: trees of other nodes, through the mount's `ctl`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use rustix::fs::OFlags;
use serde::Deserialize;

use super::errno::Verb;
use super::peer::{Peer, room};
use super::place::Place;
use super::shell::shown;
use super::terms::chain;
use super::wait::Wait;
use crate::attachment;
use crate::net::address::Address;
use crate::net::attach::SSH;

/// Show the tree of another node under DIR/n/NAME
///
/// The other node is one that was brought up with `--listen ADDR`. Its files are
/// then used like those of this one. Returns when they can be; where the node
/// cannot be reached nothing is attached. A link that breaks later is made again,
/// until `fs9 detach`.
///
///   fs9 attach p/n/alpha unix:/run/alpha
///   fs9 attach p/n/beta ssh://me@beta.example/home/me/p
///   fs9 ls p/n/beta
///
/// By ssh:// it runs `ssh HOST fs9 serve --stdio MOUNT`, or the command that FS9_SSH
/// says with these arguments. Without MOUNT it is the only one there that listens
/// on a Unix socket. Nobody can answer a question of ssh: it needs a key.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Attach {
    /// How long a broken link may be away until what waits there fails (ENOLINK) [default: 30s]
    #[arg(long, value_name = "T", value_parser = humantime::parse_duration)]
    linger: Option<Duration>,
    /// A link from which nothing has come for so long is broken [default: 45s]
    #[arg(long, value_name = "T", value_parser = lasting)]
    keep_alive: Option<Duration>,
    /// Reach another machine with tcp://, though what is said can be read and changed on the way
    #[arg(long)]
    insecure: bool,
    /// Trust a node whose key is not known yet, and write its key down: it has to be the same ever after
    #[arg(long)]
    accept_new: bool,
    /// What another key than the node's own has passed on to this node: fs9grant:..., or a file with it. Given again,
    /// what this node has passed on to that one, for a node behind it
    #[arg(long = "grant", value_name = "GRANT")]
    grants: Vec<String>,
    /// The name it gets: a path DIR/n/NAME, DIR being a mount
    path: PathBuf,
    /// Where the node is: tls://host:port, unix:/path, tcp://127.0.0.1:5640 or ssh://HOST/MOUNT
    #[arg(value_name = "ADDR")]
    address: Address,
}

/// Take the tree of another node away
///
/// What is open in it fails; the other node is told.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Detach {
    /// Where it is: DIR/n/NAME
    path: PathBuf,
}

/// A time after which a silent link is broken.
pub fn lasting(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let shortest = attachment::Attach::SHORTEST;
    if time >= shortest { Ok(time) } else { Err(format!("{} at least", humantime::format_duration(shortest))) }
}

/// What there is to know of an event.
#[derive(Deserialize)]
struct Event {
    event: String,
    #[serde(default)]
    name: String,
    reason: Option<String>,
}

impl Attach {
    pub fn run(self) -> anyhow::Result<()> {
        let place = Place::here(&self.path)?;
        let name = node(&place)?;
        // Where it cannot be used from here, the server cannot use it either; but this knows how to say so.
        self.address.resolve(self.insecure)?;
        let wait = Wait::new(None)?;
        let events = Peer::open(&place.root_file("events"), OFlags::RDONLY, Verb::Receive, &wait)?;
        let line = self.how()?.line(&name).context("a NUL byte cannot be said to ctl: leave it out")?;
        place.control(Verb::Attach, &line, &wait)?;
        match outcome(&events, &format!("n/{name}"), &self.address)? {
            None => Ok(()),
            Some(reason) => {
                place.control(Verb::Detach, &format!("detach {name}"), &wait)?;
                bail!("cannot reach {}: {reason}; nothing is attached", self.address)
            }
        }
    }

    fn how(&self) -> anyhow::Result<attachment::Attach> {
        let usual = attachment::Attach::to(self.address.clone());
        Ok(attachment::Attach {
            grants: self.grants.iter().map(|given| chain(given)).collect::<Result<_, _>>()?,
            linger: self.linger.unwrap_or(usual.linger),
            keep_alive: self.keep_alive.unwrap_or(usual.keep_alive),
            insecure: self.insecure,
            accept_new: self.accept_new,
            // The server runs it, whose environment is another one.
            ssh: std::env::var(SSH).ok(),
            ..usual
        })
    }
}

/// Waits until the node `name` was reached. Returns why not when it cannot be.
fn outcome(events: &Peer<'_>, name: &str, address: &Address) -> anyhow::Result<Option<String>> {
    let mut room = room();
    while let Some(line) = events.receive(&format!("an answer of {address}"), &mut room)? {
        let Ok(Event { event, name: whose, reason }) = serde_json::from_slice(line) else { continue };
        match &*event {
            "linked" if whose == name => return Ok(None),
            "unlinked" if whose == name => return Ok(Some(reason.unwrap_or_default())),
            "detached" if whose == name => return Ok(Some("it was detached again".into())),
            _ => {}
        }
    }
    Ok(Some("this server ends".into()))
}

impl Detach {
    pub fn run(self) -> anyhow::Result<()> {
        let place = Place::here(&self.path)?;
        place.control(Verb::Detach, &format!("detach {}", node(&place)?), &Wait::new(None)?)
    }
}

/// The name of a node whose place is DIR/n/NAME.
fn node(place: &Place) -> anyhow::Result<String> {
    let name = place.relative.strip_prefix("n").ok().filter(|name| name.components().count() == 1);
    let name = name.and_then(Path::to_str).filter(|name| !name.starts_with(' '));
    name.map(str::to_owned).with_context(|| {
        let n = place.root.join("n");
        format!("{} is no place for a node: give {}/NAME", shown(&place.shown), shown(&n))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_one_place() {
        let at = |relative: &str| node(&Place { shown: "x".into(), root: "/p".into(), relative: relative.into() });
        assert_eq!(at("n/alpha").expect("a place"), "alpha");
        for relative in ["alpha", "n", "n/alpha/b", "", "m/alpha"] {
            let error = at(relative).expect_err(relative).to_string();
            assert_eq!(error, "x is no place for a node: give /p/n/NAME");
        }
    }
}
