//! The bytes of one message, counted against the mount's limit while anything holds them.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fs9_tiers::heap;

/// From this size on a message has a lent buffer to itself, if possible the one it was received into.
pub const LARGE: usize = 256 << 10;

/// Spare buffers that are kept for the next large message; more are freed.
const SPARES: usize = 4;

/// So many bytes of messages at once are a burst, after which the heap is asked to give its memory back.
const BURST: usize = 32 << 20;

/// Bytes over the limit that are kept for texts: several times the status of as many channels as there may be.
const TEXTS: usize = 256 << 20;

/// Where message bytes live: an account of how many there are, and a few spare buffers for large ones.
#[derive(Debug)]
pub struct Store {
    /// What this one is a part of.
    whole: Option<Arc<Store>>,
    used: AtomicUsize,
    limit: usize,
    buffer: usize,
    spares: Mutex<Vec<Vec<u8>>>,
    /// The most that was used since memory was last given back.
    peak: AtomicUsize,
}

impl Store {
    /// A store that holds at most `limit` bytes and lends buffers of `buffer` bytes.
    pub fn new(limit: usize, buffer: usize) -> Arc<Store> {
        let (used, peak) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Store { whole: None, used, limit, buffer, spares: Mutex::new(Vec::new()), peak })
    }

    /// A part of `whole` that holds at most `limit` bytes, which count in both.
    pub fn within(whole: &Arc<Store>, limit: usize) -> Arc<Store> {
        let (used, peak) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let spares = Mutex::new(Vec::new());
        Arc::new(Store { whole: Some(whole.clone()), used, limit, buffer: whole.buffer, spares, peak })
    }

    /// A buffer to receive into. It is not counted before it becomes a message.
    pub fn buffer(&self) -> Vec<u8> {
        if let Some(whole) = &self.whole {
            return whole.buffer();
        }
        let spare = self.spares.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| vec![0; self.buffer])
    }

    /// Bytes that messages hold now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Room for `bytes` of what the server itself has to say, see [`Store::text`].
    pub fn claim_text(self: &Arc<Self>, bytes: usize) -> Option<Claim> {
        self.claim_up_to(self.limit.saturating_add(TEXTS), bytes)
    }

    /// Room for `bytes` more; None when the limit would be passed.
    pub fn claim(self: &Arc<Self>, bytes: usize) -> Option<Claim> {
        self.claim_up_to(self.limit, bytes)
    }

    fn claim_up_to(self: &Arc<Self>, limit: usize, bytes: usize) -> Option<Claim> {
        self.reserve(limit, bytes).then(|| Claim { store: self.clone(), bytes })
    }

    fn reserve(&self, limit: usize, bytes: usize) -> bool {
        if self.whole.as_ref().is_some_and(|whole| !whole.reserve(whole.limit, bytes)) {
            return false;
        }
        let room = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= limit);
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room) {
            Ok(before) => {
                self.peak.fetch_max(before + bytes, Ordering::Relaxed);
                true
            }
            Err(_) => {
                self.whole.iter().for_each(|whole| whole.release(bytes));
                false
            }
        }
    }

    /// A message with a copy of `bytes`; None when the limit would be passed. A large one goes where others have been:
    /// the kernel would take as long to find fresh pages for it as the copy takes.
    pub fn copy(self: &Arc<Self>, bytes: &[u8]) -> Option<Message> {
        if (LARGE..=self.buffer).contains(&bytes.len()) {
            let mut buffer = self.buffer();
            buffer[..bytes.len()].copy_from_slice(bytes);
            return self.adopt(buffer, 0..bytes.len());
        }
        let claim = self.claim(bytes.len())?;
        Some(Message::new(bytes.to_vec(), 0..bytes.len(), claim))
    }

    /// What the server itself has to say, with room of its own: when messages fill the mount, somebody wants to read
    /// its status. None when that is full too.
    pub fn text(self: &Arc<Self>, text: impl Into<Vec<u8>>) -> Option<Message> {
        let text = text.into();
        let claim = self.claim_text(text.len())?;
        let range = 0..text.len();
        Some(Message::new(text, range, claim))
    }

    /// A text that is always there to be read, however full the mount is.
    pub fn constant(self: &Arc<Self>, text: &'static str) -> Message {
        Message::new(text.into(), 0..text.len(), Claim { store: self.clone(), bytes: 0 })
    }

    /// A message in the `range` of a buffer that was lent here; what lies outside the range is not part of it. None
    /// when the limit would be passed.
    pub fn adopt(self: &Arc<Self>, buffer: Vec<u8>, range: Range<usize>) -> Option<Message> {
        let claim = self.claim(buffer.len())?;
        Some(Message::new(buffer, range, claim))
    }

    fn release(&self, bytes: usize) {
        let rest = self.used.fetch_sub(bytes, Ordering::Relaxed) - bytes;
        if let Some(whole) = &self.whole {
            return whole.release(bytes);
        }
        if rest < BURST / 16 && self.peak.load(Ordering::Relaxed) > BURST {
            self.peak.store(rest, Ordering::Relaxed);
            heap::trim();
        }
    }

    fn take_back(&self, buffer: Vec<u8>) {
        if let Some(whole) = &self.whole {
            return whole.take_back(buffer);
        }
        if buffer.len() == self.buffer {
            let mut spares = self.spares.lock().unwrap_or_else(PoisonError::into_inner);
            if spares.len() < SPARES {
                spares.push(buffer);
            }
        }
    }
}

/// Bytes counted in a [`Store`], given back on drop.
#[derive(Debug)]
pub struct Claim {
    store: Arc<Store>,
    bytes: usize,
}

impl Claim {
    /// Adds another claim of the same store to this one.
    pub fn join(&mut self, mut other: Claim) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.store.release(self.bytes);
    }
}

#[derive(Debug)]
struct Bytes {
    buffer: Vec<u8>,
    claim: Claim,
}

impl Drop for Bytes {
    fn drop(&mut self) {
        self.claim.store.take_back(std::mem::take(&mut self.buffer));
    }
}

/// One message, or a part of one. Clones share the bytes.
#[derive(Clone)]
pub struct Message {
    bytes: Arc<Bytes>,
    range: Range<usize>,
}

impl Message {
    /// The `range` of `buffer`, for which `claim` was made.
    pub fn new(buffer: Vec<u8>, range: Range<usize>, claim: Claim) -> Message {
        debug_assert!(range.end <= buffer.len());
        Message { bytes: Arc::new(Bytes { buffer, claim }), range }
    }

    /// A part of it, as a message. It holds all the bytes that this one holds.
    pub fn part(&self, range: Range<usize>) -> Message {
        debug_assert!(range.end <= self.len());
        let (from, to) = (self.range.start + range.start, self.range.start + range.end);
        Message { bytes: self.bytes.clone(), range: from..to }
    }
}

impl Deref for Message {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes.buffer[self.range.clone()]
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_while_anything_holds_them() {
        let store = Store::new(100, 64);
        let message = store.copy(b"hello").expect("there is room");
        let clone = message.clone();
        drop(message);
        assert_eq!((&*clone, store.used()), (&b"hello"[..], 5));
        assert!(store.copy(&[0; 96]).is_none(), "96 more are over 100");
        drop(clone);
        assert_eq!(store.used(), 0);
    }

    #[test]
    fn a_lent_buffer_comes_back_when_its_message_goes() {
        let store = Store::new(100, 64);
        let mut buffer = store.buffer();
        buffer[10..13].copy_from_slice(b"abc");
        let at = buffer.as_ptr();
        let message = store.adopt(buffer, 10..13).expect("there is room");
        assert_eq!((&*message, store.used()), (&b"abc"[..], 64));
        drop(message);
        let again = store.buffer();
        assert_eq!((again.as_ptr(), store.used()), (at, 0));
    }

    #[test]
    fn a_full_store_still_has_room_for_texts() {
        let store = Store::new(4, 64);
        let _message = store.copy(b"full").expect("there is room");
        assert!(store.copy(b"x").is_none());
        assert_eq!(store.text("status").as_deref(), Some(&b"status"[..]));
    }

    #[test]
    fn claims_join() {
        let store = Store::new(100, 64);
        let mut claim = store.claim(10).expect("there is room");
        claim.join(store.claim(20).expect("there is room"));
        assert_eq!(store.used(), 30);
        drop(claim);
        assert_eq!(store.used(), 0);
    }
}
