//! The process behind an open descriptor: known while it lives, and how it ended once it does not.
#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::error::Reason;
use crate::sys::pidfd;

/// A process, held by a pidfd so that it can be told from a later one with the same number.
#[derive(Debug)]
pub struct Holder {
    pid: u32,
    pidfd: Option<OwnedFd>,
}

impl Holder {
    /// Takes hold of the process of thread `tid`. A `tid` of 0 is a process that this one cannot see (another pid
    /// namespace): it is a holder of which nothing is known, and which can only close.
    ///
    /// # Errors
    /// EMFILE and ENFILE when there is no room for the pidfd, ESRCH when the process is gone.
    pub fn of(tid: u32) -> io::Result<Holder> {
        let Some(thread) = i32::try_from(tid).ok().and_then(Pid::from_raw) else {
            return Ok(Holder { pid: 0, pidfd: None });
        };
        // A pidfd is of a whole process and is opened by its first thread's number only (pidfd_open(2)); which of the
        // two we have is not known before it fails.
        match pidfd_open(thread, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Holder { pid: tid, pidfd: Some(pidfd) }),
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {
                let pid = process_of(tid)?;
                let leader = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(rustix::io::Errno::SRCH)?;
                Ok(Holder { pid, pidfd: Some(pidfd_open(leader, PidfdFlags::empty())?) })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The process number; 0 when it cannot be seen from here.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether thread `tid` is of this process, as far as can be told.
    pub fn owns(&self, tid: u32) -> bool {
        self.pid == tid || (self.pid != 0 && process_of(tid).is_ok_and(|pid| pid == self.pid))
    }

    /// Whether the number still belongs to this process, which may be a zombie.
    pub fn is_current(&self) -> bool {
        self.pidfd.as_ref().and_then(|fd| pidfd::info(fd).ok()).is_some_and(|info| info.status.is_none())
    }

    /// How the process ended, or [`Reason::Closed`] while it lives: asked when its descriptor has been released, that
    /// is when it has closed it or is on its way out.
    pub fn ending(&self) -> Reason {
        let Some(pidfd) = &self.pidfd else { return Reason::Closed };
        // While nobody has reaped it, /proc tells of this process and no other. Asked in this order, no moment is
        // left in which neither knows.
        let leaving = leaving_status(self.pid);
        match (pidfd::info(pidfd), leaving) {
            (Ok(pidfd::Info { status: Some(status), .. }), _) => reason_of(status),
            (_, None) => Reason::Closed,
            (Ok(pidfd::Info { uid, .. }), Some(_)) if !sees_exit_codes_of(uid) => Reason::Ended,
            (_, Some(status)) => reason_of(status),
        }
    }
}

/// The process that thread `tid` belongs to (`Tgid` in proc_pid_status(5)).
fn process_of(tid: u32) -> io::Result<u32> {
    let status = fs::read_to_string(format!("/proc/{tid}/status"))?;
    let tgid = status.lines().find_map(|line| line.strip_prefix("Tgid:")).and_then(|value| value.trim().parse().ok());
    tgid.ok_or_else(|| io::Error::from(rustix::io::Errno::SRCH))
}

/// The wait status of a process that is exiting or a zombie; None while it lives. The kernel sets PF_EXITING and the
/// exit code before it closes the descriptors (`do_exit` in kernel/exit.c).
fn leaving_status(pid: u32) -> Option<i32> {
    const PF_EXITING: u64 = 0x4;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Fields are numbered from 1 in proc_pid_stat(5); the second, the name, may hold anything and ends at the last ')'.
    let (_, rest) = stat.rsplit_once(") ")?;
    let field = |number: usize| rest.split_ascii_whitespace().nth(number - 3);
    let flags: u64 = field(9)?.parse().ok()?;
    if flags & PF_EXITING == 0 {
        return None;
    }
    field(52)?.parse().ok()
}

/// Whether /proc shows us exit codes of user `uid`: to others it shows 0 (`do_task_stat` in fs/proc/array.c).
fn sees_exit_codes_of(uid: u32) -> bool {
    let own = rustix::process::geteuid();
    own.is_root() || own.as_raw() == uid
}

/// A wait status (wait(2)) as a reason.
fn reason_of(status: i32) -> Reason {
    match status & 0x7f {
        0 => Reason::Exited((status >> 8) & 0xff),
        signal => Reason::Killed(signal),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn ended(script: &str) -> Reason {
        let mut child = Command::new("sh")
            .args(["-c", &format!("read _; {script}")])
            .stdin(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let holder = Holder::of(child.id()).expect("a child has a pidfd");
        assert_eq!(holder.ending(), Reason::Closed, "while it lives");
        assert!(holder.is_current());
        drop(child.stdin.take());
        child.wait().expect("sh ends");
        assert!(!holder.is_current());
        holder.ending()
    }

    #[test]
    fn a_process_ends_with_its_exit_code_or_its_signal() {
        assert_eq!(ended("exit 0"), Reason::Exited(0));
        assert_eq!(ended("exit 3"), Reason::Exited(3));
        assert_eq!(ended("kill -9 $$"), Reason::Killed(9));
        assert_eq!(ended("kill -15 $$"), Reason::Killed(15));
    }

    #[test]
    fn a_thread_is_known_by_its_process() {
        let tid = std::thread::spawn(|| {
            let tid = rustix::thread::gettid().as_raw_nonzero().get() as u32;
            let holder = Holder::of(tid).expect("an own thread");
            assert!(holder.owns(tid));
            (tid, holder.pid())
        });
        let (tid, pid) = tid.join().expect("the thread ends");
        assert_ne!(tid, pid);
        assert_eq!(pid, std::process::id());
    }

    #[test]
    fn an_unseen_process_can_only_close() {
        let holder = Holder::of(0).expect("0 is no error");
        assert_eq!((holder.pid(), holder.ending()), (0, Reason::Closed));
    }
}
