//! What an error number means here, in words, and what to do about it. The only place that knows.

use std::fmt;
use std::io;
use std::path::Path;

use rustix::io::Errno;

use super::shell::{Word, shown};
use crate::mountpoint;

/// What was being done when the error came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Looking for the mount that a path lies in.
    Find,
    /// Opening a channel for sending, or writing to it.
    Send,
    /// Opening a channel for receiving, or reading from it.
    Receive,
    /// Making a channel.
    Make,
    /// Removing one.
    Remove,
    /// Reading a directory or a status file.
    Look,
    /// Ending the server.
    Stop,
    /// Showing the tree of another node.
    Attach,
    /// Taking it away.
    Detach,
    /// Granting something.
    Grant,
    /// Taking it back.
    Revoke,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verb::Find => "find",
            Verb::Send => "send to",
            Verb::Receive => "receive from",
            Verb::Make => "make",
            Verb::Remove => "remove",
            Verb::Look => "read",
            Verb::Stop => "stop",
            Verb::Attach => "attach",
            Verb::Detach => "detach",
            Verb::Grant => "grant",
            Verb::Revoke => "revoke grants of",
        })
    }
}

/// An error from the system, explained.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct Failed {
    /// Its number.
    pub errno: Errno,
    sentence: String,
}

/// The sentence for an error from the system: a [`Failed`] where it has a number.
pub fn failed(verb: Verb, path: &Path, error: impl Into<io::Error>) -> anyhow::Error {
    let error = error.into();
    match Errno::from_io_error(&error) {
        Some(errno) => Failed { errno, sentence: explain(verb, path, errno) }.into(),
        None => anyhow::anyhow!("cannot {verb} {}: {error}", shown(path)),
    }
}

/// What happened, where, why, and what to do.
pub fn explain(verb: Verb, path: &Path, errno: Errno) -> String {
    let place = shown(path);
    match meaning(verb, path, errno) {
        Some(meaning) => format!("cannot {verb} {place}: {meaning}"),
        None => format!("cannot {verb} {place}: {}", io::Error::from(errno)),
    }
}

fn meaning(verb: Verb, path: &Path, errno: Errno) -> Option<String> {
    let word = Word(path);
    let text = match errno {
        Errno::MSGSIZE => "the message is longer than this mount takes (EMSGSIZE), and nothing was sent: \
                           `fs9 status` shows the limit; send it in parts, or send the name of a file"
            .into(),
        Errno::AGAIN => not_now(verb).into(),
        Errno::PIPE => format!(
            "the other end has hung up (EPIPE), and nothing was sent: `fs9 status {word}` shows why; \
             open the channel anew when the other side is back"
        ),
        Errno::CONNRESET => format!(
            "the other end was killed or lost (ECONNRESET), and all it had sent was received before: \
             `fs9 status {word}` shows the reason; open the channel anew when the other side is back"
        ),
        Errno::CONNREFUSED => format!(
            "nobody serves it now (ECONNREFUSED): `fs9 status {word}` shows what is open; start what opens `accept`"
        ),
        Errno::BUSY => format!(
            "another process holds this end (EBUSY), and an end has one holder: \
             `fs9 status {word}` shows which; wait until it closes, or use the other end"
        ),
        Errno::SHUTDOWN => "the server is stopping (ESHUTDOWN): try again when `fs9 up` has run anew".into(),
        Errno::ACCESS if is_another_nodes(path) => {
            "its mode, or what was granted to this node, does not let you (EACCES): over there its owner can chmod it, or \
             `fs9 grant` it to this node's key (`cat id` in this mount), and then you detach and attach the node"
                .into()
        }
        Errno::ACCESS | Errno::PERM => not_allowed(verb, errno).into(),
        Errno::EXIST if verb == Verb::Attach => {
            format!("a node is attached there (EEXIST): use it, choose another name, or `fs9 detach {word}` first")
        }
        Errno::EXIST => format!(
            "there is already a file of that name (EEXIST): use it, choose another name, or `fs9 rm {word}` first if it is \
             a channel"
        ),
        Errno::NOENT => absent(verb, path),
        Errno::INVAL => invalid(verb).into(),
        Errno::NAMETOOLONG => "a name has 255 bytes at most (ENAMETOOLONG): choose a shorter one".into(),
        Errno::NOSPC => full(verb).into(),
        Errno::MFILE | Errno::NFILE => "as many descriptors are open as the mount or this system allows (EMFILE): \
                                        close some, or mount with a higher `fs9 up --max-opens`"
            .into(),
        Errno::NOTEMPTY => {
            format!("the directory is not empty (ENOTEMPTY): `fs9 ls {word}` shows what is in it; remove that first")
        }
        Errno::ISDIR => {
            format!(
                "it is a directory (EISDIR): name a channel in it; of a pair one end, {0}/a or {0}/b; of a service \
                 {0}/connect",
                shown(path)
            )
        }
        Errno::NOTDIR => "a part of the path is not a directory (ENOTDIR): `fs9 ls` shows what there is".into(),
        Errno::HOSTUNREACH => {
            "its node does not answer (EHOSTUNREACH): `cat status` in this mount shows why; it is tried \
                               again all the time"
                .into()
        }
        Errno::NOLINK => {
            "the link to its node was lost for too long (ENOLINK), so what was open there is closed: open it \
                          anew when `cat status` in this mount shows the node up"
                .into()
        }
        Errno::IO => {
            "the link to its node was lost, and nobody knows whether the message arrived (EIO): ask the other side \
                      before you send it again"
                .into()
        }
        Errno::KEYREVOKED => {
            "what was granted there has ended or was taken back (EKEYREVOKED), so what was open is closed: \
                              ask its owner for a new grant, then detach and attach the node"
                .into()
        }
        Errno::KEYEXPIRED => {
            "the grant has ended before it was given (EKEYEXPIRED): look at both clocks, and at --for".into()
        }
        Errno::KEYREJECTED => {
            "the server does not take the grant for its own (EKEYREJECTED): it signs with another key".into()
        }
        Errno::NOTUNIQ => "several grants begin so (ENOTUNIQ): give more of the id, as `fs9 grants` shows it".into(),
        Errno::OPNOTSUPP => {
            "this mount lets nobody in by key (EOPNOTSUPP): bring it up with `--listen tls://...`".into()
        }
        Errno::XDEV => {
            "it is another node's (EXDEV): what is to move between nodes is received here and sent there".into()
        }
        Errno::NOTCONN | Errno::CONNABORTED => "the server behind this mount has died (ENOTCONN): \
                                                `fs9 up DIR` on the mount point cleans it up and starts anew"
            .into(),
        _ => return None,
    };
    Some(text)
}

/// Whether it lies below `n/NAME`, where others decide.
fn is_another_nodes(path: &Path) -> bool {
    let Ok(Some((_, relative))) = mountpoint::containing(path) else { return false };
    let mut names = relative.components();
    names.next().is_some_and(|first| first.as_os_str() == "n") && names.nth(1).is_some()
}

fn not_now(verb: Verb) -> &'static str {
    match verb {
        Verb::Receive => "no message is there yet (EAGAIN): try later, or leave --nonblock away to wait",
        _ => {
            "the last message has not been taken yet, or of a service, enough clients wait already (EAGAIN): try later, or \
             leave --nonblock away to wait"
        }
    }
}

fn not_allowed(verb: Verb, errno: Errno) -> &'static str {
    match (verb, errno) {
        (Verb::Stop, _) => "only the user who mounted it, or root, may do that (EACCES)",
        (Verb::Make | Verb::Remove, Errno::PERM) => {
            "this mount does not allow it (EPERM): only channels and directories of your own can be made and removed"
        }
        (Verb::Grant | Verb::Revoke, Errno::PERM) => {
            "only processes of the node's own machine may say who comes in (EPERM)"
        }
        (Verb::Attach | Verb::Detach | Verb::Grant | Verb::Revoke, _) => {
            "only the user who mounted it, or root, may do that (EACCES)"
        }
        (Verb::Make | Verb::Remove, _) => {
            "its directory's mode does not let you (EACCES): its owner can chmod it, and a mount is for other users \
             only with `fs9 up --allow-other`"
        }
        (Verb::Send, _) => {
            "its mode does not let you (EACCES): README, status, events and timers are for reading; a channel's owner can chmod it, \
             and a mount is for other users only with `fs9 up --allow-other`"
        }
        _ => {
            "its mode does not let you (EACCES): its owner can chmod it, and a mount is for other users only with \
             `fs9 up --allow-other`"
        }
    }
}

fn absent(verb: Verb, path: &Path) -> String {
    match verb {
        Verb::Send | Verb::Receive => {
            format!("there is no such channel (ENOENT): make it with `fs9 new {}`", Word(path))
        }
        Verb::Make => "its directory does not exist (ENOENT): make that first, with mkdir".into(),
        Verb::Revoke => {
            "no grant is known whose id begins so (ENOENT): `fs9 grants` shows them; one that was passed on and not \
                         shown yet is revoked by its whole id, or by the grant itself"
                .into()
        }
        Verb::Detach => "no node is attached there (ENOENT): `ls` of its directory shows which are".into(),
        Verb::Find => "there is no such directory (ENOENT): `fs9 ls` shows what there is, mkdir makes one".into(),
        _ => "there is no such file (ENOENT): `fs9 ls` shows what there is".into(),
    }
}

fn invalid(verb: Verb) -> &'static str {
    match verb {
        Verb::Make | Verb::Attach => {
            "the server does not take the name (EINVAL): a name is UTF-8 of 1 to 255 bytes, without control characters, \
             and does not end like a view (:line, :whole)"
        }
        Verb::Remove => "only channels and directories can be removed (EINVAL): `fs9 ls` shows which names are",
        _ => {
            "this file does not take that (EINVAL): a topic is read or written, not both; `fs9 ls` shows which names are \
             channels"
        }
    }
}

fn full(verb: Verb) -> &'static str {
    match verb {
        Verb::Grant => "as much is granted as can be (ENOSPC): what has ended makes room",
        Verb::Attach => "as many nodes are attached as can be (ENOSPC): detach one first",
        Verb::Make => {
            "the mount has as many channels as it allows (ENOSPC): remove some, or mount with a higher \
             `fs9 up --max-channels`"
        }
        _ => {
            "the server holds as many bytes for waiting writers as it allows (ENOSPC), and nothing was sent: \
             try again when readers have caught up"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [Errno; 30] = [
        Errno::KEYREVOKED,
        Errno::KEYEXPIRED,
        Errno::KEYREJECTED,
        Errno::NOTUNIQ,
        Errno::OPNOTSUPP,
        Errno::MSGSIZE,
        Errno::AGAIN,
        Errno::PIPE,
        Errno::CONNRESET,
        Errno::CONNREFUSED,
        Errno::BUSY,
        Errno::SHUTDOWN,
        Errno::ACCESS,
        Errno::PERM,
        Errno::EXIST,
        Errno::NOENT,
        Errno::INVAL,
        Errno::NAMETOOLONG,
        Errno::NOSPC,
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOTEMPTY,
        Errno::ISDIR,
        Errno::NOTDIR,
        Errno::NOTCONN,
        Errno::CONNABORTED,
        Errno::HOSTUNREACH,
        Errno::NOLINK,
        Errno::IO,
        Errno::XDEV,
    ];

    #[test]
    fn every_error_of_the_contract_has_a_sentence() {
        let making = [Verb::Make, Verb::Remove, Verb::Attach, Verb::Detach, Verb::Grant, Verb::Revoke];
        for verb in [Verb::Find, Verb::Send, Verb::Receive, Verb::Look, Verb::Stop].into_iter().chain(making) {
            for errno in KNOWN {
                let meaning = meaning(verb, Path::new("p/jobs"), errno).expect("known");
                assert!(meaning.contains("(E") && !meaning.contains("  "), "{meaning}");
            }
        }
    }

    #[test]
    fn the_sentence_names_the_path_and_the_remedy() {
        let text = explain(Verb::Send, Path::new("p/my jobs"), Errno::NOENT);
        assert_eq!(
            text,
            "cannot send to p/my jobs: there is no such channel (ENOENT): make it with `fs9 new 'p/my jobs'`"
        );
    }

    #[test]
    fn an_unknown_error_keeps_the_system_s_text() {
        let text = explain(Verb::Look, Path::new("p"), Errno::FBIG);
        assert!(text.starts_with("cannot read p: File too large"), "{text}");
    }
}
