//! One worker, as a thread and as a process. What is different is one line.
//!
//! ```sh
//! cargo run -p fs9-tiers --example worker
//! ```

use std::env;
use std::error::Error;
use std::process::Command;

use fs9_tiers::error::{RecvError, SendError};
use fs9_tiers::{Peer, process, thread};
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

/// Does not know whether it is a thread or a process.
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
    match env::args().nth(1).as_deref() {
        Some("work") => work(process::inherited()?),
        Some("hang") => hang(process::inherited()?),
        _ => boss()?,
    }
    Ok(())
}

fn boss() -> Result<(), Box<dyn Error>> {
    let job = Job { text: "a channel holds one message".to_owned() };

    let (peer, worker) = thread::spawn(work);
    let from_thread = ask(&peer, &job)?;
    println!("thread: {from_thread:?}");
    drop(peer); // hangs up: the worker's loop ends
    println!("thread: ended with {:?}", worker.join());

    let (peer, mut worker) = process::spawn(this_program("work")?)?; // the one line
    let from_process = ask(&peer, &job)?;
    println!("process: {from_process:?}");
    drop(peer);
    println!("process: {}", worker.wait()?);

    println!("same: {}", from_thread == from_process);
    somebody_dies(&job)
}

fn ask(peer: &Peer<Job, Answer>, job: &Job) -> Result<Answer, Box<dyn Error>> {
    peer.send(job.clone())?;
    Ok(peer.recv()?)
}

/// A worker is killed with a job in hand; another one gets the job.
fn somebody_dies(job: &Job) -> Result<(), Box<dyn Error>> {
    let (peer, worker) = process::spawn::<Job, Answer>(this_program("hang")?)?;
    peer.send(job.clone())?;
    drop(peer.reserve()?); // the slot is free again: the worker has taken the job
    worker.kill()?;

    let Err(RecvError::Disconnected(reason)) = peer.recv() else { return Err("an answer of a dead worker".into()) };
    println!("first worker: {reason}");
    // Nothing can be sent to it any more, and the message comes back.
    let Err(SendError::Disconnected(job, _)) = peer.send(job.clone()) else { return Err("a job for the dead".into()) };

    let (peer, _worker) = process::spawn(this_program("work")?)?;
    println!("second worker: {:?}", ask(&peer, &job)?);
    Ok(())
}

/// Takes a job and never answers.
fn hang(peer: Peer<Answer, Job>) {
    let _job = peer.recv();
    loop {
        std::thread::park();
    }
}

/// This program, with another task.
fn this_program(task: &str) -> Result<Command, Box<dyn Error>> {
    let mut command = Command::new(env::current_exe()?);
    command.arg(task);
    Ok(command)
}
