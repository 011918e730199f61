//! gRPC, as tonic has it: a call that returns what it is given; and a call that takes a stream.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use bytes::Bytes;
use futures_util::stream;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

use crate::large::{LARGE, MORE};
use crate::measure::{Figures, bytes_of, message_of, repeat, round_trips};
use crate::nats::runtime;
use crate::subject::{Helper, Subject, standard_input};
use service::compare_client::CompareClient;
use service::compare_server::{Compare, CompareServer};

mod service {
    include!(concat!(env!("OUT_DIR"), "/fs9.Compare.rs"));
}

/// Round trips.
pub const REQUESTS: Subject = Subject::processes("tonic", requests, serve);
/// 1 MiB one way.
pub const ONE_WAY: Subject = Subject::processes("tonic, 1 MiB", one_way, serve);

/// Messages of 1 MiB that wait to be sent.
const UNDER_WAY: usize = 2;

/// All messages.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Payload {
    #[prost(bytes = "bytes", tag = "1")]
    bytes: Bytes,
}

struct Service;

#[tonic::async_trait]
impl Compare for Service {
    async fn echo(&self, request: Request<Payload>) -> Result<Response<Payload>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    async fn take(&self, request: Request<Streaming<Payload>>) -> Result<Response<Payload>, Status> {
        let mut stream = request.into_inner();
        while stream.message().await?.is_some() {}
        Ok(Response::new(Payload::default()))
    }
}

/// The process at the other end has its listening socket as its standard input.
fn serve(_: &str) {
    let listener = TcpListener::from(standard_input());
    listener.set_nonblocking(true).unwrap();
    runtime().block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        Server::builder().add_service(CompareServer::new(Service)).serve_with_incoming(incoming).await.unwrap();
    });
}

/// A client, what runs it, and the process that serves it.
fn connected(subject: &Subject) -> (CompareClient<Channel>, Runtime, Helper) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = Helper::start(subject, "", Stdio::from(OwnedFd::from(listener)));
    let runtime = runtime();
    let endpoint = Endpoint::from_shared(address).unwrap().tcp_nodelay(true);
    let channel = runtime.block_on(endpoint.connect()).unwrap();
    (CompareClient::new(channel), runtime, server)
}

fn requests() -> Figures {
    let (mut client, runtime, _server) = connected(&REQUESTS);
    round_trips(|message| {
        let payload = Payload { bytes: Bytes::copy_from_slice(&bytes_of(message)) };
        message_of(&runtime.block_on(client.echo(payload)).unwrap().into_inner().bytes)
    })
}

/// A stream to the server, which answers when it ends.
type Taken = (Sender<Payload>, JoinHandle<Result<Response<Payload>, Status>>);

fn one_way() -> Figures {
    let (client, runtime, _server) = connected(&ONE_WAY);
    let begin = || -> Taken {
        let (sender, receiver) = channel(UNDER_WAY);
        let payloads = stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
        let mut client = client.clone();
        (sender, runtime.spawn(async move { client.take(payloads).await }))
    };
    let taken = std::cell::RefCell::new(begin());
    let mut message = vec![MORE; LARGE];
    repeat(
        |number| {
            message[LARGE - 1] = number as u8;
            let payload = Payload { bytes: Bytes::copy_from_slice(&message) };
            runtime.block_on(taken.borrow().0.send(payload)).unwrap();
        },
        || {
            let (sender, answer) = taken.replace(begin());
            drop(sender);
            runtime.block_on(answer).unwrap().unwrap();
        },
    )
}
