//! What the threads of a mount may ask of the kernel: those that listen to others may not do more than that takes. A
//! thread confines itself when it starts, for good, and so is what it starts; the threads of the program around it
//! are left alone.
//!
//! | thread | system calls (`calls`) | files and ports (`files`) |
//! |---|---|---|
//! | fs9-loop-N | those it needs; files for reading | all: it asks how a user's process has ended |
//! | fs9-net | the same; takes connections | reads /proc and the state directory |
//! | fs9-link | those it needs; makes connections | the state directory; the port of its node |
//! | carrier (of `fs9 mount9p`) | as fs9-link | none |
//! | fs9-clerk | all but those that change what a process is | all, for reading |
//! | fs9-link by ssh, fs9-keeper, fs9-program, fs9-mount | all | all: they start programs, fusermount3 among them |
//! | fs9-crew | all | all: what runs there is the program's own |
//!
//! Landlock takes away what ptrace(2) would allow with processes elsewhere, and with it the sight of their exit codes
//! in /proc (`do_task_stat` in fs/proc/array.c). Loops have to see these at each close, and are not confined by it;
//! fs9-net asks the keeper.
//!
//! All threads share one memory. So this holds against being talked into something, not against code of somebody
//! else's in it.

mod calls;
mod files;

use std::path::Path;
use std::thread;

use serde::{Deserialize, Serialize};

/// What a thread does.
#[derive(Debug, Clone, Copy)]
pub enum Duty<'a> {
    /// Serves the kernel's requests.
    Loop,
    /// Serves clients from elsewhere.
    Net {
        /// Where the nodes are written down to which it takes guests on.
        state: Option<&'a Path>,
    },
    /// Talks to another node.
    Link {
        /// The port there; None where it has none.
        port: Option<u16>,
        /// Where the nodes are written down that are known.
        state: Option<&'a Path>,
    },
    /// Asks the system's name service.
    LookUp,
}

/// How far a kernel goes along.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Confinement {
    /// The version of Landlock; None where there is none.
    pub landlock: Option<u32>,
    /// Whether system calls are filtered.
    pub seccomp: bool,
}

impl Confinement {
    /// What it is, for people; None where it is nothing.
    pub fn text(&self) -> Option<String> {
        let landlock = self.landlock.map(|version| format!("Landlock {version}"));
        let seccomp = self.seccomp.then(|| "seccomp".to_owned());
        let both: Vec<_> = landlock.into_iter().chain(seccomp).collect();
        (!both.is_empty()).then(|| both.join(" and "))
    }
}

/// Confines the calling thread to its duty, as far as the kernel goes along: what it refuses is told, and no reason
/// not to serve.
pub fn enter(duty: Duty<'_>) -> Confinement {
    let landlock = files::restrict(&duty).unwrap_or_else(|error| {
        tracing::warn!(%error, ?duty, "a thread is not confined by Landlock");
        None
    });
    let seccomp = calls::restrict(&duty).inspect_err(|error| {
        tracing::warn!(%error, ?duty, "a thread is not confined by seccomp");
    });
    Confinement { landlock, seccomp: seccomp.is_ok() }
}

/// What this kernel offers: found out by a thread that does nothing else.
pub fn offered() -> Confinement {
    let tried = thread::Builder::new().spawn(|| enter(Duty::LookUp));
    tried.ok().and_then(|thread| thread.join().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
