//! Channels of every tier, and the party at their far end: a thread or the program `fs9-peer`, which obeys the same
//! orders.
//!
//! An order is one line of text, and so is its answer, over pipes: what is under test is never what the test talks
//! over.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use fs9_tiers::error::{Reason, RecvError, SendError};
use fs9_tiers::message::LIMIT;
use fs9_tiers::process::{self, Child};
use fs9_tiers::remote::{Descriptors, Stream};
use fs9_tiers::{Capability, Peer, Receiver, Sender, file, pair, remote};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, waitid};

use crate::process::{Running, state};
use crate::records::Records;
use crate::{Mount, wait_for};

/// An end of a channel of notes.
pub type Duplex = Peer<Vec<u8>, Vec<u8>>;

/// After this long a wait for the other end has failed.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The shortest note.
pub const HEAD: usize = 24;

/// A message that says which it is and carries a checksum of all that it is.
pub fn note(number: u64, len: usize) -> Vec<u8> {
    assert!(len >= HEAD, "a note has at least {HEAD} bytes");
    let mut bytes: Vec<u8> = (0..len as u64).map(|at| ((number + 1).wrapping_mul(at | 1) >> 3) as u8).collect();
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes[8..16].copy_from_slice(&(len as u64).to_le_bytes());
    let sum = checksum(&bytes);
    bytes[16..HEAD].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// Which note this is. Panics unless it is whole.
pub fn number_of(note: &[u8]) -> u64 {
    let word = |at: usize| u64::from_le_bytes(note[at..at + 8].try_into().unwrap());
    assert_eq!(word(8), note.len() as u64, "note {} has another length", word(0));
    assert_eq!(word(16), checksum(note), "note {} was changed on its way", word(0));
    word(0)
}

/// The length of note `number` in a stream: short ones, and ones of several pages.
pub fn length(number: u64) -> usize {
    [HEAD, 60, 300, 5_000, 70_000][number as usize % 5]
}

fn checksum(note: &[u8]) -> u64 {
    let mix = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    note[HEAD..].iter().fold(note[..16].iter().fold(0xcbf2_9ce4_8422_2325, mix), mix)
}

/// xorshift64*: the same numbers in every run.
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// Any number.
    #[allow(clippy::should_implement_trait, reason = "it has no end")]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        ((self.next() >> 11) % end as u64) as usize
    }
}

/// Runs `scenario`, and fails when it does not come to its end.
pub fn within<R: Send + 'static>(limit: Duration, scenario: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, ended) = channel();
    let name = thread::current().name().unwrap_or("scenario").to_owned();
    let run = thread::Builder::new().name(name).spawn(move || {
        let result = scenario();
        let _ = done.send(());
        result
    });
    assert_ne!(ended.recv_timeout(limit), Err(RecvTimeoutError::Timeout), "it hangs: no end after {limit:?}");
    run.unwrap().join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The program `fs9-peer` with these arguments, not yet started.
pub fn peer(args: &[&str]) -> Command {
    let mut command = Command::new(peer_program());
    command.args(args);
    command
}

/// The program `fs9-peer`, built beside the tests.
pub fn peer_program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("fs9-peer");
    assert!(program.exists(), "{} is not built: run `cargo test --workspace`", program.display());
    program
}

/// A name to listen under that no other test has.
pub fn fresh_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("tests-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The user that the tests are.
pub fn me() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The number of the calling thread.
pub fn tid() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get() as u32
}

/// Whether the thread sleeps on a futex: in a receive or a send in memory, that is.
pub fn is_blocked(pid: u32, tid: u32) -> bool {
    // futex(2) and futex_waitv(2) on x86-64 and on all others since 64-bit only.
    is_in(pid, tid, &["202", "98", "449"])
}

/// Whether the thread sleeps in a receive or a send: of a file in ppoll(2), of a connection in recvfrom(2), too.
pub fn is_waiting(pid: u32, tid: u32) -> bool {
    is_blocked(pid, tid) || is_in(pid, tid, &["271", "73", "45", "207"])
}

/// Whether the thread is in one of these system calls. "running" is one that runs.
fn is_in(pid: u32, tid: u32, calls: &[&str]) -> bool {
    let call = fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).unwrap_or_default();
    call.split(' ').next().is_some_and(|call| calls.contains(&call))
}

/// Waits until the thread sleeps on a futex.
pub fn wait_blocked(pid: u32, tid: u32) {
    wait_for(&format!("thread {tid} of {pid} to block"), || is_blocked(pid, tid).then_some(()));
}

/// Waits until the process sleeps on a futex, or has ended.
pub fn wait_idle(pid: u32) {
    let is_idle = || is_blocked(pid, pid) || matches!(state(pid), None | Some('Z' | 'X'));
    wait_for(&format!("process {pid} to be idle"), || is_idle().then_some(()));
}

/// A way to be at the other end of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// A thread.
    Thread,
    /// A thread, through memory that processes can share.
    Pair,
    /// A program that we started.
    Spawned,
    /// A program that connected to us.
    Connected,
    /// A thread, and our own end has been in another process and come back.
    Returned,
    /// A program that got its end from us, over a channel that was there already.
    Given,
    /// A program that has opened the other end of a pair of a mount.
    File,
    /// A program that has dialled us over TCP.
    Tcp,
    /// A program that has dialled us at a Unix socket.
    Unix,
    /// A program at the other end of two pipes.
    Pipes,
    /// A thread, over a stream that is more than its descriptor.
    Records,
    /// A program that got its end from us over a connection, through which a thread of ours passes on.
    Relayed,
}

impl Tier {
    /// A fresh channel of this tier.
    pub fn open(self) -> (Duplex, Far) {
        match self {
            Tier::Thread => {
                let (near, far) = pair();
                (near, Far::thread(far))
            }
            Tier::Pair => {
                let (near, far) = process::pair().unwrap();
                (near, Far::thread(far))
            }
            Tier::Spawned => spawned(&mut peer(&["obey", "inherited"])),
            Tier::Connected => {
                let name = fresh_name();
                let listener = process::listen(&name, &[me()]).unwrap();
                let far = Far::program(&mut peer(&["obey", "connect", &name]));
                (listener.accept_timeout(PATIENCE).unwrap(), far.greeted())
            }
            Tier::Returned => {
                let (near, far) = process::pair().unwrap();
                let (carrier, mut program) = Tier::Spawned.open();
                program.start("return");
                carrier.send_with(note(0, HEAD), vec![Capability::from(near)]).unwrap();
                let (_, mut returned) = carrier.recv_with().unwrap();
                assert_eq!(program.answer(), "returned");
                (returned.remove(0).claim().unwrap(), Far::thread(far))
            }
            Tier::Given => given(Tier::Spawned, process::pair().unwrap()),
            Tier::Relayed => given(Tier::Tcp, pair()),
            Tier::Tcp => dialled("tcp://127.0.0.1:0"),
            Tier::Unix => dialled(&unix_address()),
            Tier::Pipes => piped(),
            Tier::Records => {
                let (here, there) = UnixStream::pair().unwrap();
                let far = thread::spawn(|| {
                    let mut once = Some(Records::over(there)?);
                    remote::over(move || once.take().ok_or(ErrorKind::NotConnected.into()))
                });
                let near = admitted(Records::over(here).unwrap());
                (near, Far::thread(far.join().unwrap().unwrap()))
            }
            Tier::File => {
                let mount = Mount::new();
                mount.run("fs9 new --pair p/t");
                let near = file::open(mount.path("t/a")).unwrap();
                let mut far = at_file(&mount, "t/b");
                far.mount = Some(mount);
                (near, far)
            }
        }
    }

    /// The longest message, as it is encoded.
    pub fn limit(self) -> usize {
        if self == Tier::File { file::LIMIT } else { LIMIT }
    }

    /// The longest note: how long it is goes before it, seven bits a byte.
    pub fn longest(self) -> usize {
        self.limit() - if self == Tier::File { 3 } else { 4 }
    }

    /// What one end learns when the other is dropped in a panic.
    pub fn panic(self) -> Reason {
        if self == Tier::File { Reason::Closed } else { Reason::Panicked }
    }

    /// Whether messages cross as bytes.
    pub fn is_bytes(self) -> bool {
        !matches!(self, Tier::Thread | Tier::Relayed)
    }

    /// Whether the end of a channel of threads can be handed over, and not only go to another thread.
    pub fn takes_threads(self) -> bool {
        !matches!(self, Tier::Pair | Tier::Spawned | Tier::Connected | Tier::Returned | Tier::Given | Tier::File)
    }
}

/// A program that obeys, at a file of the mount.
pub fn at_file(mount: &Mount, name: &str) -> Far {
    Far::program(&mut peer(&["obey", "file", mount.path(name).to_str().unwrap()])).greeted()
}

/// A program that gets the second end over a channel of `tier`.
fn given(tier: Tier, (near, far): (Duplex, Duplex)) -> (Duplex, Far) {
    let (carrier, mut program) = tier.open();
    program.start("take");
    carrier.send_with(note(0, HEAD), vec![Capability::from(far)]).unwrap();
    assert_eq!(program.answer(), "took 0");
    assert_eq!(program.ask("swap"), "swapped");
    program.carrier = Some(carrier);
    (near, program)
}

/// A program that dials here and obeys.
fn dialled(address: &str) -> (Duplex, Far) {
    let listener = remote::listen(address).unwrap();
    let far = Far::program(&mut peer(&["obey", "dial", listener.address()]));
    (listener.accept_timeout(PATIENCE).unwrap(), far.greeted())
}

/// A program that dials here through two pipes that have names, and obeys.
fn piped() -> (Duplex, Far) {
    let names = [(); 2].map(|()| std::env::temp_dir().join(fresh_name()));
    names.iter().for_each(|name| mknodat(CWD, name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap());
    let [there, back] = [0, 1].map(|place: usize| names[place].to_str().unwrap());
    let far = Far::program(&mut peer(&["obey", "pipes", there, back]));
    // Each waits until the other side has opened it, too.
    let to_far = File::options().write(true).open(there).unwrap();
    let from_far = File::open(back).unwrap();
    names.iter().for_each(|name| fs::remove_file(name).unwrap());
    (admitted(Descriptors::new(from_far, to_far).unwrap()), far.greeted())
}

/// The peer of who dials over `stream`.
pub fn admitted(stream: impl Stream) -> Duplex {
    let listener = remote::unbound().unwrap();
    listener.admit(stream).unwrap();
    listener.accept_timeout(PATIENCE).unwrap()
}

/// An address of a Unix socket that no other test has.
pub fn unix_address() -> String {
    format!("unix:{}/{}", std::env::temp_dir().display(), fresh_name())
}

/// `command`, a program that obeys, with the other end of a channel.
pub fn spawned(command: &mut Command) -> (Duplex, Far) {
    let mut own = Command::new(command.get_program());
    own.args(command.get_args()).stdin(Stdio::piped()).stdout(Stdio::piped());
    own.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let (near, mut child) = process::spawn(own).unwrap();
    let (stdin, stdout) = (child.take_stdin().unwrap(), child.take_stdout().unwrap());
    let far = Far::over(OwnedFd::from(stdin).into(), OwnedFd::from(stdout).into(), Party::Child(child));
    (near, far.greeted())
}

/// Who obeys at the far end. A thread ends by itself when nobody gives orders any more.
#[derive(Debug)]
enum Party {
    Thread,
    Child(Child),
    Program(Running),
}

/// The party at the far end.
#[derive(Debug)]
pub struct Far {
    orders: PipeWriter,
    answers: BufReader<PipeReader>,
    pid: u32,
    tid: u32,
    party: Party,
    /// The channel over which it got its end.
    carrier: Option<Duplex>,
    /// The mount of its file.
    pub mount: Option<Mount>,
}

impl Far {
    /// A thread that obeys.
    pub fn thread(end: Duplex) -> Far {
        let ((orders_out, orders), (answers, answers_in)) = (pipe().unwrap(), pipe().unwrap());
        thread::spawn(move || obey(end, orders_out, answers_in));
        Far::over(orders, answers, Party::Thread).greeted()
    }

    /// A program that obeys and finds its end by itself. It has not said hello yet.
    pub fn program(command: &mut Command) -> Far {
        let mut running = Running::piped(command);
        let (stdin, stdout) = (running.stdin.take().unwrap(), running.stdout.take().unwrap());
        Far::over(OwnedFd::from(stdin).into(), OwnedFd::from(stdout).into(), Party::Program(running))
    }

    fn over(orders: PipeWriter, answers: PipeReader, party: Party) -> Far {
        Far { orders, answers: BufReader::new(answers), pid: 0, tid: 0, party, carrier: None, mount: None }
    }

    /// Waits until it has its end.
    pub fn greeted(mut self) -> Far {
        let hello = self.answer();
        let (pid, tid) = hello.split_once(' ').unwrap();
        (self.pid, self.tid) = (pid.parse().unwrap(), tid.parse().unwrap());
        self
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The program that was started with its end.
    pub fn child(&mut self) -> &mut Child {
        match &mut self.party {
            Party::Child(child) => child,
            other => panic!("{other:?} is no child"),
        }
    }

    /// Kills the program and reaps it.
    pub fn kill(&mut self) {
        match &mut self.party {
            Party::Child(child) => {
                child.kill().unwrap();
                child.wait().unwrap();
            }
            Party::Program(program) => {
                program.signal(Signal::KILL);
                program.ended();
            }
            Party::Thread => panic!("a thread cannot be killed"),
        }
    }

    /// Stops or continues the program.
    pub fn signal(&self, signal: Signal) {
        match &self.party {
            Party::Program(program) => program.signal(signal),
            other => panic!("{other:?} is not to be stopped"),
        }
    }

    /// Lets a program that is stopped go on with this order.
    pub fn ask_when_it_goes_on(&mut self, order: &str) -> String {
        self.start(order);
        self.signal(Signal::CONT);
        self.answer()
    }

    /// Gives an order and does not wait.
    pub fn start(&mut self, order: &str) {
        writeln!(self.orders, "{order}").unwrap();
    }

    /// The answer to the order before, within [`PATIENCE`].
    pub fn answer(&mut self) -> String {
        let mut line = String::new();
        if self.answers.buffer().is_empty() {
            let timeout = Timespec::try_from(PATIENCE).unwrap();
            let ready = poll(&mut [PollFd::new(self.answers.get_ref(), PollFlags::IN)], Some(&timeout)).unwrap();
            assert_eq!(ready, 1, "no answer from the far end after {PATIENCE:?}");
        }
        self.answers.read_line(&mut line).unwrap();
        line.strip_suffix('\n').unwrap_or_else(|| panic!("the far end ended without an answer: {line:?}")).to_owned()
    }

    /// Gives an order and waits for the answer.
    pub fn ask(&mut self, order: &str) -> String {
        self.start(order);
        self.answer()
    }

    /// Gives an order, and waits until that makes it sleep.
    pub fn start_and_block(&mut self, order: &str) {
        self.start(order);
        let is_waiting = || is_waiting(self.pid, self.tid).then_some(());
        wait_for(&format!("the far end to wait: {order}"), is_waiting);
    }
}

/// What a party has of an end.
enum Has {
    All(Duplex),
    Sender(Sender<Vec<u8>>),
    Receiver(Receiver<Vec<u8>>),
    Nothing,
}

impl Has {
    fn sender(&self) -> &Sender<Vec<u8>> {
        match self {
            Has::All(end) => end.sender(),
            Has::Sender(sender) => sender,
            _ => panic!("no sender"),
        }
    }

    fn receiver(&self) -> &Receiver<Vec<u8>> {
        match self {
            Has::All(end) => end.receiver(),
            Has::Receiver(receiver) => receiver,
            _ => panic!("no receiver"),
        }
    }

    fn take(&mut self) -> Has {
        std::mem::replace(self, Has::Nothing)
    }
}

/// Does with `end` what the lines of `orders` say, until there are no more.
pub fn obey(end: Duplex, orders: impl Read, mut answers: impl Write) {
    let (mut end, mut kept) = (Has::All(end), Has::Nothing);
    writeln!(answers, "{} {}", std::process::id(), tid()).unwrap();
    for order in BufReader::new(orders).lines() {
        let order = order.unwrap();
        let mut words = order.split(' ');
        let verb = words.next().unwrap();
        let numbers: Vec<u64> = words.map(|word| word.parse().unwrap()).collect();
        let answer = match (verb, numbers.as_slice()) {
            ("swap", []) => {
                std::mem::swap(&mut end, &mut kept);
                "swapped".to_owned()
            }
            ("give", [number]) => {
                let (here, there) = process::pair::<Vec<u8>, Vec<u8>>().unwrap();
                kept = Has::All(here);
                end.sender().send_with(note(*number, HEAD), vec![Capability::from(there)]).unwrap();
                "gave".to_owned()
            }
            ("take", []) => {
                let (message, capabilities) = end.receiver().recv_with().unwrap();
                match capabilities.into_iter().next() {
                    Some(capability) => kept = Has::All(capability.claim().unwrap()),
                    None => panic!("nothing beside note {}", number_of(&message)),
                }
                format!("took {}", number_of(&message))
            }
            _ => act(&mut end, verb, &numbers),
        };
        // Who gave the order may have gone.
        if writeln!(answers, "{answer}").is_err() {
            break;
        }
    }
}

fn act(end: &mut Has, verb: &str, numbers: &[u64]) -> String {
    match (verb, numbers) {
        ("recv", []) => match end.receiver().recv() {
            Ok(message) => format!("got {}", number_of(&message)),
            Err(RecvError::Disconnected(reason)) => format!("gone: {reason}"),
            Err(error) => panic!("{error}"),
        },
        ("recv-with", []) => match end.receiver().recv_with() {
            Ok((message, capabilities)) => format!("got {} with {}", number_of(&message), capabilities.len()),
            Err(error) => panic!("{error}"),
        },
        ("receive", [count]) => {
            for expected in 0..*count {
                assert_eq!(number_of(&end.receiver().recv().unwrap()), expected);
            }
            format!("received {count}")
        }
        ("send", [number, len]) => match end.sender().send(note(*number, *len as usize)) {
            Ok(()) => "sent".to_owned(),
            Err(SendError::Disconnected(back, reason)) => format!("{} back, gone: {reason}", number_of(&back)),
            Err(error) => panic!("{error}"),
        },
        ("stream", [count]) => {
            (0..*count).for_each(|number| end.sender().send(note(number, length(number))).unwrap());
            format!("sent {count}")
        }
        ("echo", []) => {
            let gone = echo(end.sender(), end.receiver());
            format!("gone: {gone}")
        }
        ("return", []) => {
            let (message, capabilities) = end.receiver().recv_with().unwrap();
            end.sender().send_with(message, capabilities).unwrap();
            "returned".to_owned()
        }
        ("drop", []) => {
            drop(end.take());
            "dropped".to_owned()
        }
        ("drop-sender", []) => {
            if let Has::All(whole) = end.take() {
                *end = Has::Receiver(whole.split().1);
            }
            "dropped".to_owned()
        }
        ("drop-receiver", []) => {
            if let Has::All(whole) = end.take() {
                *end = Has::Sender(whole.split().0);
            }
            "dropped".to_owned()
        }
        ("panic", []) => {
            let end = end.take();
            let panics = move || {
                let _end = end;
                std::panic::resume_unwind(Box::new("as ordered"));
            };
            thread::spawn(panics).join().expect_err("it panics");
            "panicked".to_owned()
        }
        ("exit", [code]) => std::process::exit(*code as i32),
        _ => panic!("{verb} {numbers:?} is no order"),
    }
}

/// Sends back what comes until the other end is gone.
pub fn echo(sender: &Sender<Vec<u8>>, receiver: &Receiver<Vec<u8>>) -> Reason {
    loop {
        match receiver.recv() {
            Ok(message) => match sender.send(message) {
                Ok(()) => {}
                Err(error) => return error.reason().unwrap(),
            },
            Err(error) => return error.reason().unwrap(),
        }
    }
}

/// The right to be the only test of this program, which is checked to leave nothing behind.
pub struct Alone {
    _turn: MutexGuard<'static, ()>,
    before: Vec<String>,
}

impl Alone {
    /// Waits for it.
    pub fn new() -> Alone {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        static BEFORE: OnceLock<Vec<String>> = OnceLock::new();
        let before = BEFORE.get_or_init(with_a_watcher).clone();
        wait_for("the test before to be gone", || (has_no_child() && left_behind() == before).then_some(()));
        Alone { _turn: turn, before }
    }

    /// Waits until everything is as it was: descriptors, children, files.
    pub fn assert_nothing_left(&self) {
        let start = Instant::now();
        while left_behind() != self.before || !has_no_child() {
            let now = left_behind();
            assert!(start.elapsed() < PATIENCE, "left behind: {now:#?}, before: {:#?}", self.before);
            thread::yield_now();
        }
    }
}

impl Default for Alone {
    fn default() -> Self {
        Alone::new()
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.assert_nothing_left();
        }
    }
}

/// Whether this process has no child, not even a zombie.
fn has_no_child() -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    matches!(waitid(WaitId::All, options), Err(Errno::CHILD))
}

/// What is open once the watcher has started, which stays, and the pair that it was started for is gone: the watcher
/// may be the last to let go of that, some time after the drop.
fn with_a_watcher() -> Vec<String> {
    let but_watchers =
        |names: &[String]| names.iter().filter(|name| *name != "anon_inode").cloned().collect::<Vec<_>>();
    let plain = but_watchers(&left_behind());
    drop(process::pair::<u8, u8>().unwrap());
    wait_for("the pair to be gone", || {
        let now = left_behind();
        (but_watchers(&now) == plain).then_some(now)
    })
}

/// What kinds of descriptors are open, and the files of ours in the places for temporary ones.
fn left_behind() -> Vec<String> {
    let target = |path: PathBuf| fs::read_link(path).ok().map(|target| target.display().to_string());
    // Of a socket or a pipe the kind without its number; the descriptor that reads the directory is one of its own.
    let kind = |name: String| name.split_once(":[").map_or(name.clone(), |(kind, _)| kind.to_owned());
    let descriptors = names("/proc/self/fd").filter_map(target).map(kind).filter(|name| !name.ends_with("/fd"));
    let ours = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("fs9"));
    let files = names("/dev/shm").chain(names("/tmp")).filter(ours).map(|path| path.display().to_string());
    let mut all: Vec<String> = descriptors.chain(files).collect();
    all.sort();
    all
}

fn names(directory: impl AsRef<Path>) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(directory).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}
