//! `fs9 id`: who this node is to others.

use std::path::PathBuf;

use clap::Args;

use super::output::print;
use crate::identity::{Identity, State};

/// Print this node's public key, by which others know it
///
/// The key is made when it is first asked for, and kept in the state directory,
/// which is its user's alone. Others need what this prints to check that they have
/// reached this node, and to grant it something. A mount's file `id` says the same.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Id {
    /// The state directory [default: $XDG_CONFIG_HOME/fs9, or ~/.config/fs9]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

impl Id {
    pub fn run(self) -> anyhow::Result<()> {
        let identity = Identity::load(State::find(self.state.as_deref())?)?;
        print(format!("{}\n", identity.key()))
    }
}
