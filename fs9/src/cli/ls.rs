//! `fs9 ls`: what a directory of a mount holds.

use std::collections::HashMap;
use std::fs::{DirEntry, Metadata};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::io::Errno;

use super::errno::{Failed, Verb, failed};
use super::output::print;
use super::place::Place;
use super::report::status;
use super::shell::shown;
use super::wait::Wait;
use crate::status::{ChannelStatus, Status};

/// List channels and directories: kind, mode, how many wait, name
#[derive(Debug, Args)]
pub struct Ls {
    /// A directory of the mount, or one channel
    #[arg(default_value = ".")]
    path: PathBuf,
}

impl Ls {
    pub fn run(self) -> anyhow::Result<()> {
        let place = Place::of(&self.path)?;
        let status = match status(&place, &Wait::new(None)?) {
            Err(error) if is_refused(&error) => Status::default(),
            status => status?,
        };
        let channels: HashMap<&Path, &ChannelStatus> =
            status.channels.iter().map(|channel| (Path::new(&channel.name), channel)).collect();
        if let Some(channel) = channels.get(place.relative.as_path()) {
            return print(channel_row(&shown(&self.path), channel));
        }
        let metadata = place.path().metadata().map_err(|error| failed(Verb::Look, &place.shown, error))?;
        if !metadata.is_dir() {
            return print(plain_row(&shown(&self.path), &metadata));
        }
        let mut entries = entries(&place)?;
        entries.sort_by_key(DirEntry::file_name);
        let rows = entries.iter().map(|entry| row(&place, entry, &channels));
        print(rows.collect::<anyhow::Result<String>>()?)
    }
}

/// Whether what is told of all names is not for us: another node may let us see some of them only (which of a path is
/// ENOENT).
fn is_refused(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(|failed: &Failed| matches!(failed.errno, Errno::ACCESS | Errno::NOENT))
}

fn entries(place: &Place) -> anyhow::Result<Vec<DirEntry>> {
    let entries = place.path().read_dir().and_then(Iterator::collect);
    entries.map_err(|error| failed(Verb::Look, &place.shown, error))
}

fn row(place: &Place, entry: &DirEntry, channels: &HashMap<&Path, &ChannelStatus>) -> anyhow::Result<String> {
    let name = entry.file_name();
    match channels.get(place.relative.join(&name).as_path()) {
        Some(channel) => Ok(channel_row(&name.to_string_lossy(), channel)),
        None => {
            let metadata = entry.metadata().map_err(|error| failed(Verb::Look, &entry.path(), error))?;
            Ok(plain_row(&name.to_string_lossy(), &metadata))
        }
    }
}

fn channel_row(name: &str, channel: &ChannelStatus) -> String {
    let waiting = channel.holders.iter().filter(|holder| holder.waiting.is_some()).count();
    let waiting = if waiting == 0 { "-".to_owned() } else { format!("{waiting} waiting") };
    columns(&channel.full_kind(), &channel.mode, &waiting, name)
}

fn plain_row(name: &str, metadata: &Metadata) -> String {
    let kind = if metadata.is_dir() { "dir" } else { "file" };
    columns(kind, &format!("{:04o}", metadata.permissions().mode() & 0o7777), "-", name)
}

fn columns(kind: &str, mode: &str, waiting: &str, name: &str) -> String {
    format!("{kind:<11}  {mode}  {waiting:<10}  {name}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_line_up() {
        let channel =
            ChannelStatus { kind: "queue".into(), ack: true, mode: "0600".into(), ..ChannelStatus::default() };
        assert_eq!(channel_row("jobs", &channel), "queue --ack  0600  -           jobs\n");
        assert_eq!(columns("pair", "0600", "2 waiting", "chat"), "pair         0600  2 waiting   chat\n");
    }
}
