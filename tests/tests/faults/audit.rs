//! Who sent what, who received it, and whether each of the two was told the truth.

use std::collections::HashMap;

use crate::log::{Log, Outcome, Receipt};

/// A process that was at a channel, and what it wrote down.
#[derive(Debug)]
pub struct Witness {
    /// Unlike any other process's.
    pub name: String,
    pub channel: String,
    /// Whether it came through the link.
    pub remote: bool,
    /// Whether it was killed.
    pub killed: bool,
    pub log: Log,
}

/// What is known of the run besides.
#[derive(Debug, Default)]
pub struct Known {
    /// When the far node, which has the channels, was killed, in order; its messages go with it.
    pub far_killed: Vec<f64>,
}

/// What the audit counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sums {
    pub sent: usize,
    pub received: usize,
    /// Came again after its first reader was lost.
    pub again: usize,
    /// Went with the node that had them.
    pub gone: usize,
    /// Of no known outcome for their sender, and received after all.
    pub unknown: usize,
}

/// Errors after which a message may have been sent: it was on its way, or the node that would know is gone.
const UNKNOWN: [&str; 3] = ["EIO", "ENOLINK", "ECONNABORTED"];

/// A message: its writer's name and its number.
type Key<'a> = (&'a str, u64);

/// Checks one channel.
///
/// # Panics
///
/// When something was lost without an error, came twice, came to the wrong place, or came though its sender was told
/// that it was not sent.
pub fn audit(channel: &str, witnesses: &[Witness], known: &Known) -> Sums {
    let here: Vec<&Witness> = witnesses.iter().filter(|witness| witness.channel == channel).collect();
    for witness in &here {
        assert!(witness.log.wrong.is_empty(), "{}: {:#?}", witness.name, witness.log.wrong);
    }
    let mut receipts: HashMap<Key<'_>, Vec<(&Witness, &Receipt)>> = HashMap::new();
    for witness in &here {
        for receipt in &witness.log.receipts {
            receipts.entry((&receipt.writer, receipt.sequence)).or_default().push((witness, receipt));
        }
    }
    let mut sums = Sums { received: receipts.len(), ..Sums::default() };
    let mut lost = Vec::new();
    for witness in &here {
        for send in &witness.log.sends {
            let received = receipts.remove(&(witness.name.as_str(), send.sequence));
            match (&send.outcome, &received) {
                (Outcome::Sent(at), None) => lost.push((*at, witness.name.as_str(), send.sequence)),
                (Outcome::Failed(error), Some(received)) => {
                    let may = UNKNOWN.contains(&error.as_str());
                    assert!(may, "{channel}: {} {send:?} was received: {received:#?}", witness.name);
                    sums.unknown += 1;
                }
                _ => {}
            }
            sums.sent += usize::from(matches!(send.outcome, Outcome::Sent(_)));
            for (_, receipt) in received.iter().flatten() {
                assert_eq!(receipt.writer_opening, send.opening, "{channel}: {} {send:?}", witness.name);
            }
            if let Some(received) = received.filter(|received| received.len() > 1) {
                sums.again += received.len() - 1;
                came_again(channel, received);
            }
        }
    }
    assert!(receipts.is_empty(), "{channel}: nobody sent {receipts:#?}");
    let is_talk = here.iter().any(|witness| !witness.log.sends.is_empty() && !witness.log.ends.is_empty());
    if is_talk {
        here.iter().for_each(|witness| in_order(channel, witness, &here));
    } else {
        let readers = here.iter().filter(|witness| witness.log.sends.is_empty()).count();
        sums.gone = lost.len();
        gone_with_the_node(channel, lost, 1 + readers, known);
    }
    sums
}

/// A message may come again after a reader that had it in hand was lost.
fn came_again(channel: &str, mut received: Vec<(&Witness, &Receipt)>) {
    received.sort_by(|one, other| one.1.at.total_cmp(&other.1.at));
    for (witness, receipt) in &received[..received.len() - 1] {
        let in_hand = witness.log.is_last(receipt);
        // Of one on the node itself only a kill is a loss.
        let lost = witness.remote || witness.log.end(receipt.opening).is_none() && witness.killed;
        assert!(in_hand && lost, "{channel}: {} had it, and it came again: {received:#?}", witness.name);
    }
}

/// What was sent and never received was on the node, or on its way from there, when the node was killed: not more than
/// it has places.
fn gone_with_the_node(channel: &str, lost: Vec<(f64, &str, u64)>, places: usize, known: &Known) {
    let mut gone: HashMap<usize, Vec<(f64, &str, u64)>> = HashMap::new();
    for message in lost {
        let kill = known.far_killed.iter().position(|&at| at > message.0);
        let kill = kill.unwrap_or_else(|| panic!("{channel}: {message:?} was sent, and is lost"));
        gone.entry(kill).or_default().push(message);
    }
    for (kill, messages) in gone {
        let at = known.far_killed[kill];
        assert!(messages.len() <= places, "{channel}: more than {places} went with the node, at {at}: {messages:?}");
    }
}

/// A talk's messages come in order, without a gap within a conversation, and all of them before its end.
fn in_order(channel: &str, witness: &Witness, all: &[&Witness]) {
    for pair in witness.log.receipts.windows(2) {
        let [before, after] = pair else { unreachable!() };
        if before.writer != after.writer {
            continue;
        }
        assert!(before.sequence < after.sequence, "{channel}: {} received {after:?} after {before:?}", witness.name);
        let same = (before.opening, before.writer_opening) == (after.opening, after.writer_opening);
        assert!(!same || before.sequence + 1 == after.sequence, "{channel}: {} missed one: {pair:?}", witness.name);
    }
    for (opening, _) in witness.log.ends.iter().filter(|end| end.1 == "0") {
        let Some(last) = witness.log.receipts.iter().rfind(|receipt| receipt.opening == *opening) else { continue };
        let Some(writer) = all.iter().find(|other| other.name == last.writer) else { continue };
        let more = writer.log.sends.iter().find(|send| {
            let sent = matches!(send.outcome, Outcome::Sent(_));
            sent && send.opening == last.writer_opening && send.sequence > last.sequence
        });
        assert!(more.is_none(), "{channel}: {} was told of the end after {last:?}, and not of {more:?}", witness.name);
    }
}
