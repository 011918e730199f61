//! A checker of the audit's log, written apart from the server: it replays the log by the rules in docs/security.md and
//! says whether it would have decided the same. Of the server's own code it uses what reads a chain of grants, and
//! nothing that decides.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use fs9_grants::Chain;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A grant as the log has it.
#[derive(Debug, Clone)]
struct Grant {
    issuer: String,
    audience: String,
    holder: String,
    names: Vec<String>,
    rights: BTreeSet<String>,
    from: u64,
    until: u64,
    parent: Option<String>,
    depth: u8,
    id: String,
}

/// What is known after so many lines.
#[derive(Debug, Default)]
struct State {
    node: String,
    issued: BTreeMap<String, Vec<Grant>>,
    revoked: BTreeSet<String>,
    /// The chains by which somebody came.
    sessions: BTreeMap<u64, Vec<Vec<Grant>>>,
    /// Where somebody goes on to another node, by what it has shown for that.
    relayed: BTreeSet<(u64, String)>,
}

/// How many decisions of each kind there are.
pub type Counts = BTreeMap<String, usize>;

/// Replays a log. Panics where the checker does not agree.
pub fn check(log: &Path) -> Counts {
    let text = std::fs::read_to_string(log).unwrap();
    let (mut before, mut time, mut state, mut counts) = (String::new(), 0, State::default(), Counts::new());
    for (number, line) in text.lines().enumerate() {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["sequence"], number, "{line}");
        assert_eq!(
            record["prev"],
            base32(&Sha256::digest(&before)),
            "line {number} does not follow from the one before"
        );
        assert!(record["time"].as_u64().unwrap() >= time, "time goes back at {line}");
        time = record["time"].as_u64().unwrap();
        if let Err(why) = state.agrees(&record, time) {
            panic!("the checker does not agree: {why}\nwith {line}\nof\n{text}");
        }
        *counts.entry(word(&record, "event")).or_default() += 1;
        line.clone_into(&mut before);
    }
    counts
}

impl State {
    fn agrees(&mut self, record: &Value, time: u64) -> Result<(), String> {
        let grants: Vec<String> = record["grants"].as_array().into_iter().flatten().map(text).collect();
        let chain = record["chain"].as_str().map(links);
        let key = word(record, "key");
        let ensure = |holds: bool, why: &str| if holds { Ok(()) } else { Err(why.to_owned()) };
        match &*word(record, "event") {
            "started" => self.node = key,
            "granted" => {
                let chain = chain.ok_or("a grant without itself")?;
                ensure(chain.len() == 1 && chain[0].id == grants[0] && chain[0].holder == key, "it is another grant")?;
                self.issued.insert(grants[0].clone(), chain);
            }
            "revoked" => self.revoked.extend(grants),
            "admitted" => {
                let by = self.admissible(chain.as_ref(), &key, time);
                let ids: BTreeSet<_> = by.iter().map(|chain| chain[chain.len() - 1].id.clone()).collect();
                ensure(!by.is_empty() && ids == grants.into_iter().collect(), "nobody should come in so")?;
                self.sessions.insert(record["session"].as_u64().ok_or("no session")?, by);
            }
            "refused" if record["name"].is_null() => {
                // A chain that could not be read is not in the log.
                let reason = word(record, "reason");
                let is_full = reason == "this key has 512 connections, as many as a key may have"
                    || reason == "this client has attached 256 times, as often as a client may";
                let shown = reason.starts_with("what was shown");
                let admissible = self.admissible(chain.as_ref(), &key, time);
                ensure(is_full || shown || admissible.is_empty(), "it should have come in")?;
            }
            "relayed" => {
                self.chains_of(record)?;
                let chain = chain.ok_or("without a chain")?;
                ensure(is_passed_on(&chain, &key, &self.node, time), "that is not to be used for this key")?;
                self.relayed.insert((record["session"].as_u64().unwrap(), word(record, "name")));
            }
            "refused" if attached(record).is_some() && !self.is_relayed(record) => {
                self.chains_of(record)?;
            }
            "allowed" => {
                let rights = !word(record, "rights").is_empty();
                ensure(!rights || attached(record).is_none() || self.is_relayed(record), "by this node's own rights")?;
                let chains = self.chains_of(record)?;
                let by = chains.iter().find(|chain| chain[chain.len() - 1].id == grants[0]).ok_or("not its grant")?;
                ensure(self.lasts(by, time) && allows(by, record), "that was not granted")?;
            }
            "refused" => {
                let may = self.chains_of(record)?.iter().any(|chain| self.lasts(chain, time) && allows(chain, record));
                ensure(!may, "that was granted")?;
            }
            "ended" => {
                let chains = self.chains_of(record)?;
                let by = chains.iter().find(|chain| chain[chain.len() - 1].id == grants[0]).ok_or("not its grant")?;
                ensure(!self.lasts(by, time), "it has not ended")?;
            }
            other => return Err(format!("what is {other}?")),
        }
        Ok(())
    }

    /// Whether it is of a node to which this session goes on.
    fn is_relayed(&self, record: &Value) -> bool {
        let session = record["session"].as_u64().unwrap();
        attached(record).is_some_and(|node| self.relayed.contains(&(session, node)))
    }

    fn chains_of(&self, record: &Value) -> Result<&Vec<Vec<Grant>>, String> {
        let session = record["session"].as_u64().ok_or("no session")?;
        let chains = self.sessions.get(&session).ok_or("nobody was admitted so")?;
        let is_own = chains.iter().all(|chain| chain[chain.len() - 1].holder == word(record, "key"));
        if is_own { Ok(chains) } else { Err("it is somebody else's session".into()) }
    }

    /// By which chains somebody may come in.
    fn admissible(&self, shown: Option<&Vec<Grant>>, key: &str, time: u64) -> Vec<Vec<Grant>> {
        let candidates: Vec<_> = match shown {
            Some(chain) => vec![chain.clone()],
            None => self.issued.values().cloned().collect(),
        };
        let fits = |chain: &Vec<Grant>| {
            chain[chain.len() - 1].holder == key && self.lasts(chain, time) && self.is_whole(chain)
        };
        candidates.into_iter().filter(fits).collect()
    }

    /// Each grant is for this node and follows from the one before. (What it passes on is asked when it is used.)
    fn is_whole(&self, chain: &[Grant]) -> bool {
        let first = &chain[0];
        let follows = chain.windows(2).all(|two| {
            let narrower = two[0].from <= two[1].from && two[1].until <= two[0].until && two[1].depth < two[0].depth;
            two[1].issuer == two[0].holder && two[1].parent.as_ref() == Some(&two[0].id) && narrower
        });
        let is_own = first.issuer == self.node && first.parent.is_none();
        is_own && follows && chain.iter().all(|grant| grant.audience == self.node)
    }

    fn lasts(&self, chain: &[Grant], time: u64) -> bool {
        chain.iter().all(|grant| grant.from <= time && time < grant.until && !self.revoked.contains(&grant.id))
    }
}

/// The place of the attached node that a record is about.
fn attached(record: &Value) -> Option<String> {
    let name = word(record, "name");
    let parts: Vec<_> = parts(&name).into_iter().take(2).collect();
    (parts.len() == 2 && parts[0] == "n").then(|| parts.join("/"))
}

/// Whether `guest` has passed a chain of another node on to `relay`. (Signatures and limits are that node's to verify.)
fn is_passed_on(chain: &[Grant], guest: &str, relay: &str, time: u64) -> bool {
    let last = &chain[chain.len() - 1];
    let is_its = last.issuer == guest && last.holder == relay && chain[0].issuer == last.audience;
    is_its && last.audience != relay && chain.iter().all(|grant| grant.from <= time && time < grant.until)
}

/// Whether all grants of a chain allow what a record says.
fn allows(chain: &[Grant], record: &Value) -> bool {
    let name = word(record, "name");
    let rights: BTreeSet<String> = word(record, "rights").split_whitespace().map(str::to_owned).collect();
    let last = name.rsplit('/').next().unwrap_or_default();
    let is_text = ["ctl", "status", "status.json", "events"].contains(&last);
    chain.iter().all(|grant| {
        let covered = grant.names.iter().any(|pattern| covers(pattern, &name));
        let leads = grant.names.iter().any(|pattern| is_on_the_way(pattern, &name));
        match rights.iter().next().map(String::as_str) {
            // To know of it.
            None => covered || leads,
            Some("list") => {
                if covered {
                    grant.rights.contains("list")
                } else {
                    leads
                }
            }
            _ if is_text => grant.names.contains(&name) && rights.is_subset(&grant.rights),
            _ => covered && rights.is_subset(&grant.rights),
        }
    })
}

fn parts(path: &str) -> Vec<&str> {
    if path == "." { Vec::new() } else { path.split('/').collect() }
}

fn covers(pattern: &str, path: &str) -> bool {
    let (wanted, is) = (parts(pattern), parts(path));
    if is.first() == Some(&"n") && wanted.first() != Some(&"n") {
        return false;
    }
    match pattern.strip_suffix('*') {
        Some(prefix) => !is.is_empty() && path.starts_with(prefix),
        None => is.starts_with(&wanted),
    }
}

fn is_on_the_way(pattern: &str, path: &str) -> bool {
    let mut wanted = parts(pattern);
    if pattern.ends_with('*') {
        wanted.pop();
    }
    wanted.starts_with(&parts(path))
}

/// The grants of a chain, as they are in its text.
fn links(token: &str) -> Vec<Grant> {
    let chain: Chain = token.parse().unwrap();
    let link = |link: &fs9_grants::Link| {
        let grant = link.grant();
        Grant {
            issuer: grant.issuer.to_string(),
            audience: grant.audience.to_string(),
            holder: grant.holder.to_string(),
            names: grant.names.iter().map(str::to_owned).collect(),
            rights: grant.rights.to_string().split_whitespace().map(str::to_owned).collect(),
            from: grant.not_before,
            until: grant.not_after,
            parent: grant.parent.map(|id| id.to_string()),
            depth: grant.depth.into(),
            id: link.id().to_string(),
        }
    };
    chain.links().map(link).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn word(record: &Value, field: &str) -> String {
    text(&record[field])
}

/// RFC 4648's base32 in lower case, without padding.
fn base32(bytes: &[u8]) -> String {
    let bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect::<Vec<_>>();
    let letter = |bits: &[u8]| {
        let number = (0..5).fold(0, |number, bit| number << 1 | usize::from(*bits.get(bit).unwrap_or(&0)));
        b"abcdefghijklmnopqrstuvwxyz234567"[number] as char
    };
    bits.chunks(5).map(letter).collect()
}
