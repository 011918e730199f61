//! `fs9 grant` and `fs9 revoke`: what a node lets others do, through the mount's `ctl`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use fs9_grants::{Chain, Names, Terms};

use super::errno::Verb;
use super::output::print;
use super::place::Place;
use super::report::status;
use super::shell::shown;
use super::terms::{Offer, Signer, now};
use super::wait::Wait;
use crate::identity::Identity;
use crate::random::random;

/// Let another node use names of this one
///
/// The one with that key may do so much with these names and what is below them,
/// and no more, until the time is over or `fs9 revoke`. With a * at its end a name
/// is the beginning of names (quote it for the shell); DIR itself is the whole tree,
/// without ctl, status and events, which must be named, and without other nodes.
///
///   fs9 grant p/jobs --to fs9:5jfg... --read --for 10m
///   fs9 grant 'p/worker-*' p/log --to fs9:5jfg... --write --for 30d --delegate 1
///
/// Prints the grant. Whoever has the key comes in without it; to pass a part on to
/// another key (`fs9 delegate`) it is needed. To anybody else it is worth nothing.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Grant {
    /// Names in a mount that listens on tls://; up to 16, and they need not be there yet
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    offer: Offer,
    /// For how long: 10m, 12h, 30d
    #[arg(long = "for", value_name = "T", value_parser = humantime::parse_duration)]
    time: Duration,
    #[command(flatten)]
    signer: Signer,
}

/// Take back a grant, and all that was passed on of it
///
/// What was opened by it is closed at once, and what waits there fails (EKEYREVOKED).
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Revoke {
    /// The mount
    dir: PathBuf,
    /// Its id, or the beginning of it, as `fs9 grants` shows it; or the grant itself
    #[arg(value_name = "ID")]
    id: String,
}

impl Grant {
    pub fn run(self) -> anyhow::Result<()> {
        let rights = self.offer.rights();
        ensure!(rights != Default::default(), "nothing would be granted: say --read, --write, --list or --create");
        let places: Vec<_> = self.paths.iter().map(|path| Place::here(path)).collect::<Result<_, _>>()?;
        let place = places.first().context("name what is to be granted")?;
        let names = Names::new(places.iter().map(|other| name(place, other)).collect::<Result<Vec<_>, _>>()?)?;
        let wait = Wait::new(None)?;
        let identity = self.signer.identity()?;
        check_key(place, &identity, &wait)?;
        // The server's, which may be later than anything that it has written down, or this machine's clock has shown.
        let not_before = status(place, &wait)?.server.time.unwrap_or_else(|| now(identity.state()));
        let terms = Terms {
            holder: self.offer.to,
            names,
            rights,
            not_before,
            not_after: not_before.saturating_add(self.time.as_secs().max(1)),
            nonce: random(),
            depth: self.offer.delegate,
        };
        let chain = Chain::issue(identity.secret(), terms)?;
        place.control(Verb::Grant, &format!("grant {chain}"), &wait)?;
        print(format!("{chain}\n"))
    }
}

/// The name of a place in the mount that `first` is in.
fn name(first: &Place, place: &Place) -> anyhow::Result<String> {
    let (one, other) = (shown(&first.shown), shown(&place.shown));
    ensure!(first.root == place.root, "{one} and {other} are in two mounts: grant each for itself");
    match place.relative.to_str() {
        Some("") => Ok(".".into()),
        Some(name) => Ok(name.into()),
        None => bail!("{other} is not UTF-8, as every name in a mount is"),
    }
}

/// Whether it is this key's mount.
fn check_key(place: &Place, identity: &Identity, wait: &Wait) -> anyhow::Result<()> {
    let mount = String::from_utf8_lossy(&place.read_root_file("id", wait)?).trim().to_owned();
    let own = identity.key().to_string();
    let state = identity.state().path("");
    ensure!(
        mount == own,
        "{} is the node {mount}, and the key in {} is {own}: give the --state DIR that the mount was brought up with",
        shown(&place.root),
        shown(Path::new(&state))
    );
    Ok(())
}

impl Revoke {
    pub fn run(self) -> anyhow::Result<()> {
        let place = Place::here(&self.dir)?;
        let id = if self.id.starts_with("fs9grant:") {
            super::terms::chain(&self.id)?.last().id().to_string()
        } else {
            self.id
        };
        place.control(Verb::Revoke, &format!("revoke {id}"), &Wait::new(None)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_in_one_mount() {
        let place = |root: &str, relative: &str| Place {
            shown: Path::new(root).join(relative),
            root: root.into(),
            relative: relative.into(),
        };
        let first = place("/p", "jobs");
        assert_eq!(name(&first, &place("/p", "worker-*")).expect("a name"), "worker-*");
        assert_eq!(name(&first, &place("/p", "")).expect("the root"), ".");
        let error = name(&first, &place("/q", "jobs")).expect_err("another mount").to_string();
        assert_eq!(error, "/p/jobs and /q/jobs are in two mounts: grant each for itself");
    }
}
