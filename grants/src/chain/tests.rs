//! Chains as they are made, kept as text, and refused: a transcript for each reason. Thousands of hostile ones are in
//! `hostile`.

mod hostile;

use super::*;
use crate::grant::Depth;
use crate::{Names, Right, Rights};

/// When the tests take place, in seconds since 1970.
pub(crate) const NOW: u64 = 1_900_000_000;

/// Somebody with a key.
pub(crate) struct Person {
    pub(crate) secret: Secret,
    pub(crate) key: Key,
}

impl Person {
    /// Always the same one of this number.
    pub(crate) fn new(number: u8) -> Person {
        let secret = Secret::from_seed(&[number + 1; 32]);
        let key = secret.key();
        Person { secret, key }
    }
}

/// That `holder` may read jobs for ten minutes, and not pass it on.
pub(crate) fn terms(holder: &Person) -> Terms {
    Terms {
        holder: holder.key,
        names: Names::new(["jobs"]).unwrap(),
        rights: Right::Read.into(),
        not_before: NOW - 300,
        not_after: NOW + 300,
        nonce: [7; 16],
        depth: Depth::default(),
    }
}

fn depth(times: u8) -> Depth {
    Depth::try_from(times).unwrap()
}

fn people() -> [Person; 5] {
    [0, 1, 2, 3, 4].map(Person::new)
}

/// The node is person 0; 1 was granted something, and so on to the last.
fn chain_of(length: u8) -> Chain {
    let people = people();
    let issued = Chain::issue(&people[0].secret, Terms { depth: depth(3), ..terms(&people[1]) }).unwrap();
    (1..length).fold(issued, |chain, number| {
        let (giver, holder) = (&people[usize::from(number)], &people[usize::from(number) + 1]);
        chain.delegate(&giver.secret, Terms { depth: depth(3 - number), ..terms(holder) }).unwrap()
    })
}

/// What comes of showing `chain` to person 0, as person `holder`.
fn verify(chain: &Chain, holder: usize) -> Result<Granted, Refusal> {
    let people = people();
    chain.verify(&people[0].key, &people[holder].key, NOW, |_| false)
}

/// What comes of passing on another grant than is allowed, signed by the holder all the same: nobody else keeps it from
/// it.
fn passed_on(change: impl FnOnce(&mut Grant)) -> Result<Granted, Refusal> {
    let people = people();
    let chain = chain_of(1);
    let mut grant = chain_of(2).last().grant().clone();
    change(&mut grant);
    let next = Link::sign(grant, &people[1].secret).unwrap();
    verify(&Chain::new(chain.root, vec![next]).unwrap(), 2)
}

#[test]
fn chains_of_one_to_four_are_granted_to_their_last_holder() {
    for length in 1..=4 {
        let chain = chain_of(length);
        assert_eq!(verify(&chain, length.into()).unwrap().holder(), Person::new(length).key);
        for other in (0..=4).filter(|&other| other != usize::from(length)) {
            assert_eq!(verify(&chain, other), Err(Refusal::Holder));
        }
    }
}

#[test]
fn bytes_and_text_lead_to_the_chain() {
    for length in 1..=4 {
        let chain = chain_of(length);
        assert_eq!(Chain::from_bytes(chain.as_bytes()).as_ref(), Ok(&chain));
        assert_eq!(chain.to_string().parse().as_ref(), Ok(&chain));
        assert!(chain.as_bytes().len() < 300 * usize::from(length), "{}", chain.as_bytes().len());
    }
}

#[test]
fn the_bytes_stay_what_they_are() {
    // A grant that was signed yesterday is read tomorrow.
    let chain = chain_of(1);
    assert_eq!(
        chain.to_string(),
        concat!(
            "fs9grant:",
            "AYqI4910CfGV_VLbLTy6XXLKZwm_HZQSG_N0iAG0D29ciojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1yBOXcOqH0XX1aj",
            "VGbDTH7My42KkbTuN6Jd9g9bj8mzlAEEam9icwHU4_6JB6zo_okHBwcHBwcHBwcHBwcHBwcHBwADyo_FbDOqowSU5H2PSpEoL_34",
            "Jkq4LV3WoL6URYHFEjM9k8EGWO0akifWsEfEqOeg-4j8lJ6RSZ9wPMCpt3XBAQ"
        )
    );
    assert_eq!(chain.last().id().to_string(), "ven65ngpdo6kjzvf3ein3erjjgcgyvecv5wtika3pgkc25jj7j4a");
}

#[test]
fn what_is_no_chain_is_refused() {
    let chain = chain_of(4);
    let bytes = chain.as_bytes();
    assert_eq!(Chain::from_bytes(&[]), Err(ChainError::Form));
    assert_eq!(Chain::from_bytes(&[1; 4096]), Err(ChainError::Form));
    assert_eq!(Chain::from_bytes(&[1; 4097]), Err(ChainError::Long));
    for end in 1..bytes.len() {
        let whole = (1..4).any(|length| chain_of(length).as_bytes().len() == end);
        assert_eq!(Chain::from_bytes(&bytes[..end]).is_ok(), whole, "{end}");
    }
    assert_eq!(Chain::from_bytes(&[bytes, &[0]].concat()), Err(ChainError::Form));
    assert_eq!(Chain::from_bytes(&[bytes, chain_of(1).as_bytes()].concat()), Err(ChainError::Form), "five grants");
}

#[test]
fn what_is_no_text_of_a_chain_is_refused() {
    let text = chain_of(1).to_string();
    for wrong in ["", "fs9grant", &text[9..], &format!("{text}="), &format!("{text} "), "fs9grant:+/+/", "fs9grant:A"] {
        assert_eq!(wrong.parse::<Chain>(), Err(ChainError::Text), "{wrong}");
    }
    assert_eq!("fs9grant:".parse::<Chain>(), Err(ChainError::Form));
    let letters = |count| format!("fs9grant:{}", "A".repeat(count)).parse::<Chain>();
    assert_eq!((letters(5462), letters(5463)), (Err(ChainError::Form), Err(ChainError::Long)));
}

#[test]
fn a_number_has_one_encoding() {
    let chain = chain_of(1);
    let bytes = chain.as_bytes();
    // The count of the names, which is 1, as two bytes.
    let at = 1 + 3 * 32;
    assert_eq!(bytes[at], 1);
    let longer = [&bytes[..at], &[0x81, 0], &bytes[at + 1..]].concat();
    assert!(postcard::take_from_bytes::<Signed>(&longer).is_ok(), "postcard would take it");
    assert_eq!(Chain::from_bytes(&longer), Err(ChainError::Form));
}

#[test]
fn a_grant_of_another_version_is_refused() {
    let bytes = chain_of(1).as_bytes().to_vec();
    for version in [0, 2, 255] {
        let other = [&[version], &bytes[1..]].concat();
        assert_eq!(Chain::from_bytes(&other), Err(ChainError::Form), "{version}");
    }
}

#[test]
fn a_grant_that_is_too_long_is_not_made() {
    let people = people();
    let names: Vec<_> = (10..26).map(|number| format!("{number}").repeat(120)).collect();
    let long = Terms { names: Names::new(names).unwrap(), depth: depth(1), ..terms(&people[1]) };
    let chain = Chain::issue(&people[0].secret, long.clone()).unwrap();
    let again = chain.delegate(&people[1].secret, Terms { depth: depth(0), ..long });
    assert_eq!(again, Err(Refusal::Chain(ChainError::Long)));
}

#[test]
fn the_longest_chain_is_read_and_no_longer_one_made() {
    let people = people();
    let names = |more: usize| (10..25).map(|number| format!("{number}").repeat(125)).chain(["a".repeat(more)]);
    let chain =
        |more| Chain::issue(&people[0].secret, Terms { names: Names::new(names(more)).unwrap(), ..terms(&people[1]) });
    let length = |more| chain(more).map(|chain| chain.as_bytes().len());
    let most = (1..=255).take_while(|more| length(*more).is_ok()).last().unwrap();
    assert_eq!((length(most), length(most + 1)), (Ok(4096), Err(ChainError::Long)));
    assert!(Chain::from_bytes(chain(most).unwrap().as_bytes()).is_ok());
}

#[test]
fn a_grant_for_another_node_is_refused() {
    let people = people();
    let result = chain_of(1).verify(&people[1].key, &people[1].key, NOW, |_| false);
    assert_eq!(result, Err(Refusal::Audience));
    // The last one alone is for another node.
    assert_eq!(passed_on(|grant| grant.audience = Person::new(3).key), Err(Refusal::Audience));
}

#[test]
fn a_chain_begins_with_a_grant_of_the_nodes_own() {
    let people = people();
    // Somebody grants himself what is the node's.
    let own = Grant::new(people[1].key, people[0].key, None, terms(&people[1]));
    let own = Chain::new(Link::sign(own, &people[1].secret).unwrap(), vec![]).unwrap();
    assert_eq!(verify(&own, 1), Err(Refusal::Root));
    // The first one was cut off.
    let rest = chain_of(2).further.remove(0);
    assert_eq!(verify(&Chain::new(rest, vec![]).unwrap(), 2), Err(Refusal::Root));
    // The node has derived it from a grant, and that is missing.
    let derived = Grant::new(people[0].key, people[0].key, Some(chain_of(1).last().id()), terms(&people[1]));
    let derived = Chain::new(Link::sign(derived, &people[0].secret).unwrap(), vec![]).unwrap();
    assert_eq!(verify(&derived, 1), Err(Refusal::Root));
}

#[test]
fn a_chain_is_not_cut_in_the_middle() {
    let mut chain = chain_of(3);
    chain.further.remove(0);
    assert_eq!(verify(&chain, 3), Err(Refusal::Issuer));
    assert_eq!(passed_on(|grant| grant.parent = None), Err(Refusal::Parent));
    let other = GrantId::of(b"another");
    assert_eq!(passed_on(|grant| grant.parent = Some(other)), Err(Refusal::Parent));
    assert_eq!(passed_on(|grant| grant.issuer = Person::new(3).key), Err(Refusal::Issuer));
}

#[test]
fn no_more_is_passed_on_than_there_is() {
    let more = |names: &[&str]| Names::new(names.iter().copied()).unwrap();
    assert!(passed_on(|_| ()).is_ok());
    assert_eq!(passed_on(|grant| grant.names = more(&["jobs", "logs"])), Err(Refusal::Names));
    assert_eq!(passed_on(|grant| grant.names = more(&["."])), Err(Refusal::Names));
    assert!(passed_on(|grant| grant.names = more(&["jobs/today"])).is_ok());
    assert_eq!(passed_on(|grant| grant.rights = Rights::from(Right::Read) | Right::Write), Err(Refusal::Rights));
    assert!(passed_on(|grant| grant.rights = Rights::NONE).is_ok());
    assert_eq!(passed_on(|grant| grant.not_before -= 1), Err(Refusal::Time));
    assert_eq!(passed_on(|grant| grant.not_after += 1), Err(Refusal::Time));
    assert!(passed_on(|grant| (grant.not_before, grant.not_after) = (NOW, NOW + 1)).is_ok());
    assert_eq!(passed_on(|grant| grant.depth = depth(3)), Err(Refusal::Depth));
    assert_eq!(passed_on(|grant| grant.holder = Person::new(3).key), Err(Refusal::Holder));
}

#[test]
fn what_may_not_be_passed_on_is_not() {
    let people = people();
    let chain = Chain::issue(&people[0].secret, terms(&people[1])).unwrap();
    assert_eq!(chain.delegate(&people[1].secret, terms(&people[2])), Err(Refusal::Depth));
    assert_eq!(chain_of(1).delegate(&people[2].secret, terms(&people[2])), Err(Refusal::Issuer));
    assert_eq!(chain_of(4).delegate(&people[4].secret, terms(&people[1])), Err(Refusal::Depth));
    assert_eq!(Depth::try_from(4), Err(crate::DepthError));
    assert_eq!(u8::from(depth(3)), 3);
}

#[test]
fn it_counts_from_its_first_second_to_before_its_last() {
    let (node, holder) = (Person::new(0).key, Person::new(1).key);
    let at = |now| chain_of(1).verify(&node, &holder, now, |_| false).map(|granted| granted.ends());
    assert_eq!(at(NOW - 301), Err(Refusal::NotYet));
    assert_eq!(at(NOW - 300), Ok(NOW + 300));
    assert_eq!(at(NOW + 299), Ok(NOW + 300));
    assert_eq!(at(NOW + 300), Err(Refusal::Expired));
    assert_eq!((at(0), at(u64::MAX)), (Err(Refusal::NotYet), Err(Refusal::Expired)));
}

#[test]
fn revoking_any_of_a_chain_ends_it() {
    let (node, holder, chain) = (Person::new(0).key, Person::new(3).key, chain_of(3));
    for link in chain.links() {
        assert_eq!(chain.verify(&node, &holder, NOW, |id| *id == link.id()), Err(Refusal::Revoked(link.id())));
    }
    let other = chain_of(4).last().id();
    assert!(chain.verify(&node, &holder, NOW, |id| *id == other).is_ok());
}

#[test]
fn a_relay_uses_what_its_guest_has_passed_on_to_it() {
    let (people, chain) = (people(), chain_of(2));
    let relayed = |audience: usize, relay: usize, guest: usize, now| {
        chain.verify_relayed(&people[audience].key, &people[relay].key, &people[guest].key, now)
    };
    assert_eq!(relayed(0, 2, 1, NOW), Ok(()));
    assert_eq!(relayed(3, 2, 1, NOW), Err(Refusal::Audience));
    assert_eq!(relayed(0, 3, 1, NOW), Err(Refusal::Holder));
    assert_eq!(relayed(0, 2, 3, NOW), Err(Refusal::Giver), "somebody has copied it");
    assert_eq!(relayed(0, 2, 1, NOW + 300), Err(Refusal::Expired));
    // What the relay itself was granted is nobody's whom it serves.
    let own = chain_of(1).verify_relayed(&people[0].key, &people[1].key, &people[2].key, NOW);
    assert_eq!(own, Err(Refusal::Giver));
    let mut forged = chain_of(2);
    forged.further[0].signed.signature.1[0] ^= 1;
    let forged = forged.verify_relayed(&people[0].key, &people[2].key, &people[1].key, NOW);
    assert_eq!(forged, Err(Refusal::Signature));
}

#[test]
fn every_signature_is_verified() {
    for number in 0..3 {
        for half in 0..2 {
            let mut chain = chain_of(3);
            let link = if number == 0 { &mut chain.root } else { &mut chain.further[number - 1] };
            let (r, s) = &mut link.signed.signature;
            if half == 0 {
                r[0] ^= 1
            } else {
                s[0] ^= 1
            }
            assert_eq!(verify(&chain, 3), Err(Refusal::Signature), "grant {number}");
        }
    }
}

#[test]
fn a_signature_of_something_else_is_none_of_a_grant() {
    let people = people();
    let grant = Grant::new(people[0].key, people[0].key, None, terms(&people[1]));
    let message = grant.to_signed().unwrap();
    assert!(message.starts_with(b"fs9 grant 1\0"));
    let signature = Signature::from_bytes(&people[0].secret.sign(&message[12..]));
    let signed = Signed { grant, signature: (*signature.r_bytes(), *signature.s_bytes()) };
    let chain = Chain::new(Link::new(signed).unwrap(), vec![]).unwrap();
    assert_eq!(verify(&chain, 1), Err(Refusal::Signature));
}

#[test]
fn ids_and_chains_are_texts_for_people() {
    let chain = chain_of(2);
    let id = chain.last().id();
    assert_eq!(id.to_string().len(), 52);
    assert_eq!(id.to_string().parse(), Ok(id));
    assert_eq!("x".parse::<GrantId>(), Err(crate::IdError));
    assert_eq!(format!("{id:?}"), id.to_string());
}
