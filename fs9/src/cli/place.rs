//! A path that lies in an fs9 mount. Nothing is opened before that is certain: outside a mount a message would
//! overwrite somebody's file.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail, ensure};
use rustix::fs::OFlags;

use super::errno::{Verb, failed};
use super::peer::Peer;
use super::shell::shown;
use super::wait::Wait;
use crate::mountpoint;

/// Suffixes that choose at open how bytes become messages; no part of the name.
const VIEWS: [&str; 2] = [":line", ":whole"];
/// Bytes of a name at most.
const NAME_MAX: usize = 255;

/// A path in a mount.
#[derive(Debug)]
pub struct Place {
    /// As the user wrote it, for sentences.
    pub shown: PathBuf,
    /// The mount point.
    pub root: PathBuf,
    /// From there on; empty for the root itself.
    pub relative: PathBuf,
}

impl Place {
    /// Finds the mount that `path` lies in.
    ///
    /// What is below `n/NAME` is another node's: its own mount point is there, with all the files of one.
    pub fn of(path: &Path) -> anyhow::Result<Place> {
        Ok(Place::here(path)?.at_its_node())
    }

    /// Finds the mount of this machine that `path` lies in.
    pub fn here(path: &Path) -> anyhow::Result<Place> {
        let (root, relative) = mountpoint::containing(path)
            .map_err(|error| failed(Verb::Find, path, error))?
            .ok_or_else(|| outside(path))?;
        Ok(Place { shown: path.to_owned(), root, relative })
    }

    /// The root of the mount at `point`.
    pub fn root_of(point: &Path) -> Place {
        Place { shown: point.to_owned(), root: point.to_owned(), relative: PathBuf::new() }
    }

    fn at_its_node(mut self) -> Place {
        let mut names = self.relative.components();
        while let (Some(n), Some(name)) = (names.next(), names.next())
            && n.as_os_str() == "n"
        {
            self.root = self.root.join(n).join(name);
            self.relative = names.as_path().to_owned();
            names = self.relative.components();
        }
        self
    }

    /// The channel to talk through: of a service its `connect`, of anything else itself.
    pub fn channel(self) -> Place {
        let (base, view) = self.relative.to_str().map_or(("", ""), split_view);
        let connect = Path::new(base).join(format!("connect{view}"));
        let is_service = || rustix::fs::stat(self.root.join(base).join("connect")).is_ok();
        if base.is_empty() || !is_service() { self } else { Place { relative: connect, ..self } }
    }

    /// The path to open: free of symbolic links, so it cannot lead out of the mount.
    pub fn path(&self) -> PathBuf {
        self.root.join(&self.relative)
    }

    /// Whether this is the channel of that name, a view of it, or a file in it (a pair is a directory).
    pub fn is_of(&self, channel: &str) -> bool {
        let Some(rest) = self.relative.to_str().and_then(|path| path.strip_prefix(channel)) else { return false };
        rest.is_empty() || VIEWS.contains(&rest) || rest.starts_with('/')
    }

    /// A file at the root of the mount, such as `status`.
    pub fn root_file(&self, name: &str) -> Place {
        Place { shown: self.root.join(name), root: self.root.clone(), relative: name.into() }
    }

    /// Writes one line to the mount's `ctl`. The errno of the write is the answer, and it is about this path.
    pub fn control(&self, verb: Verb, line: &str, wait: &Wait) -> anyhow::Result<()> {
        let ctl = Place { shown: self.shown.clone(), ..self.root_file("ctl") };
        let ctl = Peer::open(&ctl, OFlags::WRONLY, verb, wait)?;
        ctl.send("an answer of the server", format!("{line}\n").as_bytes())
    }

    /// Everything that a file at the root of the mount says now.
    pub fn read_root_file(&self, name: &str, wait: &Wait) -> anyhow::Result<Vec<u8>> {
        Peer::open(&self.root_file(name), OFlags::RDONLY, Verb::Look, wait)?.read_all()
    }

    /// The relative path as `ctl` takes it: one line of text, every name in it lawful.
    pub fn name_for_ctl(&self) -> anyhow::Result<&str> {
        let shown = shown(&self.shown);
        ensure!(!self.relative.as_os_str().is_empty(), "{shown} is the mount itself: name a channel in it");
        for name in &self.relative {
            check_name(name).map_err(|why| anyhow!("{} is not a name for a channel: {why}", shown))?;
        }
        match self.relative.to_str() {
            Some(name) if name.starts_with("--") || name.starts_with(' ') => {
                bail!("ctl would misread {shown}, which begins with -- or a space: use touch or rm on the file itself")
            }
            Some(name) => Ok(name),
            None => bail!("{shown} is not UTF-8: choose another name"),
        }
    }
}

/// A path without the suffix of a view, and that suffix.
fn split_view(path: &str) -> (&str, &str) {
    let view = VIEWS.into_iter().find(|view| path.ends_with(view)).unwrap_or("");
    (path.strip_suffix(view).unwrap_or(path), view)
}

fn outside(path: &Path) -> anyhow::Error {
    let mounts = mountpoint::fs9_mounts().unwrap_or_default();
    let mounts: Vec<_> = mounts.iter().map(|mount| shown(&mount.point)).collect();
    match mounts.as_slice() {
        [] => anyhow!("{} is not in an fs9 mount, and there is none: make one with `fs9 up DIR`", shown(path)),
        some => anyhow!("{} is not in an fs9 mount: name a path below {}", shown(path), some.join(" or ")),
    }
}

/// The rules for a name that can be checked from here; the server checks them all again.
fn check_name(name: &OsStr) -> Result<(), String> {
    let text = name.to_str().ok_or("it is not UTF-8")?;
    match text {
        "" | "." | ".." => Err(format!("`{text}` is a way through directories")),
        _ if text.chars().any(char::is_control) => Err("it holds a control character".into()),
        _ if text.len() > NAME_MAX => Err(format!("it has {} bytes, and {NAME_MAX} is the most", text.len())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(relative: &str) -> Place {
        Place { shown: Path::new("p").join(relative), root: "/p".into(), relative: relative.into() }
    }

    #[test]
    fn lawful_names() {
        for name in ["jobs", "dir/my jobs", "größe", &"x".repeat(255)] {
            assert_eq!(place(name).name_for_ctl().expect("lawful"), name);
        }
    }

    #[test]
    fn unlawful_names_are_refused_with_a_reason() {
        let long = "x".repeat(256);
        for (name, why) in [
            ("", "the mount itself"),
            ("a\nstop", "control character"),
            ("a/..", "way through directories"),
            (&long, "256 bytes"),
            ("--pair", "misread"),
            (" jobs", "misread"),
        ] {
            let error = place(name).name_for_ctl().expect_err(name).to_string();
            assert!(error.contains(why) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn the_channel_of_a_path() {
        for path in ["dir/chat", "dir/chat:whole", "dir/chat/a", "dir/chat/a:line"] {
            assert!(place(path).is_of("dir/chat"), "{path}");
        }
        for path in ["dir", "dir/chats", "dir/chat:else", "chat"] {
            assert!(!place(path).is_of("dir/chat"), "{path}");
        }
    }

    #[test]
    fn a_node_has_a_mount_point_of_its_own() {
        for (relative, root, rest) in [
            ("n/alpha/d/q", "/p/n/alpha", "d/q"),
            ("n/alpha", "/p/n/alpha", ""),
            ("n/alpha/n/beta/q", "/p/n/alpha/n/beta", "q"),
            ("n", "/p", "n"),
            ("d/n/q", "/p", "d/n/q"),
        ] {
            let place = place(relative).at_its_node();
            assert_eq!((place.root.to_str(), place.relative.to_str()), (Some(root), Some(rest)));
        }
    }

    #[test]
    fn a_view_is_split_off() {
        assert_eq!(split_view("p/bc:line"), ("p/bc", ":line"));
        assert_eq!(split_view("p/bc"), ("p/bc", ""));
    }

    #[test]
    fn a_path_outside_is_refused() {
        let error = Place::of(Path::new("/proc/self/status")).expect_err("not ours").to_string();
        assert!(error.contains("is not in an fs9 mount"), "{error}");
    }
}
