//! `fs9 grants`: what this node has granted.

use clap::Args;

use super::columns::{Heading, table};
use super::output::print;
use super::terms::{Signer, now, written};
use crate::grants::{self, Issued};

/// List what this node has granted and has not ended
///
/// Of what was passed on to others nothing is known here before it is shown; `fs9 audit`
/// has that too, and all that has ended.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Grants {
    #[command(flatten)]
    signer: Signer,
}

impl Grants {
    pub fn run(self) -> anyhow::Result<()> {
        let identity = self.signer.identity()?;
        let now = now(identity.state());
        let mut issued = grants::issued(&identity)?;
        issued.retain(|issued| now < issued.chain.last().grant().not_after);
        let titles = ["ID", "UNTIL", "RIGHTS", "NAMES", "TO"];
        let headings = titles.map(|title| Heading { title: title.into(), room: 0, right: false });
        let rows: Vec<_> = issued.iter().map(row).collect();
        print(table(&headings, &rows).join("\n") + "\n")
    }
}

fn row(Issued { chain, revoked }: &Issued) -> [String; 5] {
    let (id, grant) = (chain.last().id().to_string(), chain.last().grant());
    let until = if *revoked { "revoked".into() } else { written(grant.not_after) };
    // So much of an id is one node's alone, in all likelihood.
    let id = id.chars().take(12).collect();
    [id, until, grant.rights.to_string(), grant.names.to_string(), grant.holder.to_string()]
}
