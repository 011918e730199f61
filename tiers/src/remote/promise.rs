//! A message that is told as taken while it still comes.
//!
//! Between two long messages a sender would wait for the last bytes of the first one to be copied, and for a `taken` to
//! come back: on a machine of two processors a sixth of the time, over a network a round trip. So a receiver who waits
//! for nothing but what is just coming says `taken` ahead. The far side may then send one more, which may be here before
//! the first was taken: it waits beside the slot.
#![forbid(unsafe_code)]

/// What was promised to the far sender of a channel.
#[derive(Debug, Default)]
pub(super) enum Promise<M> {
    /// Nothing: it has room for one when it hears that the last one was taken.
    #[default]
    None,
    /// The message that comes now was told as taken.
    Made,
    /// It lies in the slot, and here what came after it.
    Kept(Option<M>),
}

impl<M> Promise<M> {
    /// Promises to take what comes now. False where it was promised already, or the last promise is not redeemed.
    pub fn make(&mut self) -> bool {
        let may = matches!(self, Promise::None);
        if may {
            *self = Promise::Made;
        }
        may
    }

    /// A message goes into the slot. Whether it was told as taken.
    pub fn arrive(&mut self) -> bool {
        let was_made = matches!(self, Promise::Made);
        if was_made {
            *self = Promise::Kept(None);
        }
        was_made
    }

    /// A message comes while the slot is full.
    ///
    /// # Errors
    /// The far side had no right to send it.
    pub fn wait(&mut self, message: M) -> Result<(), M> {
        match self {
            Promise::Kept(next @ None) => {
                *next = Some(message);
                Ok(())
            }
            _ => Err(message),
        }
    }

    /// Whether what was promised has come, and is not redeemed.
    pub fn is_kept(&self) -> bool {
        matches!(self, Promise::Kept(_))
    }

    /// Whether there is a message beside the slot.
    pub fn is_waiting(&self) -> bool {
        matches!(self, Promise::Kept(Some(_)))
    }

    /// What was promised was taken, or nobody will. What has waited for that.
    pub fn redeem(&mut self) -> Option<M> {
        match std::mem::take(self) {
            Promise::Kept(next) => next,
            Promise::None | Promise::Made => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Promise;

    #[test]
    fn one_message_more_may_come_before_the_promised_one_was_taken() {
        let mut promise = Promise::None;
        assert_eq!(promise.wait('a'), Err('a'), "nothing was promised");
        assert!(promise.make() && !promise.make());
        assert_eq!(promise.wait('a'), Err('a'), "the slot is full of what was not promised");
        assert!(promise.arrive());
        assert!(!promise.is_waiting());
        assert_eq!((promise.wait('b'), promise.wait('c')), (Ok(()), Err('c')));
        assert!(promise.is_waiting() && !promise.make(), "not before the last one is redeemed");
        assert_eq!((promise.redeem(), promise.redeem()), (Some('b'), None));
        assert!(!promise.arrive(), "b was not promised");
        assert!(promise.make());
    }
}
