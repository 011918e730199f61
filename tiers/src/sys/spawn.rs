//! What a program that is started inherits: its standard streams and one descriptor more. And what it is tied to.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{Errno, FdFlags, fcntl_dupfd_cloexec, fcntl_getfd, fcntl_setfd};
use rustix::net::sockopt::socket_cookie;
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

use crate::sys::descriptors::close_on_exec_from;

/// The first number that is no standard stream's.
pub const FIRST: RawFd = 3;

/// Lets the program that `command` starts inherit `kept`, under the number that is returned, and of everything else
/// only its standard streams: whatever was left open without close-on-exec, here or by whoever started us, stays here.
///
/// The command owns the descriptor from now on and closes it when it is dropped: until then it is open here as well, so
/// that the command is to be dropped after the start if the end of the program shall be seen at the other end. A start
/// fails with ENOSYS or EPERM where a sandbox does not know close_range(2).
///
/// # Errors
/// EMFILE when `kept` had to be moved from among the standard streams' numbers and there is no other.
pub fn inherit(command: &mut Command, kept: OwnedFd) -> io::Result<RawFd> {
    // The child puts its standard streams in those places, over whatever is there.
    let kept = if kept.as_raw_fd() < FIRST { fcntl_dupfd_cloexec(&kept, FIRST)? } else { kept };
    let number = kept.as_raw_fd();
    let before_exec = move || {
        close_on_exec_from(FIRST.unsigned_abs())?;
        Ok(fcntl_setfd(&kept, FdFlags::empty())?)
    };
    // SAFETY: between fork and exec only what is async-signal-safe may be done (signal-safety(7)): these are two system
    // calls on integers and, if one fails, an error made of its number, without allocation and without a lock. The
    // closure owns the descriptor, so that it is open in every child. It closes none: others' descriptors remain valid.
    unsafe { command.pre_exec(before_exec) };
    Ok(number)
}

/// Ties the program that `command` will start to the thread that starts it, and lets it inherit nothing but its
/// standard streams.
///
/// - The kernel kills it (SIGKILL) when that thread ends, however it does: with its process, by kill -9, or alone. So the
///   thread must live as long as the program shall. Only the program itself is killed, not what it has started; and a
///   set-user-ID program is not (PR_SET_PDEATHSIG in prctl(2)).
/// - It leads a process group of its own, so that what it has started can be signalled with it (kill(2)).
/// - Of this process's descriptors it gets only its standard streams, whatever flags the others have. What
///   [`spawn`](crate::process::spawn) adds it still gets.
///
/// A start fails with ENOSYS or EPERM where a sandbox does not know close_range(2) or prctl(2), and with ESRCH where
/// this process has died meanwhile, which then nobody sees.
///
/// ```
/// use std::process::{Command, Stdio};
///
/// let mut list = Command::new("ls");
/// list.arg("/proc/self/fd");
/// fs9_tiers::process::confine(&mut list);
/// let listed = list.stdin(Stdio::null()).output()?;
/// assert_eq!(listed.stdout, b"0\n1\n2\n3\n"); // the last is the listing's own
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn confine(command: &mut Command) {
    command.process_group(0);
    let parent = getpid();
    let before_exec = move || {
        tie(parent)?;
        close_on_exec_from(FIRST.unsigned_abs())
    };
    // SAFETY: between fork and exec only what is async-signal-safe may be done (signal-safety(7)): these are three
    // system calls on integers and, if one fails, an error made of its number, without allocation and without a lock.
    // No descriptor is closed: others' remain valid.
    unsafe { command.pre_exec(before_exec) };
}

/// In a child: has the kernel kill it when the thread of `parent` that started it ends. Makes two system calls and
/// nothing else, as is allowed between fork and exec.
///
/// # Errors
/// ESRCH when that has happened already: the death of a parent that had died before is told to nobody.
pub fn tie(parent: Pid) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() == Some(parent) { Ok(()) } else { Err(Errno::SRCH.into()) }
}

/// Takes the descriptor `number` that this program was started with, which must be the socket that has this cookie
/// (SO_COOKIE in socket(7)). Once: None ever after, and for what is no such socket.
pub fn adopt(number: RawFd, cookie: u64) -> Option<OwnedFd> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if number < FIRST {
        return None;
    }
    // SAFETY: the borrow ends before this function does, and nobody closes the descriptor meanwhile: if it is the
    // socket with that cookie, which the kernel gives to no other, it came with the program and only this function
    // knows of it; if not, the number is only asked what it is.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    // What this program opened itself is closed on exec, as a rule; what it was started with is not.
    if fcntl_getfd(borrowed) != Ok(FdFlags::empty()) || socket_cookie(borrowed) != Ok(cookie) {
        return None;
    }
    if TAKEN.swap(true, Ordering::Relaxed) {
        return None;
    }
    // Before it can get into a program that we start.
    fcntl_setfd(borrowed, FdFlags::CLOEXEC).ok()?;
    // SAFETY: it is that socket, and `TAKEN` has been set by this call: there is no other owner in this process.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{PipeReader, Read, pipe};
    use std::os::unix::process::ExitStatusExt;
    use std::process::Stdio;

    use super::*;

    /// Prints the numbers of its own descriptors.
    const LIST: &str = "n=0; while [ $n -lt 512 ]; do [ -e /proc/$$/fd/$n ] && echo $n; n=$((n + 1)); done";

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null()).stderr(Stdio::inherit());
        command
    }

    #[test]
    fn a_program_inherits_its_standard_streams_and_what_is_kept() {
        // Without close-on-exec, as a library or a careless parent may leave them.
        let file = File::open("/dev/null").expect("a file");
        let loose: Vec<OwnedFd> = (0..3).map(|_| rustix::io::dup(&file).expect("a copy")).collect();
        let (_reader, writer) = pipe().expect("a pipe");
        let mut command = shell(LIST);
        let number = inherit(&mut command, writer.into()).expect("kept");
        let listed = String::from_utf8(command.output().expect("sh runs").stdout).expect("numbers");
        assert_eq!(listed.lines().collect::<Vec<_>>(), ["0", "1", "2", &number.to_string()]);
        for descriptor in &loose {
            fcntl_getfd(descriptor).expect("open here as before");
        }
    }

    #[test]
    fn a_confined_program_inherits_its_standard_streams_and_leads_its_group() {
        let file = File::open("/dev/null").expect("a file");
        let _loose: Vec<OwnedFd> = (0..3).map(|_| rustix::io::dup(&file).expect("a copy")).collect();
        let (_reader, writer) = pipe().expect("a pipe");
        let mut command = shell(&format!("{LIST}; cut -d' ' -f5 /proc/$$/stat; echo $$"));
        confine(&mut command);
        let number = inherit(&mut command, writer.into()).expect("kept");
        let said = String::from_utf8(command.output().expect("sh runs").stdout).expect("numbers");
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines[..4], ["0", "1", "2", &number.to_string()], "and what is kept besides");
        assert_eq!(lines[4], lines[5], "the group is its own");
    }

    #[test]
    fn a_confined_program_ends_with_the_thread_that_started_it() {
        let start = || {
            let mut command = shell("sleep 60");
            confine(&mut command);
            command.spawn().expect("sh starts")
        };
        let mut child = std::thread::spawn(start).join().expect("the thread ends");
        assert_eq!(child.wait().expect("it ends").signal(), Some(9));
    }

    #[test]
    fn what_is_kept_is_of_use_and_goes_with_the_command() {
        let (mut reader, writer): (PipeReader, _) = pipe().expect("a pipe");
        let mut command = shell("echo hello >/proc/$$/fd/$KEPT");
        let number = inherit(&mut command, writer.into()).expect("kept");
        assert!(command.env("KEPT", number.to_string()).status().expect("sh runs").success());
        drop(command);
        let mut told = String::new();
        reader.read_to_string(&mut told).expect("the end, as nobody else has the writer");
        assert_eq!(told, "hello\n");
    }
}
