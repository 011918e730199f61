//! A configuration file: how to mount, and the names that the mount has from the start.
//!
//! TOML, in which the table of a name says what it is: `[queue.jobs]`, `[program."p/bc"]`; `docs/config.md` lists the
//! keys. All mistakes of a file are told at once, each with its place and what would be right. What a name may be is
//! the tree's rule, so the tree is asked: all that the file wants is made in one that nobody sees.

mod mistake;
mod section;
mod value;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustix::io::Errno;
use toml::de::DeTable;

use crate::attachment::Attach;
use crate::mount::{LARGEST_MESSAGE, Limits, MOST_THREADS, Options};
use crate::spec::{Program, ServiceSpec, Spec};
use crate::tree::{Attr, Tree};
use mistake::Mistake;
pub use mistake::{ConfigError, Mistakes};
use section::Section;

/// Bytes of a file at most: room for as many names as a mount has by default.
const LONGEST: u64 = 16 << 20;

/// A name that a mount has from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its path from the mount point. Directories in front of it are made as needed.
    pub path: String,
    /// What it is to be.
    pub what: What,
    /// Its permissions; where it is a directory of a channel, those of its ends.
    pub mode: u32,
    /// Its owner, where that is not who mounts.
    pub uid: Option<u32>,
    /// Its group, where that is not the one of who mounts.
    pub gid: Option<u32>,
}

/// What a name is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A plain directory.
    Directory,
    /// A channel.
    Channel(Spec),
    /// The tree of another node.
    Node(Attach),
}

impl What {
    /// The permissions of a new one.
    fn mode(&self) -> u32 {
        match self {
            What::Directory => 0o755,
            What::Channel(_) => 0o600,
            What::Node(_) => 0o700,
        }
    }
}

/// Reads a file; what it does not say is as by default. `overrule` has the last word on all but the names.
///
/// # Errors
/// [`ConfigError::Unreadable`]; [`ConfigError::Mistaken`] with every mistake in it.
pub fn read(file: &Path, overrule: impl FnOnce(&mut Options)) -> Result<Options, ConfigError> {
    let bytes = bytes(file).map_err(|error| ConfigError::Unreadable { file: file.to_owned(), error })?;
    let options = match str::from_utf8(&bytes) {
        Ok(text) => parse(text, overrule),
        Err(error) => Err(vec![Mistake { at: error.valid_up_to(), text: "this is not UTF-8".into() }]),
    };
    let text = String::from_utf8_lossy(&bytes);
    options.map_err(|mistakes| ConfigError::Mistaken(Mistakes::new(file, &text, mistakes)))
}

fn bytes(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match File::open(file)?.take(LONGEST + 1).read_to_end(&mut bytes)? as u64 {
        0..=LONGEST => Ok(bytes),
        _ => Err(io::Error::other(format!("it has more than {LONGEST} bytes"))),
    }
}

/// A name, and where the file says so.
struct Located {
    at: usize,
    key: String,
    item: Item,
}

fn parse(text: &str, overrule: impl FnOnce(&mut Options)) -> Result<Options, Vec<Mistake>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // What follows from one of these would only confuse.
        return Err(errors.iter().map(Mistake::of_syntax).collect());
    }
    let mut mistakes = Vec::new();
    let mut options = Options::default();
    let mut items = Vec::new();
    let mut file = Section::file(document.get_ref(), &mut mistakes);
    file.inside("mount", |mount| read_mount(mount, &mut options));
    file.inside("limits", |limits| read_limits(limits, &mut options.limits));
    overrule(&mut options);
    for (kind, read_what) in KINDS {
        file.inside(kind, |names| names.each(|path, name| items.extend(read_item(path, name, read_what))));
    }
    file.end();
    // So that a directory comes before what is in it, and of two with one name the earlier before the later.
    items.sort_by(|a, b| a.item.path.split('/').cmp(b.item.path.split('/')).then(a.at.cmp(&b.at)));
    refuse_what_the_tree_refuses(&items, &options.limits, &mut mistakes);
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    options.items = items.into_iter().map(|located| located.item).collect();
    Ok(options)
}

fn read_mount(mount: &mut Section<'_, '_>, options: &mut Options) {
    mount.set("allow_other", &mut options.allow_other, value::boolean);
    mount.set("threads", &mut options.threads, value::number(1..=MOST_THREADS));
    mount.set("listen", &mut options.serving.listen, value::addresses);
    mount.set("insecure", &mut options.serving.insecure, value::boolean);
    mount.set("linger", &mut options.serving.linger, value::duration);
    mount.set("keep_alive", &mut options.serving.keep_alive, value::lasting(Attach::SHORTEST));
    mount.set("export_nodes", &mut options.serving.export_nodes, value::boolean);
    options.serving.state = mount.take("state", value::directory);
}

fn read_limits(section: &mut Section<'_, '_>, limits: &mut Limits) {
    section.set("message", &mut limits.message, value::number(1..=LARGEST_MESSAGE));
    section.set("channels", &mut limits.channels, value::number(1..=usize::MAX));
    section.set("opens", &mut limits.opens, value::number(1..=usize::MAX));
    section.set("bytes", &mut limits.bytes, value::number(1..=usize::MAX));
}

/// Understands the keys that one kind of name has. None where it misses one that it cannot be without.
type ReadWhat = fn(&mut Section<'_, '_>) -> Option<What>;

/// The tables of names.
const KINDS: [(&str, ReadWhat); 7] = [
    ("directory", |_| Some(What::Directory)),
    ("queue", read_queue),
    ("pair", |_| Some(What::Channel(Spec::Pair))),
    ("service", read_service),
    ("topic", read_topic),
    ("program", read_program),
    ("node", read_node),
];

fn read_item(path: &str, name: &mut Section<'_, '_>, read_what: ReadWhat) -> Option<Located> {
    let what = read_what(name);
    let mode = name.take("mode", value::mode);
    let uid = name.take("owner", value::user);
    let gid = name.take("group", value::group);
    let what = what?;
    let mode = mode.unwrap_or(what.mode());
    let path = if let What::Node(_) = what { format!("n/{path}") } else { path.to_owned() };
    Some(Located { at: name.at(), key: name.key(), item: Item { path, what, mode, uid, gid } })
}

fn read_queue(queue: &mut Section<'_, '_>) -> Option<What> {
    Some(What::Channel(Spec::Queue { ack: queue.take("ack", value::boolean).unwrap_or_default() }))
}

fn read_topic(topic: &mut Section<'_, '_>) -> Option<What> {
    Some(What::Channel(Spec::Topic { latest: topic.take("latest", value::boolean).unwrap_or_default() }))
}

fn read_service(section: &mut Section<'_, '_>) -> Option<What> {
    let mut service = ServiceSpec::default();
    section.set("backlog", &mut service.backlog, value::number(0..=usize::MAX));
    section.set("hello", &mut service.hello, value::boolean);
    section.set("refuse", &mut service.refuse, value::boolean);
    Some(What::Channel(Spec::Service(service)))
}

fn read_program(section: &mut Section<'_, '_>) -> Option<What> {
    let mut service = ServiceSpec::default();
    let mut program = Program::default();
    section.set("backlog", &mut service.backlog, value::number(0..=usize::MAX));
    section.set("framing", &mut program.framing, value::framing);
    section.set("max", &mut program.max, value::number(1..=usize::MAX));
    section.set("grace", &mut program.grace, value::duration);
    program.idle = section.take("idle", value::duration);
    program.dir = section.take("dir", value::directory);
    program.env = section.take("env", value::environment).unwrap_or_default();
    program.command = section.need("command", r#"["bc", "-lq"]"#, value::command)?;
    service.program = Some(program);
    Some(What::Channel(Spec::Service(service)))
}

fn read_node(section: &mut Section<'_, '_>) -> Option<What> {
    let linger = section.take("linger", value::duration);
    let keep_alive = section.take("keep_alive", value::lasting(Attach::SHORTEST));
    let insecure = section.take("insecure", value::boolean);
    let accept_new = section.take("accept_new", value::boolean);
    let grants = section.take("grant", value::grants);
    let usual = Attach::to(section.need("address", r#""unix:/run/alpha""#, value::address)?);
    Some(What::Node(Attach {
        linger: linger.unwrap_or(usual.linger),
        keep_alive: keep_alive.unwrap_or(usual.keep_alive),
        insecure: insecure.unwrap_or_default(),
        accept_new: accept_new.unwrap_or_default(),
        grants: grants.unwrap_or_default(),
        ..usual
    }))
}

/// Makes everything in a tree that nobody sees.
fn refuse_what_the_tree_refuses(items: &[Located], limits: &Limits, mistakes: &mut Vec<Mistake>) {
    let mut tree = Tree::new(Attr::new(0o755, 0, 0), limits.channels);
    let mut made = HashMap::new();
    for Located { at, key, item } in items {
        let refused = match tree.furnish(item) {
            Ok(_) => {
                made.insert(&*item.path, key);
                continue;
            }
            Err(refused) => refused,
        };
        mistakes.push(Mistake { at: *at, text: format!("{key}: {}", why_not(refused, &item.path, &made, limits)) });
        if refused == Errno::NOSPC {
            return; // as for all that come after it
        }
    }
}

/// What a refusal of the tree means, given the keys of what was made before.
fn why_not(refused: Errno, path: &str, made: &HashMap<&str, &String>, limits: &Limits) -> String {
    let above = || path.match_indices('/').find_map(|(end, _)| made.get(&path[..end]));
    match refused {
        Errno::EXIST | Errno::NOTDIR | Errno::PERM => match (made.get(path), above()) {
            (Some(key), _) => format!("{key} has this name already"),
            (None, Some(key)) => format!("{key} is no directory that something could be made in"),
            (None, None) => "the mount has a file of its own there: choose another name".into(),
        },
        Errno::NAMETOOLONG => "each part has 255 bytes at most, and the whole 4095".into(),
        Errno::NOSPC => format!("one too many: limits.channels is {}, and directories count", limits.channels),
        _ => "each part between slashes is a name: not empty, . or .., without control characters, and not ending \
              like a view (:line, :whole)"
            .into(),
    }
}

#[cfg(test)]
mod tests;
