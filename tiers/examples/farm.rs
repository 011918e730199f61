//! A small build farm: worker processes, and one select over all of them and a clock. One job hangs; its worker is
//! killed and the job goes to another. In the end every job has exactly one result.
//!
//! ```sh
//! cargo run -p fs9-tiers --example farm
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::env;
use std::error::Error;
use std::io;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fs9_tiers::error::{Reason, TryRecvError};
use fs9_tiers::process::{self, Child};
use fs9_tiers::{Peer, Receiver, Select, after, every};
use serde::{Deserialize, Serialize};

const WORKERS: usize = 3;
const JOBS: u32 = 30;
/// The job that hangs when it is tried for the first time.
const BAD: u32 = 13;
/// How long a job may take.
const PATIENCE: Duration = Duration::from_millis(600);

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Job {
    number: u32,
    attempt: u32,
}

#[derive(Serialize, Deserialize)]
struct Done {
    number: u32,
    result: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    if env::args().nth(1).as_deref() == Some("work") {
        work(process::inherited()?);
        return Ok(());
    }
    let mut farm = Farm::new()?;
    let ticks = every(Duration::from_millis(20));
    let end = after(Duration::from_secs(10));
    while let Some((worker, reason)) = farm.shift(&ticks, &end)? {
        farm.replace(worker, reason)?;
    }
    let sum: u64 = farm.results.values().sum();
    println!("results: {} of {JOBS}, sum {sum}", farm.results.len());
    println!("received twice: {}", farm.twice);
    Ok(())
}

fn work(peer: Peer<Done, Job>) {
    for job in peer.iter() {
        if job.number == BAD && job.attempt == 1 {
            sleep(Duration::MAX);
        }
        sleep(Duration::from_millis(2)); // so long does a compiler run
        if peer.send(Done { number: job.number, result: u64::from(job.number).pow(2) }).is_err() {
            break;
        }
    }
}

struct Farm {
    peers: Vec<Peer<Job, Done>>,
    /// Beside the peers, not with them: while a select borrows those, a child can still be killed.
    children: Vec<Child>,
    /// What each worker has in hand, and since when.
    hands: Vec<Option<(Job, Instant)>>,
    waiting: VecDeque<Job>,
    results: BTreeMap<u32, u64>,
    twice: u32,
}

impl Farm {
    fn new() -> io::Result<Farm> {
        let workers = (0..WORKERS).map(|_| start()).collect::<io::Result<Vec<_>>>()?;
        let (peers, children) = workers.into_iter().unzip();
        let waiting = (0..JOBS).map(|number| Job { number, attempt: 1 }).collect();
        let hands = vec![None; WORKERS];
        Ok(Farm { peers, children, hands, waiting, results: BTreeMap::new(), twice: 0 })
    }

    /// Works until a worker is gone, and says which and why; None when there is nothing left to do.
    fn shift(
        &mut self,
        ticks: &Receiver<Duration>,
        end: &Receiver<Duration>,
    ) -> Result<Option<(usize, Reason)>, Box<dyn Error>> {
        let mut select = Select::new()?;
        // Numbers are given from 0 on: that of a worker is its place.
        for peer in &self.peers {
            select.recv(peer.receiver());
        }
        let tick = select.recv(ticks);
        let too_late = select.recv(end);

        while self.results.len() < JOBS as usize {
            for worker in 0..WORKERS {
                if self.hands[worker].is_none()
                    && let Some(job) = self.waiting.pop_front()
                {
                    self.hands[worker] = Some((job, Instant::now()));
                    // A worker with empty hands has room for a job. Is it gone, then its receiver says so below.
                    let _ = self.peers[worker].try_send(job);
                }
            }
            match select.ready()? {
                ready if ready == tick => {
                    let _ = ticks.try_recv();
                    for (child, hand) in self.children.iter_mut().zip(&self.hands) {
                        if hand.is_some_and(|(_, since)| since.elapsed() > PATIENCE) {
                            child.kill()?; // its receiver tells when it is gone
                        }
                    }
                }
                ready if ready == too_late => return Err("the farm took too long".into()),
                worker => match self.peers[worker].try_recv() {
                    Ok(done) => {
                        self.hands[worker] = None;
                        self.twice += u32::from(self.results.insert(done.number, done.result).is_some());
                    }
                    // All that it had sent was received before this, so a job in its hand has no result.
                    Err(TryRecvError::Disconnected(reason)) => return Ok(Some((worker, reason))),
                    Err(_) => {}
                },
            }
        }
        Ok(None)
    }

    /// Puts another worker in the place of one that is gone, and its job back in line.
    fn replace(&mut self, worker: usize, reason: Reason) -> io::Result<()> {
        let job = self.hands[worker].take().map(|(job, _)| job);
        println!("a worker is gone: {reason}; its job: {:?}", job.map(|job| job.number));
        self.waiting.extend(job.map(|job| Job { attempt: job.attempt + 1, ..job }));
        (self.peers[worker], self.children[worker]) = start()?;
        Ok(())
    }
}

fn start() -> io::Result<(Peer<Job, Done>, Child)> {
    let mut command = Command::new(env::current_exe()?);
    command.arg("work");
    process::spawn(command)
}
