//! The mount's `status.json`, as the commands read it.

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;

use super::place::Place;
use super::shell::shown;
use super::wait::Wait;
use crate::status::Status;

/// Asks the server of the mount that `place` lies in.
pub fn status(place: &Place, wait: &Wait) -> anyhow::Result<Status> {
    parse(&place.read_root_file("status.json", wait)?, place)
}

/// What there is where `place` points: at a channel that one, at the mount or a directory in it everything.
pub fn status_at(place: &Place, wait: &Wait) -> anyhow::Result<Status> {
    let mut status = status(place, wait)?;
    match status.channels.iter().position(|channel| place.is_of(&channel.name)) {
        Some(one) => status.channels = vec![status.channels.swap_remove(one)],
        None if place.path().is_dir() => {}
        None => bail!("{} is neither a channel nor a directory: `fs9 ls` shows what there is", shown(&place.shown)),
    }
    Ok(status)
}

/// The JSON object of the channel that `place` lies in, as the server wrote it.
pub fn channel_object(place: &Place, wait: &Wait) -> anyhow::Result<Option<serde_json::Value>> {
    let mut report: serde_json::Value = parse(&place.read_root_file("status.json", wait)?, place)?;
    let channels = report.get_mut("channels").and_then(serde_json::Value::as_array_mut);
    let found =
        channels.and_then(|all| all.iter_mut().find(|one| one["name"].as_str().is_some_and(|name| place.is_of(name))));
    Ok(found.map(serde_json::Value::take))
}

fn parse<T: DeserializeOwned>(json: &[u8], place: &Place) -> anyhow::Result<T> {
    let root = shown(&place.root);
    serde_json::from_slice(json).with_context(|| format!("{root}/status.json is not what this fs9 understands"))
}
