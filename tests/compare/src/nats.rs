//! NATS: a request and its reply through a server on this machine.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::runtime::{Builder, Runtime};

use crate::measure::{Figures, bytes_of, message_of, round_trips};
use crate::nng::free_port;
use crate::subject::{Helper, Subject};

/// Round trips.
pub const REQUESTS: Subject = Subject::processes("NATS", requests, answer);

const SUBJECT: &str = "echo";

/// What runs the futures of a process.
pub fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// nats-server, which ends with this process.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start() -> Server {
        let port = free_port().to_string();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "nats-server", "-a", "127.0.0.1", "-p", &port]);
        let process = command.stderr(Stdio::null()).spawn().unwrap();
        Server { process, address: format!("127.0.0.1:{port}") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A client, once the server is there. A repetition that takes too long is ended.
async fn connected(address: &str) -> Client {
    loop {
        match async_nats::connect(address).await {
            Ok(client) => return client,
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

fn requests() -> Figures {
    let server = Server::start();
    let _echo = Helper::start(&REQUESTS, &server.address, Stdio::null());
    let runtime = runtime();
    let client = runtime.block_on(connected(&server.address));
    let ask = |bytes: Bytes| client.request(SUBJECT, bytes);
    // Until somebody answers.
    while runtime.block_on(ask(Bytes::from_static(b"?"))).is_err() {}
    round_trips(|message| {
        let bytes = Bytes::copy_from_slice(&bytes_of(message));
        message_of(&runtime.block_on(ask(bytes)).unwrap().payload)
    })
}

fn answer(address: &str) {
    runtime().block_on(async {
        let client = connected(address).await;
        let mut asked = client.subscribe(SUBJECT).await.unwrap();
        while let Some(message) = asked.next().await {
            client.publish(message.reply.unwrap(), message.payload).await.unwrap();
        }
    });
}
