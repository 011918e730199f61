//! `fs9 check`: whether a configuration file is right, and what it would make.

use std::path::PathBuf;

use clap::Args;

use super::output::print;
use super::shell::shown;
use crate::config::{self, Item, What};

/// Check a configuration file for `fs9 up --config`, and list what it would make
///
/// Nothing is mounted. Prints one line a name: mode, owner, group (- for those of
/// the mount), and what makes it, as one would write it to `ctl`. Exit code 1 when
/// something in the file is wrong; every mistake is told with its line.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Check {
    /// The file
    file: PathBuf,
}

impl Check {
    pub fn run(self) -> anyhow::Result<()> {
        let options = config::read(&self.file, |_| {})?;
        print(options.items.iter().map(line).collect::<String>())
    }
}

fn line(item: &Item) -> String {
    let id = |id: Option<u32>| id.map_or("-".to_owned(), |id| id.to_string());
    let made = match &item.what {
        What::Directory => format!("mkdir {}", item.path),
        // Only a NUL byte has no line, and the file cannot hold one.
        What::Channel(spec) => spec.line(&item.path).unwrap_or_default(),
        What::Node(how) => how.line(item.path.strip_prefix("n/").unwrap_or(&item.path)).unwrap_or_default(),
    };
    format!("{:04o} {:>5} {:>5}  {}\n", item.mode, id(item.uid), id(item.gid), shown(made.as_ref()))
}
