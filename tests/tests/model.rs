//! A lane against a reference model: the same random operations on both, and the same answers to the same parties in
//! the same order.
//!
//! The model is plain lists and the rules of the contract, tried again after each operation until none applies. It
//! shares no code and no idea of a data structure with the lane. `PROPTEST_CASES` sets the number of cases.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::collections::BTreeMap;

use fs9_tiers::channel::{Completion, Delivery, Lane, Place, Until};
use fs9_tiers::error::Reason;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

/// A party in line; the same number names its ticket.
type Party = usize;
/// A message. Each is offered once.
type Letter = usize;

/// What is done to a lane.
#[derive(Debug, Clone)]
enum Step {
    Read,
    Write(Until),
    WaitTurn,
    /// Of anybody who ever came: in line, answered or cancelled before.
    Cancel(Index),
    Commit,
    Overtake,
    Pop,
    HangUp(Reason),
    Close(Reason),
    Reopen,
    /// Of one of the messages that are held, if any.
    Acknowledge(Index),
    GiveBack(Index, Reason),
    Discard(Index, Reason),
}

/// An answer, as both sides write it down.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Received(Party, Letter),
    End(Party),
    Lost(Party),
    Sent(Party),
    Broken(Party, Letter),
    Turn(Party),
}

impl Said {
    fn party(&self) -> Party {
        match self {
            Said::Received(party, _) | Said::End(party) | Said::Lost(party) | Said::Turn(party) => *party,
            Said::Sent(party) | Said::Broken(party, _) => *party,
        }
    }
}

/// The reference: who waits, where every letter is, and what happened in the last step.
#[derive(Debug, Clone, Default)]
struct Model {
    parties: usize,
    letters: usize,
    readers: Vec<Party>,
    /// Who wants to write, what (nothing yet, for who waits for a turn), and whether until a reader takes it.
    writers: Vec<(Party, Option<Letter>, bool)>,
    /// Every letter that was ever sent, in order. A letter's place in here is its age.
    history: Vec<Letter>,
    slot: Vec<Letter>,
    held: Vec<Letter>,
    kept: Vec<Letter>,
    dropped: Vec<(Letter, &'static str)>,
    redelivered: u64,
    writing_side_gone: Option<Reason>,
    reading_side_gone: bool,
    loss_was_told: bool,
    /// What the last step said, and whom or what it returned.
    said: Vec<Said>,
    returned: Option<usize>,
}

impl Model {
    fn nobody_will_read(&self) -> bool {
        self.reading_side_gone || self.writing_side_gone.is_some()
    }

    fn send(&mut self, letter: Letter) {
        self.history.push(letter);
    }

    fn age(&self, letter: Letter) -> usize {
        self.history.iter().position(|sent| *sent == letter).unwrap()
    }

    fn break_writers(&mut self) {
        for (party, letter, _) in self.writers.split_off(0) {
            self.said.push(letter.map_or(Said::Turn(party), |letter| Said::Broken(party, letter)));
        }
    }

    /// Applies the rules until none applies.
    fn follow_the_rules(&mut self) {
        while self.it_is_the_first_writers_turn()
            || self.a_reader_takes_the_oldest_in_the_slot()
            || self.a_reader_takes_from_the_first_writer()
            || self.the_first_writer_fills_the_slot()
            || self.a_reader_comes_to_the_end()
        {}
    }

    fn it_is_the_first_writers_turn(&mut self) -> bool {
        match self.writers.first() {
            Some((party, None, _)) if self.slot.is_empty() => {
                self.said.push(Said::Turn(*party));
                self.writers.remove(0);
                true
            }
            _ => false,
        }
    }

    fn a_reader_takes_the_oldest_in_the_slot(&mut self) -> bool {
        let oldest = self.slot.iter().copied().min_by_key(|letter| self.age(*letter));
        let (Some(letter), false) = (oldest, self.readers.is_empty()) else { return false };
        self.slot.retain(|other| *other != letter);
        self.held.push(letter);
        self.said.push(Said::Received(self.readers.remove(0), letter));
        true
    }

    fn a_reader_takes_from_the_first_writer(&mut self) -> bool {
        if !self.slot.is_empty() || self.readers.is_empty() || self.writers.is_empty() {
            return false;
        }
        let (writer, letter, _) = self.writers.remove(0);
        let letter = letter.unwrap();
        self.send(letter);
        self.held.push(letter);
        self.said.push(Said::Received(self.readers.remove(0), letter));
        self.said.push(Said::Sent(writer));
        true
    }

    fn the_first_writer_fills_the_slot(&mut self) -> bool {
        match self.writers.first() {
            Some((writer, Some(letter), false)) if self.slot.is_empty() => {
                let (writer, letter) = (*writer, *letter);
                self.writers.remove(0);
                self.send(letter);
                self.slot.push(letter);
                self.said.push(Said::Sent(writer));
                true
            }
            _ => false,
        }
    }

    fn a_reader_comes_to_the_end(&mut self) -> bool {
        let (Some(reason), false) = (self.writing_side_gone, self.readers.is_empty()) else { return false };
        let reader = self.readers.remove(0);
        let killed = matches!(reason, Reason::Killed(_));
        self.said.push(if killed && !self.loss_was_told { Said::Lost(reader) } else { Said::End(reader) });
        self.loss_was_told = true;
        true
    }

    fn out_of_hand(&mut self, which: &Index) -> Option<Letter> {
        (!self.held.is_empty()).then(|| self.held.remove(which.index(self.held.len())))
    }

    fn step(&mut self, step: &Step) {
        self.said.clear();
        self.returned = None;
        match step {
            Step::Read => {
                self.readers.push(self.parties);
                self.parties += 1;
            }
            Step::Write(until) => {
                let (party, letter) = (self.parties, self.letters);
                self.parties += 1;
                self.letters += 1;
                self.writers.push((party, Some(letter), *until == Until::Taken));
                if self.nobody_will_read() {
                    self.break_writers();
                }
            }
            Step::WaitTurn => {
                self.writers.push((self.parties, None, false));
                self.parties += 1;
                if self.nobody_will_read() {
                    self.break_writers();
                }
            }
            Step::Cancel(_) if self.parties == 0 => {}
            Step::Cancel(who) => {
                let who = who.index(self.parties);
                let waits = self.readers.contains(&who) || self.writers.iter().any(|(party, ..)| *party == who);
                self.readers.retain(|party| *party != who);
                self.writers.retain(|(party, ..)| *party != who);
                self.returned = waits.then_some(who);
            }
            Step::Commit => {
                let letter = self.letters;
                self.letters += 1;
                if self.nobody_will_read() {
                    self.returned = Some(letter);
                } else {
                    self.send(letter);
                    self.slot.push(letter);
                }
            }
            Step::Overtake => {
                if !self.nobody_will_read() {
                    self.dropped.extend(self.slot.drain(..).map(|letter| (letter, "missed")));
                }
                return self.step(&Step::Commit);
            }
            Step::Pop => {
                let oldest = self.slot.iter().copied().min_by_key(|letter| self.age(*letter));
                if let Some(letter) = oldest {
                    self.slot.retain(|other| *other != letter);
                } else if let Some((writer, Some(letter), _)) = self.writers.first().copied() {
                    self.writers.remove(0);
                    self.send(letter);
                    self.said.push(Said::Sent(writer));
                    self.returned = Some(letter);
                }
                self.returned = self.returned.or(oldest);
                self.kept.extend(self.returned);
            }
            // The first hang-up stands: what was read as the end stays the end, and a loss is not forgotten.
            Step::HangUp(reason) => {
                self.break_writers();
                self.writing_side_gone.get_or_insert(*reason);
            }
            Step::Close(reason) => {
                self.reading_side_gone = true;
                self.break_writers();
                self.dropped.extend(self.slot.drain(..).map(|letter| (letter, reason.kind())));
            }
            Step::Reopen => {
                self.reading_side_gone = false;
                self.writing_side_gone = None;
                self.loss_was_told = false;
            }
            Step::Acknowledge(which) => {
                self.returned = self.out_of_hand(which);
                self.kept.extend(self.returned);
            }
            Step::GiveBack(which, reason) => {
                let Some(letter) = self.out_of_hand(which) else { return };
                if self.reading_side_gone {
                    self.dropped.push((letter, reason.kind()));
                } else {
                    self.redelivered += 1;
                    self.slot.push(letter);
                }
            }
            Step::Discard(which, reason) => {
                self.returned = self.out_of_hand(which);
                self.dropped.extend(self.returned.map(|letter| (letter, reason.kind())));
            }
        }
        self.follow_the_rules();
    }
}

fn reason() -> impl Strategy<Value = Reason> {
    prop_oneof![
        Just(Reason::Closed),
        (0..3).prop_map(Reason::Exited),
        prop_oneof![Just(9), Just(15)].prop_map(Reason::Killed),
        Just(Reason::Removed),
        Just(Reason::HungUp),
    ]
}

impl ReferenceStateMachine for Model {
    type State = Model;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Model> {
        Just(Model::default()).boxed()
    }

    fn transitions(_: &Model) -> BoxedStrategy<Step> {
        prop_oneof![
            10 => Just(Step::Read),
            10 => Just(Step::Write(Until::Placed)),
            5 => Just(Step::Write(Until::Taken)),
            3 => Just(Step::WaitTurn),
            6 => any::<Index>().prop_map(Step::Cancel),
            2 => Just(Step::Commit),
            1 => Just(Step::Overtake),
            2 => Just(Step::Pop),
            1 => reason().prop_map(Step::HangUp),
            1 => reason().prop_map(Step::Close),
            2 => Just(Step::Reopen),
            4 => any::<Index>().prop_map(Step::Acknowledge),
            4 => (any::<Index>(), reason()).prop_map(|(which, reason)| Step::GiveBack(which, reason)),
            1 => (any::<Index>(), reason()).prop_map(|(which, reason)| Step::Discard(which, reason)),
        ]
        .boxed()
    }

    fn apply(mut model: Model, step: &Step) -> Model {
        model.step(step);
        model
    }
}

/// The lane under test, with what its callers keep: places, deliveries, and what everybody was told.
#[derive(Default)]
struct Tested {
    lane: Lane<Letter, Party>,
    places: Vec<Place>,
    letters: usize,
    held: Vec<Delivery<Letter>>,
    /// Answers (or a cancellation) by party: exactly one each in the end.
    answers: BTreeMap<Party, usize>,
}

impl Tested {
    /// Writes answers down and keeps what was delivered.
    fn note(&mut self, out: Vec<Completion<Letter, Party>>) -> Vec<Said> {
        let mut said = Vec::new();
        for completion in out {
            said.push(match completion {
                Completion::Received(party, delivery) => {
                    let letter = delivery.message;
                    self.held.push(delivery);
                    Said::Received(party, letter)
                }
                Completion::End(party) => Said::End(party),
                Completion::Lost(party) => Said::Lost(party),
                Completion::Sent(party) => Said::Sent(party),
                Completion::Broken(party, letter) => Said::Broken(party, letter),
                Completion::Turn(party) => Said::Turn(party),
            });
        }
        for one in &said {
            *self.answers.entry(one.party()).or_default() += 1;
        }
        said
    }

    fn step(&mut self, step: &Step) -> (Vec<Said>, Option<usize>) {
        let (mut out, mut returned) = (Vec::new(), None);
        let held = |held: &mut Vec<Delivery<Letter>>, which: &Index| {
            (!held.is_empty()).then(|| held.remove(which.index(held.len())))
        };
        match step {
            Step::Read => self.places.push(self.lane.read(self.places.len(), &mut out)),
            Step::Write(until) => {
                self.places.push(self.lane.write(self.places.len(), self.letters, *until, &mut out));
                self.letters += 1;
            }
            Step::WaitTurn => self.places.push(self.lane.wait_turn(self.places.len(), &mut out)),
            Step::Cancel(_) if self.places.is_empty() => {}
            Step::Cancel(who) => {
                returned = self.lane.cancel(self.places[who.index(self.places.len())], &mut out);
                if let Some(party) = returned {
                    *self.answers.entry(party).or_default() += 1;
                }
            }
            Step::Commit => {
                returned = self.lane.commit(self.letters, &mut out);
                self.letters += 1;
            }
            Step::Overtake => {
                returned = self.lane.overtake(self.letters, &mut out);
                self.letters += 1;
            }
            Step::Pop => returned = self.lane.pop(&mut out),
            Step::HangUp(reason) => self.lane.hang_up(*reason, &mut out),
            Step::Close(reason) => self.lane.close(*reason, &mut out),
            Step::Reopen => self.lane.reopen(),
            Step::Acknowledge(which) => {
                returned = held(&mut self.held, which).map(|delivery| self.lane.acknowledge(delivery));
            }
            Step::GiveBack(which, reason) => {
                if let Some(delivery) = held(&mut self.held, which) {
                    self.lane.give_back(delivery, *reason, &mut out);
                }
            }
            Step::Discard(which, reason) => {
                returned = held(&mut self.held, which).map(|delivery| self.lane.discard(delivery, *reason));
            }
        }
        (self.note(out), returned)
    }

    /// The line and the ledger say the same on both sides.
    fn compare(&self, model: &Model) {
        let lane = &self.lane;
        let message_is_there = !model.slot.is_empty() || !model.writers.is_empty();
        assert_eq!(lane.waiting(), (model.readers.len(), model.writers.len()));
        assert_eq!(lane.has_reader(), !model.readers.is_empty());
        assert_eq!(lane.has_message(), message_is_there);
        assert_eq!(lane.is_broken(), model.nobody_will_read());
        assert_eq!(lane.is_readable(), message_is_there || model.writing_side_gone.is_some());
        assert_eq!(lane.is_writable(), !message_is_there || model.nobody_will_read());
        assert_eq!(lane.ended(), model.writing_side_gone);
        let killed = matches!(model.writing_side_gone, Some(Reason::Killed(_)));
        assert_eq!(lane.is_loss_untold(), killed && !model.loss_was_told);

        let ledger = lane.ledger();
        assert_eq!(ledger.sent, model.history.len() as u64);
        assert_eq!(ledger.received, model.kept.len() as u64);
        assert_eq!(ledger.redelivered, model.redelivered);
        assert_eq!(ledger.slot, model.slot.len() as u64);
        assert_eq!(ledger.held, model.held.len() as u64);
        let mut dropped = BTreeMap::new();
        model.dropped.iter().for_each(|(_, kind)| *dropped.entry(*kind).or_insert(0) += 1);
        assert_eq!(ledger.dropped().collect::<BTreeMap<_, u64>>(), dropped);
        assert_eq!(self.held.iter().map(|d| d.message).collect::<Vec<_>>(), model.held);
    }
}

impl StateMachineTest for Tested {
    type SystemUnderTest = Tested;
    type Reference = Model;

    fn init_test(_: &Model) -> Tested {
        Tested::default()
    }

    fn apply(mut tested: Tested, model: &Model, step: Step) -> Tested {
        let (said, returned) = tested.step(&step);
        assert_eq!((said, returned), (model.said.clone(), model.returned), "{step:?}");
        tested
    }

    fn check_invariants(tested: &Tested, model: &Model) {
        tested.compare(model);
        assert!(tested.lane.ledger().balances());

        // Nobody waits for what is there.
        let (readers, writers) = tested.lane.waiting();
        assert!(readers == 0 || !tested.lane.is_readable(), "a reader waits for what is there");
        assert!(writers == 0 || !tested.lane.is_broken(), "a writer waits for nobody");
        let first_waits_for_a_reader = model.writers.first().is_some_and(|(.., taken)| *taken);
        assert!(
            writers == 0 || tested.lane.ledger().slot > 0 || first_waits_for_a_reader,
            "a writer waits for a free slot"
        );

        // Everybody was answered once, or waits.
        let mut waiting: Vec<Party> = model.readers.clone();
        waiting.extend(model.writers.iter().map(|(party, ..)| *party));
        for party in 0..tested.places.len() {
            let answers = tested.answers.get(&party).copied().unwrap_or(0);
            assert_eq!(answers, usize::from(!waiting.contains(&party)), "answers to party {party}");
        }

        // Every letter that was sent is in one place.
        let dropped = model.dropped.iter().map(|(letter, _)| letter);
        let mut places: Vec<Letter> =
            model.slot.iter().chain(&model.held).chain(&model.kept).chain(dropped).copied().collect();
        places.sort_unstable();
        let mut sent = model.history.clone();
        sent.sort_unstable();
        assert_eq!(places, sent);
    }

    /// Readers come until nobody who writes waits and the slot is empty: what is left comes out in order of sending.
    fn teardown(mut tested: Tested, mut model: Model) {
        let mut order = Vec::new();
        while tested.lane.has_message() {
            model.step(&Step::Read);
            let (said, _) = tested.step(&Step::Read);
            assert_eq!(said, model.said);
            order.extend(said.iter().filter_map(|said| match said {
                Said::Received(_, letter) => Some(model.age(*letter)),
                _ => None,
            }));
        }
        assert!(order.is_sorted(), "{order:?}");
        Self::check_invariants(&tested, &model);

        // And one hang-up ends whoever still waits, though all messages have been taken.
        let end = Step::HangUp(Reason::Closed);
        model.step(&end);
        assert_eq!(tested.step(&end).0, model.said);
        assert_eq!(tested.lane.waiting(), (0, 0));
        Self::check_invariants(&tested, &model);
    }
}

/// 10,000 cases unless `PROPTEST_CASES` says otherwise; a failure is printed with its shortest steps.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(10_000);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

prop_state_machine! {
    #![proptest_config(config())]

    #[test]
    fn a_lane_does_what_the_rules_say(sequential 1..150 => Tested);
}
