//! The processes that send and receive on both sides, and their replacement when they are killed.

use std::path::{Path, PathBuf};
use std::process::Command;

use fs9_tests::process::Running;
use fs9_tests::wait_for;
use fs9_tests::waiter::compiled;
use rustix::process::Signal;

use crate::audit::Witness;
use crate::log::Log;
use crate::node::Side;

/// A process's part: what it does, where, by which file of its node, and at which channel.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    pub does: &'static str,
    pub side: Side,
    /// Below the mount: `q0`, or `n/wire/q0`.
    pub path: &'static str,
    pub channel: &'static str,
}

/// Everybody: both directions of every kind of channel, over both attachments, several and single ones.
pub const PARTS: [Part; 11] = [
    part("send", Side::Near, "n/wire/q0", "q0"),
    part("receive", Side::Far, "q0", "q0"),
    part("send", Side::Far, "q1", "q1"),
    part("receive", Side::Near, "n/wire/q1", "q1"),
    part("send", Side::Near, "n/straight/q2", "q2"),
    part("receive", Side::Near, "n/straight/q2", "q2"),
    part("receive", Side::Far, "q2", "q2"),
    part("talk", Side::Near, "n/wire/t0/a", "t0"),
    part("talk", Side::Far, "t0/b", "t0"),
    part("talk", Side::Near, "n/straight/t1/b", "t1"),
    part("talk", Side::Far, "t1/a", "t1"),
];

const fn part(does: &'static str, side: Side, path: &'static str, channel: &'static str) -> Part {
    Part { does, side, path, channel }
}

/// One of them, and all that played its part before.
struct Player {
    part: Part,
    running: Running,
    name: String,
}

/// All of them.
pub struct Crew {
    dir: PathBuf,
    players: Vec<Player>,
    started: usize,
    /// Those that are gone: the part, the name and whether they were killed.
    gone: Vec<(Part, String, bool)>,
}

impl Crew {
    pub fn new(dir: &Path) -> Crew {
        let mut crew = Crew { dir: dir.to_owned(), players: Vec::new(), started: 0, gone: Vec::new() };
        PARTS.iter().for_each(|part| crew.start(*part));
        crew
    }

    /// Another process.
    pub fn start(&mut self, part: Part) {
        self.started += 1;
        let name = format!("{}{}", part.does, self.started);
        let place = match part.side {
            Side::Near => "near",
            Side::Far => "far",
        };
        let mut command = Command::new(compiled("party", include_str!("party.c")));
        command
            .arg(part.does)
            .arg(self.dir.join(place).join(part.path))
            .args([part.channel, &name])
            .arg(self.log(&name));
        self.players.push(Player { part, running: Running::new(&mut command), name });
    }

    fn log(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.log"))
    }

    pub fn len(&self) -> usize {
        self.players.len()
    }

    /// kill -9 of one, which must be gone soon, and another in its place.
    pub fn replace(&mut self, index: usize) {
        let player = self.players.remove(index);
        player.running.signal(Signal::KILL);
        self.reap(player, true);
        let part = self.gone.last().unwrap().0;
        self.start(part);
    }

    /// Ends all that play a part like this, as an ordinary program ends.
    pub fn end(&mut self, which: impl Fn(&Part) -> bool) {
        let (ending, staying) = self.players.drain(..).partition(|player| which(&player.part));
        self.players = staying;
        for player in ending {
            self.reap(player, false);
        }
    }

    fn reap(&mut self, mut player: Player, killed: bool) {
        let what = format!("{} at {} to be gone", player.name, player.part.path);
        wait_for(&what, || {
            let ended = player.running.try_wait().unwrap();
            if ended.is_none() && !killed {
                // Again and again: the signal may come just before it waits.
                player.running.signal(Signal::TERM);
            }
            ended
        });
        self.gone.push((player.part, player.name, killed));
    }

    /// How long the logs of the receivers of a channel are together: whether something moves.
    pub fn moved(&self, channel: &str) -> u64 {
        let receiving =
            self.players.iter().filter(|player| player.part.channel == channel && player.part.does != "send");
        receiving.map(|player| std::fs::metadata(self.log(&player.name)).map_or(0, |log| log.len())).sum()
    }

    /// What all that are gone wrote down.
    pub fn witnesses(&self) -> Vec<Witness> {
        let witness = |(part, name, killed): &(Part, String, bool)| Witness {
            name: name.clone(),
            channel: part.channel.to_owned(),
            remote: part.side == Side::Near,
            killed: *killed,
            log: Log::read(&self.log(name)),
        };
        self.gone.iter().map(witness).collect()
    }
}
