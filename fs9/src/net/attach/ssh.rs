//! Another machine by way of ssh(1), as sshfs does it: `ssh HOST fs9 serve --stdio DIR`, whose standard input and
//! output are one socket.
//!
//! Who may do what is ssh's to say: its keys, its known_hosts, its configuration. Nobody is there to answer its
//! questions, so it must not ask any.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::net::address::Ssh;

/// The variable of the environment that has a command to use for `ssh`, quoted as for sh.
pub const VARIABLE: &str = "FS9_SSH";

/// So long it may take to pass on what was said last.
const LAST_WORDS: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// What people are told of what it says at most, bytes.
const COMPLAINT: usize = 4096;

/// A running ssh. Dropped, it is killed.
#[derive(Debug)]
pub struct Program {
    child: Child,
    /// What it complains of.
    complaints: OwnedFd,
}

impl Program {
    /// Starts it, or what is to be run instead. Returns also the socket by which the other machine is spoken with,
    /// which never blocks.
    ///
    /// # Errors
    /// There is no such program; EMFILE.
    pub fn start(instead: Option<&str>, to: &Ssh) -> Result<(Program, OwnedFd), String> {
        let command = command(instead)?;
        Program::run(&command, to).map_err(|error| format!("{}: {error}", command[0]))
    }

    fn run(command: &[String], to: &Ssh) -> io::Result<(Program, OwnedFd)> {
        let (here, there) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
        // Its own end is to block, as programs expect of their standard input and output.
        rustix::io::ioctl_fionbio(&there, false)?;
        // Where it says more than the pipe holds, the rest is lost, and it is not held up.
        let (complaints, complain) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let (name, args) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let child = Command::new(name)
            .args(args)
            .args(to.arguments())
            .stdin(Stdio::from(there.try_clone()?))
            .stdout(Stdio::from(there))
            .stderr(Stdio::from(complain))
            // What the terminal of this process sends its own is not for it.
            .process_group(0)
            .spawn()?;
        Ok((Program { child, complaints }, here))
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// Those of waitpid(2).
    pub fn wait(&mut self) -> io::Result<()> {
        self.child.wait().map(drop)
    }

    /// Waits for its end, which comes when it has passed on what there was and nothing more can follow; but not for
    /// long.
    pub fn finish(&self) {
        // Without a descriptor for that, what was said last may be lost.
        if let Ok(pidfd) = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty()) {
            let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&LAST_WORDS));
        }
    }

    /// The last that it has complained of, if it has.
    pub fn complaint(&self) -> Option<String> {
        let mut said = [0; COMPLAINT];
        let len = rustix::io::read(&self.complaints, &mut said).unwrap_or(0); // it may have nothing to say
        let said = String::from_utf8_lossy(&said[..len]);
        let last = said.lines().map(str::trim).rfind(|line| !line.is_empty())?;
        Some(last.chars().filter(|char| !char.is_control()).collect())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Ended already, it cannot be killed; and killed, it ends at once.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The words of the command to run: at least one.
fn command(instead: Option<&str>) -> Result<Vec<String>, String> {
    let said = instead.map(str::to_owned).or_else(|| std::env::var(VARIABLE).ok());
    let words = said.as_ref().map_or_else(|| Some(vec!["ssh".into()]), |said| shlex::split(said));
    words
        .filter(|words| !words.is_empty())
        .ok_or_else(|| format!("{VARIABLE} is no command: {:?}", said.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_run_for_ssh() {
        assert_eq!(command(Some("ssh -i 'a key'")).expect("words"), ["ssh", "-i", "a key"]);
        for bad in ["", "'", " "] {
            assert!(command(Some(bad)).expect_err(bad).starts_with("FS9_SSH is no command"));
        }
    }

    #[test]
    fn the_last_complaint_counts() {
        let to = Ssh::parse("host").expect("a host");
        let (program, socket) = Program::start(Some("sh -c 'echo first >&2; echo last >&2; echo'"), &to).expect("sh");
        rustix::io::ioctl_fionbio(&socket, false).expect("a socket");
        assert_eq!(rustix::io::read(&socket, &mut [0; 9]), Ok(1));
        assert_eq!(program.complaint().as_deref(), Some("last"));
        let error = Program::start(Some("/nowhere/ssh"), &to).expect_err("there is none");
        assert!(error.starts_with("/nowhere/ssh: No such file"), "{error}");
    }
}
