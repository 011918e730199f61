//! `fs9 up`: turns a directory into a mount.
//!
//! Without `-f` it starts itself again in the [background](super::background).

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::attach::lasting;
use super::background::{retire, start};
use super::notify;
use super::output::print;
use super::shell::{Word, shown};
use super::wait::Wait;
use crate::mount::{MOST_THREADS, Options};
use crate::mountpoint::{Prepared, prepare};
use crate::net::address::Address;
use crate::{Builder, LARGEST_MESSAGE, Limits, Stopper, config};

/// Mount a directory: every peer in it is a file
///
/// DIR must exist and be empty. Returns when the mount is usable and its server
/// runs in the background. A mount that a killed server has left behind on DIR is
/// cleaned up first.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Up {
    /// The directory to mount on
    dir: PathBuf,
    /// Stay in the foreground until SIGINT or SIGTERM; RUST_LOG=fs9=debug shows what happens
    #[arg(short, long)]
    foreground: bool,
    /// Say nothing when it is up
    #[arg(short, long)]
    quiet: bool,
    /// A file of options, and of names that the mount has from the start; options given here win over the file's
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Let other users in, as far as the mode bits of each file allow
    #[arg(long)]
    allow_other: bool,
    /// Serve clients from elsewhere at tls://host:port, unix:/path or tcp://host:port; may be given several times
    #[arg(long, value_name = "ADDR")]
    listen: Vec<Address>,
    /// Listen also where others can hear and change what is said; such clients come as the mount's owner
    #[arg(long)]
    insecure: bool,
    /// Show clients from elsewhere the nodes that are attached here, too (n/NAME/...)
    #[arg(long)]
    export_nodes: bool,
    /// How long what a client has open is kept when its connection breaks [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    linger: Option<Duration>,
    /// A connection of another fs9 from which nothing has come for so long is broken [default: 45s]
    #[arg(long, value_name = "TIME", value_parser = lasting)]
    keep_alive: Option<Duration>,
    /// Where this node's key is, and what it knows of others [default: $XDG_CONFIG_HOME/fs9, or ~/.config/fs9]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    #[command(flatten)]
    figures: Figures,
    /// Serve in the background: say `ready` on standard output, then nothing more
    #[arg(long = "ready-on-stdout", hide = true)]
    in_background: bool,
}

/// What can be counted.
#[derive(Debug, Args)]
struct Figures {
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=MOST_THREADS as u64))]
    #[arg(help = format!("Threads that serve requests, 1 to {MOST_THREADS} [default: 1]"))]
    threads: Option<usize>,
    #[arg(long, value_name = "BYTES")]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(1..=LARGEST_MESSAGE as u64))]
    #[arg(help = format!("Bytes of one message at most, up to {LARGEST_MESSAGE} [default: {LARGEST_MESSAGE}]"))]
    limit: Option<usize>,
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    #[arg(help = format!("Channels at most [default: {}]", Limits::default().channels))]
    max_channels: Option<usize>,
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    #[arg(help = format!("Descriptors open at once at most [default: {}]", Limits::default().opens))]
    max_opens: Option<usize>,
    #[arg(long, value_name = "BYTES", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    #[arg(help = format!("Bytes of all messages that the server holds at most [default: {}]", Limits::default().bytes))]
    max_bytes: Option<usize>,
}

impl Figures {
    /// Puts what was given in the place of what was there.
    fn overrule(&self, options: &mut Options) {
        let limits = &mut options.limits;
        for (figure, given) in [
            (&mut options.threads, self.threads),
            (&mut limits.message, self.limit),
            (&mut limits.channels, self.max_channels),
            (&mut limits.opens, self.max_opens),
            (&mut limits.bytes, self.max_bytes),
        ] {
            *figure = given.unwrap_or(*figure);
        }
    }
}

impl Up {
    pub fn run(self) -> anyhow::Result<()> {
        if self.foreground || self.in_background { self.serve() } else { start("up", "the server") }
    }

    fn serve(&self) -> anyhow::Result<()> {
        log_to_stderr();
        raise_descriptor_limit();
        // Buffers of large messages go back to the kernel when they are freed, not into a heap that keeps its peak.
        fs9_tiers::heap::map_from(128 * 1024);
        let options = self.options()?;
        let prepared = self.prepare()?;
        // From here on a signal is kept until the mount can be ended cleanly. Before, there is nothing to end but this
        // process, which may be waiting for an earlier server that does not answer.
        let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot handle signals")?;
        let mount = Builder::from(options).mount_on(&prepared)?;
        stop_on(signals, mount.stopper())?;
        // The mount is what was asked for; that nobody hears of it, or how to use it, is no failure.
        if let Err(error) = notify::ready() {
            tracing::warn!(%error, "cannot tell systemd");
        }
        if !self.quiet {
            let _ = print(greeting(&prepared.dir, prepared.cleaned, mount.listening()));
        }
        if self.in_background {
            retire()?;
        }
        mount.wait().with_context(|| format!("serving {} ended", shown(&prepared.dir)))
    }

    fn prepare(&self) -> anyhow::Result<Prepared> {
        if self.in_background {
            // The parent says what is waited for.
            return Ok(prepare(&self.dir)?);
        }
        let what = format!("an answer of what is mounted on {}", shown(&self.dir));
        Ok(Wait::new(None)?.explain(&what, || prepare(&self.dir))?)
    }

    fn options(&self) -> anyhow::Result<Options> {
        let overrule = |options: &mut Options| {
            options.allow_other |= self.allow_other;
            let serving = &mut options.serving;
            serving.insecure |= self.insecure;
            serving.export_nodes |= self.export_nodes;
            serving.linger = self.linger.unwrap_or(serving.linger);
            serving.keep_alive = self.keep_alive.unwrap_or(serving.keep_alive);
            serving.state = self.state.clone().or(serving.state.take());
            if !self.listen.is_empty() {
                serving.listen.clone_from(&self.listen);
            }
            self.figures.overrule(options);
        };
        match &self.config {
            Some(file) => config::read(file, overrule).context("nothing is mounted"),
            None => {
                let mut options = Options::default();
                overrule(&mut options);
                Ok(options)
            }
        }
    }
}

fn stop_on(mut signals: Signals, stopper: Stopper) -> anyhow::Result<()> {
    let listen = move || signals.forever().for_each(|_| stopper.stop());
    std::thread::Builder::new().name("signals".into()).spawn(listen).context("cannot handle signals")?;
    Ok(())
}

/// RUST_LOG chooses what is logged; without it, nothing.
fn log_to_stderr() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

/// Every open file costs the server a descriptor. A limit that cannot be raised only means fewer of them.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

fn greeting(dir: &Path, cleaned: bool, listening: &[String]) -> String {
    let cleaned = if cleaned { "cleaned up the mount of an earlier server that had died\n" } else { "" };
    let (shown, root) = (shown(dir), Word(dir));
    let [jobs, whole, readme] = ["jobs", "jobs:whole", "README"].map(|name| dir.join(name));
    let (jobs, whole, readme) = (Word(&jobs), Word(&whole), Word(&readme));
    let found: String = listening.iter().map(|address| format!("  listens:  {address}\n")).collect();
    let below = if is_below(dir) { "your shell is still below the mount: `cd .` takes it in\n" } else { "" };
    format!(
        "{cleaned}fs9 is up on {shown}\n\
         \x20 send:     echo hello > {jobs}\n\
         \x20 receive:  cat {whole}\n\
         \x20 look:     fs9 status {root}   (more in {readme})\n\
         \x20 end:      fs9 down {root}\n\
         {found}\
         {below}"
    )
}

/// Whether we were started in `dir`, as somebody was whose shell still is: a relative path then means what is
/// underneath.
fn is_below(dir: &Path) -> bool {
    std::env::current_dir().is_ok_and(|here| here == dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greeting_can_be_copied_into_a_shell() {
        let text = greeting(Path::new("/my p"), true, &["unix:/p".into()]);
        assert!(text.starts_with("cleaned up"), "{text}");
        assert!(text.contains("\n  listens:  unix:/p\n"), "{text}");
        assert!(text.contains("\n  receive:  cat '/my p/jobs:whole'\n"), "{text}");
        assert!(greeting(Path::new("/p"), false, &[]).starts_with("fs9 is up on /p\n"));
    }
}
