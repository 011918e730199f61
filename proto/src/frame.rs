//! Bytes in, whole frames out.
//!
//! A frame is `size[4]` and what follows, `size` bytes in all. The size is checked against a limit before anything is
//! made ready for it. A long frame is read into the place it stays in; short ones are not moved but for the beginning
//! of one that no longer fits behind the others.

/// The smallest frame: `size[4] number[1] tag[2]`.
pub const MIN_FRAME: u32 = 7;
/// The smallest `msize` that is spoken: room for a header and a name of 255 bytes, several times over.
pub const MIN_MSIZE: u32 = 4096;
/// The largest frame from somebody who has no session and has not attached yet.
pub const FIRST_LIMIT: u32 = 64 << 10;

/// Bytes of a buffer at rest, and the least room that is offered for what comes next.
const RESTING: usize = 4 << 10;
/// Most bytes that are read at once while the length of the next frame is not known.
const AHEAD: usize = 64 << 10;
/// After so many frames in a row that were in no need of a large buffer it is given back.
const PATIENCE: u8 = 16;

/// A size that no frame has. The stream cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Less than [`MIN_FRAME`].
    #[error("a frame of {0} bytes is too short to be a message")]
    Short(u32),
    /// More than the limit.
    #[error("a frame of {size} bytes is over the limit of {limit}")]
    Long {
        /// What the frame says of itself.
        size: u32,
        /// What is allowed.
        limit: u32,
    },
}

/// A receive buffer.
///
/// ```
/// use fs9_proto::frame::Frames;
///
/// let mut frames = Frames::default();
/// frames.push(&[7, 0, 0, 0, 217, 1, 0, 7, 0]);
/// assert_eq!(frames.pull(), Ok(Some(&[7, 0, 0, 0, 217, 1, 0][..])));
/// assert_eq!(frames.pull(), Ok(None));
/// ```
#[derive(Debug)]
pub struct Frames {
    limit: u32,
    buffer: Vec<u8>,
    /// Where the bytes begin that have not been pulled, and where they end.
    start: usize,
    end: usize,
    /// Frames in a row for which a resting buffer would have done.
    small: u8,
}

impl Default for Frames {
    fn default() -> Self {
        Self::new(FIRST_LIMIT)
    }
}

impl Frames {
    /// With frames of at most `limit` bytes.
    pub const fn new(limit: u32) -> Self {
        Self { limit, buffer: Vec::new(), start: 0, end: 0, small: 0 }
    }

    /// Frames that were not pulled yet may have at most `limit` bytes.
    pub fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }

    /// Where the next bytes are to be read to; never empty. The buffer grows when frames are not pulled, so pull them
    /// first.
    pub fn space(&mut self) -> &mut [u8] {
        let frame = self.size().ok().flatten().unwrap_or(0);
        let room = self.make_room(frame.max(self.pending() + 1));
        // Of a long frame no more than its end, so that it and the next one begin where the buffer does.
        let most = if frame > AHEAD { frame.saturating_sub(self.pending()).max(1) } else { AHEAD };
        let end = room.min(self.end + most);
        &mut self.buffer[self.end..end]
    }

    /// So many bytes were read to [`space`](Self::space).
    pub fn filled(&mut self, bytes: usize) {
        self.end = self.buffer.len().min(self.end + bytes);
    }

    /// Appends bytes that are somewhere already.
    pub fn push(&mut self, bytes: &[u8]) {
        self.make_room(self.pending() + bytes.len());
        self.buffer[self.end..][..bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// The next whole frame, `size[4]` included; `None` when more bytes must come first. After an error nothing else
    /// comes.
    pub fn pull(&mut self) -> Result<Option<&[u8]>, FrameError> {
        let Some(size) = self.size()?.filter(|size| *size <= self.pending()) else { return Ok(None) };
        self.small = if size > RESTING { 0 } else { self.small.saturating_add(1) };
        let frame = self.start..self.start + size;
        self.start = frame.end;
        Ok(Some(&self.buffer[frame]))
    }

    /// Bytes that were not pulled yet.
    pub fn pending(&self) -> usize {
        self.end - self.start
    }

    /// Bytes of memory that it has.
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Gives back what neither is pending nor is there for a frame that has begun: for a connection that has been
    /// silent for a while.
    pub fn trim(&mut self) {
        let needed = self.size().ok().flatten().unwrap_or(0).max(self.pending());
        if needed == 0 {
            *self = Self::new(self.limit);
        } else if self.buffer.len() > needed.next_multiple_of(RESTING) {
            self.replace(needed);
        }
    }

    /// What the next frame says of itself, once it does.
    fn size(&self) -> Result<Option<usize>, FrameError> {
        let Some(size) = self.buffer[self.start..self.end].first_chunk() else { return Ok(None) };
        match u32::from_le_bytes(*size) {
            size if size < MIN_FRAME => Err(FrameError::Short(size)),
            size if size > self.limit => Err(FrameError::Long { size, limit: self.limit }),
            size => Ok(Some(size as usize)),
        }
    }

    /// Sees to it that so many bytes fit from `start` on, and says where the buffer ends.
    fn make_room(&mut self, bytes: usize) -> usize {
        if self.pending() == 0 {
            self.start = 0;
            self.end = 0;
            if self.small >= PATIENCE && self.buffer.len() > RESTING && bytes <= RESTING {
                self.buffer = Vec::new();
            }
        }
        if bytes > self.buffer.len() {
            self.replace(bytes);
        } else if self.start + bytes > self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        self.buffer.len()
    }

    /// Moves what is pending to a new buffer for so many bytes.
    fn replace(&mut self, bytes: usize) {
        let mut buffer = vec![0; bytes.next_multiple_of(RESTING)];
        buffer[..self.pending()].copy_from_slice(&self.buffer[self.start..self.end]);
        self.end -= self.start;
        self.start = 0;
        self.buffer = buffer;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(size: u32) -> Vec<u8> {
        let filling = (4..size).map(|place| (place % 251) as u8);
        size.to_le_bytes().into_iter().chain(filling).collect()
    }

    /// Reads at most so many bytes to where they are wanted.
    fn feed(frames: &mut Frames, bytes: &mut &[u8], most: usize) {
        let space = frames.space();
        let n = most.min(space.len()).min(bytes.len());
        let (now, later) = bytes.split_at(n);
        space[..n].copy_from_slice(now);
        frames.filled(n);
        *bytes = later;
    }

    #[test]
    fn sizes_that_no_frame_has_are_refused_before_anything_grows() {
        for size in 0..MIN_FRAME {
            let mut frames = Frames::default();
            frames.push(&size.to_le_bytes());
            assert_eq!(frames.pull(), Err(FrameError::Short(size)));
        }
        for size in [FIRST_LIMIT + 1, 1 << 20, u32::MAX] {
            let mut frames = Frames::default();
            frames.push(&size.to_le_bytes()[..3]);
            assert_eq!(frames.pull(), Ok(None));
            frames.push(&size.to_le_bytes()[3..]);
            let error = FrameError::Long { size, limit: FIRST_LIMIT };
            assert_eq!(frames.pull(), Err(error));
            frames.space();
            assert_eq!((frames.capacity(), frames.pull()), (RESTING, Err(error)));
        }
    }

    #[test]
    fn the_limit_holds_from_the_next_frame_on() {
        let mut frames = Frames::new(100);
        frames.push(&frame(100));
        frames.push(&frame(200));
        assert_eq!(frames.pull(), Ok(Some(&frame(100)[..])));
        assert!(frames.pull().is_err());
        frames.set_limit(200);
        assert_eq!(frames.pull(), Ok(Some(&frame(200)[..])));
    }

    #[test]
    fn a_long_frame_is_read_into_the_place_it_stays_in() {
        let size = 1 << 20;
        let mut frames = Frames::new(size);
        let bytes = [frame(size), frame(size)].concat();
        let mut bytes = &bytes[..];
        feed(&mut frames, &mut bytes, usize::MAX);
        assert_eq!(frames.pull(), Ok(None));
        assert_eq!(frames.pending(), RESTING);
        assert_eq!(frames.space().len(), size as usize - RESTING, "all of it, and nothing of the next one");
        let place = frames.buffer.as_ptr();
        feed(&mut frames, &mut bytes, usize::MAX);
        assert_eq!(frames.pull().unwrap().unwrap().as_ptr(), place);
        feed(&mut frames, &mut bytes, usize::MAX);
        feed(&mut frames, &mut bytes, usize::MAX);
        assert_eq!(frames.pull().unwrap().unwrap().as_ptr(), place, "the buffer is still there for the next one");
        assert_eq!(frames.capacity(), size as usize);
    }

    #[test]
    fn memory_is_given_back_after_short_frames_and_after_silence() {
        let mut frames = Frames::new(1 << 20);
        frames.push(&frame(1 << 20));
        assert!(frames.pull().unwrap().is_some());
        for _ in 0..PATIENCE {
            assert_eq!(frames.capacity(), 1 << 20);
            frames.push(&frame(64));
            assert!(frames.pull().unwrap().is_some());
        }
        frames.space();
        assert_eq!(frames.capacity(), RESTING);
        frames.push(&frame(1 << 20));
        assert!(frames.pull().unwrap().is_some());
        frames.push(&[64, 0]);
        frames.trim();
        assert_eq!(frames.capacity(), RESTING);
        frames.push(&frame(64)[2..]);
        assert_eq!(frames.pull(), Ok(Some(&frame(64)[..])));
        frames.push(&frame(1 << 20)[..4]);
        frames.space();
        frames.trim();
        assert_eq!(frames.capacity(), 1 << 20, "what has begun needs it");
        frames.push(&frame(1 << 20)[4..]);
        assert_eq!(frames.pull(), Ok(Some(&frame(1 << 20)[..])));
        frames.trim();
        assert_eq!(frames.capacity(), 0);
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            sizes in prop::collection::vec(prop_oneof![8 => 7..200u32, 2 => 200..9000u32, 1 => 9000..300_000u32], 1..40),
            cuts in prop::collection::vec(prop_oneof![1..10usize, 10..5000usize, Just(usize::MAX)], 1..20),
        ) {
            let limit = 300_000;
            let mut frames = Frames::new(limit);
            let bytes: Vec<u8> = sizes.iter().flat_map(|size| frame(*size)).collect();
            let (mut bytes, mut cuts, mut out) = (&bytes[..], cuts.into_iter().cycle(), Vec::new());
            while !bytes.is_empty() {
                feed(&mut frames, &mut bytes, cuts.next().unwrap());
                while let Some(whole) = frames.pull().unwrap() {
                    prop_assert_eq!(whole, &frame(whole.len() as u32)[..]);
                    out.push(whole.len() as u32);
                }
                prop_assert!(frames.capacity() <= (limit as usize).next_multiple_of(RESTING));
            }
            prop_assert_eq!((out, frames.pending()), (sizes, 0));
        }
    }
}
