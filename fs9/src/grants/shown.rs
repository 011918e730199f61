//! What somebody shows when it comes: a chain of grants for this node, and some for nodes behind it, which this one
//! uses for who has shown them and nobody else.

use std::collections::BTreeMap;

use fs9_grants::{Chain, ChainError, Key};

/// Chains of grants, at most one for each node. As bytes, each is a line of text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown(BTreeMap<Key, Chain>);

/// Why bytes are no chains of grants.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShownError {
    /// A line is none.
    #[error("what was shown cannot be read: {0}")]
    Line(#[from] ChainError),
    /// Which of them is to count?
    #[error("what was shown has two grants for the node {0}: show one for each node")]
    Twice(Key),
}

impl Shown {
    /// So many bytes may be shown.
    pub const LONGEST: usize = 4 * Chain::LONGEST;

    /// What these bytes show. Nothing in it is verified.
    ///
    /// # Errors
    /// See [`ShownError`].
    pub fn parse(bytes: &[u8]) -> Result<Shown, ShownError> {
        let text = str::from_utf8(bytes).map_err(|_| ChainError::Text)?;
        let mut chains = BTreeMap::new();
        for line in text.lines() {
            let chain: Chain = line.parse()?;
            let node = chain.last().grant().audience;
            if chains.insert(node, chain).is_some() {
                return Err(ShownError::Twice(node));
            }
        }
        Ok(Shown(chains))
    }

    /// Takes out the one for a node.
    pub fn take(&mut self, node: &Key) -> Option<Chain> {
        self.0.remove(node)
    }

    /// The one for a node.
    pub fn get(&self, node: &Key) -> Option<&Chain> {
        self.0.get(node)
    }

    /// Any of them.
    pub fn first(&self) -> Option<&Chain> {
        self.0.values().next()
    }
}

/// The bytes by which these are shown.
pub fn lines(chains: &[Chain]) -> Vec<u8> {
    chains.iter().map(|chain| format!("{chain}\n")).collect::<String>().into_bytes()
}

#[cfg(test)]
mod tests {
    use fs9_grants::{Names, Right, Secret, Terms};

    use super::*;

    fn chain(node: u8) -> Chain {
        let terms = Terms {
            holder: Secret::from_seed(&[7; 32]).key(),
            names: Names::new(["jobs"]).unwrap(),
            rights: Right::Read.into(),
            not_before: 0,
            not_after: 1,
            nonce: [0; 16],
            depth: Default::default(),
        };
        Chain::issue(&Secret::from_seed(&[node; 32]), terms).unwrap()
    }

    #[test]
    fn there_is_room_for_a_node_behind_each_link_that_a_key_may_have() {
        let chains: Vec<_> = (1..=32).map(chain).collect();
        let shown = lines(&chains);
        assert!(shown.len() <= Shown::LONGEST);
        assert_eq!(Shown::parse(&shown).expect("a line of each").0.len(), chains.len());
    }

    #[test]
    fn there_is_one_for_each_node() {
        let (one, other) = (chain(1), chain(2));
        let nodes = [&one, &other].map(|chain| chain.last().grant().audience);
        let mut shown = Shown::parse(&lines(&[one.clone(), other.clone()])).expect("two lines");
        assert_eq!(shown.take(&nodes[0]), Some(one.clone()));
        assert_eq!((shown.get(&nodes[0]), shown.get(&nodes[1]), shown.first()), (None, Some(&other), Some(&other)));
        assert_eq!(
            Shown::parse(one.to_string().as_bytes()),
            Shown::parse(&lines(std::slice::from_ref(&one))),
            "the end of line may be missing"
        );
        assert_eq!(Shown::parse(&lines(&[one.clone(), one.clone()])), Err(ShownError::Twice(nodes[0])));
        assert_eq!(Shown::parse(b""), Ok(Shown::default()));
        for wrong in [&b"\n"[..], b"garbage", &[0xff], one.as_bytes(), format!("{one}\n\n").as_bytes()] {
            assert!(matches!(Shown::parse(wrong), Err(ShownError::Line(_))), "{wrong:?}");
        }
    }
}
