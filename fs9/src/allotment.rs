//! What one key may have of a mount at once, whatever it was granted, so that none leaves the others without: the table
//! of these limits, and who has how much of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::io::Errno;

use crate::message::Store;
use crate::mount::Limits;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Good {
    /// Connections that have attached something, or will be resumed.
    Connections,
    /// Channels and directories that it has made, as long as they are there.
    Channels,
    /// Descriptors.
    Opens,
    /// Links of its own to nodes that are attached here.
    Links,
}

/// For each of them: at most, the error of one more, and the word for it.
const TABLE: [(Good, usize, Errno, &str); 4] = [
    (Good::Connections, 512, Errno::USERS, "connections"),
    (Good::Channels, 4096, Errno::NOSPC, "channels and directories"),
    (Good::Opens, 4096, Errno::MFILE, "descriptors"),
    (Good::Links, 32, Errno::USERS, "links to nodes behind this one"),
];
/// Bytes of messages that it has sent and nobody has taken; more is ENOSPC.
const BYTES: usize = 64 << 20;

/// What a key has and may have.
#[derive(Debug)]
pub struct Allotment {
    used: [AtomicUsize; TABLE.len()],
    most: [usize; TABLE.len()],
    /// Where its messages live: of the mount's store a part.
    pub store: Arc<Store>,
}

/// There is no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exhausted {
    /// As it is answered.
    pub errno: Errno,
    /// As it is told.
    pub reason: String,
}

impl Allotment {
    /// One key's of a mount with these limits: what the table says, and no more than half of the mount's.
    pub fn new(limits: &Limits, store: &Arc<Store>) -> Arc<Allotment> {
        let whole = |good| match good {
            Good::Connections | Good::Links => usize::MAX,
            Good::Channels => limits.channels,
            Good::Opens => limits.opens,
        };
        let most = TABLE.map(|(good, most, ..)| most.min(whole(good) / 2));
        let store = Store::within(store, BYTES.min(limits.bytes / 2));
        Arc::new(Allotment { used: Default::default(), most, store })
    }

    /// One more of `good`, until what this returns is dropped.
    ///
    /// # Errors
    /// [`Exhausted`].
    pub fn take(self: &Arc<Self>, good: Good) -> Result<Share, Exhausted> {
        let place = good as usize;
        let most = self.most[place];
        let one_more = |used: usize| (used < most).then_some(used + 1);
        match self.used[place].fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) {
            Ok(_) => Ok(Share { of: self.clone(), place }),
            Err(_) => {
                let (_, _, errno, word) = TABLE[place];
                Err(Exhausted { errno, reason: format!("this key has {most} {word}, as many as a key may have") })
            }
        }
    }

    /// What is told where there is no room for a message of it.
    pub fn full(&self) -> String {
        let kept = self.store.used();
        format!("there is no room for more of this key's messages: {kept} bytes of them wait to be taken")
    }
}

/// One of what a key may have; given back on drop.
#[derive(Debug)]
pub struct Share {
    of: Arc<Allotment>,
    place: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.used[self.place].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_where_its_good_says() {
        assert!(TABLE.iter().enumerate().all(|(place, (good, ..))| *good as usize == place));
    }

    #[test]
    fn there_is_an_end_and_what_is_given_back_is_there_again() {
        let limits = Limits { channels: 5, ..Limits::default() };
        let allotment = Allotment::new(&limits, &Store::new(limits.bytes, 0));
        let first = allotment.take(Good::Channels).expect("one");
        let _second = allotment.take(Good::Channels).expect("half of five");
        let exhausted = allotment.take(Good::Channels).expect_err("two are more than half");
        assert_eq!(exhausted.errno, Errno::NOSPC);
        assert_eq!(exhausted.reason, "this key has 2 channels and directories, as many as a key may have");
        drop(first);
        assert!(allotment.take(Good::Channels).is_ok());
        let connections: Vec<_> = (0..512).map(|_| allotment.take(Good::Connections).expect("one of 512")).collect();
        assert_eq!(allotment.take(Good::Connections).expect_err("513").errno, Errno::USERS);
        assert_eq!(connections.len(), 512);
    }

    #[test]
    fn its_bytes_are_the_mounts_too() {
        let limits = Limits { bytes: 100, ..Limits::default() };
        let store = Store::new(limits.bytes, 0);
        let (one, other) = (Allotment::new(&limits, &store), Allotment::new(&limits, &store));
        let kept = one.store.copy(&[1; 50]).expect("half of it");
        assert!(one.store.copy(&[1]).is_none());
        let told = "there is no room for more of this key's messages: 50 bytes of them wait to be taken";
        assert_eq!(one.full(), told);
        let others = other.store.copy(&[2; 30]).expect("there is room for others");
        assert_eq!((one.store.used(), other.store.used(), store.used()), (50, 30, 80));
        assert!(store.copy(&[3; 21]).is_none() && store.copy(&[3; 20]).is_some());
        drop((kept, others));
        assert_eq!((one.store.used(), other.store.used(), store.used()), (0, 0, 0));
    }
}
