//! The far side of a connection: what a process takes and gives, as messages. Nothing here waits.

use std::io;

use rustix::event::PollFd;

use super::framing::Fault;

/// See the [module](self).
pub trait Far {
    /// Whether it would take another message. It has at most one in hand that the process has not taken.
    fn has_room(&self) -> bool;

    /// A message for the process, which there must be room for.
    fn give(&mut self, message: Vec<u8>);

    /// There are no more messages for it: once it has taken what there is, it is told.
    fn hang_up(&mut self);

    /// What the process has not taken is given up.
    fn cut_off(&mut self);

    /// The next message of the process, if it is complete.
    ///
    /// # Errors
    /// See [`Fault`]. It says nothing more then.
    fn next(&mut self) -> Result<Option<Vec<u8>>, Fault>;

    /// Whether it has said everything and [`Far::next`] has given it all.
    fn is_spent(&self) -> bool;

    /// Moves what can be moved without waiting; where it is `wanted`, a bounded part of what the process says.
    ///
    /// # Errors
    /// EPIPE when the process takes no more messages and one in hand is lost.
    fn advance(&mut self, wanted: bool) -> io::Result<()>;

    /// Nobody takes what it says, now and ever.
    fn close_output(&mut self);

    /// The process has ended: what is there now is all, whoever else might say more.
    fn finish(&mut self);

    /// Adds what to poll for before the next [`Far::advance`].
    fn sources<'a>(&'a self, wanted: bool, sources: &mut Vec<PollFd<'a>>);
}
