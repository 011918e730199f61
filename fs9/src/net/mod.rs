//! Other machines: the addresses where they are found, and the loop that serves those that come.
//!
//! ```text
//! porter    waits for all sockets at once: lets clients in, reads what they say, ends them
//! origin    who is at the other end of a socket
//! client    a client: its conversation (`fs9_proto::server`), and the connection it is answered by
//! door      its requests as verbs of the server
//! user      whom it names as the one who asks
//! stream    a connection as bytes go through it
//! tls       connections whose two ends prove their keys
//! carry     a connection for somebody who has only a socket
//! attach    the other side: links to the nodes whose trees are shown here
//! ```

pub mod address;
pub mod attach;
pub mod carry;
mod client;
mod door;
pub mod listen;
mod origin;
mod porter;
mod spot;
pub mod stream;
pub mod tls;
mod user;

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crate::confine::{self, Duty};
use client::Bell;
use listen::Listener;
pub use porter::House;
use porter::Porter;
pub use user::Clerk;

/// The loop that serves clients from elsewhere. Dropped, it has ended, and every client with it.
#[derive(Debug, Default)]
pub struct Net {
    running: Option<(JoinHandle<()>, Arc<Bell>)>,
    /// Here too, because their files are not the loop's to remove.
    _listeners: Arc<[Listener]>,
}

impl Net {
    /// Serves who comes to `listeners`, in the house that a clerk is given. Without any there is no loop.
    ///
    /// # Errors
    /// EMFILE; no thread to be had.
    pub fn new(listeners: Vec<Listener>, house: impl FnOnce(Clerk) -> House) -> io::Result<Net> {
        if listeners.is_empty() {
            return Ok(Net::default());
        }
        let (listeners, house): (Arc<[Listener]>, _) = (listeners.into(), house(Clerk::start()?));
        let bell = Arc::new(Bell::new()?);
        if let Some(grants) = &house.grants {
            grants.when_less(bell.clone().into());
        }
        let state = Result::as_ref(&*house.identity).ok().map(|identity| identity.state().path(""));
        let porter = Porter::new(listeners.clone(), house, bell.clone())?;
        let thread = thread::Builder::new().name("fs9-net".into()).spawn(move || {
            confine::enter(Duty::Net { state: state.as_deref() });
            porter.run();
        })?;
        Ok(Net { running: Some((thread, bell)), _listeners: listeners })
    }

    /// Answers and closes everything.
    pub fn end(&mut self) {
        if let Some((thread, bell)) = self.running.take() {
            bell.end();
            // It has said what is wrong, if it panicked.
            let _ = thread.join();
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.end();
    }
}
