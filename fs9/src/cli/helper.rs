//! `mount.fs9`: how mount(8) mounts what /etc/fstab calls fs9. Turns its words into those of `fs9 up`, and becomes it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use clap::{ArgAction, Parser};

use super::shell::shown;

/// The name under which this program is the helper.
const NAME: &str = "mount.fs9";

/// Options that change nothing here: they speak to mount(8), or of what a mount of channels has anyway.
const IGNORED: [&str; 28] = [
    "rw",
    "defaults",
    "auto",
    "noauto",
    "user",
    "nouser",
    "users",
    "owner",
    "group",
    "nofail",
    "_netdev",
    "silent",
    "loud",
    "dev",
    "nodev",
    "suid",
    "nosuid",
    "exec",
    "noexec",
    "async",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "lazytime",
];

/// Options with a value, and what they are called by `fs9 up`.
const VALUED: [(&str, &str); 6] = [
    ("config", "--config"),
    ("threads", "--threads"),
    ("limit", "--limit"),
    ("max_channels", "--max-channels"),
    ("max_opens", "--max-opens"),
    ("max_bytes", "--max-bytes"),
];

/// Mount a line of /etc/fstab; called by mount(8)
#[derive(Debug, Parser)]
#[command(name = NAME, version)]
struct Helper {
    /// A configuration file, whose name ends in .toml; `fs9` or `none` for none
    spec: PathBuf,
    /// The directory to mount on
    dir: PathBuf,
    /// Options, with commas
    #[arg(short = 'o', action = ArgAction::Append)]
    options: Vec<OsString>,
    /// Leave unknown options out
    #[arg(short = 's')]
    sloppy: bool,
    /// Do everything but mount
    #[arg(short = 'f')]
    fake: bool,
    /// Say how to use the mount
    #[arg(short = 'v')]
    verbose: bool,
    /// Has no meaning here: there is no file of mounts to write to
    #[arg(short = 'n')]
    _no_mtab: bool,
    /// Another mount namespace, which is not entered
    #[arg(short = 'N')]
    namespace: Option<OsString>,
    /// The type, which is fs9
    #[arg(short = 't')]
    _fstype: Option<OsString>,
}

/// Whether this process was called under the helper's name.
pub fn is_called(name: Option<&OsStr>) -> bool {
    name.and_then(|name| Path::new(name).file_name()).is_some_and(|name| name == NAME)
}

/// Runs the helper with this process's arguments. Returns only without a mount.
pub fn run() -> anyhow::Result<()> {
    let helper = Helper::parse();
    let words = helper.words()?;
    if helper.fake {
        return Ok(());
    }
    let this = std::env::current_exe().context("cannot find the fs9 program itself")?;
    Err(Command::new(this).arg0("fs9").args(words).exec()).context("cannot start fs9 up")
}

impl Helper {
    /// The words of the `fs9` command that does it.
    fn words(&self) -> anyhow::Result<Vec<OsString>> {
        ensure!(self.namespace.is_none(), "{NAME} enters no other namespace: run mount in it, with nsenter");
        let mut words = vec!["up".into()];
        words.extend((!self.verbose).then(|| "--quiet".into()));
        words.extend(self.config()?);
        for option in self.options.iter().flat_map(|list| list.as_bytes().split(|&byte| byte == b',')) {
            words.extend(self.word(OsStr::from_bytes(option))?);
        }
        let configs = words.iter().filter(|word| word.as_bytes().starts_with(b"--config=")).count();
        ensure!(configs < 2, "{NAME}: two configuration files: name one, in front or with config=");
        words.extend(["--".into(), self.dir.clone().into_os_string()]);
        Ok(words)
    }

    /// The word for the file that the first field of the line names. mount(8) makes a path of a word by which it finds
    /// a file or directory, so it is the last component that counts.
    fn config(&self) -> anyhow::Result<Option<OsString>> {
        match self.spec.file_name().and_then(OsStr::to_str) {
            Some("fs9" | "none") => Ok(None),
            _ if self.spec.extension().is_some_and(|end| end == "toml") => {
                Ok(Some(joined("--config", self.spec.as_os_str())))
            }
            _ => bail!("{NAME}: {} is neither fs9 nor a file whose name ends in .toml", shown(&self.spec)),
        }
    }

    /// What `fs9 up` calls an option; None for one that changes nothing.
    fn word(&self, option: &OsStr) -> anyhow::Result<Option<OsString>> {
        let bytes = option.as_bytes();
        let (name, value) = match bytes.iter().position(|&byte| byte == b'=') {
            Some(at) => (&bytes[..at], Some(OsStr::from_bytes(&bytes[at + 1..]))),
            None => (bytes, None),
        };
        let name = String::from_utf8_lossy(name);
        match (&*name, value) {
            ("ro", None) => {
                bail!("{NAME}: not read-only: to receive is to read, but to take a message is to change it")
            }
            ("allow_other", None) => Ok(Some("--allow-other".into())),
            (name, Some(value)) if let Some((_, word)) = VALUED.iter().find(|(known, _)| *known == name) => {
                Ok(Some(joined(word, value)))
            }
            ("", None) => Ok(None),
            (name, _) if IGNORED.contains(&name) || name.starts_with("x-") || name == "comment" => Ok(None),
            _ if self.sloppy => Ok(None),
            _ => {
                let known = VALUED.map(|(name, _)| format!("{name}=")).join(", ");
                bail!("{NAME}: there is no option {}: there are allow_other, {known}", shown(Path::new(option)))
            }
        }
    }
}

fn joined(option: &str, value: &OsStr) -> OsString {
    OsString::from_vec([option.as_bytes(), b"=", value.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `mount.fs9 LINE` becomes.
    fn words(line: &str) -> Result<String, String> {
        let helper = Helper::try_parse_from([NAME].into_iter().chain(line.split(' '))).expect("mount(8) calls it so");
        let words = helper.words().map_err(|error| error.to_string())?;
        Ok(words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn it_is_known_by_its_name() {
        let called = |name: &str| is_called(Some(OsStr::new(name)));
        assert!(called("mount.fs9") && called("/sbin/mount.fs9"));
        assert!(!called("fs9") && !called("/sbin/mount.fs9/fs9") && !is_called(None));
    }

    #[test]
    fn lines_of_fstab() {
        for (line, becomes) in [
            ("none /p -o rw", "up --quiet -- /p"),
            ("fs9 /p", "up --quiet -- /p"),
            ("/fs9 /p", "up --quiet -- /p"),
            (
                "/etc/fs9/p.toml /p -o rw,allow_other,nofail,_netdev",
                "up --quiet --config=/etc/fs9/p.toml --allow-other -- /p",
            ),
            ("fs9 /p -o rw,noexec,nosuid,nodev,user,x-systemd.automount", "up --quiet -- /p"),
            ("fs9 /p -n -v -o config=/c,threads=2,limit=9", "up --config=/c --threads=2 --limit=9 -- /p"),
            ("fs9 /p -sv -o whatever,max_channels=1,max_opens=2,max_bytes=3", {
                "up --max-channels=1 --max-opens=2 --max-bytes=3 -- /p"
            }),
        ] {
            assert_eq!(words(line).as_deref(), Ok(becomes), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_sentence() {
        for (line, why) in [
            ("fs9 /p -o ro", "not read-only"),
            ("fs9 /p -o whatever=1", "there is no option whatever=1: there are allow_other, config=,"),
            ("fs9 /p -o allow_other=1", "there is no option allow_other=1"),
            ("fs9 /p -o threads", "there is no option threads"),
            ("/c.toml /p -o config=/d", "two configuration files"),
            ("/dev/sda1 /p", "/dev/sda1 is neither fs9 nor a file whose name ends in .toml"),
            ("fs9 /p -N /proc/1/ns/mnt", "nsenter"),
        ] {
            let error = words(line).expect_err(line);
            assert!(error.contains(why), "{line}: {error}");
        }
    }
}
