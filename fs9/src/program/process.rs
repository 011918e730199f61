//! A process of a program: its start, its signals, its end.

use std::io::{self, PipeWriter, pipe};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::Arc;

use fs9_tiers::error::Reason;
use fs9_tiers::holder::Holder;
use fs9_tiers::process::{self, Tied, confine};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, pidfd_send_signal, waitid,
};

use super::complaints::Complaints;
use super::far::Far;
use super::pipes::Pipes;
use super::wire::Wire;
use crate::spec::{Framing, Program};

/// See the [module](self). Dropped, it is killed and reaped, and what it has started is killed.
#[derive(Debug)]
pub struct Process {
    holder: Arc<Holder>,
    /// A peer is reaped by whom it was started by.
    peer: Option<process::Child>,
    /// How it ended, once it is reaped.
    ending: Option<Reason>,
}

fn reason(status: WaitIdStatus) -> Reason {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Reason::Exited(code),
        (None, Some(signal)) => Reason::Killed(signal),
        (None, None) => Reason::Ended,
    }
}

impl Process {
    /// Starts one, which ends with the thread that calls this if not before. Messages have at most `limit` bytes.
    ///
    /// # Errors
    /// Those of fork(2) and execve(2), with the program's name; too many descriptors.
    pub fn start(program: &Program, limit: usize) -> io::Result<(Process, Box<dyn Far>, Complaints)> {
        let (complaints, stderr) = pipe()?;
        let complaints = Complaints::new(complaints)?;
        let (process, far) = match program.framing {
            Framing::Peer => start_peer(program, stderr, limit),
            _ => start_plain(program, &stderr, limit),
        }?;
        Ok((process, far, complaints))
    }

    /// Who it is.
    pub fn holder(&self) -> &Arc<Holder> {
        &self.holder
    }

    /// Readable once it has ended.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.holder.pidfd()
    }

    /// Whether it lives, and is not on its way out either.
    pub fn lives(&self) -> bool {
        self.ending.is_none() && self.holder.ending() == Reason::Closed
    }

    /// Signals it and what it has started. Nothing to do once it is reaped: then its number may be another's.
    pub fn signal(&self, signal: Signal) {
        if self.ending.is_some() {
            return;
        }
        let group = group(self.holder.pid());
        let in_group = group.is_some_and(|group| kill_process_group(group, signal).is_ok());
        // It may have left its group. A second SIGKILL does no harm, and another signal fails where it has ended.
        if let Some(pidfd) = self.pidfd().filter(|_| !in_group || signal == Signal::KILL) {
            let _ = pidfd_send_signal(pidfd, signal);
        }
    }

    /// Takes note of its end, which its pidfd has told of. What it has started and is still in its group is killed
    /// first, as long as the number of the group cannot be another's.
    pub fn reap(&mut self) -> Reason {
        if self.ending.is_none() {
            kill_group(self.holder.pid());
            // Somebody else in this process may have reaped it.
            self.ending = Some(self.wait().unwrap_or_else(|_| self.holder.ending()));
        }
        self.ending.unwrap_or(Reason::Ended)
    }

    fn wait(&mut self) -> io::Result<Reason> {
        match (&mut self.peer, self.holder.pidfd()) {
            (Some(peer), _) => peer.wait(),
            (None, Some(pidfd)) => {
                let status = retry_on_intr(|| waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED))?;
                Ok(status.map_or(Reason::Ended, reason))
            }
            (None, None) => Err(Errno::CHILD.into()),
        }
    }

    /// Leaves it alone: the kernel does not end it.
    pub fn abandon(self) {
        std::mem::forget(self);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        self.reap();
    }
}

fn group(id: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(id).ok()?)
}

fn kill_group(id: u32) {
    // Fails where nobody is left in it.
    let _ = group(id).map(|group| kill_process_group(group, Signal::KILL));
}

fn command(program: &Program) -> io::Result<Command> {
    let (name, args) = program.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(name);
    command.args(args).envs(program.env.iter().map(|(key, value)| (key, value)));
    if let Some(dir) = &program.dir {
        command.current_dir(dir);
    }
    confine(&mut command);
    Ok(command)
}

fn start_plain(program: &Program, stderr: &PipeWriter, limit: usize) -> io::Result<(Process, Box<dyn Far>)> {
    let ((stdin, to), (from, stdout)) = (pipe()?, pipe()?);
    let tied = Tied { command: &program.command, env: &program.env, dir: program.dir.as_deref() };
    let started = tied.start([stdin.as_fd(), stdout.as_fd(), stderr.as_fd()]);
    let holder = Arc::new(started.map_err(|error| cannot_start(program, &error))?);
    let process = Process { holder, peer: None, ending: None };
    let far = Pipes::new(OwnedFd::from(to).into(), OwnedFd::from(from).into(), program.framing, limit)?;
    Ok((process, Box::new(far)))
}

/// What such a program prints is for `events` too: its messages go another way.
fn start_peer(program: &Program, stderr: PipeWriter, limit: usize) -> io::Result<(Process, Box<dyn Far>)> {
    let mut command = command(program)?;
    command.stdin(Stdio::null()).stdout(stderr.try_clone()?).stderr(stderr);
    let (peer, mut child) = process::spawn(command)?;
    let holder = Holder::of(child.id()).inspect_err(|_| {
        kill_group(child.id());
        let _ = child.wait();
    });
    let process = Process { holder: Arc::new(holder?), peer: Some(child), ending: None };
    Ok((process, Box::new(Wire::new(peer, limit)?)))
}

fn cannot_start(program: &Program, error: &io::Error) -> io::Error {
    let name = program.command.first().map_or("", String::as_str);
    let dir = program.dir.as_ref().map(|dir| format!(" in {}", dir.display())).unwrap_or_default();
    io::Error::new(error.kind(), format!("cannot start {name}{dir}: {error}"))
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags};

    use super::*;

    fn start(words: &[&str]) -> io::Result<(Process, Box<dyn Far>, Complaints)> {
        let command = words.iter().map(|word| (*word).to_owned()).collect();
        Process::start(&Program { command, ..Program::default() }, 100)
    }

    fn ended(process: &mut Process) -> Reason {
        let pidfd = process.pidfd().expect("it can be seen");
        rustix::event::poll(&mut [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)], None).expect("it ends");
        process.reap()
    }

    #[test]
    fn a_process_ends_as_its_exit_or_its_signal_says() {
        let (mut process, mut far, _complaints) = start(&["sh", "-c", "read -r x; exit 3"]).expect("sh starts");
        assert!(process.lives());
        far.hang_up();
        far.advance(true).expect("it is hung up");
        assert_eq!(ended(&mut process), Reason::Exited(3));
        assert!(!process.lives());
        let (mut process, ..) = start(&["sleep", "60"]).expect("it starts");
        process.signal(Signal::TERM);
        assert_eq!(ended(&mut process), Reason::Killed(15));
    }

    #[test]
    fn one_that_is_dropped_is_killed_and_reaped() {
        let (process, ..) = start(&["sleep", "60"]).expect("it starts");
        let id = process.holder().pid();
        drop(process);
        assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
    }

    #[test]
    fn why_it_cannot_start_is_said() {
        let error = start(&["/no/such"]).map(drop).expect_err("there is none");
        assert_eq!(error.to_string(), "cannot start /no/such: No such file or directory (os error 2)");
        let program = Program { command: vec!["true".into()], dir: Some("/no".into()), ..Program::default() };
        let error = Process::start(&program, 100).map(drop).expect_err("no such place");
        assert_eq!(error.to_string(), "cannot start true in /no: No such file or directory (os error 2)");
    }
}
