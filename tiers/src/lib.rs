//! fs9-tiers: send and receive one message, at any distance.
//!
//! A [`Peer`] is one end of a channel: it sends values of one type and receives values of another. At the other end is
//! a thread of this process, another process of this machine, a program at the other end of a socket, or whoever has
//! opened a file of an fs9 mount: a program in another language, or on another machine. The code that uses a peer is
//! the same for all.
//!
//! - [The first pair](#the-first-pair), [the other end as a process](#the-other-end-as-a-process), [the channel as a
//!   file](#the-channel-as-a-file)
//! - [One message at a time](#one-message-at-a-time), [when the other end is gone](#when-the-other-end-is-gone),
//!   [waiting no longer than](#waiting-no-longer-than), [room first](#room-first-message-second), [tasks](#tasks),
//!   [several things at once](#several-things-at-once)
//! - [Handing over an end](#handing-over-an-end), [big messages](#big-messages), [what may cross](#what-may-cross)
//! - [What happens when](#what-happens-when), [what it costs](#what-it-costs), [what it needs](#what-it-needs),
//!   [limits](#limits)
//!
//! # The first pair
//!
//! [`pair`] makes a channel between threads. Each end can be moved to a thread, or be shared by several.
//!
//! ```
//! let (client, server) = fs9_tiers::pair::<String, usize>();
//!
//! std::thread::spawn(move || {
//!     for text in server.iter() {             // ends when the client is gone
//!         if server.send(text.len()).is_err() {
//!             break;
//!         }
//!     }
//! });
//!
//! client.send("hello".to_string())?;
//! assert_eq!(client.recv()?, 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The two ends mirror each other: `pair::<String, usize>()` gives a `Peer<String, usize>`, which sends strings and
//! receives numbers, and a `Peer<usize, String>`. [`thread::spawn`] makes the pair and the thread in one step.
//!
//! # The other end as a process
//!
//! This worker does not know where it runs:
//!
//! ```
//! use fs9_tiers::{Peer, process, thread};
//!
//! fn work(peer: Peer<usize, String>) {
//!     for text in peer.iter() {
//!         if peer.send(text.len()).is_err() {
//!             break;
//!         }
//!     }
//! }
//!
//! let (peer, worker) = thread::spawn(work); // a thread
//! # peer.send("hello".to_string())?;
//! # assert_eq!(peer.recv()?, 5);
//! # fn as_a_process() -> Result<(), Box<dyn std::error::Error>> {
//! # use std::process::Command;
//! let (peer, worker) = process::spawn::<String, usize>(Command::new("./worker"))?; // a process: one line
//! # drop((peer, worker));
//! # Ok(())
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The program takes its end with [`process::inherited`], and may be this one started again, see `examples/worker.rs`:
//!
//! ```no_run
//! # use fs9_tiers::{Peer, process};
//! # fn work(_: Peer<usize, String>) {}
//! fn main() -> std::io::Result<()> {
//!     work(process::inherited()?);
//!     Ok(())
//! }
//! ```
//!
//! Keep the [`process::Child`] for as long as the worker shall live. Dropped, it hangs up on the worker, waits a
//! second, kills it if it is still there, and reaps it. (`let (peer, _) = process::spawn(..)` drops it at once.)
//!
//! Programs of which neither starts the other meet under a name: [`process::listen`] and [`process::connect`], where
//! each side says which users it takes.
//!
//! Both sides must be built from the same message types. Where one starts the other that is a matter of building; a
//! mistake is found only by bytes that do not decode, and then ends the channel with
//! [`Reason::Protocol`](error::Reason::Protocol).
//!
//! # The channel as a file
//!
//! On a mount (`fs9 up`) every channel is a file, and [`mod@file`] makes a peer of it. The same worker again:
//!
//! ```no_run
//! # use fs9_tiers::{Peer, file};
//! # fn work(_: Peer<usize, String>) {}
//! // $ fs9 up /tmp/p && fs9 new --pair /tmp/p/lengths
//! work(file::open("/tmp/p/lengths/b")?); // and file::open("/tmp/p/lengths/a")? where the strings come from
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! [`file::sender`] and [`file::receiver`] open queues, where each message goes to one of many workers, and comes back
//! from one that is killed with it. With [`file::raw`] the messages are the bytes themselves, for shells and other
//! languages.
//!
//! # The other end at an address
//!
//! [`remote`] has peers over TCP and Unix sockets. A link that breaks is mended; nothing is lost by it and nothing
//! comes twice.
//!
//! ```no_run
//! # use fs9_tiers::{Peer, remote};
//! # fn work(_: Peer<usize, String>) {}
//! work(remote::dial("tcp://127.0.0.1:7007")?); // and remote::listen("tcp://127.0.0.1:7007")?.accept()?
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # One message at a time
//!
//! Each direction holds one message. [`send`](Sender::send) returns when the message is in its slot, which is not yet
//! when it was received; the next one waits until the slot is free. So whoever sends too fast is held back, no queue
//! grows, and at most one message a direction can be under way when somebody dies.
//!
//! ```
//! # use fs9_tiers::error::TrySendError;
//! let (a, b) = fs9_tiers::pair::<u8, ()>();
//! a.send(1)?;                                                   // does not wait for b
//! assert!(matches!(a.try_send(2), Err(TrySendError::Full(2)))); // the second has no room yet
//! assert_eq!(b.recv()?, 1);
//! a.send(2)?;
//! # drop(b);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Two parties that both send twice before they receive wait for each other, as they would with any channel that has a
//! bound.
//!
//! Several threads can use one peer, or one of its halves ([`Peer::split`]). Each message goes to one of those that
//! receive. Which of those that wait is next is not defined.
//!
//! # When the other end is gone
//!
//! Every error of a send gives the message back, and means that nothing was sent. What the other end sent before it
//! went is received first; only then a receive fails. Both tell the [`Reason`](error::Reason).
//!
//! ```
//! use fs9_tiers::error::{Reason, RecvError, SendError};
//!
//! let (a, b) = fs9_tiers::pair::<String, u8>();
//! b.send(7)?;
//! drop(b);
//! match a.send("job 1".to_string()) {
//!     Err(SendError::Disconnected(message, reason)) => {
//!         assert_eq!(reason, Reason::Closed);
//!         assert_eq!(message, "job 1"); // to be sent to somebody else
//!     }
//!     other => panic!("{other:?}"),
//! }
//! assert_eq!(a.recv(), Ok(7));
//! assert_eq!(a.recv(), Err(RecvError::Disconnected(Reason::Closed)));
//! # Ok::<(), fs9_tiers::error::SendError<u8>>(())
//! ```
//!
//! A message that was in the slot and not received when its receiver died is not given back: whether it was taken, only
//! an answer tells. Keep a job until its answer has come, as `examples/farm.rs` does.
//!
//! # Waiting no longer than
//!
//! `send` and `recv` wait as long as it takes, and signals do not end them. Each has a variant that does not wait
//! (`try_`), and two that wait until a time (`_timeout`, `_deadline`).
//!
//! ```
//! # use std::time::{Duration, Instant};
//! # use fs9_tiers::error::{RecvTimeoutError, TryRecvError};
//! # let (a, b) = fs9_tiers::pair::<u8, ()>();
//! assert_eq!(b.try_recv(), Err(TryRecvError::Empty));
//! assert_eq!(b.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
//! a.send_deadline(1, Instant::now() + Duration::from_millis(1))?;
//! # Ok::<(), fs9_tiers::error::SendTimeoutError<u8>>(())
//! ```
//!
//! # Room first, message second
//!
//! [`reserve`](Sender::reserve) waits for the slot and holds it. The [`Permit`] then sends without waiting; dropped, it
//! gives the slot back. Use it where a message is costly to make, or must not be taken from elsewhere before it can go.
//!
//! ```
//! # let mut jobs = vec!["job".to_string()];
//! # let (peer, _worker) = fs9_tiers::pair::<String, ()>();
//! let permit = peer.reserve()?;
//! if let Some(job) = jobs.pop() {
//!     permit.send(job)?;
//! }
//! # assert!(jobs.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Tasks
//!
//! [`send_async`](Sender::send_async), [`recv_async`](Receiver::recv_async) and
//! [`reserve_async`](Sender::reserve_async) are for tasks, on any executor; one side may be a task and the other a
//! thread or a process. A future that is dropped has sent or received nothing. A dropped `send_async` takes its message
//! with it; where it must be kept (in a `select!` of an executor), await `reserve_async` and send with the permit.
//!
//! ```
//! # pollster::block_on(async {
//! let (a, b) = fs9_tiers::pair::<u8, u8>();
//! a.send_async(1).await?;
//! assert_eq!(b.recv_async().await?, 1);
//! a.reserve_async().await?.send(2)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! With the cargo feature `stream`, a receiver is a `Stream` and a sender a `Sink`.
//!
//! # Several things at once
//!
//! A [`Select`] waits for the first of several: messages, room for messages, timers ([`after`], [`every`]), the end of
//! a child, and anything that has a descriptor. It tells which is ready, and you do it.
//!
//! ```
//! use std::time::Duration;
//! use fs9_tiers::{Select, after, every};
//!
//! let (boss, worker) = fs9_tiers::pair::<String, ()>();
//! let (input, output) = std::io::pipe()?;
//! let ticks = every(Duration::from_millis(1));
//! let end = after(Duration::from_millis(20));
//!
//! let mut select = Select::new()?;
//! let order = select.recv(worker.receiver());
//! let bytes = select.readable(&input);
//! let tick = select.recv(&ticks);
//! let timeout = select.recv(&end);
//!
//! let mut ticked = 0;
//! loop {
//!     match select.ready()? {
//!         ready if ready == order => println!("{}", worker.try_recv()?),
//!         ready if ready == bytes => println!("there is input"),
//!         ready if ready == tick => ticked += ticks.try_iter().count(),
//!         ready if ready == timeout => break,
//!         _ => unreachable!("there are four"),
//!     }
//! }
//! assert!(ticked > 1);
//! # drop((boss, output));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A select borrows what it waits for. Where the set changes (a worker is replaced), make a new one; where one of it
//! has ended, [`Select::remove`] it. To kill a child while its peer is in a select, keep the two in different places:
//! see `examples/farm.rs`.
//!
//! # Handing over an end
//!
//! A message is bytes. The end of a channel is more than that, and goes beside a message, as a [`Capability`]: the
//! giver has it no more, and the receiver says what it takes it for.
//!
//! ```
//! use fs9_tiers::{Capability, Peer, pair, process};
//!
//! let (boss, worker) = pair::<String, ()>();              // or process::spawn
//! let (printer, tray) = process::pair::<(), String>()?;   // one end to keep, and one to give away
//! boss.send_with("print there".to_string(), vec![Capability::from(tray)])?;
//!
//! let (order, mut ends) = worker.recv_with()?;
//! let tray: Peer<String, ()> = ends.remove(0).claim()?;
//! tray.send(format!("done: {order}"))?;
//! assert_eq!(printer.recv()?, "done: print there");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! To another process only ends can go whose channel is in shared memory: those of [`process::pair`], and those by
//! which processes are connected already. Up to 16 go beside one message, all or nothing. What is received by
//! [`recv`](Receiver::recv), and not by [`recv_with`](Receiver::recv_with), closes.
//!
//! # Big messages
//!
//! Byte messages (`Vec<u8>`) and plain structs ([`Pod`]) can be written and read where they lie, without a copy in
//! between: by you, or by the kernel from and to a descriptor.
//!
//! ```
//! use std::io::{Read, Write};
//!
//! let (a, b) = fs9_tiers::process::pair::<Vec<u8>, ()>()?;
//! let (source, mut filler) = std::io::pipe()?;
//! filler.write_all(b"from a pipe")?;
//!
//! let mut loan = a.sender().loan(11)?;    // the slot, for 11 bytes
//! while loan.fill_from(&source)? > 0 {}   // read(2), straight into shared memory
//! loan.send()?;
//!
//! let mut message = b.receiver().recv_in_place()?;
//! let mut text = String::new();
//! message.read_to_string(&mut text)?;
//! assert_eq!(text, "from a pipe");
//! drop(message);                          // only now the slot is free
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! There is no `&[u8]` into shared memory: the other process can write there at any time, and a reference to bytes that
//! change is undefined behaviour. So bytes are copied once, by [`Read`](std::io::Read), [`InPlace::read_at`] or the
//! kernel.
//!
//! # What may cross
//!
//! Any type of its own that derives serde's `Serialize` and `Deserialize`: [`Message`] is implemented for all of them.
//!
//! ```
//! use fs9_tiers::Pod;
//! use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Job {
//!     path: std::path::PathBuf,
//!     level: Option<u8>,
//! }
//!
//! #[derive(FromBytes, IntoBytes, Immutable, KnownLayout)] // goes as its bytes, for numbers by the thousand
//! struct Samples([f32; 1024]);
//!
//! let (builder, _) = fs9_tiers::pair::<Job, ()>();
//! let (probe, _) = fs9_tiers::pair::<Pod<Samples>, ()>();
//! # drop((builder, probe));
//! ```
//!
//! Not references, `Rc`, `Arc`, pointers: they mean something in one address space only. Not files, sockets or peers:
//! as bytes they would be a number that means another file elsewhere. The compiler refuses both, and says what to do.
//!
//! ```compile_fail
//! fs9_tiers::pair::<std::fs::File, ()>();
//! ```
//!
//! Between threads a value is moved, whatever its size. Between processes it is encoded by postcard, which must be able
//! to read it back ([`Message`] names the few serde attributes with which it is not), and has at most
//! [`LIMIT`](message::LIMIT) bytes, 4 MiB; what is longer is refused by the send.
//!
//! # What happens when
//!
//! | at the other end | you see, after what it sent |
//! |---|---|
//! | the peer is dropped | [`Closed`](error::Reason::Closed) |
//! | its thread panics, and unwinding drops the peer | [`Panicked`](error::Reason::Panicked) |
//! | its process is killed (`kill -9`, out of memory, abort) | [`Killed`](error::Reason::Killed)`(9)`, the signal |
//! | its process exits, and never dropped the peer | [`Exited`](error::Reason::Exited)`(code)` |
//! | its `main` returns an error | [`Closed`](error::Reason::Closed): the peer was dropped before; the code is in `Child::wait` |
//! | your process is killed, and it is your child | it sees `Killed`, and goes on: a worker that waits for messages ends |
//! | it was killed with an end that it had not claimed yet | of that end [`Closed`](error::Reason::Closed) |
//! | its process ended, and the kernel does not let us see how | [`Ended`](error::Reason::Ended) |
//! | its process is stopped (SIGSTOP, a debugger) | nothing: it is not gone; a deadline ends the wait |
//! | what it wrote is no message, or not of your type | [`Protocol`](error::Reason::Protocol), and it too; of a file that one message |
//! | the other end of a file is killed | [`Lost`](error::Reason::Lost): the mount's `status` says how |
//! | the mount of a file ends | [`Unreachable`](error::Reason::Unreachable) |
//! | a connection breaks, and stays so for 30 s | [`Unreachable`](error::Reason::Unreachable) |
//! | it hands its end to another process | nothing: the new holder goes on |
//!
//! Whoever waits at that moment is woken, in threads and tasks alike. A process that dies between any two steps leaves
//! the slot free or full, never between: a message is received whole, or not at all.
//!
//! # What it costs
//!
//! | | descriptors | memory |
//! |---|---|---|
//! | a pair between threads | 0 | about 1 KiB, and room for one message each way |
//! | an end in shared memory | 3 | 16 MiB of addresses; the pages that messages have touched, at least 2 |
//! | a [`process::Child`] | 0: it shares its peer's | |
//! | a [`Select`] | 1 | an io_uring of 64 entries |
//! | a timer | 0 | |
//! | a connection, with any number of channels | 1 | 16 KiB, and what is under way |
//! | a file | 1 | 1 MiB of each thread that has received from one |
//!
//! A process with any channel to another one, or with a task that waits for a file, has one thread more, `fs9-watch`,
//! and 2 descriptors. It sleeps until a peer hangs up or dies, wakes tasks, and no message of a thread passes through
//! it. A message between processes costs no system call while both sides are awake; who sleeps is woken by a futex.
//! What that comes to is in `docs/performance.md`.
//!
//! # What it needs
//!
//! Linux 6.15 or newer with `/proc`, for everything between processes: that is how a process is known and how it ended.
//! io_uring is used by [`Select`] alone, which says so where it is forbidden, as in many containers. Threads need
//! neither.
//!
//! # Limits
//!
//! - A channel has two ends, and each has one holder. A queue with many readers is the mount's, see [`mod@file`].
//! - A process must not use its peers after `fork` without `exec`: two processes would hold one end. What is started
//!   with `std::process::Command` is fine: it inherits nothing of this.
//! - A message between processes has at most 4 MiB, one over a file 1,044,480 bytes.
//! - A peer that breaks the protocol cannot harm memory, or keep anybody waiting beyond its end. It can send nothing,
//!   or send what a type of yours cannot bear: a recursive type as deep as the bytes say, a `Vec<()>` as long as they
//!   say. See [`Message`] before you take messages from somebody you do not trust.
//! - Memory is of one machine. For others there are [`remote`] and the mount, see [`mod@file`].
//!
//! # For the mount
//!
//! fs9 itself uses two parts of this crate: [`channel::Lane`], the state machine of a channel without waiting or I/O,
//! and [`holder::Holder`], the process behind a descriptor. How everything fits together is in `docs/tiers.md` and
//! `docs/design.md`.
#![deny(unsafe_code)]

mod capability;
pub mod channel;
pub mod error;
mod failure;
pub mod file;
mod futex;
mod future;
mod gate;
pub mod holder;
mod loan;
pub mod message;
mod parcel;
mod peer;
pub mod process;
mod readiness;
mod receiver;
pub mod remote;
mod select;
mod sender;
mod slot;
// Not a module of the slot's own: the simulation in tests/ compiles that file too.
#[cfg(test)]
#[path = "slot/tests.rs"]
mod slot_tests;
#[cfg(feature = "stream")]
mod stream;
mod sync;
#[allow(unsafe_code)]
mod sys;
pub mod thread;
mod timer;
mod watch;

pub use capability::{Capability, ClaimError, Refusal, Why};
pub use future::{RecvFuture, ReserveFuture, SendFuture};
pub use loan::{Block, InPlace, Loan};
pub use message::{Message, Pod};
pub use peer::{Peer, pair};
pub use receiver::{IntoIter, Iter, Receiver, TryIter};
pub use select::Select;
pub use sender::{Permit, Sender};
#[cfg(feature = "stream")]
pub use stream::{RecvStream, SendSink};
pub use timer::{after, every};

/// What a started program inherits.
pub mod descriptors {
    pub use crate::sys::descriptors::close_on_exec_from;
}

/// The heap of the process, which by itself keeps what it once needed.
pub mod heap {
    pub use crate::sys::heap::{map_from, trim};
}
