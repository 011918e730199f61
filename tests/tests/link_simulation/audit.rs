//! What became of every message, as its writer was told and as readers saw it.

use std::collections::{BTreeMap, BTreeSet};

/// What a message says: where it was sent, by whom, and which of theirs it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    pub channel: u8,
    pub writer: u32,
    pub sequence: u32,
}

impl Mark {
    pub fn message(self, padding: usize) -> Vec<u8> {
        let mut bytes = vec![self.channel];
        bytes.extend(self.writer.to_le_bytes());
        bytes.extend(self.sequence.to_le_bytes());
        bytes.resize(9 + padding, self.sequence as u8);
        bytes
    }

    pub fn of(message: &[u8]) -> Mark {
        let number = |at: usize| u32::from_le_bytes(message[at..at + 4].try_into().unwrap());
        let mark = Mark { channel: message[0], writer: number(1), sequence: number(5) };
        assert!(message[9..].iter().all(|byte| *byte == mark.sequence as u8), "{mark:?} was changed on its way");
        mark
    }
}

/// What a writer was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Sent,
    NotSent,
    Unknown,
}

#[derive(Debug, Default)]
pub struct Audit {
    told: BTreeMap<Mark, Told>,
    /// The last message of each writer that came to its channel.
    arrived: BTreeMap<(u8, u32), u32>,
    all_arrived: BTreeSet<Mark>,
    received: BTreeMap<Mark, u32>,
    /// How often a message was given back by a reader that was lost.
    given_back: BTreeMap<Mark, u32>,
    /// Gone with the server that had them.
    burnt: BTreeSet<Mark>,
    /// What went how often, to see that a run is worth something.
    pub counts: BTreeMap<&'static str, u64>,
}

impl Audit {
    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub fn told(&mut self, mark: Mark, told: Told) {
        self.count(match told {
            Told::Sent => "sent",
            Told::NotSent => "not sent",
            Told::Unknown => "unknown",
        });
        assert_eq!(self.told.insert(mark, told), None, "{mark:?} was answered twice");
    }

    /// A message has come to its channel.
    pub fn arrived(&mut self, mark: Mark) {
        let before = self.arrived.insert((mark.channel, mark.writer), mark.sequence);
        assert!(before < Some(mark.sequence), "{mark:?} arrived after {before:?} of the same writer");
        self.all_arrived.insert(mark);
    }

    pub fn received(&mut self, channel: u8, message: &[u8]) {
        let mark = Mark::of(message);
        assert_eq!(mark.channel, channel, "{mark:?} was received at another channel");
        assert!(self.all_arrived.contains(&mark), "{mark:?} never arrived");
        *self.received.entry(mark).or_default() += 1;
        self.count("received");
    }

    pub fn given_back(&mut self, mark: Mark) {
        *self.given_back.entry(mark).or_default() += 1;
        self.count("given back");
    }

    pub fn burnt(&mut self, mark: Mark) {
        self.burnt.insert(mark);
    }

    /// At the end, when everything that was left was received.
    pub fn check(&self) {
        for (mark, told) in &self.told {
            let arrived = self.all_arrived.contains(mark);
            match told {
                Told::Sent => assert!(arrived, "{mark:?} is sent and never arrived"),
                Told::NotSent => assert!(!arrived, "{mark:?} arrived, and its writer was told that it was not sent"),
                Told::Unknown => {}
            }
        }
        for mark in &self.all_arrived {
            assert!(self.told.contains_key(mark), "{mark:?} has no outcome");
            let times = self.received.get(mark).copied().unwrap_or(0);
            let most = 1 + self.given_back.get(mark).copied().unwrap_or(0);
            assert!(times <= most, "{mark:?} was received {times} times");
            assert!(times > 0 || self.burnt.contains(mark), "{mark:?} was lost");
        }
    }
}
