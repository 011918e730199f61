//! The worker of `worker.rs` in a program that is reached over a byte stream: TCP, and the standard input and output of
//! a program, as of `ssh host worker`. What is different is one line again.
//!
//! ```sh
//! cargo run -p fs9-tiers --example remote
//! ```

use std::env;
use std::error::Error;
use std::process::{Child, Command};
use std::time::Duration;

use fs9_tiers::Peer;
use fs9_tiers::error::{RecvError, SendError};
use fs9_tiers::remote::{self, Descriptors, Listener, Options, Program};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct Job {
    text: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Answer {
    words: usize,
    longest: String,
}

/// Does not know over what it was reached.
fn work(peer: Peer<Answer, Job>) {
    for job in peer.iter() {
        let longest = job.text.split_whitespace().max_by_key(|word| word.len()).unwrap_or_default();
        let answer = Answer { words: job.text.split_whitespace().count(), longest: longest.to_owned() };
        if peer.send(answer).is_err() {
            break; // nobody wants it any more
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[1..] {
        ["dial", address] => work(remote::dial(address)?),
        ["standard"] => {
            let listener = remote::unbound()?; // keeps the session, should the stream break
            listener.admit(Descriptors::standard()?)?;
            work(listener.accept()?);
        }
        _ => boss()?,
    }
    Ok(())
}

fn boss() -> Result<(), Box<dyn Error>> {
    let job = Job { text: "a channel holds one message".to_owned() };

    // Who waits for a link to come back, mostly waits longer than that.
    let listener = Options::new().linger(Duration::from_millis(300)).listen("tcp://127.0.0.1:0")?;
    let (peer, mut worker) = accept(&listener)?;
    let over_tcp = ask(&peer, &job)?;
    println!("tcp: {over_tcp:?}");
    drop(peer); // hangs up: the worker's loop ends
    println!("tcp: {}", worker.wait()?);

    let peer = remote::over(|| Program::start(this_program()?.arg("standard")))?; // or ssh, and the program's name there
    let over_pipes = ask(&peer, &job)?;
    println!("pipes: {over_pipes:?}");

    println!("same: {}", over_tcp == over_pipes);
    somebody_dies(&listener, &job)
}

fn ask(peer: &Peer<Job, Answer>, job: &Job) -> Result<Answer, Box<dyn Error>> {
    peer.send(job.clone())?;
    Ok(peer.recv()?)
}

/// A worker is killed. From elsewhere that looks like a link that does not come back, and the next worker gets the job.
fn somebody_dies(listener: &Listener, job: &Job) -> Result<(), Box<dyn Error>> {
    let (peer, mut worker) = accept(listener)?;
    worker.kill()?;
    worker.wait()?;
    let Err(RecvError::Disconnected(reason)) = peer.recv() else { return Err("an answer of a dead worker".into()) };
    println!("first worker: {reason}");
    // Nothing can be sent to it any more, and the message comes back.
    let Err(SendError::Disconnected(job, _)) = peer.send(job.clone()) else { return Err("a job for the dead".into()) };

    let (peer, mut worker) = accept(listener)?;
    println!("second worker: {:?}", ask(&peer, &job)?);
    drop(peer);
    worker.wait()?;
    Ok(())
}

/// Starts a worker, which dials.
fn accept(listener: &Listener) -> Result<(Peer<Job, Answer>, Child), Box<dyn Error>> {
    let worker = this_program()?.args(["dial", listener.address()]).spawn()?;
    Ok((listener.accept_timeout(Duration::from_secs(10))?, worker))
}

fn this_program() -> std::io::Result<Command> {
    Ok(Command::new(env::current_exe()?))
}
