//! Logs as they are written, read, and tampered with.

use super::*;
use crate::chain::tests::{NOW, Person, terms};
use crate::{Right, Terms};

fn chain() -> Chain {
    Chain::issue(&Person::new(0).secret, Terms { depth: 1.try_into().unwrap(), ..terms(&Person::new(1)) }).unwrap()
}

fn delegated() -> Chain {
    chain().delegate(&Person::new(1).secret, terms(&Person::new(2))).unwrap()
}

/// Four lines: it began, something was granted, refused, and revoked.
fn log() -> Vec<String> {
    let mut trail = Trail::default();
    let (chain, key) = (chain(), Some(Person::new(1).key));
    let grants = vec![chain.last().id()];
    let records = [
        Record::of(Event::Started),
        Record { grants: grants.clone(), chain: Some(chain), key, ..Record::of(Event::Granted) },
        Record { session: Some(1), key, name: Some("logs".into()), rights: Some(Right::Read.into()), ..refused() },
        Record { grants, ..Record::of(Event::Revoked) },
    ];
    records.into_iter().map(|record| trail.write(NOW, record).unwrap()).collect()
}

fn refused() -> Record {
    Record { reason: Some("nothing".into()), ..Record::of(Event::Refused) }
}

fn read(lines: &[String]) -> Result<Vec<Record>, TrailError> {
    let mut trail = Trail::default();
    lines.iter().map(|line| trail.read(line)).collect()
}

fn broken<T>(line: u64) -> Result<T, TrailError> {
    Err(TrailError::Broken { line })
}

#[test]
fn a_line_is_json_with_what_applies() {
    let lines = log();
    assert_eq!(
        lines[0],
        "{\"sequence\":0,\"time\":1900000000,\"event\":\"started\",\
         \"prev\":\"4oymiquy7qobjgx36tejs35zeqt24qpemsnzgtfeswmrw6csxbkq\"}"
    );
    let key = Person::new(1).key;
    assert_eq!(
        lines[2],
        format!(
            "{{\"sequence\":2,\"time\":1900000000,\"event\":\"refused\",\"session\":1,\"key\":\"{key}\",\
             \"name\":\"logs\",\"rights\":\"read\",\"reason\":\"nothing\",\"prev\":\"{}\"}}",
            hash(&lines[1])
        )
    );
}

#[test]
fn an_event_is_called_what_the_log_calls_it() {
    use Event::*;
    for event in [Started, Granted, Revoked, Admitted, Allowed, Refused, Ended] {
        assert_eq!(serde_json::to_string(&event).unwrap(), format!("\"{}\"", event.word()));
    }
}

#[test]
fn what_was_written_is_read() {
    let records = read(&log()).unwrap();
    assert_eq!(records.iter().map(|record| record.sequence).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(records[1].chain, Some(chain()));
    assert_eq!((records[2].session, records[2].rights), (Some(1), Some(Right::Read.into())));
}

#[test]
fn no_line_can_be_changed_left_out_moved_or_put_in() {
    let lines = log();
    for number in 0..lines.len() {
        let mut changed = lines.clone();
        changed[number] = changed[number].replace("1900000000", "1900000001");
        // The last line has none after it that tells.
        if number < 3 {
            assert_eq!(read(&changed), broken(number as u64 + 2));
        }
        let mut missing = lines.clone();
        missing.remove(number);
        if number < 3 {
            assert_eq!(read(&missing), broken(number as u64 + 1));
        }
        let mut doubled = lines.clone();
        doubled.insert(number, lines[number].clone());
        assert_eq!(read(&doubled), broken(number as u64 + 2));
    }
    let mut swapped = lines.clone();
    swapped.swap(1, 2);
    assert_eq!(read(&swapped), broken(2));
}

#[test]
fn each_part_of_a_place_is_looked_at() {
    let lines = log();
    let of = |from: &str, to: &str| read(&[lines[0].replace(from, to)]);
    assert!(of("", "").is_ok());
    assert_eq!(of("\"sequence\":0", "\"sequence\":1"), broken(1));
    assert_eq!(of("4oym", "4oyn"), broken(1));
    // A line that is where it belongs, but of an hour ago.
    let mut trail = Trail::after(&lines[3]).unwrap();
    trail.time = 0;
    let line = trail.clone().write(NOW - 3600, Record::of(Event::Started)).unwrap();
    let mut trail = Trail::after(&lines[3]).unwrap();
    assert_eq!(trail.read(&line), broken(5));
}

#[test]
fn what_is_no_record_is_refused() {
    let lines = log();
    for wrong in ["", "{}", "null", &lines[0][1..], &format!("{} x", lines[0]), &lines[0].replace("prev", "last")] {
        let TrailError::Form { line: 1, why } = read(&[wrong.into()]).unwrap_err() else { panic!("{wrong}") };
        assert!(!why.is_empty());
    }
    let more = lines[0].replacen('{', "{\"more\":1,", 1);
    assert!(matches!(read(&[more]), Err(TrailError::Form { .. })));
    assert!(Trail::after("x").is_err());
}

#[test]
fn a_log_is_continued_after_its_last_line() {
    let mut lines = log();
    let mut trail = Trail::after(&lines[3]).unwrap();
    assert_eq!((trail.lines(), trail.hash()), (4, &*hash(&lines[3])));
    lines.push(trail.write(NOW, Record::of(Event::Started)).unwrap());
    assert_eq!(read(&lines).unwrap().len(), 5);
}

#[test]
fn time_never_goes_back() {
    let mut trail = Trail::default();
    assert_eq!(trail.now(NOW), NOW);
    let mut at = |clock| trail.read_back(clock);
    assert_eq!((at(NOW), at(NOW - 86_400), at(NOW + 86_400), at(NOW)), (NOW, NOW, NOW + 86_400, NOW + 86_400));
    assert_eq!(trail.now(NOW), NOW + 86_400);
}

impl Trail {
    /// The time that a record has when a clock shows `clock`.
    fn read_back(&mut self, clock: u64) -> u64 {
        let mut reader = self.clone();
        let line = self.write(clock, refused()).unwrap();
        reader.read(&line).unwrap().time
    }
}

/// The keys' persons that held something, at times relative to NOW.
fn held(holdings: &Holdings, time: i64) -> Vec<Key> {
    let mut keys: Vec<_> = holdings.at(NOW.saturating_add_signed(time)).map(|held| held.key).collect();
    keys.sort();
    keys
}

fn record(event: Event, time: i64, chain: Chain) -> Record {
    let grants = vec![chain.last().id()];
    Record { time: NOW.saturating_add_signed(time), grants, chain: Some(chain), ..Record::of(event) }
}

#[test]
fn who_had_what_when() {
    let [one, two] = [1, 2].map(|number| Person::new(number).key);
    let mut both = [one, two];
    both.sort();
    let mut holdings = Holdings::default();
    holdings.add(&record(Event::Granted, -200, chain()));
    holdings.add(&record(Event::Refused, -150, delegated()));
    holdings.add(&record(Event::Admitted, -100, delegated()));
    assert_eq!(held(&holdings, -201), []);
    assert_eq!(held(&holdings, -200), [one]);
    assert_eq!(held(&holdings, -101), [one]);
    assert_eq!(held(&holdings, -100), both);
    assert_eq!(held(&holdings, 299), both);
    assert_eq!(held(&holdings, 300), []);
    let held = holdings.iter().find(|held| held.key == two).unwrap();
    let grant = delegated().last().grant().clone();
    assert_eq!((&held.names, held.rights, held.parent), (&grant.names, grant.rights, Some(chain().last().id())));
    assert!(!held.revoked);
}

#[test]
fn what_is_revoked_ends_with_all_that_follows_from_it() {
    let [one, two] = [1, 2].map(|number| Person::new(number).key);
    let revoked = |id| {
        let mut holdings = Holdings::default();
        holdings.add(&record(Event::Admitted, -100, delegated()));
        let grants = vec![id, GrantId::of(b"of which nothing is known")];
        holdings.add(&Record { time: NOW, grants, ..Record::of(Event::Revoked) });
        let revoked = holdings.iter().filter(|held| held.revoked).count();
        (held(&holdings, -1).len(), held(&holdings, 0), revoked)
    };
    assert_eq!(revoked(chain().last().id()), (2, vec![], 2));
    assert_eq!(revoked(delegated().last().id()), (2, vec![one], 1));
    assert_ne!(one, two);
    // After it has ended.
    let mut holdings = Holdings::default();
    holdings.add(&record(Event::Granted, -100, chain()));
    holdings.add(&Record { time: NOW + 400, ..record(Event::Revoked, 0, chain()) });
    assert_eq!(holdings.iter().next().unwrap().until, NOW + 300);
}
