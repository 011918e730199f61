//! Another node's tree, as far as the server knows it: a name under `n`, how to reach it, and how its link fares.
//! Whatever is below that name is asked of the other node, not of the server.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use fs9_grants::Chain;

use crate::net::address::Address;
use crate::tree::NodeId;

/// The lowest number of an attachment, by which it is known from everything else that has a name.
pub const FIRST: NodeId = 1 << 32;

/// The highest.
pub const LAST: NodeId = (1 << 33) - 1;

/// So many there may be at once: each has a thread.
pub const MOST: usize = 1024;

/// Whether a node is an attachment.
pub fn is_one(node: NodeId) -> bool {
    (FIRST..=LAST).contains(&node)
}

/// How another node is to be attached, as `ctl`, the command line and a configuration file say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attach {
    /// Where it listens.
    pub address: Address,
    /// It may be another machine, to which everything goes in plain text.
    pub insecure: bool,
    /// A node whose key is not known is trusted, and its key written down.
    pub accept_new: bool,
    /// What this node shows to be let in, besides its key: there, and at nodes behind that one.
    pub grants: Vec<Chain>,
    /// How long a session without a link is resumed, and who waits goes on waiting.
    pub linger: Duration,
    /// A link from which nothing has come for so long is dead.
    pub keep_alive: Duration,
    /// What is run for `ssh`, quoted as for sh. None: what the environment of the server says, or `ssh`.
    pub ssh: Option<String>,
}

impl Attach {
    /// At `address`, with the times that are usual.
    pub fn to(address: Address) -> Attach {
        let (linger, keep_alive) = (Duration::from_secs(30), Duration::from_secs(45));
        Attach { address, insecure: false, accept_new: false, grants: Vec::new(), linger, keep_alive, ssh: None }
    }

    /// What the words after `attach` say, quoted as for sh: options, a name and an address.
    pub fn parse(rest: &str) -> Option<(Attach, String)> {
        let mut words: VecDeque<String> = shlex::split(rest)?.into();
        let mut attach = Attach::to(words.pop_back()?.parse().ok()?);
        let name = loop {
            let word = words.pop_front()?;
            match word.split_once('=') {
                _ if word == "--" => break words.pop_front()?,
                _ if word == "--insecure" => attach.insecure = true,
                _ if word == "--accept-new" => attach.accept_new = true,
                Some(("--grant", chain)) => attach.grants.push(chain.parse().ok()?),
                Some(("--linger", time)) => attach.linger = humantime::parse_duration(time).ok()?,
                Some(("--keep-alive", time)) => attach.keep_alive = lasting(time)?,
                Some(("--ssh", command)) => attach.ssh = Some(command.to_owned()),
                _ if word.starts_with("--") => return None,
                _ => break word,
            }
        };
        words.is_empty().then_some((attach, name))
    }

    /// The line that has `ctl` attach it as `name`. None for what no line can say: a NUL byte.
    pub fn line(&self, name: &str) -> Option<String> {
        let linger = format!("--linger={}", humantime::format_duration(self.linger));
        let keep_alive = format!("--keep-alive={}", humantime::format_duration(self.keep_alive));
        let address = self.address.to_string();
        let insecure = self.insecure.then_some("--insecure");
        let accept_new = self.accept_new.then_some("--accept-new");
        let ssh = self.ssh.as_ref().map(|command| format!("--ssh={command}"));
        let options = insecure.into_iter().chain(accept_new).chain(ssh.as_deref()).chain([&*linger, &keep_alive]);
        let grants: Vec<_> = self.grants.iter().map(|chain| format!("--grant={chain}")).collect();
        let words = ["attach"]
            .into_iter()
            .chain(grants.iter().map(|grant| &**grant))
            .chain(options)
            .chain(["--", name, &address]);
        shlex::try_join(words).ok()
    }
}

/// A time in which something can happen.
fn lasting(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok().filter(|time| *time >= Attach::SHORTEST)
}

impl Attach {
    /// The shortest keep-alive: a loaded machine must be able to answer within it.
    pub const SHORTEST: Duration = Duration::from_millis(100);
}

/// How the link to a node fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// There is no session: it was never reached, or is tried again after the last one was lost.
    Dialling,
    /// It answers.
    Up,
    /// The link broke, and what waits goes on waiting until the session is resumed, or `linger` is over.
    Broken,
}

impl LinkState {
    /// The word for it in `status`.
    pub fn word(self) -> &'static str {
        match self {
            LinkState::Dialling => "dialling",
            LinkState::Up => "up",
            LinkState::Broken => "broken",
        }
    }
}

/// What was sent through a link, counted where it is sent.
#[derive(Debug, Default)]
pub struct Account {
    sent: AtomicU64,
    unknown: AtomicU64,
}

impl Account {
    /// The other node has one message more.
    pub fn count_sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Nobody knows whether it has one message more.
    pub fn count_unknown(&self) {
        self.unknown.fetch_add(1, Ordering::Relaxed);
    }

    /// Messages that the other node has, and those of which nobody knows.
    pub fn figures(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.unknown.load(Ordering::Relaxed))
    }
}

/// An attachment.
#[derive(Debug)]
pub struct Attachment {
    /// How it was to be attached.
    pub how: Attach,
    /// How its link fares.
    pub state: LinkState,
    /// Since when.
    pub since: SystemTime,
    /// Why it is not up.
    pub reason: Option<String>,
    /// What was sent.
    pub account: Arc<Account>,
}

impl Attachment {
    /// One that nobody has reached yet.
    pub fn new(how: Attach) -> Attachment {
        Attachment { how, state: LinkState::Dialling, since: SystemTime::now(), reason: None, account: Arc::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(address: &str) -> Attach {
        Attach::to(address.parse().expect("an address"))
    }

    #[test]
    fn what_is_said_is_understood() {
        for (name, address) in [("alpha", "unix:/run/a"), ("--a b", "unix:/it's"), ("ä", "tcp://127.0.0.1:5640")] {
            let ssh = (name == "ä").then(|| "ssh -i 'a key'".to_owned());
            let (insecure, accept_new) = (name == "ä", name == "alpha");
            let attach = Attach { linger: Duration::from_millis(1500), insecure, accept_new, ssh, ..to(address) };
            let line = attach.line(name).expect("a line");
            let rest = line.strip_prefix("attach ").expect("the verb");
            assert_eq!(Attach::parse(rest), Some((attach, name.to_owned())), "{line}");
        }
    }

    #[test]
    fn by_hand() {
        assert_eq!(Attach::parse("a unix:/b"), Some((to("unix:/b"), "a".into())));
        let slow = Attach { keep_alive: Duration::from_secs(90), ..to("unix:/b") };
        assert_eq!(Attach::parse("--keep-alive=1m30s a unix:/b"), Some((slow, "a".into())));
        for bad in ["", "a b", "a b c", "--what a", "--linger a", "--linger=x a", "--keep-alive=1ms a", "'a"] {
            assert_eq!(Attach::parse(&format!("{bad} unix:/b")), None, "{bad}");
        }
        assert_eq!((Attach::parse("a b"), Attach::parse("a ''"), Attach::parse("a")), (None, None, None));
    }
}
