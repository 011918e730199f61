//! The verbs of `ctl`: text, one a write. What `new` and `spawn` can make is in [`Spec`].

use rustix::io::Errno;

use crate::attachment::Attach;
use crate::grants::Decision;
use crate::spec::Spec;

/// What reading `ctl` shows.
pub const HELP: &str = "\
new [--ack] NAME            make a queue; the name is the rest of the line
new --pair NAME             make a pair: NAME/a and NAME/b
new --service [--hello] [--refuse] [--backlog=N] NAME
                            make a service: each open of NAME/connect is a connection, served by who opens NAME/accept
new --topic [--latest] NAME make a topic: every reader gets a copy
spawn [--line | --whole | --frames | --peer] [--dir=D] [--env=K=V] [--max=N] [--idle=T] [--grace=T] [--backlog=N] NAME -- CMD ARG...
                            make a service of a program, a process for each connection; words are quoted as for sh
rm NAME                     remove a channel or an empty directory; who waits there is hung up first
hangup NAME                 end the conversation on a pair, or all on a service: both ends read what is there and then the end
attach [--linger=T] [--keep-alive=T] [--insecure] [--accept-new] [--grant=G] [--ssh=CMD] NAME ADDR
                            show the tree of the node that listens at ADDR as n/NAME; words are quoted as for sh
detach NAME                 take n/NAME away; what is open in it fails
grant fs9grant:...          let another node in, as `fs9 grant` has signed it
revoke ID                   take a grant back by its id, and all that was passed on of it; what was opened by it is closed
stop                        end the server: everything that waits fails with ESHUTDOWN
";

/// What reading the `ctl` of a pair or a service shows.
pub const OWN_HELP: &str = "\
hangup                      end the conversation: both ends read what is there and then the end
";

/// One verb with its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// Make a channel.
    New {
        /// What it is to be.
        spec: Spec,
        /// Its path from the mount point.
        name: String,
    },
    /// Remove a channel or an empty directory.
    Remove(String),
    /// End the conversations on a pair or a service; without a name, on the one whose `ctl` it is.
    HangUp(Option<String>),
    /// Show another node's tree.
    Attach {
        /// Its name below `n`.
        name: String,
        /// How it is reached.
        how: Attach,
    },
    /// Take away the tree of another node that has this name below `n`.
    Detach(String),
    /// Let another node in, or not any more.
    Decide(Decision),
    /// End the server.
    Stop,
}

impl Verb {
    /// Parses one write. A newline may end it; another verb may not follow. (Within the quotes of `spawn` a newline is
    /// one.)
    ///
    /// # Errors
    /// EINVAL for anything that `ctl` does not list.
    pub fn parse(text: &[u8]) -> Result<Verb, Errno> {
        let line = std::str::from_utf8(text).map_err(|_| Errno::INVAL)?;
        let line = line.strip_suffix('\n').unwrap_or(line);
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if line.contains('\n') && word != "spawn" {
            return Err(Errno::INVAL);
        }
        let name = rest.trim_start_matches(' ');
        match (word, name) {
            ("new", _) => Verb::make(Spec::parse_new(name)),
            ("spawn", _) => Verb::make(Spec::parse_spawn(name)),
            ("attach", _) => Attach::parse(name).map(|(how, name)| Verb::Attach { name, how }).ok_or(Errno::INVAL),
            ("detach", name) if !name.is_empty() => Ok(Verb::Detach(name.to_owned())),
            ("grant", name) => Decision::grant(name).map(Verb::Decide).ok_or(Errno::INVAL),
            ("revoke", name) if !name.is_empty() => Ok(Verb::Decide(Decision::Revoke(name.to_owned()))),
            ("stop", "") => Ok(Verb::Stop),
            ("hangup", "") => Ok(Verb::HangUp(None)),
            ("hangup", name) => Ok(Verb::HangUp(Some(name.to_owned()))),
            ("rm", name) if !name.is_empty() => Ok(Verb::Remove(name.to_owned())),
            _ => Err(Errno::INVAL),
        }
    }

    fn make(parsed: Option<(Spec, String)>) -> Result<Verb, Errno> {
        parsed.map(|(spec, name)| Verb::New { spec, name }).ok_or(Errno::INVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(spec: Spec, name: &str) -> Result<Verb, Errno> {
        Ok(Verb::New { spec, name: name.into() })
    }

    #[test]
    fn verbs() {
        assert_eq!(Verb::parse(b"new jobs\n"), new(Spec::Queue { ack: false }, "jobs"));
        assert_eq!(Verb::parse(b"new  --pair  my talk"), new(Spec::Pair, "my talk"));
        assert_eq!(Verb::parse(b"new --ack dir/jobs"), new(Spec::Queue { ack: true }, "dir/jobs"));
        assert_eq!(Verb::parse(b"new -- --pair"), new(Spec::Queue { ack: false }, "--pair"));
        assert_eq!(Verb::parse(b"rm a b\n"), Ok(Verb::Remove("a b".into())));
        assert_eq!(Verb::parse(b"hangup talk"), Ok(Verb::HangUp(Some("talk".into()))));
        assert_eq!(Verb::parse(b"hangup"), Ok(Verb::HangUp(None)));
        let how = Attach::to("unix:/run/a".parse().expect("an address"));
        assert_eq!(Verb::parse(b"attach alpha unix:/run/a\n"), Ok(Verb::Attach { name: "alpha".into(), how }));
        assert_eq!(Verb::parse(b"detach alpha"), Ok(Verb::Detach("alpha".into())));
        assert_eq!(Verb::parse(b"revoke abc\n"), Ok(Verb::Decide(Decision::Revoke("abc".into()))));
        assert_eq!(Verb::parse(b"stop\n"), Ok(Verb::Stop));
    }

    #[test]
    fn everything_else_is_refused() {
        for bad in [
            &b""[..],
            b"\n",
            b"new",
            b"new ",
            b"new --pair",
            b"new --what x",
            b"new --pair --ack x",
            b"rm",
            b"stop now",
            b"new a\nnew b\n",
            b"NEW a",
            b"\xff\xfe",
            b" new a",
            b"new a\n\n",
            b"spawn",
            b"spawn a",
            b"attach",
            b"attach a",
            b"detach",
            b"grant",
            b"grant jobs",
            b"revoke",
        ] {
            assert_eq!(Verb::parse(bad), Err(Errno::INVAL), "{:?}", String::from_utf8_lossy(bad));
        }
    }
}
