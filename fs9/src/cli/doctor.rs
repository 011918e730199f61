//! `fs9 doctor`: whether this machine can run a mount, and what to do if not.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use clap::Args;
use rustix::param::page_size;
use rustix::process::{Resource, geteuid, getrlimit};

use super::failure::Quiet;
use super::output::print;
use super::shell::shown;
use crate::Limits;
use crate::confine::{self, Confinement};
use crate::mountpoint::{self, MountInfo, REQUEST_TIMEOUTS, fuse_sysctl};

/// The first kernel with all that the server asks of pidfds: how a process that is not its child ended
/// (PIDFD_INFO_EXIT).
const KERNEL: (u32, u32) = (6, 15);
/// Bytes of one request that the default message limit needs.
const REQUEST: u64 = 1 << 20;

/// Check whether this machine can run a mount, and say what to do if not
///
/// Prints one line a check. Exit code 0 when fs9 can run here, 1 when not.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Doctor {
    /// Check this directory as well: can `fs9 up` mount on it
    dir: Option<PathBuf>,
}

/// What a check found.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    Ok(String),
    /// Works, with a restriction.
    Note(String),
    /// Does not work before this is done.
    Problem(String),
}
use Finding::{Note, Ok as Fine, Problem};

impl Doctor {
    pub fn run(self) -> anyhow::Result<()> {
        let mut findings = vec![kernel(), device(), helper(), other_users()];
        findings.extend(REQUEST_TIMEOUTS.map(request_timeout));
        findings.extend([
            pages(fuse_sysctl("max_pages_limit"), page_size() as u64),
            descriptors(),
            confinement(confine::offered()),
        ]);
        findings.extend(mounts());
        findings.extend(self.dir.as_deref().map(directory));
        print(findings.iter().map(line).collect::<String>())?;
        match findings.iter().any(|finding| matches!(finding, Problem(_))) {
            // The lines above have said it all.
            true => Err(Quiet.into()),
            false => Ok(()),
        }
    }
}

fn line(finding: &Finding) -> String {
    match finding {
        Fine(text) => format!("ok       {text}\n"),
        Note(text) => format!("note     {text}\n"),
        Problem(text) => format!("problem  {text}\n"),
    }
}

fn kernel() -> Finding {
    judge_kernel(std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim())
}

fn judge_kernel(release: &str) -> Finding {
    let (major, minor) = KERNEL;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(a)), Some(Ok(b))) if (a, b) >= KERNEL => Fine(format!("kernel {release}")),
        (Some(Ok(_)), Some(Ok(_))) => Problem(format!("kernel {release} is too old: boot {major}.{minor} or later")),
        _ => Note(format!("kernel {release}: cannot tell whether it is {major}.{minor} or later")),
    }
}

fn device() -> Finding {
    match File::options().read(true).write(true).open("/dev/fuse") {
        Ok(_) => Fine("/dev/fuse can be opened".into()),
        Err(error) => Problem(format!("/dev/fuse cannot be opened ({error}): as root, {}", remedy(&error))),
    }
}

fn remedy(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => "run `chmod 0666 /dev/fuse`",
        _ => "run `modprobe fuse`; in a container, start it with --device /dev/fuse",
    }
}

fn helper() -> Finding {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join("fusermount3")).find(|file| file.is_file());
    let is_setuid = |file: &Path| file.metadata().is_ok_and(|meta| meta.uid() == 0 && meta.mode() & 0o4000 != 0);
    match found {
        _ if geteuid().is_root() => Fine("root mounts without fusermount3".into()),
        Some(file) if is_setuid(&file) => Fine(format!("{} is setuid root", shown(&file))),
        Some(file) => {
            Problem(format!("{0} is not setuid root: as root, run `chown root {0} && chmod 4755 {0}`", shown(&file)))
        }
        None => Problem("fusermount3 is not in PATH: install the package fuse3".into()),
    }
}

fn other_users() -> Finding {
    let allowed = |text: String| text.lines().any(|line| line.trim() == "user_allow_other");
    match std::fs::read_to_string("/etc/fuse.conf").is_ok_and(allowed) {
        _ if geteuid().is_root() => Fine("root may use `fs9 up --allow-other`".into()),
        true => Fine("/etc/fuse.conf allows `fs9 up --allow-other`".into()),
        false => Note("`fs9 up --allow-other` needs the line user_allow_other in /etc/fuse.conf".into()),
    }
}

fn request_timeout(name: &'static str) -> Finding {
    match fuse_sysctl(name) {
        None => Fine(format!("this kernel has no fs.fuse.{name}")),
        Some(0) => Fine(format!("fs.fuse.{name} is 0")),
        Some(seconds) => Problem(mountpoint::Refusal::RequestTimeout { sysctl: name, seconds }.to_string()),
    }
}

fn pages(limit: Option<u64>, page: u64) -> Finding {
    let (wanted, longest) = (REQUEST / page, REQUEST - page);
    match limit {
        Some(pages) if pages < wanted => {
            let message = pages.saturating_sub(1) * page;
            Note(format!(
                "fs.fuse.max_pages_limit is {pages}, so a message has {message} bytes at most: \
                 as root, run `sysctl fs.fuse.max_pages_limit={wanted}` for {longest}"
            ))
        }
        Some(pages) => Fine(format!("fs.fuse.max_pages_limit is {pages}")),
        None => Fine(format!("messages may have {longest} bytes")),
    }
}

fn descriptors() -> Finding {
    let wanted = Limits::default().opens as u64;
    match getrlimit(Resource::Nofile).maximum {
        Some(limit) if limit < wanted => Note(format!(
            "the limit of descriptors is {limit}, so fewer than {limit} files of a mount can be open at once: \
             raise it with `ulimit -Hn` as root, or LimitNOFILE= of systemd, for up to {wanted}"
        )),
        Some(limit) => Fine(format!("the limit of descriptors is {limit}")),
        None => Fine("descriptors have no limit".into()),
    }
}

/// What of the confinement of threads this kernel has.
fn confinement(offered: Confinement) -> Finding {
    let confined = offered.text().map(|text| format!("threads that listen to others are confined by {text}"));
    match (confined, offered) {
        (Some(confined), Confinement { landlock: Some(_), seccomp: true }) => Fine(confined),
        (Some(confined), Confinement { landlock: None, .. }) => Note(format!(
            "{confined}, and not by Landlock: boot a kernel that has it (CONFIG_SECURITY_LANDLOCK) with landlock in lsm="
        )),
        (Some(confined), _) => Note(format!("{confined}, and not by seccomp (CONFIG_SECCOMP_FILTER)")),
        (None, _) => Note(
            "threads that listen to others are not confined: this kernel has neither Landlock nor seccomp, or a container \
             forbids them"
                .into(),
        ),
    }
}

/// Where fs9 is up, and what killed servers have left behind.
fn mounts() -> Vec<Finding> {
    let mounts = match mountpoint::fs9_mounts() {
        Ok(mounts) => mounts,
        Err(error) => return vec![Problem(format!("/proc/self/mountinfo cannot be read ({error}): mount /proc"))],
    };
    let finding = |mount: &MountInfo| {
        let dir = shown(&mount.point);
        match has_died(mount) {
            Some(true) => {
                Note(format!("the server of {dir} has died: `fs9 down {dir}` cleans it up, `fs9 up {dir}` starts anew"))
            }
            Some(false) => Fine(format!("fs9 is up on {dir}")),
            None => Note(format!("the server of {dir} does not answer: is it stopped? `kill -CONT` lets it go on")),
        }
    };
    mounts.iter().map(finding).collect()
}

/// Whether a server is gone; None when it does not answer within a second.
fn has_died(mount: &MountInfo) -> Option<bool> {
    let (tell, hear) = mpsc::channel();
    let mount = mount.clone();
    // A thread that waits for a server ends with this process.
    std::thread::spawn(move || tell.send(mount.is_dead()));
    hear.recv_timeout(Duration::from_secs(1)).ok()
}

/// Looks without touching: what `prepare` would clean is found before it is asked.
fn directory(dir: &Path) -> Finding {
    let place = dir.canonicalize().or_else(|_| mountpoint::locate(dir));
    let mount = place.and_then(|dir| mountpoint::mounted_at(&dir)).ok().flatten();
    match mount.filter(MountInfo::is_fs9).map(|mount| has_died(&mount)) {
        Some(None) => return Problem(format!("the server of {} does not answer: see above", shown(dir))),
        Some(Some(false)) => return Fine(format!("{} is a mount that works", shown(dir))),
        Some(Some(true)) => return Note(format!("{} is a mount whose server has died: see above", shown(dir))),
        None => {}
    }
    match mountpoint::prepare(dir) {
        Ok(prepared) => Fine(format!("`fs9 up` can mount on {}", shown(&prepared.dir))),
        Err(refusal) => Problem(refusal.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels() {
        assert!(matches!(judge_kernel("6.15.0"), Fine(_)));
        assert!(matches!(judge_kernel("6.18.44-fc-v669"), Fine(_)));
        assert!(matches!(judge_kernel("7.0"), Fine(_)));
        assert!(matches!(judge_kernel("6.14.11-generic"), Problem(text) if text.contains("boot 6.15 or later")));
        assert!(matches!(judge_kernel("unknown"), Note(_)));
    }

    #[test]
    fn fewer_pages_mean_shorter_messages() {
        assert!(matches!(pages(Some(256), 4096), Fine(_)));
        assert!(matches!(pages(None, 4096), Fine(text) if text.contains("1044480")));
        assert!(matches!(pages(Some(32), 4096), Note(text) if text.contains("126976 bytes")));
        assert!(matches!(pages(Some(0), 4096), Note(_)));
        assert!(matches!(pages(Some(16), 65_536), Fine(_)));
        assert!(matches!(pages(None, 65_536), Fine(text) if text.contains("983040")));
    }

    #[test]
    fn what_confines_threads() {
        let said = |landlock, seccomp| confinement(Confinement { landlock, seccomp });
        assert!(matches!(said(Some(7), true), Fine(text) if text.ends_with("by Landlock 7 and seccomp")));
        assert!(matches!(said(None, true), Note(text) if text.contains("by seccomp, and not by Landlock: boot")));
        assert!(matches!(said(Some(3), false), Note(text) if text.contains("by Landlock 3, and not by seccomp")));
        assert!(matches!(said(None, false), Note(text) if text.contains("neither")));
    }

    #[test]
    fn a_directory_that_is_missing_is_a_problem() {
        assert!(matches!(directory(Path::new("/nowhere/at/all")), Problem(text) if text.contains("does not exist")));
    }
}
