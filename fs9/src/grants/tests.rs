//! A node's grants over its files, as transcripts.

use std::fs;
use std::sync::atomic::AtomicBool;
use std::task::Wake;

use fs9_grants::audit::Trail;
use fs9_grants::{Names, Right, Secret, Terms};

use super::allowance::REFUSALS;
use super::*;

/// A node in a directory of its own, with the key that it has there.
struct Node {
    dir: tempfile::TempDir,
    identity: Identity,
    grants: Option<Grants>,
}

fn person(number: u8) -> Secret {
    Secret::from_seed(&[number; 32])
}

impl Node {
    fn new() -> Node {
        let dir = tempfile::tempdir().expect("a directory");
        let identity = Identity::load(State::at(dir.path()).expect("a path")).expect("a key");
        let grants = Some(Grants::open(&identity).expect("nobody else"));
        Node { dir, identity, grants }
    }

    fn grants(&self) -> &Grants {
        self.grants.as_ref().expect("it is open")
    }

    fn restart(&mut self) {
        self.grants = None;
        self.grants = Some(Grants::open(&self.identity).expect("nobody else"));
    }

    fn terms(&self, holder: &Secret, seconds: u64) -> Terms {
        let now = last(self.identity.state()).max(wall());
        Terms {
            holder: holder.key(),
            names: Names::new(["jobs"]).unwrap(),
            rights: Right::Read.into(),
            not_before: now,
            not_after: now + seconds,
            nonce: crate::random::random(),
            depth: 1.try_into().unwrap(),
        }
    }

    fn grant(&self, holder: &Secret, seconds: u64) -> Chain {
        let chain = Chain::issue(self.identity.secret(), self.terms(holder, seconds)).unwrap();
        self.grants().issue(chain.clone()).expect("its own");
        chain
    }

    fn admit(&self, holder: &Secret, shown: Option<&Chain>) -> Result<Arc<Guest>, Errno> {
        let shown = shown.map(|chain| lines(std::slice::from_ref(chain)));
        let admitted = self.grants().admit(holder.key(), shown.as_deref());
        admitted.map(|(guest, _)| guest).map_err(|refused| refused.errno)
    }

    fn revoke(&self, chain: &Chain) {
        self.grants().revoke(&chain.last().id().to_string()).expect("written");
    }

    /// The log, all of it verified.
    fn log(&self) -> Vec<Record> {
        let mut trail = Trail::default();
        let text = fs::read_to_string(self.dir.path().join(LOG)).expect("a log");
        text.lines().map(|line| trail.read(line).expect("unbroken")).collect()
    }

    fn events(&self) -> Vec<Event> {
        self.log().iter().map(|record| record.event).collect()
    }
}

/// Whether it was rung.
#[derive(Default)]
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn read_jobs() -> Wish {
    Wish { path: "jobs".into(), rights: Right::Read.into(), manner: Manner::Covered }
}

#[test]
fn a_key_comes_in_by_what_it_was_granted() {
    let (node, holder) = (Node::new(), person(1));
    assert_eq!(node.admit(&holder, None).err(), Some(Errno::ACCESS));
    let (one, other) = (node.grant(&holder, 600), node.grant(&holder, 300));
    let guest = node.admit(&holder, None).expect("granted");
    assert_eq!(guest.key, holder.key());
    let mut ids = [one.last().id(), other.last().id()];
    ids.sort();
    assert_eq!(guest.ids().collect::<Vec<_>>(), ids);
    assert_eq!(node.admit(&person(2), None).err(), Some(Errno::ACCESS));
    use Event::*;
    assert_eq!(node.events(), [Started, Refused, Granted, Granted, Admitted, Refused]);
    let log = node.log();
    assert_eq!(log[0].key, Some(node.identity.key()));
    assert_eq!((log[1].session, log[1].key), (Some(1), Some(holder.key())));
    let reason = log[1].reason.clone().unwrap();
    assert!(reason.ends_with(&format!(": `fs9 grant DIR/NAME --to {} --read` there lets it read NAME", holder.key())));
}

#[test]
fn what_was_passed_on_must_be_shown() {
    let (node, holder, third) = (Node::new(), person(1), person(2));
    let chain = node.grant(&holder, 600);
    let part = chain.delegate(&holder, Terms { depth: Default::default(), ..node.terms(&third, 1) }).unwrap();
    assert_eq!(node.admit(&third, None).err(), Some(Errno::ACCESS));
    assert_eq!(node.admit(&holder, Some(&part)).err(), Some(Errno::ACCESS), "it is the other's");
    assert_eq!(node.admit(&third, Some(&chain)).err(), Some(Errno::ACCESS));
    assert!(node.grants().admit(third.key(), Some(b"garbage")).is_err());
    let guest = node.admit(&third, Some(&part)).expect("passed on");
    assert_eq!(guest.may(&read_jobs()), Ok(part.last().id()));
    assert_eq!(node.log().last().unwrap().chain, Some(part));
}

#[test]
fn a_chain_is_the_nodes_own_or_nothing() {
    let (node, other, holder) = (Node::new(), Node::new(), person(1));
    let chain = other.grant(&holder, 600);
    assert_eq!(node.grants().issue(chain.clone()), Err(Errno::KEYREJECTED));
    assert_eq!(node.admit(&holder, Some(&chain)).err(), Some(Errno::ACCESS));
    let own = node.grant(&holder, 600);
    let part = own.delegate(&holder, Terms { depth: Default::default(), ..node.terms(&person(2), 1) }).unwrap();
    assert_eq!(node.grants().issue(part), Err(Errno::KEYREJECTED), "it is the holder's to pass on");
    let ended = Chain::issue(node.identity.secret(), Terms { not_after: wall(), ..node.terms(&holder, 1) }).unwrap();
    assert_eq!(node.grants().issue(ended), Err(Errno::KEYEXPIRED));
}

#[test]
fn revoking_ends_what_follows_here_and_after_a_restart() {
    let (mut node, holder, third) = (Node::new(), person(1), person(2));
    let chain = node.grant(&holder, 600);
    let part = chain.delegate(&holder, Terms { depth: Default::default(), ..node.terms(&third, 1) }).unwrap();
    let guests = [node.admit(&holder, None).unwrap(), node.admit(&third, Some(&part)).unwrap()];
    node.revoke(&chain);
    for guest in &guests {
        assert_eq!(guest.may(&read_jobs()), Err(Errno::KEYREVOKED));
        assert!(guest.has_lost());
    }
    for _ in 0..2 {
        assert_eq!(node.admit(&holder, None).err(), Some(Errno::KEYREVOKED));
        assert_eq!(node.admit(&third, Some(&part)).err(), Some(Errno::KEYREVOKED));
        assert_eq!(node.grants().issue(chain.clone()), Err(Errno::KEYREVOKED));
        node.restart();
    }
    assert!(issued(&node.identity).unwrap()[0].revoked);
}

#[test]
fn a_part_is_revoked_alone() {
    let (node, holder, third) = (Node::new(), person(1), person(2));
    let chain = node.grant(&holder, 600);
    let part = chain.delegate(&holder, Terms { depth: Default::default(), ..node.terms(&third, 1) }).unwrap();
    node.revoke(&part);
    assert_eq!(node.admit(&third, Some(&part)).err(), Some(Errno::KEYREVOKED));
    assert!(node.admit(&holder, None).is_ok());
}

#[test]
fn a_grant_is_found_by_the_beginning_of_its_id() {
    let (node, holder) = (Node::new(), person(1));
    node.grant(&holder, 600);
    assert_eq!(node.grants().revoke(""), Err(Errno::NOTUNIQ), "nothing said is nothing taken back");
    let ids: Vec<_> = (0..40).map(|_| node.grant(&holder, 600).last().id().to_string()).collect();
    let revoke = |beginning: &str| node.grants().revoke(beginning).map(|records| records[0].grants[0].to_string());
    assert_eq!(revoke(&ids[7][..20]).as_ref(), Ok(&ids[7]));
    // Of forty letters out of 32 two are the same.
    let doubled = ids.iter().map(|id| &id[..1]).find(|one| ids.iter().filter(|id| id.starts_with(one)).count() > 1);
    assert_eq!(revoke(doubled.unwrap()), Err(Errno::NOTUNIQ));
    assert_eq!(
        (revoke(""), revoke("1"), revoke(&ids[0].to_uppercase())),
        (Err(Errno::NOTUNIQ), Err(Errno::NOENT), Err(Errno::NOENT))
    );
}

#[test]
fn a_clock_that_was_set_back_brings_nothing_back() {
    let (mut node, holder) = (Node::new(), person(1));
    let end = node.grant(&holder, 600).last().grant().not_after;
    // What was last recorded is its end.
    node.grants().desk().ledger.write(end, Record::of(Event::Started)).unwrap();
    node.restart();
    assert_eq!(node.admit(&holder, None).err(), Some(Errno::KEYREVOKED));
    // And what is granted from then on begins then.
    node.grant(&holder, 600);
    assert!(node.admit(&holder, None).is_ok());
    assert_eq!(issued(&node.identity).unwrap().len(), 1, "what has ended is not kept");
}

#[test]
fn one_process_is_the_node() {
    let node = Node::new();
    let error = Grants::open(&node.identity).expect_err("another is").to_string();
    assert!(error.contains("another mount listens as this node"), "{error}");
}

#[test]
fn files_that_were_tampered_with_are_refused() {
    let (mut node, holder) = (Node::new(), person(1));
    let chain = node.grant(&holder, 600);
    let path = node.dir.path().join("grants");
    let refused = |node: &mut Node, text: &str| {
        node.grants = None;
        fs::write(&path, text).expect("written");
        Grants::open(&node.identity).expect_err("tampered with").to_string()
    };
    let foreign = Chain::issue(&person(9), node.terms(&holder, 600)).unwrap();
    for wrong in [format!("{chain}\n{foreign}\n"), format!("{chain}\nx\n"), format!("{chain}\nfs9grant:AAAA\n")] {
        let error = refused(&mut node, &wrong);
        assert!(error.contains("grants:2: "), "{error}");
    }
    fs::write(&path, format!("{chain}\n")).expect("written");
    fs::write(node.dir.path().join("revoked"), "x\n").expect("written");
    let error = Grants::open(&node.identity).expect_err("no id").to_string();
    assert!(error.contains("revoked:1: a grant's id is"), "{error}");
}

#[test]
fn strangers_do_not_fill_the_log() {
    let node = Node::new();
    let size = || fs::metadata(node.dir.path().join(LOG)).expect("a log").len();
    for _ in 0..2 * REFUSALS {
        assert_eq!(node.admit(&person(1), None).err(), Some(Errno::ACCESS));
    }
    assert!(size() < 700 * u64::from(REFUSALS) && node.log().len() <= 4 + REFUSALS as usize, "{}", size());
}

#[test]
fn who_cannot_be_written_down_is_not_let_in() {
    let (node, holder) = (Node::new(), person(1));
    node.grant(&holder, 600);
    let guest = node.admit(&holder, None).expect("granted");
    node.grants().desk().ledger = Ledger::full();
    assert_eq!(node.admit(&holder, None).err(), Some(Errno::IO));
    guest.decide(&read_jobs()).expect("granted");
    assert_eq!(node.grants().record(&guest), Err(Errno::IO));
}

#[test]
fn what_guests_do_is_recorded() {
    let (node, holder) = (Node::new(), person(1));
    let chain = node.grant(&holder, 600);
    let guest = node.admit(&holder, None).expect("granted");
    assert_eq!(node.grants().record(&guest), Ok(vec![]));
    assert_eq!(guest.decide(&read_jobs()), Ok(()));
    assert_eq!(node.grants().record(&guest).unwrap().len(), 1);
    assert!(node.grants().next_end().is_some_and(|left| left <= Duration::from_secs(600)));
    node.revoke(&chain);
    assert!(guest.has_lost());
    assert_eq!(guest.decide(&read_jobs()), Err(Errno::KEYREVOKED));
    node.grants().record(&guest).unwrap();
    use Event::*;
    assert_eq!(node.events(), [Started, Granted, Admitted, Allowed, Revoked, Ended, Refused]);
    let last = node.log().pop().unwrap();
    assert_eq!((last.session, last.key, last.name.as_deref()), (Some(1), Some(holder.key()), Some("jobs")));
    assert!(node.grants().next_end().is_none());
}

#[test]
fn a_guest_is_taken_to_another_node_by_what_it_has_passed_on() {
    let (node, far, holder) = (Node::new(), Node::new(), person(1));
    node.grant(&holder, 600);
    let relay = node.identity.key();
    let pass_on = |chain: &Chain, to: Key| {
        let terms = Terms { holder: to, depth: Default::default(), ..far.terms(&holder, 1) };
        let terms =
            Terms { not_before: chain.last().grant().not_before, not_after: chain.last().grant().not_after, ..terms };
        chain.delegate(&holder, terms).unwrap()
    };
    let chain = far.grant(&holder, 600);
    let (passed, elsewhere) = (pass_on(&chain, relay), pass_on(&chain, person(3).key()));
    // What the relay has there itself, as its guest might have seen it.
    let own = Chain::issue(far.identity.secret(), Terms { holder: relay, ..far.terms(&holder, 600) }).unwrap();
    let shown = |chains: &[Chain]| {
        let (guest, record) = node.grants().admit(holder.key(), Some(&lines(chains))).expect("granted");
        assert_eq!(record.chain, None, "it came by what the node itself has granted");
        let (chain, record) = node.grants().relay(&guest, "n/far", &far.identity.key());
        let written = node.log().pop().unwrap();
        assert_eq!(
            (written.event, &written.reason, written.session, written.key),
            (record.event, &record.reason, Some(guest.session), Some(holder.key()))
        );
        assert_eq!(written.reason.as_ref(), chain.as_ref().err().map(|refused| &refused.reason));
        chain.map_err(|refused| refused.reason)
    };
    assert_eq!(shown(std::slice::from_ref(&passed)), Ok(passed.clone()));
    let written = node.log().pop().unwrap();
    assert_eq!((written.event, written.name.as_deref(), written.chain), (Event::Relayed, Some("n/far"), Some(passed)));
    for (chains, why) in [
        (&[][..], "was shown: `fs9 delegate GRANT --to"),
        (&[elsewhere][..], "it was made for another key"),
        (&[chain][..], "it was not passed on by the key that shows it"),
        (&[own][..], "it was not passed on by the key that shows it"),
    ] {
        let reason = shown(chains).expect_err(why);
        assert!(reason.starts_with("n/far is used with a grant of its own node: ") && reason.contains(why), "{reason}");
    }
}

#[test]
fn what_is_for_other_nodes_lets_nobody_in() {
    let (node, far, holder) = (Node::new(), Node::new(), person(1));
    let theirs = far.grant(&holder, 600);
    let admit =
        |chains: &[Chain]| node.grants().admit(holder.key(), Some(&lines(chains))).map_err(|refused| refused.reason);
    let reason = admit(std::slice::from_ref(&theirs)).expect_err("nothing is granted");
    assert!(reason.ends_with("; what was shown is for another node"), "{reason}");
    let own = node.grant(&holder, 600);
    let others = node.grant(&person(2), 600);
    assert_eq!(admit(&[theirs.clone(), others]).err().as_deref(), Some("it was made for another key"));
    let (_, record) = admit(&[theirs.clone(), own.clone()]).expect("granted");
    assert_eq!(record.chain, Some(own.clone()));
    let reason = admit(&[own.clone(), own]).expect_err("which?");
    assert!(reason.starts_with("what was shown has two grants for the node fs9:"), "{reason}");
}

#[test]
fn what_was_allowed_before_is_written_before_what_takes_it_back() {
    let (node, holder) = (Node::new(), person(1));
    let chain = node.grant(&holder, 600);
    let guest = node.admit(&holder, None).expect("granted");
    assert_eq!(guest.decide(&read_jobs()), Ok(()));
    let told = node.grants().revoke(&chain.last().id().to_string()).expect("written");
    assert_eq!(guest.decide(&read_jobs()), Err(Errno::KEYREVOKED));
    assert_eq!(node.grants().record(&guest).unwrap().len(), 1);
    use Event::*;
    assert_eq!(told.iter().map(|record| record.event).collect::<Vec<_>>(), [Allowed, Revoked]);
    assert_eq!(node.events(), [Started, Granted, Admitted, Allowed, Revoked, Refused]);
    // What cannot be written down is not told either.
    assert_eq!(guest.decide(&read_jobs()), Err(Errno::KEYREVOKED));
    node.grants().desk().ledger = Ledger::full();
    assert_eq!(node.grants().revoke(&chain.last().id().to_string()).err(), Some(Errno::IO));
    assert_eq!(node.grants().record(&guest), Err(Errno::IO));
}

#[test]
fn what_the_owner_decides_is_done_told_and_written_down() {
    let (node, holder) = (Node::new(), person(1));
    let rung = Arc::new(Bell::default());
    node.grants().when_less(rung.clone().into());
    let chain = Chain::issue(node.identity.secret(), node.terms(&holder, 600)).unwrap();
    let id = chain.last().id();
    let granted = node.grants().carry_out(Decision::grant(&chain.to_string()).expect("a grant")).expect("its own");
    let told: Vec<_> = granted.iter().map(|one| (one.event, one.key, &*one.grants, one.chain.as_ref())).collect();
    assert_eq!(told, [(Event::Granted, Some(holder.key()), &[id][..], Some(&chain))]);
    assert_eq!(Decision::grant("fs9grant:AAAA"), None);
    assert!(node.admit(&holder, None).is_ok());
    assert!(!rung.0.load(Ordering::Relaxed));
    let revoked = node.grants().carry_out(Decision::Revoke(id.to_string())).expect("it is known");
    assert_eq!((revoked[0].event, &*revoked[0].grants), (Event::Revoked, &[id][..]));
    assert!(rung.0.load(Ordering::Relaxed), "who serves guests looks at what they have open");
    let (log, name) = (node.log(), |record: &Record| (record.event, record.key, record.grants.clone()));
    assert_eq!((name(&log[1]), name(&log[3])), (name(&granted[0]), name(&revoked[0])));
}

#[test]
fn who_has_as_much_as_a_key_may_have_is_turned_away_by_name() {
    let (node, holder) = (Node::new(), person(1));
    let refused = node.grants().turn_away(holder.key(), Exhausted { errno: Errno::USERS, reason: "enough".into() });
    assert_eq!((refused.errno, &*refused.reason), (Errno::USERS, "enough"));
    let last = node.log().pop().unwrap();
    let said = (last.event, last.session, last.key, last.reason.as_deref());
    assert_eq!(said, (Event::Refused, Some(1), Some(holder.key()), Some("enough")));
}

#[test]
fn a_node_has_so_many_grants_at_once() {
    let (node, holder) = (Node::new(), person(1));
    let chain = || Chain::issue(node.identity.secret(), node.terms(&holder, 600)).unwrap();
    let before = (1..MOST).map(|_| chain()).map(|chain| (chain.last().id(), chain));
    let ended = Chain::issue(node.identity.secret(), Terms { not_after: wall(), ..node.terms(&holder, 1) }).unwrap();
    node.grants().desk().issued = before.chain([(ended.last().id(), ended)]).collect();
    let last = chain();
    assert!(node.grants().issue(last.clone()).is_ok(), "what has ended has left its place");
    assert!(node.grants().issue(last).is_ok(), "it is one of them");
    assert_eq!(node.grants().issue(chain()), Err(Errno::NOSPC));
    assert_eq!(issued(&node.identity).unwrap().len(), MOST);
}

#[test]
fn who_has_gone_takes_no_room() {
    let (node, holder) = (Node::new(), person(1));
    node.grant(&holder, 600);
    (0..10).for_each(|_| drop(node.admit(&holder, None).expect("granted")));
    assert_eq!(node.grants().desk().guests.len(), 1);
}

#[test]
fn a_chain_is_verified_when_somebody_comes_and_not_when_it_is_used() {
    let (node, holder) = (Node::new(), person(1));
    let chain = node.grant(&holder, 600);
    let guest = node.admit(&holder, Some(&chain)).expect("granted");
    // Nobody is told: who verified it once more would find that it was taken back.
    node.grants().desk().revoked.insert(chain.last().id());
    for _ in 0..1000 {
        assert_eq!(guest.decide(&read_jobs()), Ok(()));
    }
    assert_eq!(node.admit(&holder, Some(&chain)).err(), Some(Errno::KEYREVOKED));
}
