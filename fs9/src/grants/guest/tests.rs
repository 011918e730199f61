//! What guests may do, as they ask.

use fs9_grants::{Chain, Names, Secret, Terms};

use super::*;
use crate::grants::clock::wall;

fn secret(number: u8) -> Secret {
    Secret::from_seed(&[number; 32])
}

/// What was granted: names and rights in words, for so many seconds.
fn granted(names: &str, rights: &str, seconds: u64) -> Granted {
    let (node, holder, now) = (secret(1), secret(2).key(), wall());
    let terms = Terms {
        holder,
        names: Names::new(names.split_whitespace()).unwrap(),
        rights: rights.parse().unwrap(),
        not_before: now,
        not_after: now + seconds,
        nonce: [0; 16],
        depth: Default::default(),
    };
    Chain::issue(&node, terms).unwrap().verify(&node.key(), &holder, now, |_| false).unwrap()
}

fn guest(granted: impl IntoIterator<Item = Granted>) -> Guest {
    Guest::new(secret(2).key(), 7, granted, Shown::default(), Arc::new(Clock::since(0)))
}

fn wish(path: &str, rights: &str, manner: Manner) -> Wish {
    Wish { path: path.into(), rights: rights.parse().unwrap(), manner }
}

#[test]
fn who_comes_twice_is_two_guests() {
    let of_session = |session| Guest { session, ..guest([]) };
    assert_eq!(of_session(7), guest([granted("jobs", "read", 600)]));
    assert_ne!(of_session(8), of_session(7));
}

#[test]
fn one_grant_must_allow_all_that_is_asked_at_once() {
    let (reads, writes) = (granted("jobs", "read", 600), granted("jobs logs", "write", 600));
    let guest = guest([reads.clone(), writes.clone()]);
    assert_eq!(guest.may(&wish("jobs", "read", Manner::Covered)), Ok(reads.id()));
    assert_eq!(guest.may(&wish("jobs", "write", Manner::Covered)), Ok(writes.id()));
    assert_eq!(guest.may(&wish("jobs", "read write", Manner::Covered)), Err(Errno::ACCESS));
    assert_eq!(guest.may(&wish("logs", "read", Manner::Covered)), Err(Errno::ACCESS));
}

#[test]
fn what_stands_for_more_than_itself_must_be_named() {
    let all = guest([granted(".", "read write list", 600)]);
    let named = guest([granted(". ctl", "read write", 600)]);
    let ctl = wish("ctl", "write", Manner::Named);
    assert_eq!((all.may(&ctl), named.may(&ctl).is_ok()), (Err(Errno::ACCESS), true));
    assert!(all.may(&wish(".", "read", Manner::Browsed)).is_ok() && all.lists("jobs"));
    assert_eq!(named.may(&wish(".", "read", Manner::Browsed)), Err(Errno::ACCESS));
    assert!(named.may(&wish("jobs", "", Manner::Seen)).is_ok() && !named.lists("jobs"));
}

#[test]
fn what_is_decided_is_written_down() {
    let granted = granted("jobs", "read", 600);
    let guest = guest([granted.clone()]);
    assert_eq!(guest.decide(&wish("jobs", "", Manner::Seen)), Ok(()));
    assert_eq!(guest.decide(&wish("jobs", "read", Manner::Covered)), Ok(()));
    assert_eq!(guest.decide(&wish("logs", "", Manner::Seen)), Err(Errno::ACCESS));
    assert!(guest.has_decided());
    let mut told = guest.take_decided();
    // At the time of its clock, which goes on.
    assert!(told.iter_mut().all(|record| std::mem::take(&mut record.time) >= granted.ends() - 600));
    let of = |event, name: &str, rights: &str| {
        let (session, key) = (Some(7), Some(secret(2).key()));
        Record { session, key, name: Some(name.into()), rights: rights.parse().ok(), ..Record::of(event) }
    };
    let allowed = Record { grants: vec![granted.id()], ..of(Event::Allowed, "jobs", "read") };
    let refused = Record { reason: Some("it was not granted".into()), ..of(Event::Refused, "logs", "") };
    assert_eq!(told, [allowed, refused]);
    assert!(!guest.has_decided() && guest.take_decided().is_empty());
}

#[test]
fn what_is_revoked_ends_and_is_told_once() {
    let (one, other) = (granted("jobs", "read", 600), granted("logs", "read", 300));
    let guest = guest([one.clone(), other.clone()]);
    assert_eq!(guest.next_end(), Some(other.ends()));
    assert!(!guest.has_lost() && !guest.has_less());
    guest.revoke(&other.id());
    assert!(guest.has_lost() && guest.has_less() && !guest.has_lost());
    let told = guest.take_decided();
    assert_eq!((told.len(), told[0].event, &told[0].grants), (1, Event::Ended, &vec![other.id()]));
    assert_eq!(told[0].reason.as_deref(), Some("revoked"));
    assert_eq!(guest.may(&wish("logs", "read", Manner::Covered)), Err(Errno::KEYREVOKED));
    assert_eq!(guest.decide(&wish("logs", "read", Manner::Covered)), Err(Errno::KEYREVOKED));
    assert_eq!(guest.take_decided()[0].reason.as_deref(), Some("it has ended"));
    assert_eq!(guest.may(&wish("jobs", "read", Manner::Covered)), Ok(one.id()));
    assert_eq!((guest.next_end(), guest.lists("logs")), (Some(one.ends()), false));
}

#[test]
fn what_has_expired_ends() {
    let guest = guest([]);
    assert_eq!((guest.next_end(), guest.has_lost()), (None, false));
    let short = granted("jobs", "read", 1);
    let guest = Guest::new(secret(2).key(), 7, [short.clone()], Shown::default(), Arc::new(Clock::since(short.ends())));
    assert_eq!(guest.may(&wish("jobs", "read", Manner::Covered)), Err(Errno::KEYREVOKED));
    assert!(guest.has_lost());
    assert_eq!(guest.take_decided()[0].reason.as_deref(), Some("expired"));
}
