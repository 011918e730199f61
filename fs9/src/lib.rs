//! fs9: channels as files. Mount a directory; every peer in it is a file; write(2) sends it one message, read(2)
//! receives one. Any language that can open a file can use it, with no library.
//!
//! This is the mount as a library: a program mounts a directory and puts functions and peers into it, which then are
//! files for all others. (The command `fs9 up` does the same with nothing put into it. The channels themselves, without
//! a mount, are the crate [`fs9_tiers`].)
//!
//! # A function as a file
//!
//! ```no_run
//! use fs9::Mount;
//!
//! let mount = Mount::builder().mount("p")?;   // usable when this returns, served by threads of its own
//! let _length = mount.serve("length", |request| format!("{}\n", request.len()))?;
//! mount.wait()?;                              // until `fs9 down p`, or somebody unmounts it
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `p/length` is a *service*: whoever opens `p/length/connect` has a connection of their own. Each message that is
//! written to it is a request, and what the function makes of it is what is read:
//!
//! ```sh
//! fs9 call p/length/connect hello                                  # 5
//! exec 3<>p/length/connect; echo hello >&3; read -r length <&3     # bash
//! python3 -c 'f = open("p/length/connect", "r+b", buffering=0); f.write(b"hello"); print(f.read(99))'
//! ```
//!
//! `cargo run -p fs9 --example calc` is a whole program of this kind.
//!
//! # A conversation as a file
//!
//! Where an answer depends on what was said before, [`Mount::service`] gives each client a [`Peer`] and a thread:
//!
//! ```no_run
//! # let mount = fs9::Mount::builder().mount("p")?;
//! let _guess = mount.service("guess", |peer, client| {
//!     let secret = client.pid % 10;
//!     for guess in peer.iter() {              // ends when the client is gone
//!         let right = String::from_utf8_lossy(&guess).trim().parse() == Ok(secret);
//!         let said: &[u8] = if right { b"right\n" } else { b"wrong\n" };
//!         if peer.send(said.to_vec()).is_err() || right {
//!             break;                          // hangs up: the client reads `right`, and then the end
//!         }
//!     }
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A peer as a file
//!
//! [`Mount::put`] makes any peer of bytes a file, of a thread or of another process. Its user does not see where it is;
//! when the process is killed the user's read says so (ECONNRESET), and `p/status` says by which signal.
//!
//! ```no_run
//! # let mount = fs9::Mount::builder().mount("p")?;
//! use std::process::Command;
//!
//! let (peer, child) = fs9_tiers::process::spawn(Command::new("./worker"))?; // its main: work(inherited()?)
//! let _worker = mount.put("worker", peer)?;                                 // fs9 call p/worker/a hello
//! # drop(child);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Channels between others
//!
//! [`Mount::make`] makes what `fs9 new` and `fs9 spawn` make: queues, pairs, topics, services, programs. See [`Spec`].
//!
//! # What is owned, and what ends when
//!
//! | dropped | what happens |
//! |---|---|
//! | a [`Name`] | its users read what was sent, then the end; their writes fail (EPIPE); its functions have ended |
//! | the [`Mount`] | everything that waits fails (ESHUTDOWN); functions and threads have ended; it is unmounted |
//! | the [`Peer`] of a conversation | its client reads what was sent, then the end |
//! | nothing: a function panics | its client reads what was sent, then ECONNRESET, then the end; others nothing |
//! | nothing: `fs9 down p`, `umount p`, [`Stopper::stop`] | as if the mount were dropped; [`Mount::wait`] returns |
//!
//! A function that is just running has [`Builder::grace`] to end.
//!
//! A mount has a thread for each of [`Builder::threads`], one for the clock, one that waits for the end, and those that
//! run functions: as many as run at once (at most [`Builder::workers`]) and a few more. Clients that only wait have
//! none. It handles no signals: that is the program's, see the example.
//!
//! # How it works
//!
//! One message, all the way through: `fuse::device` reads a request, `fuse::door` translates it to a verb, `server`
//! decides, [`fs9_tiers::channel`] pairs writers with readers, and a ticket is answered after the lock is released. A
//! function is one more client of `server`, which asks it without the kernel between: see `serve` and `descriptor`.
#![forbid(unsafe_code)]

mod allotment;
mod attachment;
mod channel;
#[doc(hidden)]
pub mod cli;
mod config;
mod confine;
mod crew;
mod ctl;
mod descriptor;
mod events;
#[doc(hidden)]
pub mod fuse;
mod grants;
mod holders;
mod host;
mod identity;
mod keeper;
mod kernel9p;
mod local;
mod message;
mod mount;
mod mountpoint;
mod name;
mod net;
mod program;
mod random;
mod serve;
mod served;
mod server;
mod service;
mod serving;
mod spec;
mod status;
mod ticket;
mod timer;
mod topic;
mod tree;
mod view;

pub use fs9_tiers::Peer;
pub use mount::{Builder, LARGEST_MESSAGE, Limits, Mount, MountError};
pub use mountpoint::Refusal;
pub use name::{Client, Name, NameError};
pub use served::Stopper;
pub use spec::{Framing, Program, ServiceSpec, Spec};
