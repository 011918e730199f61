//! One io_uring(7) to sleep in: until a word changes, a descriptor is ready, or time has passed.
//!
//! All that the kernel is asked it has answered before [`Ring::sleep`] returns. Between two sleeps nothing is under way
//! in a ring, so that what was watched may go, and the ring may move to another thread, be dropped, or be forgotten. A
//! sleep that cannot have everything answered closes its ring; the next one makes another.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use io_uring::types::{CancelBuilder, Fd, FutexWaitV, SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, opcode, squeue};
use rustix::event::PollFlags;
use rustix::io::Errno;

use crate::futex::wait_flags;
use crate::slot::Watched;

/// A descriptor that is watched, and whether it was found ready.
pub struct Polled<'a> {
    pub descriptor: BorrowedFd<'a>,
    pub events: PollFlags,
    /// Whether to sleep on it at all.
    pub is_awaited: bool,
    pub is_ready: bool,
}

/// A place to sleep.
pub struct Ring {
    /// With nothing under way in it. None after a sleep that failed.
    idle: Option<IoUring>,
}

/// Room for one cancellation, all the words, and a few dozen descriptors.
const SMALLEST: usize = 64;
/// The largest ring (IORING_MAX_ENTRIES in io_uring/io_uring.c).
const LARGEST: usize = 32768;
/// The longest list of words in one request (FUTEX_WAITV_MAX in linux/futex.h).
const WORDS: usize = 128;

/// The longest sleep: the kernel adds to it without looking whether the sum can be told (io_cqring_wait).
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Whose answer it is, where it is not that of the descriptor of this number.
const A_WORD: u64 = u64::MAX;
const A_CANCELLATION: u64 = u64::MAX - 1;

impl Ring {
    /// # Errors
    /// Those of io_uring_setup(2), with what to do where io_uring is refused.
    pub fn new() -> io::Result<Ring> {
        Ok(Ring { idle: Some(make(SMALLEST)?) })
    }

    /// Sleeps while every word has the value it was seen with and no descriptor is ready, until `timeout` has passed.
    /// May return early for no reason. Says of each descriptor whether it was found ready.
    ///
    /// # Errors
    /// ENOMEM, mostly; [`io::ErrorKind::InvalidInput`] for more descriptors than a ring can have. Then it may be that
    /// nobody slept, and nothing is known of the descriptors.
    pub fn sleep(
        &mut self,
        words: &[Watched<'_>],
        polled: &mut [Polled<'_>],
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        // Declared before the ring, and so dropped after it.
        let words: Vec<FutexWaitV> = words.iter().map(word).collect();
        let mut open = words.len().div_ceil(WORDS) + polled.iter().filter(|polled| polled.is_awaited).count();
        let mut ring = match self.idle.take() {
            Some(ring) if open <= ring.params().sq_entries() as usize => ring,
            _ => make(open)?,
        };
        let awaited = polled.iter().enumerate().filter(|(_, polled)| polled.is_awaited);
        let requests = words.chunks(WORDS).map(word_request).chain(awaited.map(poll_request));
        for request in requests {
            // SAFETY: what the request points to must be valid for as long as the kernel may use it. Of a poll that is
            // nothing: it names a descriptor, which is borrowed. Of words it is the list, and through it the words. The
            // kernel reads both while it takes the request up, in io_uring_enter(2), and neither later: it keeps a copy
            // of the list (io_futexv_prep) and of each word the key by which wakers find it (get_futex_key), an address
            // of this process or a page of a file, which it never follows back to the memory. It writes to none.
            //
            // The list and the words live until this function ends. A request that has not been taken up by then will
            // never be: the ring is put back only when it is empty, and is closed by being dropped otherwise, whether
            // by an early return or in a panic.
            unsafe { ring.submission().push(&request) }.map_err(|_| Errno::NOSPC)?;
        }
        enter(&ring, timeout)?;
        if !ring.submission().is_empty() {
            return Err(Errno::NOMEM.into());
        }
        polled.iter_mut().for_each(|polled| polled.is_ready = false);
        let mut outcome = reap(&mut ring, &mut open, polled);
        if open > 0 {
            // Without ALL it stops at the first request that it finds but that is being answered just then.
            let cancel = opcode::AsyncCancel2::new(CancelBuilder::any().all()).build().user_data(A_CANCELLATION);
            // SAFETY: the request points to nothing.
            unsafe { ring.submission().push(&cancel) }.map_err(|_| Errno::NOSPC)?;
            open += 1;
        }
        while open > 0 {
            uninterrupted(ring.submit_and_wait(open))?;
            outcome = outcome.and(reap(&mut ring, &mut open, polled));
        }
        self.idle = Some(ring);
        Ok(outcome?)
    }
}

/// Hands over what was asked, and waits for the first answer.
fn enter(ring: &IoUring, timeout: Option<Duration>) -> io::Result<()> {
    let submitter = ring.submitter();
    match timeout {
        None => uninterrupted(submitter.submit_and_wait(1)),
        Some(timeout) => {
            let time = Timespec::from(timeout.min(A_DAY));
            uninterrupted(submitter.submit_with_args(1, &SubmitArgs::new().timespec(&time)))
        }
    }
}

/// That the time is over, or that a signal came, the caller sees for itself.
fn uninterrupted(entered: io::Result<usize>) -> io::Result<()> {
    match entered {
        Ok(_) => Ok(()),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::TIME | Errno::INTR) => Ok(()),
            _ => Err(error),
        },
    }
}

/// Takes the answers that are there, and returns the first that is a failure.
fn reap(ring: &mut IoUring, open: &mut usize, polled: &mut [Polled<'_>]) -> Result<(), Errno> {
    let mut outcome = Ok(());
    for answer in ring.completion() {
        *open -= 1;
        match (answer.user_data(), answer.result()) {
            (A_CANCELLATION | A_WORD, 0..) => {}
            (descriptor, 0..) => {
                let place = usize::try_from(descriptor).ok().and_then(|place| polled.get_mut(place));
                place.into_iter().for_each(|polled| polled.is_ready = true);
            }
            (A_CANCELLATION, _) => {}
            (_, error) => match Errno::from_raw_os_error(-error) {
                // A word that had changed already, and what was cancelled.
                Errno::AGAIN | Errno::CANCELED => {}
                error => outcome = outcome.and(Err(error)),
            },
        }
    }
    outcome
}

fn word(watched: &Watched<'_>) -> FutexWaitV {
    FutexWaitV::new()
        .val(watched.seen.into())
        .uaddr(watched.word.as_ptr().expose_provenance() as u64)
        .flags(wait_flags(watched.scope).bits())
}

fn word_request(words: &[FutexWaitV]) -> squeue::Entry {
    // At most WORDS.
    opcode::FutexWaitV::new(words.as_ptr(), words.len() as u32).build().user_data(A_WORD)
}

fn poll_request((number, polled): (usize, &Polled<'_>)) -> squeue::Entry {
    let descriptor = Fd(polled.descriptor.as_raw_fd());
    opcode::PollAdd::new(descriptor, polled.events.bits().into()).build().user_data(number as u64)
}

/// A ring with room for so many requests. It answers twice as many before anything has to be put aside.
fn make(requests: usize) -> io::Result<IoUring> {
    if requests > LARGEST {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("one Select can wait for about {LARGEST} descriptors, not for {requests}"),
        ));
    }
    // At most LARGEST.
    let entries = requests.max(SMALLEST) as u32;
    // One request that fails does not stop the others; and nobody is interrupted to be given an answer.
    let ring = IoUring::builder().setup_submit_all().setup_coop_taskrun().build(entries).map_err(explain)?;
    let mut known = Probe::new();
    ring.submitter().register_probe(&mut known).map_err(explain)?;
    if known.is_supported(opcode::FutexWaitV::CODE) { Ok(ring) } else { Err(explain(Errno::INVAL.into())) }
}

/// Says what to do about it.
fn explain(error: io::Error) -> io::Error {
    let advice = match Errno::from_io_error(&error) {
        Some(Errno::PERM | Errno::ACCESS) => {
            "io_uring, in which a Select sleeps, is forbidden here: set the sysctl kernel.io_uring_disabled to 0, or, in a \
             container, allow io_uring_setup, io_uring_enter and io_uring_register in its seccomp profile; without it, \
             have one thread wait for each receiver"
        }
        Some(Errno::NOSYS) => {
            "io_uring, in which a Select sleeps, is missing here: the kernel was built without it (CONFIG_IO_URING), or a \
             container's seccomp profile hides io_uring_setup, io_uring_enter and io_uring_register; without it, have one \
             thread wait for each receiver"
        }
        Some(Errno::INVAL) => {
            "a Select sleeps on words in io_uring (IORING_OP_FUTEX_WAITV), which needs Linux 6.7 or later; on an older \
             kernel have one thread wait for each receiver"
        }
        _ => return error,
    };
    io::Error::new(error.kind(), advice)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::sync::atomic::AtomicU32;

    use super::*;
    use crate::slot::Scope;

    fn pipe() -> (io::PipeReader, io::PipeWriter) {
        io::pipe().expect("a pipe")
    }

    fn polled(descriptor: &impl AsFd) -> Polled<'_> {
        Polled { descriptor: descriptor.as_fd(), events: PollFlags::IN, is_awaited: true, is_ready: true }
    }

    #[test]
    fn nothing_is_under_way_after_a_sleep() {
        let mut ring = Ring::new().expect("a ring");
        let (quiet, _quiet) = pipe();
        let (ended, writer) = pipe();
        drop(writer);
        let words: [AtomicU32; 300] = std::array::from_fn(|_| AtomicU32::new(7));
        let watched: Vec<_> = words.iter().map(|word| Watched { word, seen: 7, scope: Scope::Process }).collect();
        for _ in 0..100 {
            let mut list = [polled(&quiet), polled(&ended), polled(&quiet)];
            ring.sleep(&watched, &mut list, None).expect("a sleep");
            assert_eq!(list.map(|polled| polled.is_ready), [false, true, false]);
            let idle = ring.idle.as_mut().expect("put back");
            assert!(idle.submission().is_empty());
            assert_eq!(idle.completion().count(), 0);
        }
        // Nor is anybody found on the words.
        let woken = rustix::thread::futex::wake(&words[0], rustix::thread::futex::Flags::PRIVATE, 1);
        assert_eq!(woken, Ok(0));
    }

    #[test]
    fn time_passes_and_a_changed_word_is_no_sleep() {
        let mut ring = Ring::new().expect("a ring");
        let word = AtomicU32::new(1);
        for scope in [Scope::Process, Scope::Machine] {
            ring.sleep(&[Watched { word: &word, seen: 0, scope }], &mut [], None).expect("no sleep");
            ring.sleep(&[Watched { word: &word, seen: 1, scope }], &mut [], Some(Duration::ZERO)).expect("a short one");
        }
        ring.sleep(&[], &mut [], Some(Duration::from_millis(1))).expect("a sleep for nothing");
    }

    #[test]
    fn a_ring_grows_with_the_descriptors() {
        let mut ring = Ring::new().expect("a ring");
        let (reader, writer) = pipe();
        let mut list: Vec<_> = (0..10 * SMALLEST).map(|_| polled(&reader)).collect();
        ring.sleep(&[], &mut list, Some(Duration::ZERO)).expect("a sleep");
        assert!(list.iter().all(|polled| !polled.is_ready));
        drop(writer);
        ring.sleep(&[], &mut list, None).expect("a sleep");
        assert!(list.iter().all(|polled| polled.is_ready), "all are answered at once");
        let mut list: Vec<_> = (0..=LARGEST).map(|_| polled(&reader)).collect();
        let error = ring.sleep(&[], &mut list, None).expect_err("too many");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        ring.sleep(&[], &mut list[..1], None).expect("of use again");
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let explained = |errno: Errno| explain(errno.into());
        assert!(explained(Errno::PERM).to_string().contains("kernel.io_uring_disabled"));
        assert_eq!(explained(Errno::PERM).kind(), io::ErrorKind::PermissionDenied);
        assert!(explained(Errno::NOSYS).to_string().contains("CONFIG_IO_URING"));
        assert_eq!(explained(Errno::NOSYS).kind(), io::ErrorKind::Unsupported);
        assert!(explained(Errno::INVAL).to_string().contains("Linux 6.7"));
        assert_eq!(Errno::from_io_error(&explained(Errno::MFILE)), Some(Errno::MFILE));
    }
}
