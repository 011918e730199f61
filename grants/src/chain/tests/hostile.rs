//! Chains that somebody has made who wants more than he has. None is admitted. `FS9_HOSTILE=100000` tries so many.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// What somebody does with a chain of one to four, which was granted to him or to somebody else.
#[derive(Debug, Clone)]
enum Attack {
    /// Has a grant of it signed by another key.
    Forge(Index, usize),
    /// Shows it when it has ended.
    Late(u64),
    /// Shows it before it begins.
    Early(u64),
    /// Shows somebody else's.
    Replay(usize),
    /// Shows it to another node.
    Elsewhere(usize),
    /// Passes on more than he has.
    Widen(Index, Wider),
    /// Leaves grants out, and has all that follow signed anew by who made them.
    Cut(Index, bool),
    /// Puts a grant of another chain of the same people in.
    Splice(Index),
    /// Changes bits.
    Flip(Vec<Index>),
    /// Writes a number in more bytes than it needs.
    Lengthen(Index),
    /// Leaves bytes out.
    Truncate(Index),
    /// Adds bytes.
    Append(Vec<u8>),
    /// Shows it after a grant of it was revoked.
    Revoked(Index),
}

/// In which way a grant is wider than the one before.
#[derive(Debug, Clone)]
enum Wider {
    Names(String),
    Rights(Right),
    Before(u64),
    After(u64),
    Depth(u8),
}

fn wider() -> impl Strategy<Value = Wider> {
    prop_oneof![
        prop_oneof![
            Just("."),
            Just("*"),
            Just("job"),
            Just("job*"),
            Just("jobs*"),
            Just("n"),
            Just("ctl"),
            Just("n/x/jobs")
        ]
        .prop_map(|name| Wider::Names(name.into())),
        prop_oneof![Just(Right::Write), Just(Right::List), Just(Right::Create)].prop_map(Wider::Rights),
        (1..=NOW - 300).prop_map(Wider::Before),
        (1..u64::MAX - NOW - 300).prop_map(Wider::After),
        (0..=3u8).prop_map(Wider::Depth),
    ]
}

fn attack() -> impl Strategy<Value = Attack> {
    prop_oneof![
        (any::<Index>(), 1..5usize).prop_map(|(link, by)| Attack::Forge(link, by)),
        (300..u64::MAX - NOW).prop_map(Attack::Late),
        (301..=NOW).prop_map(Attack::Early),
        (1..5usize).prop_map(Attack::Replay),
        (1..5usize).prop_map(Attack::Elsewhere),
        (any::<Index>(), wider()).prop_map(|(link, wider)| Attack::Widen(link, wider)),
        (any::<Index>(), any::<bool>()).prop_map(|(link, signed)| Attack::Cut(link, signed)),
        any::<Index>().prop_map(Attack::Splice),
        prop::collection::vec(any::<Index>(), 1..4).prop_map(Attack::Flip),
        any::<Index>().prop_map(Attack::Lengthen),
        any::<Index>().prop_map(Attack::Truncate),
        prop::collection::vec(any::<u8>(), 1..64).prop_map(Attack::Append),
        any::<Index>().prop_map(Attack::Revoked),
    ]
}

static PEOPLE: LazyLock<[Person; 5]> = LazyLock::new(people);
static CHAINS: LazyLock<[Chain; 4]> = LazyLock::new(|| [1, 2, 3, 4].map(chain_of));
/// The same people, the same words, granted once more.
static AGAIN: LazyLock<[Chain; 4]> = LazyLock::new(|| {
    [1, 2, 3, 4].map(|length| {
        let mut grants = grants(&CHAINS[length - 1]);
        grants.iter_mut().for_each(|grant| grant.nonce = [8; 16]);
        signed(grants)
    })
});

fn grants(chain: &Chain) -> Vec<Grant> {
    chain.links().map(|link| link.grant().clone()).collect()
}

/// The chain of these grants, each signed by its issuer and naming the one before.
fn signed(grants: Vec<Grant>) -> Chain {
    let mut links: Vec<Link> = Vec::new();
    for mut grant in grants {
        grant.parent = links.last().map(Link::id);
        let issuer = PEOPLE.iter().find(|person| person.key == grant.issuer).unwrap();
        links.push(Link::sign(grant, &issuer.secret).unwrap());
    }
    assembled(links)
}

fn assembled(mut links: Vec<Link>) -> Chain {
    let root = links.remove(0);
    Chain::new(root, links).unwrap()
}

/// Whether the attack succeeds. None when it comes to nothing, as the same bits changed twice.
fn succeeds(length: usize, attack: &Attack) -> Option<bool> {
    let (chain, node) = (&CHAINS[length - 1], PEOPLE[0].key);
    let shown_by = |chain: &Chain, holder: usize, now| chain.verify(&node, &PEOPLE[holder].key, now, |_| false).is_ok();
    let shown = |chain: &Chain| Some((1..5).any(|holder| shown_by(chain, holder, NOW)));
    let bytes = |bytes: &[u8]| match Chain::from_bytes(bytes) {
        _ if bytes == chain.as_bytes() => None,
        Ok(chain) => shown(&chain),
        Err(_) => Some(false),
    };
    match attack {
        Attack::Forge(link, by) => {
            let number = link.index(length);
            let by = if *by == number { 0 } else { *by };
            let mut links: Vec<_> = chain.links().cloned().collect();
            links[number] = Link::sign(links[number].grant().clone(), &PEOPLE[by].secret).unwrap();
            if by == number { None } else { shown(&assembled(links)) }
        }
        Attack::Late(by) => Some(shown_by(chain, length, NOW + by)),
        Attack::Early(by) => Some(shown_by(chain, length, NOW - by)),
        Attack::Replay(by) if *by == length => None,
        Attack::Replay(by) => Some(shown_by(chain, *by, NOW)),
        Attack::Elsewhere(node) => {
            let node = PEOPLE[*node].key;
            Some(PEOPLE.iter().any(|holder| chain.verify(&node, &holder.key, NOW, |_| false).is_ok()))
        }
        Attack::Widen(..) | Attack::Cut(..) | Attack::Splice(_) if length == 1 => None,
        Attack::Widen(link, wider) => {
            let mut grants = grants(chain);
            // Whoever widened it passes it on as it is then.
            let first = 1 + link.index(length - 1);
            let depth = grants[first - 1].depth;
            grants[first..].iter_mut().for_each(|grant| widen(grant, depth, wider));
            shown(&signed(grants))
        }
        Attack::Cut(link, signs) => {
            let mut links: Vec<_> = chain.links().cloned().collect();
            links.remove(link.index(length - 1));
            let grants = links.iter().map(|link| link.grant().clone()).collect();
            shown(&if *signs { signed(grants) } else { assembled(links) })
        }
        Attack::Splice(link) => {
            let mut links: Vec<_> = chain.links().cloned().collect();
            let number = link.index(length);
            links[number] = AGAIN[length - 1].links().nth(number).unwrap().clone();
            // The last of others is a grant of theirs, after all.
            shown(&assembled(links))
        }
        Attack::Flip(bits) => {
            let mut changed = chain.as_bytes().to_vec();
            for bit in bits {
                let bit = bit.index(changed.len() * 8);
                changed[bit / 8] ^= 1 << (bit % 8);
            }
            bytes(&changed)
        }
        Attack::Lengthen(at) => {
            let old = chain.as_bytes();
            let at = at.index(old.len());
            bytes(&[&old[..at], &[old[at] | 0x80, 0], &old[at + 1..]].concat())
        }
        Attack::Truncate(at) => {
            let whole = chain.as_bytes();
            let cut = &whole[..at.index(whole.len())];
            // Before it was passed on, it was somebody's.
            let earlier = CHAINS.iter().any(|chain| chain.as_bytes() == cut);
            if earlier { None } else { bytes(cut) }
        }
        Attack::Append(more) => bytes(&[chain.as_bytes(), more].concat()),
        Attack::Revoked(link) => {
            let id = chain.links().nth(link.index(length)).unwrap().id();
            Some(chain.verify(&node, &PEOPLE[length].key, NOW, |revoked| *revoked == id).is_ok())
        }
    }
}

/// `grant` is wider than one of this depth, of which it is part.
fn widen(grant: &mut Grant, depth: Depth, wider: &Wider) {
    match wider {
        Wider::Names(name) => grant.names = Names::new(grant.names.iter().chain([&**name])).unwrap(),
        Wider::Rights(right) => grant.rights = grant.rights | *right,
        Wider::Before(by) => grant.not_before = grant.not_before.saturating_sub(*by),
        Wider::After(by) => grant.not_after += by,
        Wider::Depth(more) => grant.depth = (*more).max(depth.into()).try_into().unwrap(),
    }
}

/// So many chains are tried.
fn cases() -> u32 {
    std::env::var("FS9_HOSTILE").map_or(3000, |cases| cases.parse().expect("FS9_HOSTILE is a number"))
}

proptest! {
    // Of some attacks on some chains nothing comes.
    #![proptest_config(ProptestConfig { max_global_rejects: cases(), ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn no_hostile_chain_is_admitted(length in 1..=4usize, attack in attack()) {
        let result = succeeds(length, &attack);
        prop_assume!(result.is_some());
        prop_assert_eq!(result, Some(false));
    }
}
