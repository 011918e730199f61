//! What chains allow, as tables.

use super::*;
use crate::chain::tests::{NOW, Person, terms};
use crate::{Refusal, Rights};

/// What the holder may do of `names` with `rights`, each given as words, passed on as often as there are pairs.
fn granted(chain: &[(&str, &str)]) -> Granted {
    let person = |number: usize| Person::new(number as u8);
    let mut whole: Option<Chain> = None;
    for (number, (names, rights)) in chain.iter().enumerate() {
        let terms = Terms {
            names: Names::new(names.split_whitespace()).unwrap(),
            rights: rights.parse::<Rights>().unwrap(),
            depth: (3 - number as u8).try_into().unwrap(),
            ..terms(&person(number + 1))
        };
        whole = Some(match whole {
            None => Chain::issue(&person(number).secret, terms).unwrap(),
            Some(chain) => chain.delegate(&person(number).secret, terms).unwrap(),
        });
    }
    let last = person(chain.len());
    let verified: Result<_, Refusal> = whole.unwrap().verify(&person(0).key, &last.key, NOW, |_| false);
    verified.unwrap()
}

use crate::Terms;

#[test]
fn rights_and_names_are_both_asked() {
    let granted = granted(&[("jobs logs/*", "read list")]);
    assert!(granted.allows("jobs", Right::Read) && granted.allows("logs/a", Right::Read));
    assert!(!granted.allows("jobs", Right::Write) && !granted.allows("logs", Right::Read));
    assert!(!granted.allows("other", Right::Read));
}

#[test]
fn all_of_a_chain_is_asked() {
    let granted = granted(&[(". ctl", "read write list"), (". ctl", "read list"), ("jobs status ctl", "read")]);
    for (path, right, allowed) in [
        ("jobs", Right::Read, true),
        ("jobs", Right::Write, false),
        ("jobs", Right::List, false),
        ("logs", Right::Read, false),
        ("status", Right::Read, true),
    ] {
        assert_eq!(granted.allows(path, right), allowed, "{path} {right}");
    }
    // The first one says `ctl`, and of `status` no more than that it is below `.`.
    assert!(granted.names("ctl", Right::Read) && !granted.names("ctl", Right::Write));
    assert!(!granted.names("status", Right::Read));
}

#[test]
fn of_a_directory_on_the_way_only_the_way_is_seen() {
    let granted = granted(&[("a/b/c a/w*", "read")]);
    for (path, shows, opens, lists) in [
        (".", true, true, true),
        ("a", true, true, true),
        ("a/b", true, true, true),
        ("a/b/c", true, false, true),
        ("a/b/c/d", true, false, false),
        ("a/w1", true, false, false),
        ("a/x", false, false, false),
        ("b", false, false, false),
        ("n", false, false, false),
    ] {
        let is = (granted.shows(path), granted.opens(path), granted.lists(path));
        assert_eq!(is, (shows, opens, lists), "{path}");
    }
}

#[test]
fn where_listing_is_granted_all_of_it_is_seen() {
    let granted = granted(&[(". n/x", "list read"), ("a/w* b n/x", "list")]);
    for (path, shows, opens, lists) in [
        (".", true, true, true),
        ("a", true, true, true),
        ("a/w1", true, true, true),
        ("a/x", false, false, false),
        ("b", true, true, true),
        ("b/x", true, true, true),
        ("c", false, false, false),
        ("n", true, true, true),
        ("n/x/jobs", true, true, true),
        ("n/y", false, false, false),
    ] {
        let is = (granted.shows(path), granted.opens(path), granted.lists(path));
        assert_eq!(is, (shows, opens, lists), "{path}");
    }
}

#[test]
fn it_says_who_and_until_when() {
    let granted = granted(&[("jobs logs", "read"), ("jobs", "read")]);
    assert_eq!(granted.holder(), Person::new(2).key);
    assert_eq!(granted.ends(), terms(&Person::new(2)).not_after);
    let ids: Vec<_> = granted.chain().links().map(Link::id).collect();
    assert_eq!(granted.ids().collect::<Vec<_>>(), ids);
    assert_eq!((ids.len(), granted.id()), (2, ids[1]));
}
