//! Commands that go on in the background: `fs9 up`, and `fs9 mount9p` where bytes are to be carried.
//!
//! Such a command starts itself again with a hidden flag. The two speak over the child's standard output: whatever the
//! child prints is passed on, up to the line `ready`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use fs9_tiers::descriptors::close_on_exec_from;

use super::failure::Quiet;
use super::output::print;
use super::wait::Wait;

/// The flag by which a process in the background is told what it is.
const FLAG: &str = "--ready-on-stdout";
/// The line that ends its part of the output.
const READY: &str = "ready";

/// Starts `fs9 COMMAND` in the background with the arguments of this process, and returns when it is ready. `what` is
/// what people are told that it is.
pub fn start(command: &str, what: &str) -> anyhow::Result<()> {
    let this = std::env::current_exe().context("cannot find the fs9 program itself")?;
    let wait = Wait::new(None)?;
    // It lives long: what this process inherited by chance, such as the lock of a script, is not its own to keep.
    close_on_exec_from(3).with_context(|| format!("cannot keep open files from {what}"))?;
    let mut child = Command::new(this)
        .arg0("fs9")
        .args([command, FLAG])
        .args(std::env::args_os().skip(2))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {what}"))?;
    let output = child.stdout.take().with_context(|| format!("{what} has no output"))?;
    let mut lines = BufReader::new(output).lines();
    while let Some(line) = wait.explain(&format!("{what} to be ready"), || lines.next()) {
        match line.with_context(|| format!("cannot hear {what}"))? {
            line if line == READY => return Ok(()),
            line => drop(print(line + "\n")),
        }
    }
    let status = child.wait().with_context(|| format!("cannot hear {what}"))?;
    // With an exit code it has said why on the same stderr.
    if status.code().is_some() { Err(Quiet.into()) } else { bail!("{what} ended before it was ready: {status}") }
}

/// Tells the parent that this process is ready, and lets go of everything that was the parent's.
pub fn retire() -> anyhow::Result<()> {
    let let_go = || {
        std::env::set_current_dir("/")?;
        // Out of the terminal's reach; until here its Ctrl-C ended this process too. It only fails for a leader of a
        // group, which a child is not.
        let _ = rustix::process::setsid();
        print(format!("{READY}\n"))?;
        let null = File::options().read(true).write(true).open("/dev/null")?;
        rustix::stdio::dup2_stdout(&null)?;
        rustix::stdio::dup2_stderr(&null)?;
        Ok::<_, anyhow::Error>(())
    };
    let_go().context("cannot go into the background")
}
