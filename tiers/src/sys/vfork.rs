//! The start of a program without a copy of this process: the child borrows our memory until it is another program.
//!
//! A fork copies the page tables of all that this process has mapped, only for exec to drop them. With CLONE_VM and
//! CLONE_VFORK (clone(2), vfork(2)) there is one memory, and the thread that starts the program stands still until the
//! child has left it: by exec, or by its end. posix_spawn(3) does the same, and cannot tie the program to us.

use std::ffi::{CString, c_char, c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{Pid, WaitId, WaitIdOptions, chdir, getpid, setpgid, waitid};

use crate::sys::descriptors::close_on_exec_from;
use crate::sys::spawn::{FIRST, tie};

/// Units of 16 bytes, to which a stack is aligned: 32 KiB, of which the child touches a page or two.
const STACK: usize = 2048;

/// Bytes of a set of signals, and how many signals there are (`_NSIG` in the kernel).
const SET: usize = size_of::<u64>();
const SIGNALS: c_int = 64;

/// What to start.
#[derive(Debug)]
pub struct Image {
    /// Where the program may be: the first that is there is started.
    pub paths: Vec<CString>,
    /// Its name, and its arguments.
    pub args: Vec<CString>,
    /// `KEY=value`.
    pub env: Vec<CString>,
    /// The directory it starts in; without one, ours.
    pub dir: Option<CString>,
}

/// Starts a program tied to this thread, as [`confine`](crate::sys::spawn::confine) says, with these as its standard
/// input, output and error. Gives its number and its pidfd; it is the caller's to reap.
///
/// # Errors
/// Those of clone(2), chdir(2) and execve(2); EMFILE; what [`confine`](crate::sys::spawn::confine) names.
pub fn start(image: &Image, streams: [BorrowedFd<'_>; 3]) -> io::Result<(Pid, OwnedFd)> {
    // In the places of the standard streams, one might be overwritten before it is put in its own.
    let mut moved = Vec::new();
    for stream in streams.iter().filter(|stream| stream.as_raw_fd() < FIRST) {
        moved.push((stream.as_raw_fd(), fcntl_dupfd_cloexec(stream, FIRST)?));
    }
    let place = |stream: BorrowedFd<'_>| {
        let moved = moved.iter().find(|(from, _)| *from == stream.as_raw_fd());
        moved.map_or(stream.as_raw_fd(), |(_, to)| to.as_raw_fd())
    };
    let list = |strings: &[CString]| strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect();
    let args: Vec<_> = list(&image.args);
    let mut birth = Birth {
        image,
        script: [c"/bin/sh".as_ptr(), ptr::null()].into_iter().chain(args.iter().skip(1).copied()).collect(),
        args,
        env: list(&image.env),
        streams: streams.map(place),
        parent: getpid(),
        failure: None,
    };
    let (pid, pidfd) = birth.give()?;
    match birth.failure.take() {
        None => Ok((pid, pidfd)),
        Some(error) => {
            // Fails where somebody else in this process has reaped it, or reaps all (SIGCHLD ignored).
            let _ = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED));
            Err(error)
        }
    }
}

/// All that the child needs, made before: it must not allocate, as the heap is ours and it may be killed at any step.
struct Birth<'a> {
    image: &'a Image,
    /// Lists as execve(2) wants them, which end with null.
    args: Vec<*const c_char>,
    env: Vec<*const c_char>,
    /// The arguments with which the shell runs the file that is to be put second.
    script: Vec<*const c_char>,
    /// What becomes its standard streams: numbers that are none of theirs.
    streams: [RawFd; 3],
    parent: Pid,
    /// Why the child did not become the program, if so. Written by the child.
    failure: Option<io::Error>,
}

impl Birth<'_> {
    /// Returns once the child is the program, or has failed, or was killed.
    fn give(&mut self) -> io::Result<(Pid, OwnedFd)> {
        let mut stack = Box::<[u128]>::new_uninit_slice(STACK);
        let top: *mut MaybeUninit<u128> = stack.as_mut_ptr_range().end;
        let mut pidfd: c_int = -1;
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
        let itself: *mut Self = self;
        // No handler of ours may run in the child: it would find our memory, and another process around it.
        let mask = set_mask(u64::MAX);
        // SAFETY: `child` gets the only pointer to `self` that is used until this call returns, because this thread is
        // suspended until the child has left our memory (CLONE_VFORK). For as long as that the stack, which is aligned
        // and nobody else's, and the lists stay where they are. The kernel writes one int to `pidfd` (CLONE_PIDFD).
        let pid = unsafe { libc::clone(child, top.cast(), flags, itself.cast::<c_void>(), &raw mut pidfd) };
        let failed = io::Error::last_os_error();
        set_mask(mask);
        drop(stack);
        let pid = Pid::from_raw(pid).filter(|_| pid > 0).ok_or(failed)?;
        // SAFETY: the kernel has just opened it for this call, and nobody else knows of it.
        Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
    }

    /// In the child: becomes the program. Returns only if it cannot.
    fn exec(&mut self) -> io::Error {
        if let Err(error) = self.prepare() {
            return error;
        }
        // As execvp(3): a place where it is not, or not for us, is not the last one.
        let mut denied = None;
        for path in &self.image.paths {
            // SAFETY: a string, and two lists of strings that end with null; all of them outlive the call.
            unsafe { libc::execve(path.as_ptr(), self.args.as_ptr(), self.env.as_ptr()) };
            let mut error = io::Error::last_os_error();
            if let (Some(libc::ENOEXEC), Some(file)) = (error.raw_os_error(), self.script.get_mut(1)) {
                *file = path.as_ptr();
                // SAFETY: as above.
                unsafe { libc::execve(c"/bin/sh".as_ptr(), self.script.as_ptr(), self.env.as_ptr()) };
                error = io::Error::last_os_error();
            }
            match error.raw_os_error() {
                Some(libc::EACCES) => denied = Some(error),
                Some(libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT) => {}
                _ => return error,
            }
        }
        denied.unwrap_or(Errno::NOENT.into())
    }

    fn prepare(&self) -> io::Result<()> {
        // First, as what follows may wait for a server of files.
        tie(self.parent)?;
        for (stream, number) in self.streams.into_iter().zip(0..) {
            // SAFETY: two integers. The table of descriptors is the child's own (no CLONE_FILES), so that nobody's is
            // closed.
            if unsafe { libc::dup2(stream, number) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        close_on_exec_from(FIRST.unsigned_abs())?;
        setpgid(None, None)?;
        if let Some(dir) = &self.image.dir {
            chdir(dir.as_c_str())?;
        }
        (1..=SIGNALS).for_each(reset);
        set_mask(0);
        Ok(())
    }
}

/// Where the child begins. Its status, if it ends here, is that of a shell which finds no program.
extern "C" fn child(birth: *mut c_void) -> c_int {
    // SAFETY: it is the `Birth` that `give` passed to clone, and this is the only reference until `give` goes on. What
    // runs from here on makes system calls and touches what is in there: no allocation, no lock, no panic. The error is
    // a number (`io::Error` of the system), which is as good in the parent's hands, the memory being the same.
    let birth = unsafe { &mut *birth.cast::<Birth<'_>>() };
    birth.failure = Some(birth.exec());
    127
}

/// Blocks exactly these signals in this thread; gives those that were.
fn set_mask(mask: u64) -> u64 {
    let mut old = 0;
    // Not pthread_sigmask(3), which leaves out what the C library has reserved for itself.
    // SAFETY: the kernel reads one set of `SET` bytes and writes another.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, &raw mut old, SET) };
    old
}

/// Back to what a program begins with: no handler, for it would run in our memory, and SIGPIPE not ignored, which is
/// Rust's doing.
fn reset(signal: c_int) {
    /// `struct sigaction` of the kernel: the handler, then what differs between processors, which is never longer.
    type Action = [usize; 8];
    let (default, mut old): (Action, Action) = ([libc::SIG_DFL; 8], [libc::SIG_DFL; 8]);
    let (none, old_place) = (ptr::null::<Action>(), &raw mut old);
    // SAFETY: the kernel writes one action, which fits.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, none, old_place, SET) };
    if signal == libc::SIGPIPE || ![libc::SIG_DFL, libc::SIG_IGN].contains(&old[0]) {
        // SAFETY: the kernel reads one action, all zero: the default, without flags. The handlers are the child's own
        // (no CLONE_SIGHAND): ours stay. SIGKILL and SIGSTOP, which it refuses, have none.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, ptr::null_mut::<Action>(), SET) };
    }
}
