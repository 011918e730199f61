//! `fs9 delegate`: what was granted is passed on, in part. No mount is needed for it.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use fs9_grants::{Names, Terms};

use super::output::print;
use super::terms::{Offer, Signer, chain, now};
use crate::random::random;

/// Pass on a part of what was granted to this node
///
/// Prints the chain of grants that the one with the other key shows to the node which
/// began it: `fs9 attach DIR/n/NAME ADDR --grant FILE`. What is not said is as in the grant;
/// more than that cannot be passed on, nor later than its end, nor oftener than it
/// allows. `fs9 revoke` there takes it back, alone or with what it is part of.
///
///   fs9 delegate grant.txt jobs/today --to fs9:kq2h... --read --for 5m
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Delegate {
    /// What was granted: as `fs9 grant` or `fs9 delegate` printed it, a file with that, or - for standard input
    #[arg(value_name = "GRANT")]
    grant: String,
    /// Names, as they are in the grant: from the root of the mount on
    names: Vec<String>,
    #[command(flatten)]
    offer: Offer,
    /// For how long: 10m, 12h, 30d
    #[arg(long = "for", value_name = "T", value_parser = humantime::parse_duration)]
    time: Option<Duration>,
    #[command(flatten)]
    signer: Signer,
}

impl Delegate {
    pub fn run(self) -> anyhow::Result<()> {
        let chain = chain(&self.grant)?;
        let given = chain.last().grant();
        let identity = self.signer.identity()?;
        let names = if self.names.is_empty() { given.names.clone() } else { Names::new(self.names)? };
        let rights = self.offer.rights();
        let now = now(identity.state());
        let until = |time: Duration| now.saturating_add(time.as_secs().max(1));
        let terms = Terms {
            holder: self.offer.to,
            names,
            rights: if rights == Default::default() { given.rights } else { rights },
            // A clock that is a little behind the giver's must not keep anybody from it.
            not_before: given.not_before,
            not_after: self.time.map_or(given.not_after, until),
            nonce: random(),
            depth: self.offer.delegate,
        };
        let passed_on = chain.delegate(identity.secret(), terms).context("it cannot be passed on so")?;
        print(format!("{passed_on}\n"))
    }
}
