//! `fs9 spawn`: a service that a program serves, made through the mount's `ctl`.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use clap::Args;
use clap::builder::RangedU64ValueParser;

use super::channel::make;
use super::place::Place;
use super::shell::shown;
use crate::spec::{self, Framing, Program, ServiceSpec};

/// Make a service of a program: each client talks to a process of its own
///
/// Whoever opens PATH/connect (`fs9 call PATH`, for one) gets a process that runs
/// CMD: what is written is its standard input, what it prints can be read, line by
/// line unless another framing is chosen. What it says on standard error is in
/// `events`. When the client closes, its standard input closes, then it is told to
/// end (SIGTERM), then it is made to (SIGKILL). CMD is looked for in your PATH and
/// runs in this directory, or --dir.
///
///   fs9 spawn p/bc -- bc -lq
///   fs9 call p/bc '2^64'
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Spawn {
    /// Each line it prints is a message; a message it gets ends with a newline (this is what it does by itself)
    #[arg(long, group = "framing")]
    line: bool,
    /// One message is all its standard input, and all that it prints is one message
    #[arg(long, group = "framing")]
    whole: bool,
    /// Each message follows its length, a number of 4 bytes, the lowest first
    #[arg(long, group = "framing")]
    frames: bool,
    /// It is a program with fs9_tiers, which takes a peer of bytes with `process::inherited()`
    #[arg(long, group = "framing")]
    peer: bool,
    /// Where it runs; without it, in the current directory
    #[arg(long, value_name = "D")]
    dir: Option<PathBuf>,
    /// What is added to the environment of the server, which it gets; may be given several times
    #[arg(long = "env", value_name = "K=V", value_parser = variable)]
    env: Vec<(String, String)>,
    /// So many processes at once; further clients wait
    #[arg(long, value_name = "N", default_value_t = Program::default().max)]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    max: usize,
    /// A process through which no message has passed for so long (30s, 5m) is ended
    #[arg(long, value_name = "T", value_parser = humantime::parse_duration)]
    idle: Option<Duration>,
    /// How long it may live on when its client has gone, and again after SIGTERM
    #[arg(long, value_name = "T", default_value = "2s", value_parser = humantime::parse_duration)]
    grace: Duration,
    /// How many clients may wait for a process; one more fails (EAGAIN)
    #[arg(long, value_name = "N", default_value_t = ServiceSpec::default().backlog)]
    backlog: usize,
    /// The service to make; its directory must exist
    path: PathBuf,
    /// The program and its arguments, after --
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

impl Spawn {
    pub fn run(self) -> anyhow::Result<()> {
        let place = Place::of(&self.path)?;
        let (backlog, program) = (self.backlog, Some(self.program()?));
        make(&place, &spec::Spec::Service(ServiceSpec { backlog, program, ..ServiceSpec::default() }))
    }

    /// With nothing in it that depends on where we are: the server is elsewhere, and has another PATH perhaps.
    fn program(self) -> anyhow::Result<Program> {
        let here = env::current_dir().context("cannot tell where we are: change to a directory that is there")?;
        let dir = self.dir.as_ref().map_or_else(|| here.clone(), |dir| here.join(dir));
        ensure!(dir.is_dir(), "there is no directory {}: make it, or give another --dir", shown(&dir));
        let mut words = self.command.iter();
        let name = words.next().context("name a command after --")?;
        let paths = self.env.iter().rev().find(|(key, _)| key == "PATH").map(|(_, value)| OsString::from(value));
        let found = find(name, &here, &paths.or_else(|| env::var_os("PATH")).unwrap_or_default())?;
        let found = found.to_str().map(str::to_owned).ok_or_else(|| anyhow!("{} is not UTF-8", shown(&found)))?;
        Ok(Program {
            command: std::iter::once(found).chain(words.cloned()).collect(),
            framing: self.framing(),
            dir: Some(dir),
            env: self.env,
            max: self.max,
            idle: self.idle,
            grace: self.grace,
        })
    }

    fn framing(&self) -> Framing {
        match self {
            Spawn { whole: true, .. } => Framing::Whole,
            Spawn { frames: true, .. } => Framing::Frames,
            Spawn { peer: true, .. } => Framing::Peer,
            _ => Framing::Line,
        }
    }
}

fn variable(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    pair.map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or_else(|| "give it as NAME=VALUE".to_owned())
}

/// The file that a shell in `here` would run for `name`.
fn find(name: &str, here: &Path, paths: &OsStr) -> anyhow::Result<PathBuf> {
    if name.contains('/') {
        let path = here.join(name);
        return match path.metadata() {
            Ok(metadata) if can_run(&metadata) => Ok(path),
            Ok(_) => bail!("{} cannot be run (EACCES): `chmod +x` it if it is a program", shown(&path)),
            Err(error) => bail!("{} cannot be run: {error}", shown(&path)),
        };
    }
    let candidates = env::split_paths(paths).map(|dir| here.join(dir).join(name));
    let mut found = candidates.filter(|path| path.metadata().is_ok_and(|metadata| can_run(&metadata)));
    found.next().ok_or_else(|| {
        anyhow!("there is no command {} in your PATH (ENOENT): install it, or give its path", shown(Path::new(name)))
    })
}

fn can_run(metadata: &Metadata) -> bool {
    metadata.is_file() && metadata.permissions().mode() & 0o111 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_found_as_a_shell_would() {
        let found = |name, here: &str| find(name, Path::new(here), OsStr::new("/nowhere:/bin"));
        assert_eq!(found("sh", "/").expect("everybody has it"), Path::new("/bin/sh"));
        assert_eq!(found("./sh", "/bin").expect("here"), Path::new("/bin/./sh"));
        for (name, why) in [("no-such-command", "(ENOENT)"), ("/etc/passwd", "(EACCES)"), ("./no/such", "No such file")]
        {
            let error = found(name, "/").expect_err(name).to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
