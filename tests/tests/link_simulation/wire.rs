//! Connections: bytes arrive late, in pieces, in part, or never.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::random::Random;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    Server,
    Client,
}

#[derive(Debug, Default, Clone, Copy)]
struct Way {
    /// What went before arrives before.
    last: Option<Instant>,
    /// After so many bytes nothing arrives any more.
    left: Option<usize>,
}

#[derive(Debug, Default)]
struct Connection {
    ways: [Way; 2],
}

#[derive(Debug, Default)]
pub struct Wire {
    connections: BTreeMap<u32, Connection>,
    opened: u32,
}

impl Wire {
    pub fn open(&mut self) -> u32 {
        self.opened += 1;
        self.connections.insert(self.opened, Connection::default());
        self.opened
    }

    /// When these bytes arrive, in which pieces.
    pub fn send(
        &mut self,
        now: Instant,
        at: u32,
        to: To,
        bytes: &[u8],
        random: &mut Random,
    ) -> Vec<(Instant, Vec<u8>)> {
        let Some(connection) = self.connections.get_mut(&at) else { return Vec::new() };
        let way = &mut connection.ways[to as usize];
        let cut = if random.percent(30) { random.below(bytes.len() as u64) as usize } else { 0 };
        let pieces = [&bytes[..cut], &bytes[cut..]].into_iter().filter(|piece| !piece.is_empty());
        pieces
            .map(|piece| {
                let most = if random.percent(5) { Duration::from_millis(400) } else { Duration::from_millis(3) };
                let arrives = (now + random.wait(most)).max(way.last.unwrap_or(now));
                way.last = Some(arrives);
                (arrives, piece.to_vec())
            })
            .collect()
    }

    /// What arrives in the end of a piece that was sent.
    pub fn arrives<'b>(&mut self, at: u32, to: To, piece: &'b [u8]) -> &'b [u8] {
        let Some(connection) = self.connections.get_mut(&at) else { return &[] };
        let left = &mut connection.ways[to as usize].left;
        let most = left.unwrap_or(piece.len()).min(piece.len());
        *left = left.map(|left| left - most);
        &piece[..most]
    }

    /// Nothing arrives any more after so many bytes, and nobody is told.
    pub fn break_off(&mut self, at: u32, to: To, after: usize) {
        if let Some(connection) = self.connections.get_mut(&at) {
            connection.ways[to as usize].left.get_or_insert(after);
        }
    }

    pub fn close(&mut self, at: u32) {
        self.connections.remove(&at);
    }
}
