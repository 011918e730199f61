//! The verbs of `ctl`: text, one a write.

use rustix::io::Errno;

/// What reading `ctl` shows.
pub const HELP: &str = "\
new [--pair] [--ack] NAME   make a queue or a pair; the name is the rest of the line
rm NAME                     remove a channel or an empty directory; who waits there is hung up first
hangup NAME                 end the conversation on a pair: both ends read what is there and then the end
stop                        end the server: everything that waits fails with ESHUTDOWN
";

/// What reading a pair's `ctl` shows.
pub const PAIR_HELP: &str = "\
hangup                      end the conversation: both ends read what is there and then the end
";

/// One verb with its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// Make a channel.
    New {
        /// A pair instead of a queue.
        pair: bool,
        /// A queue whose messages must be acknowledged.
        ack: bool,
        /// Its path from the mount point.
        name: String,
    },
    /// Remove a channel or an empty directory.
    Remove(String),
    /// End the conversation on a pair; without a name, on the pair whose `ctl` it is.
    HangUp(Option<String>),
    /// End the server.
    Stop,
}

impl Verb {
    /// Parses one write. A newline may end it; another verb may not follow.
    ///
    /// # Errors
    /// EINVAL for anything that `ctl` does not list.
    pub fn parse(text: &[u8]) -> Result<Verb, Errno> {
        let line = std::str::from_utf8(text).map_err(|_| Errno::INVAL)?;
        let line = line.strip_suffix('\n').unwrap_or(line);
        if line.contains('\n') {
            return Err(Errno::INVAL);
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let name = rest.trim_start_matches(' ');
        match (word, name) {
            ("new", options) => Verb::parse_new(options),
            ("stop", "") => Ok(Verb::Stop),
            ("hangup", "") => Ok(Verb::HangUp(None)),
            ("hangup", name) => Ok(Verb::HangUp(Some(name.to_owned()))),
            ("rm", name) if !name.is_empty() => Ok(Verb::Remove(name.to_owned())),
            _ => Err(Errno::INVAL),
        }
    }

    fn parse_new(mut rest: &str) -> Result<Verb, Errno> {
        let (mut pair, mut ack) = (false, false);
        while rest.starts_with("--") {
            let (option, after) = rest.split_once(' ').unwrap_or((rest, ""));
            match option {
                "--pair" => pair = true,
                "--ack" => ack = true,
                "--" => {
                    rest = after.trim_start_matches(' ');
                    break;
                }
                _ => return Err(Errno::INVAL),
            }
            rest = after.trim_start_matches(' ');
        }
        // On a pair a message has one reader; there is nobody else to give it back to.
        if rest.is_empty() || (pair && ack) {
            return Err(Errno::INVAL);
        }
        Ok(Verb::New { pair, ack, name: rest.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(pair: bool, ack: bool, name: &str) -> Result<Verb, Errno> {
        Ok(Verb::New { pair, ack, name: name.into() })
    }

    #[test]
    fn verbs() {
        assert_eq!(Verb::parse(b"new jobs\n"), new(false, false, "jobs"));
        assert_eq!(Verb::parse(b"new  --pair  my talk"), new(true, false, "my talk"));
        assert_eq!(Verb::parse(b"new --ack dir/jobs"), new(false, true, "dir/jobs"));
        assert_eq!(Verb::parse(b"new -- --pair"), new(false, false, "--pair"));
        assert_eq!(Verb::parse(b"rm a b\n"), Ok(Verb::Remove("a b".into())));
        assert_eq!(Verb::parse(b"hangup talk"), Ok(Verb::HangUp(Some("talk".into()))));
        assert_eq!(Verb::parse(b"hangup"), Ok(Verb::HangUp(None)));
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
        ] {
            assert_eq!(Verb::parse(bad), Err(Errno::INVAL), "{:?}", String::from_utf8_lossy(bad));
        }
    }
}
