//! The process behind an open descriptor: known while it lives, and how it ended once it does not.
#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Resource, WaitId, WaitIdOptions, getrlimit, pidfd_open, waitid};

use crate::error::Reason;
use crate::sys::pidfd;
use crate::sys::pidfd::exit_status;
use crate::sys::socket;

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
            Ok(pidfd) => Holder::holding(tid, pidfd),
            Err(Errno::INVAL | Errno::NOENT) => {
                let pid = process_of(tid)?;
                let leader = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
                Holder::holding(pid, pidfd_open(leader, PidfdFlags::empty())?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes hold of the process behind `pidfd`, which may come from anywhere: from whom, and whether it is of the
    /// process that it should be, is for the caller to know. Of a process that has been reaped, or that cannot be seen
    /// from here (another pid namespace), the number is 0.
    ///
    /// # Errors
    /// EBADF for what is not a pidfd, ENOTTY on a kernel before 6.13, EMFILE when there is no room for the pidfd.
    pub fn from_pidfd(pidfd: OwnedFd) -> io::Result<Holder> {
        if !is_pidfd(&pidfd) {
            return Err(Errno::BADF.into());
        }
        Holder::holding(pidfd::process(&pidfd)?, pidfd)
    }

    /// Takes hold of the process that made the connection at the other end of this Unix socket, see
    /// [`Holder::from_pidfd`].
    ///
    /// # Errors
    /// ENOTSUP and ENOPROTOOPT where there is no such process, ESRCH where it has been reaped, EMFILE.
    pub fn of_socket(socket: impl AsFd) -> io::Result<Holder> {
        Holder::from_pidfd(socket::peer_pidfd(socket)?)
    }

    /// A process of another machine: nothing is known of it but the number it has there, and it can only close.
    pub fn elsewhere(pid: u32) -> Holder {
        Holder { pid, pidfd: None }
    }

    /// Takes hold of this process.
    ///
    /// # Errors
    /// EMFILE and ENFILE when there is no room for the pidfd.
    pub fn me() -> io::Result<Holder> {
        Holder::of(std::process::id())
    }

    /// Takes hold of process `pid`, of which this is the pidfd. Fails with EMFILE.
    pub(crate) fn holding(pid: u32, pidfd: OwnedFd) -> io::Result<Holder> {
        // Without descriptors to spare we could not find out how it ends.
        if has_headroom(&pidfd) { Ok(Holder { pid, pidfd: Some(pidfd) }) } else { Err(Errno::MFILE.into()) }
    }

    /// The process number; 0 when it cannot be seen from here.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The pidfd, which is readable (poll(2)) from when the process has ended. None when nothing is known of it.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// Whether thread `tid` is of this process, as far as can be told.
    pub fn owns(&self, tid: u32) -> bool {
        self.pid == tid || (self.pid != 0 && process_of(tid).is_ok_and(|pid| pid == self.pid))
    }

    /// Whether the number still belongs to this process, which may be a zombie.
    pub fn is_current(&self) -> bool {
        self.pidfd.as_ref().is_some_and(|fd| matches!(exit_status(fd), Ok(None)))
    }

    /// Its pidfd alone; None for a process that cannot be seen.
    pub(crate) fn into_pidfd(self) -> Option<OwnedFd> {
        self.pidfd
    }

    /// Whether the process is known to have ended; it may be a zombie.
    pub fn has_ended(&self) -> bool {
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        self.pidfd.as_ref().is_some_and(|pidfd| {
            let mut polled = [PollFd::new(pidfd, PollFlags::IN)];
            poll(&mut polled, Some(&zero)).is_ok_and(|ready| ready > 0)
        })
    }

    /// How the process ended, or [`Reason::Closed`] while it lives: asked when its descriptor has been released, that
    /// is when it has closed it or is on its way out. [`Reason::Ended`] when we may not see or cannot find out.
    pub fn ending(&self) -> Reason {
        let Some(pidfd) = &self.pidfd else { return Reason::Closed };
        // While nobody has reaped it, /proc tells of this process and no other. Asked in this order, no moment is
        // left in which neither knows.
        let leaving = leaving_status(self.pid);
        match (exit_status(pidfd), leaving) {
            (Ok(Some(status)), _) => reason_of(status),
            // Not to be seen from here, also on its way out: no more is known than whether it has ended.
            _ if self.pid == 0 && !has_ended(pidfd) => Reason::Closed,
            (_, Ok(None)) => Reason::Closed,
            (_, Ok(Some(0))) if is_hidden(self.pid) => Reason::Ended,
            (_, Ok(Some(status))) => reason_of(status),
            (_, Err(_)) => Reason::Ended,
        }
    }
}

/// Whether there is room for another pidfd and, beside it, for what the server must open to go on and to end.
fn has_headroom(pidfd: &OwnedFd) -> bool {
    const HEADROOM: u64 = 16;
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    u64::try_from(pidfd.as_raw_fd()).is_ok_and(|number| number + HEADROOM < limit)
}

/// Whether this is a pidfd, asked of the kernel alone: any other call might be answered, or never be, by the server of
/// a file (FUSE) that somebody sent in place of one. waitid(2) looks for a pidfd before it looks for a child.
fn is_pidfd(descriptor: &OwnedFd) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    matches!(waitid(WaitId::PidFd(descriptor.as_fd()), options), Ok(_) | Err(Errno::CHILD))
}

/// Whether the process has ended, reaped or not: then its pidfd is readable (pidfd_open(2)).
fn has_ended(pidfd: &OwnedFd) -> bool {
    poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// The process that thread `tid` belongs to (`Tgid` in proc_pid_status(5)).
fn process_of(tid: u32) -> io::Result<u32> {
    let status = fs::read_to_string(format!("/proc/{tid}/status"))?;
    let tgid = status.lines().find_map(|line| line.strip_prefix("Tgid:")).and_then(|value| value.trim().parse().ok());
    tgid.ok_or_else(|| io::Error::from(Errno::SRCH))
}

/// The wait status of a process that is exiting or a zombie; None while it lives. The kernel sets PF_EXITING and the
/// exit code before it closes the descriptors (`do_exit` in kernel/exit.c).
fn leaving_status(pid: u32) -> io::Result<Option<i32>> {
    const PF_EXITING: u64 = 0x4;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = || -> Option<(u64, i32)> {
        // Fields are numbered from 1 in proc_pid_stat(5); the second, the name, may hold anything and ends at the last
        // ')'.
        let (_, rest) = stat.rsplit_once(") ")?;
        let field = |number: usize| rest.split_ascii_whitespace().nth(number - 3);
        Some((field(9)?.parse().ok()?, field(52)?.parse().ok()?))
    };
    let (flags, status) = fields().ok_or(io::ErrorKind::InvalidData)?;
    Ok((flags & PF_EXITING != 0).then_some(status))
}

/// Whether /proc shows us 0 in place of the exit code of this process: it does to whom may not ptrace it
/// (`do_task_stat` in fs/proc/array.c), and the same rule guards its links.
fn is_hidden(pid: u32) -> bool {
    fs::read_link(format!("/proc/{pid}/cwd")).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
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
    use std::fs::File;
    use std::os::unix::net::UnixStream;
    use std::process::{Child, Command, Stdio};

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

    fn pidfd_of(child: &Child) -> OwnedFd {
        let pid = Pid::from_child(child);
        pidfd_open(pid, PidfdFlags::empty()).expect("a child has a pidfd")
    }

    fn waiting() -> Child {
        Command::new("sh").args(["-c", "read _; exit 3"]).stdin(Stdio::piped()).spawn().expect("sh starts")
    }

    #[test]
    fn a_pidfd_names_its_process() {
        let mut child = waiting();
        let holder = Holder::from_pidfd(pidfd_of(&child)).expect("a process");
        assert_eq!(holder.pid(), child.id());
        assert!(holder.is_current() && holder.owns(child.id()));
        assert_eq!(holder.ending(), Reason::Closed, "while it lives");
        let pidfd = holder.pidfd.as_ref().expect("a pidfd");
        assert!(!has_ended(pidfd));
        drop(child.stdin.take());
        poll(&mut [PollFd::new(pidfd, PollFlags::IN)], None).expect("the pidfd tells the end");
        assert_eq!(holder.ending(), Reason::Exited(3), "also of a zombie");
        child.wait().expect("sh ends");
        assert_eq!((holder.pid(), holder.ending()), (child.id(), Reason::Exited(3)));
    }

    #[test]
    fn a_pidfd_of_a_reaped_process_still_tells_how_it_ended() {
        let mut child = waiting();
        let pidfd = pidfd_of(&child);
        drop(child.stdin.take());
        child.wait().expect("sh ends");
        let holder = Holder::from_pidfd(pidfd).expect("a process that was");
        assert_eq!((holder.pid(), holder.ending()), (0, Reason::Exited(3)));
        assert!(!holder.is_current());
    }

    #[test]
    fn what_is_not_a_pidfd_is_refused() {
        let (reader, _writer) = io::pipe().expect("a pipe");
        let (socket, _) = UnixStream::pair().expect("a pair");
        for other in [reader.into(), socket.into(), File::open("/proc/self").expect("a directory").into()] {
            let error = Holder::from_pidfd(other).expect_err("refused");
            assert_eq!(error.raw_os_error(), Some(Errno::BADF.raw_os_error()));
        }
    }

    #[test]
    fn this_process_is_its_own_holder() {
        let me = Holder::me().expect("a pidfd");
        assert_eq!((me.pid(), me.ending()), (std::process::id(), Reason::Closed));
        let again = me.pidfd().expect("a pidfd").try_clone_to_owned().expect("a copy");
        assert_eq!(Holder::from_pidfd(again).expect("a process").pid(), me.pid());
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

    #[test]
    fn a_process_elsewhere_is_a_number() {
        let holder = Holder::elsewhere(std::process::id());
        assert_eq!((holder.pid(), holder.ending()), (std::process::id(), Reason::Closed));
        assert!(!holder.is_current() && !holder.has_ended() && holder.pidfd().is_none());
    }

    #[test]
    fn a_socket_knows_who_made_its_connection() {
        let (socket, _other) = UnixStream::pair().expect("a pair");
        assert_eq!(Holder::of_socket(&socket).expect("a process").pid(), std::process::id());
        Holder::of_socket(std::net::TcpListener::bind("127.0.0.1:0").expect("a port")).expect_err("no process");
    }
}
