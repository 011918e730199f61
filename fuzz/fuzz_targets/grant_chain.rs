//! Chains of grants and lines of an audit's log from strangers: any bytes, and those of a good chain with some changed.
//! What is read is written as it was, takes little memory, and is admitted only if it is the good one.
#![no_main]

use std::sync::LazyLock;

use fs9_fuzz::sparingly;
use fs9_grants::audit::Trail;
use fs9_grants::{Chain, Names, Right, Secret, Terms};
use libfuzzer_sys::fuzz_target;

/// Person 0 is the node, which grants; the others pass it on.
static PEOPLE: LazyLock<[Secret; 5]> = LazyLock::new(|| [1, 2, 3, 4, 5].map(|seed| Secret::from_seed(&[seed; 32])));
static GOOD: LazyLock<Chain> = LazyLock::new(|| {
    let terms = |number: u8| Terms {
        holder: PEOPLE[usize::from(number)].key(),
        names: Names::new(["jobs", "logs/*"]).unwrap(),
        rights: Right::ALL.into_iter().collect(),
        not_before: 0,
        not_after: 100,
        nonce: [number; 16],
        depth: (4 - number).try_into().unwrap(),
    };
    let issued = Chain::issue(&PEOPLE[0], terms(1)).unwrap();
    (1..4).fold(issued, |chain, number| chain.delegate(&PEOPLE[usize::from(number)], terms(number + 1)).unwrap())
});

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    let mut changed = GOOD.as_bytes().to_vec();
    for (byte, change) in changed.iter_mut().zip(bytes) {
        *byte ^= change;
    }
    read(&changed);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = sparingly(64 << 10, || text.parse::<Chain>());
        let _ = Trail::default().read(text);
    }
});

fn read(bytes: &[u8]) {
    let Ok(chain) = sparingly(64 << 10, || Chain::from_bytes(bytes)) else { return };
    assert_eq!(chain.as_bytes(), bytes);
    assert_eq!(chain.to_string().parse().as_ref(), Ok(&chain));
    let granted = chain.verify(&PEOPLE[0].key(), &chain.last().grant().holder, 50, |_| false);
    let earlier = GOOD.as_bytes().starts_with(bytes);
    assert_eq!(granted.is_ok(), earlier, "{chain:?}");
}
