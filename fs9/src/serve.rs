//! What a program has put into its mount, as tasks: a function that answers requests, one that is given a peer for each
//! client, a peer that is somebody's other end.

use std::future::poll_fn;
use std::panic::{self, AssertUnwindSafe};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use fs9_tiers::error::Reason;
use fs9_tiers::{Peer, Receiver, Sender, pair};
use rustix::io::Errno;

use crate::crew::{Crew, Group};
use crate::descriptor::{Descriptor, open};
use crate::local::verb;
use crate::name::Client;
use crate::server::{Server, ready};
use crate::tree::{File, NodeId, Part};

/// A peer of files: a message is the bytes of one write(2), or of one read(2).
pub type Bytes = Peer<Vec<u8>, Vec<u8>>;

/// What every task needs.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The server of the mount.
    pub server: Arc<Mutex<Server>>,
    /// Who runs them.
    pub crew: Crew,
}

/// Takes the clients of a service, one after the other.
#[derive(Debug)]
pub struct Acceptor {
    accept: File,
    server: Arc<Mutex<Server>>,
    /// In line for the next client.
    end: Descriptor,
}

impl Acceptor {
    /// Stands in line at `service`.
    ///
    /// # Errors
    /// As [`Server::open`].
    pub fn new(server: &Arc<Mutex<Server>>, service: NodeId) -> Result<Acceptor, Errno> {
        let accept = File { node: service, part: Part::B };
        let end = Descriptor::with(server, |server, fx| open(server, accept, fx))?;
        Ok(Acceptor { accept, server: server.clone(), end })
    }

    /// The next client. None when there will be none any more.
    async fn next(&mut self) -> Option<(Descriptor, Client)> {
        loop {
            let client = self.end.client().await?;
            match Descriptor::with(&self.server, |server, fx| open(server, self.accept, fx)) {
                Ok(next) => return Some((std::mem::replace(&mut self.end, next), client)),
                Err(Errno::STALE | Errno::NOENT | Errno::SHUTDOWN) => return None,
                // Too many descriptors: without one in line nobody would be served any more, so this client is not.
                Err(error) => {
                    self.end.tell("refused", format!("no descriptor for the next: {error}"));
                    self.end.exchange(self.accept).ok()?;
                }
            }
        }
    }
}

/// Answers each request of each client by `function`.
pub async fn serve<F, R>(mut clients: Acceptor, stage: Stage, group: Group, function: F)
where
    F: Fn(&[u8]) -> R + Send + Sync + 'static,
    R: Into<Vec<u8>> + 'static,
{
    let function = Arc::new(function);
    while let Some((end, _)) = clients.next().await {
        // There is a thread: this one.
        let _ = stage.crew.start(group, answer(end, stage.crew.clone(), function.clone()));
    }
}

/// One client of [`serve`].
async fn answer<F, R>(end: Descriptor, crew: Crew, function: Arc<F>)
where
    F: Fn(&[u8]) -> R + Send + Sync,
    R: Into<Vec<u8>> + 'static,
{
    while let Ok(Some(request)) = end.recv().await {
        let work = crew.work().await;
        // What a panic leaves behind is the function's: it is shared, so it has locks or nothing to break.
        let answer = panic::catch_unwind(AssertUnwindSafe(|| function(&request).into()));
        drop(work);
        let sent = match answer {
            Ok(answer) if answer.is_empty() => Ok(()),
            Ok(answer) => send(&end, &answer).await,
            Err(_) => return end.leave(Reason::Panicked),
        };
        match sent {
            Ok(()) => {}
            Err(Some(reason)) => return end.leave(reason),
            Err(None) => return,
        }
    }
}

/// Gives a peer of its own to `function` for each client.
pub async fn serve_peers<F>(mut clients: Acceptor, stage: Stage, group: Group, function: F)
where
    F: Fn(Bytes, Client) + Send + Sync + 'static,
{
    let function = Arc::new(function);
    while let Some((end, client)) = clients.next().await {
        // Those who come meanwhile wait in the backlog.
        let work = stage.crew.work().await;
        let (here, there) = pair();
        let function = function.clone();
        let run = async move {
            let _ = panic::catch_unwind(AssertUnwindSafe(|| function(there, client)));
            drop(work);
        };
        let _ = stage.crew.start(group, carry(end, here));
        let _ = stage.crew.start(group, run);
    }
}

/// A peer that is one end of the pair `node`, whose other end somebody opens.
pub async fn serve_one(end: Descriptor, peer: Bytes, stage: Stage, node: NodeId) {
    carry(end, peer).await;
    verb(&stage.server, |server, fx| server.retire(node, fx));
}

/// Carries messages both ways, until one side is gone. Each is taken only once there is room for it on the other side.
async fn carry(end: Descriptor, peer: Bytes) {
    let (sender, receiver) = peer.split();
    // The receiver goes first, as in a peer: who has learnt that this end is gone cannot send to it any more.
    let reason = either(bring(&end, &sender), fetch(&end, receiver)).await;
    drop(sender);
    end.leave(reason);
}

/// From the file to the peer. Some reason when the conversation is over, None when only this direction is.
async fn bring(end: &Descriptor, sender: &Sender<Vec<u8>>) -> Option<Reason> {
    loop {
        let sent = match sender.reserve_async().await {
            Ok(permit) => match end.recv().await {
                Ok(Some(message)) => permit.send(message.to_vec()).map_err(|gone| gone.reason()),
                Ok(None) | Err(_) => return Some(Reason::Closed),
            },
            Err(gone) => Err(gone.reason()),
        };
        if let Err(reason) = sent {
            // It receives no more. What it has sent can still be read.
            end.deafen(reason.unwrap_or(Reason::Protocol));
            return None;
        }
    }
}

/// From the peer to the file. As [`bring`].
async fn fetch(end: &Descriptor, receiver: Receiver<Vec<u8>>) -> Option<Reason> {
    loop {
        if end.ready(ready::OUT).await.ok()? & ready::HUP != 0 {
            return None;
        }
        match receiver.recv_async().await {
            Ok(message) => match send(end, &message).await {
                Ok(()) => {}
                Err(reason) => return reason,
            },
            Err(gone) => return Some(gone.reason().unwrap_or(Reason::Protocol)),
        }
    }
}

/// Sends one message. The error is the reason to end the conversation for, or None where it has ended.
async fn send(end: &Descriptor, message: &[u8]) -> Result<(), Option<Reason>> {
    let unfit = match message.len() {
        0 => "a message without bytes cannot be read from a file".to_owned(),
        len => match end.send(message).await {
            Ok(()) => return Ok(()),
            Err(Errno::MSGSIZE) => format!("a message of {len} bytes is longer than the limit"),
            Err(Errno::NOSPC) => format!("there is no room for a message of {len} bytes"),
            Err(_) => return Err(None),
        },
    };
    end.tell("dropped", unfit);
    Err(Some(Reason::Protocol))
}

/// The reason of whichever has one first; Closed when both have ended without.
async fn either(
    first: impl Future<Output = Option<Reason>> + Send,
    second: impl Future<Output = Option<Reason>> + Send,
) -> Reason {
    let (first, second) = (pin!(first), pin!(second));
    let mut both: [Option<Pin<&mut (dyn Future<Output = Option<Reason>> + Send)>>; 2] = [Some(first), Some(second)];
    poll_fn(|context| {
        for direction in &mut both {
            let ended = direction.as_mut().map_or(Poll::Pending, |running| running.as_mut().poll(context));
            match ended {
                Poll::Ready(Some(reason)) => return Poll::Ready(reason),
                Poll::Ready(None) => *direction = None,
                Poll::Pending => {}
            }
        }
        if both.iter().all(Option::is_none) { Poll::Ready(Reason::Closed) } else { Poll::Pending }
    })
    .await
}
