//! What a channel is to be, as `ctl`, the command line and a configuration file say it, and the words for it.

use std::path::PathBuf;
use std::time::Duration;

/// What a channel is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spec {
    /// Each message goes to exactly one reader.
    Queue {
        /// A reader keeps a message only by its next read or fsync(2).
        ack: bool,
    },
    /// Two ends, duplex, one holder each.
    Pair,
    /// A private connection for each client.
    Service(ServiceSpec),
    /// Every reader gets a copy.
    Topic {
        /// A slow reader sees the newest message, and holds up nobody.
        latest: bool,
    },
}

impl Default for Spec {
    fn default() -> Spec {
        Spec::Queue { ack: false }
    }
}

/// What a service is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSpec {
    /// How many clients may wait for a server; one more is EAGAIN.
    pub backlog: usize,
    /// A client is refused (ECONNREFUSED) while no server has `accept` open.
    pub refuse: bool,
    /// The first message that a server gets of a client says who that is.
    pub hello: bool,
    /// The program that serves each connection; without one, whoever opens `accept` does.
    pub program: Option<Program>,
}

impl Default for ServiceSpec {
    fn default() -> ServiceSpec {
        ServiceSpec { backlog: 128, refuse: false, hello: false, program: None }
    }
}

/// A program of which each connection gets a process of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The program (looked for in PATH) and its arguments.
    pub command: Vec<String>,
    /// How its bytes are messages.
    pub framing: Framing,
    /// The directory it starts in; without one, the server's.
    pub dir: Option<PathBuf>,
    /// What is added to the server's environment.
    pub env: Vec<(String, String)>,
    /// So many processes at once; further connections wait in the backlog.
    pub max: usize,
    /// A process that has neither received nor sent a message for so long is ended.
    pub idle: Option<Duration>,
    /// How long it may live on after its client has gone, and again after SIGTERM.
    pub grace: Duration,
}

impl Default for Program {
    fn default() -> Program {
        Program {
            command: Vec::new(),
            framing: Framing::Line,
            dir: None,
            env: Vec::new(),
            max: 128,
            idle: None,
            grace: Duration::from_secs(2),
        }
    }
}

/// How the bytes of a program are messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// Each line is a message.
    #[default]
    Line,
    /// All that comes in is standard input, all that it prints until it ends is one message.
    Whole,
    /// Each message follows its length: 4 bytes, the lowest first.
    Frames,
    /// The program takes a peer of bytes with `fs9_tiers::process::inherited()`.
    Peer,
}

impl Spec {
    /// Understands one option of `new`. The option that chooses the kind comes before those of that kind. None for an
    /// option that is unknown, or does not go with the ones before.
    fn modify(&mut self, option: &str) -> Option<()> {
        let (option, value) = split(option);
        match (&mut *self, option, value) {
            (Spec::Queue { ack: false }, "--pair", None) => *self = Spec::Pair,
            (Spec::Queue { ack: false }, "--service", None) => *self = Spec::Service(ServiceSpec::default()),
            (Spec::Queue { ack: false }, "--topic", None) => *self = Spec::Topic { latest: false },
            (Spec::Queue { ack }, "--ack", None) => *ack = true,
            (Spec::Topic { latest }, "--latest", None) => *latest = true,
            (Spec::Service(service), "--hello", None) => service.hello = true,
            (Spec::Service(service), "--refuse", None) => service.refuse = true,
            (Spec::Service(service), "--backlog", Some(value)) => service.backlog = value.parse().ok()?,
            _ => return None,
        }
        Some(())
    }

    /// What the words after `new` say: options, and a name that is the rest of the line.
    pub fn parse_new(mut rest: &str) -> Option<(Spec, String)> {
        let mut spec = Spec::default();
        while rest.starts_with("--") {
            let (option, after) = rest.split_once(' ').unwrap_or((rest, ""));
            rest = after.trim_start_matches(' ');
            if option == "--" {
                break;
            }
            spec.modify(option)?;
        }
        (!rest.is_empty()).then(|| (spec, rest.to_owned()))
    }

    /// What the words after `spawn` say, quoted as for sh: options, a name, `--`, and the command.
    pub fn parse_spawn(rest: &str) -> Option<(Spec, String)> {
        let mut words = shlex::split(rest)?.into_iter();
        let mut service = ServiceSpec::default();
        let mut program = Program::default();
        let name = loop {
            let word = words.next()?;
            if !word.starts_with("--") {
                break word;
            }
            if word == "--" {
                break words.next()?;
            }
            match split(&word) {
                ("--backlog", Some(value)) => service.backlog = value.parse().ok()?,
                (option, value) => program.modify(option, value)?,
            }
        };
        if words.next()? != "--" {
            return None;
        }
        program.command = words.collect();
        program.command.first().filter(|command| !command.is_empty())?;
        service.program = Some(program);
        Some((Spec::Service(service), name))
    }

    /// The line that has `ctl` make this under `name`. None for what no line can say: a NUL byte, a directory that is
    /// not UTF-8.
    pub fn line(&self, name: &str) -> Option<String> {
        let words = match self {
            Spec::Queue { ack: false } => vec!["new".to_owned()],
            Spec::Queue { ack: true } => vec!["new".to_owned(), "--ack".to_owned()],
            Spec::Pair => vec!["new".to_owned(), "--pair".to_owned()],
            Spec::Topic { latest: false } => vec!["new".to_owned(), "--topic".to_owned()],
            Spec::Topic { latest: true } => vec!["new".to_owned(), "--topic".to_owned(), "--latest".to_owned()],
            Spec::Service(service) => match &service.program {
                Some(program) => return program.line(service.backlog, name),
                None => service.words(),
            },
        };
        (!name.contains('\0')).then(|| format!("{} -- {name}", words.join(" ")))
    }
}

impl ServiceSpec {
    fn words(&self) -> Vec<String> {
        let mut words = vec!["new".to_owned(), "--service".to_owned(), format!("--backlog={}", self.backlog)];
        words.extend(self.hello.then(|| "--hello".to_owned()));
        words.extend(self.refuse.then(|| "--refuse".to_owned()));
        words
    }
}

impl Framing {
    /// Every framing with its word.
    pub const WORDS: [(&'static str, Framing); 4] =
        [("line", Framing::Line), ("whole", Framing::Whole), ("frames", Framing::Frames), ("peer", Framing::Peer)];

    /// Its word.
    pub fn word(self) -> &'static str {
        Framing::WORDS.into_iter().find(|(_, framing)| *framing == self).map_or("line", |(word, _)| word)
    }
}

impl Program {
    fn modify(&mut self, option: &str, value: Option<&str>) -> Option<()> {
        let framing = option.strip_prefix("--").and_then(|word| Framing::WORDS.into_iter().find(|(w, _)| *w == word));
        match (option, value) {
            (_, None) => self.framing = framing?.1,
            ("--dir", Some(dir)) => self.dir = Some(dir.into()),
            ("--env", Some(pair)) => {
                let (key, value) = pair.split_once('=').filter(|(key, _)| !key.is_empty())?;
                self.env.push((key.to_owned(), value.to_owned()));
            }
            ("--max", Some(value)) => self.max = value.parse().ok().filter(|max| *max > 0)?,
            ("--idle", Some(value)) => self.idle = Some(humantime::parse_duration(value).ok()?),
            ("--grace", Some(value)) => self.grace = humantime::parse_duration(value).ok()?,
            _ => return None,
        }
        Some(())
    }

    fn line(&self, backlog: usize, name: &str) -> Option<String> {
        let mut words = vec!["spawn".to_owned(), format!("--{}", self.framing.word()), format!("--backlog={backlog}")];
        if let Some(dir) = &self.dir {
            words.push(format!("--dir={}", dir.to_str()?));
        }
        words.extend(self.env.iter().map(|(key, value)| format!("--env={key}={value}")));
        words.push(format!("--max={}", self.max));
        words.extend(self.idle.map(|idle| format!("--idle={}", humantime::format_duration(idle))));
        words.push(format!("--grace={}", humantime::format_duration(self.grace)));
        words.extend(["--".to_owned(), name.to_owned(), "--".to_owned()]);
        words.extend(self.command.iter().cloned());
        shlex::try_join(words.iter().map(String::as_str)).ok()
    }
}

/// An option and its value.
fn split(option: &str) -> (&str, Option<&str>) {
    match option.split_once('=') {
        Some((option, value)) => (option, Some(value)),
        None => (option, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(spec: &Spec, name: &str) {
        let line = spec.line(name).expect("a line");
        let (verb, rest) = line.split_once(' ').expect("a verb");
        let again = if verb == "new" { Spec::parse_new(rest) } else { Spec::parse_spawn(rest) };
        assert_eq!(again, Some((spec.clone(), name.to_owned())), "{line}");
    }

    #[test]
    fn what_is_said_is_understood() {
        let bc = Program { command: vec!["bc".into(), "-lq".into()], ..Program::default() };
        let odd = Program {
            command: vec!["sh".into(), "-c".into(), "echo \"it's\"; printf 'a\nb'".into(), String::new()],
            framing: Framing::Frames,
            dir: Some("/a dir".into()),
            env: vec![("K".into(), "v=w x".into())],
            max: 3,
            idle: Some(Duration::from_millis(90_500)),
            grace: Duration::from_millis(250),
        };
        for spec in [
            Spec::Queue { ack: false },
            Spec::Queue { ack: true },
            Spec::Pair,
            Spec::Topic { latest: false },
            Spec::Topic { latest: true },
            Spec::Service(ServiceSpec { backlog: 0, refuse: true, hello: true, program: None }),
            Spec::Service(ServiceSpec { program: Some(bc), ..ServiceSpec::default() }),
            Spec::Service(ServiceSpec { backlog: 7, program: Some(odd), ..ServiceSpec::default() }),
        ] {
            round_trip(&spec, "jobs");
            round_trip(&spec, "--my dir/it's");
        }
    }

    #[test]
    fn by_hand() {
        let spec = |line| Spec::parse_new(line).map(|(spec, _)| spec);
        assert_eq!(Spec::parse_new("my  talk"), Some((Spec::default(), "my  talk".into())));
        assert_eq!(spec("--service --hello x"), {
            Some(Spec::Service(ServiceSpec { hello: true, ..ServiceSpec::default() }))
        });
        for bad in [
            "--pair --ack x",
            "--hello --service x",
            "--topic --ack x",
            "--latest x",
            "--service --backlog x",
            "--pair",
        ] {
            assert_eq!(spec(bad), None, "{bad}");
        }
        let (spec, name) = Spec::parse_spawn("--whole --env=A=1 p/wc -- wc -w").expect("understood");
        let Spec::Service(ServiceSpec { program: Some(program), .. }) = spec else { panic!("{spec:?}") };
        assert_eq!((&*name, program.framing, program.command.join(" ")), ("p/wc", Framing::Whole, "wc -w".into()));
        for bad in [
            "wc",
            "wc --",
            "wc wc",
            "--what wc -- wc",
            "--max=0 wc -- wc",
            "--env=x wc -- wc",
            "--idle=1y1 wc -- wc",
            "'wc -- wc",
            "wc -- ''",
        ] {
            assert_eq!(Spec::parse_spawn(bad), None, "{bad}");
        }
    }
}
