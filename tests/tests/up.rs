//! What `fs9 up` refuses, and what `fs9 down` leaves alone: a sentence, exit code 1, and nothing changed.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use fs9_tests::process::{Running, signal, state, stop};
use fs9_tests::user::Home;
use fs9_tests::waiter::Waiter;
use fs9_tests::{Mount, binary, fs9, stdout, wait_for};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

/// An empty directory; what is mounted on it is unmounted on drop.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        fs::create_dir(place.dir()).unwrap();
        place
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("p")
    }

    /// bash with `script`, in which `$dir` is the directory and `$fs9` the command.
    fn run(&self, script: &str) -> Output {
        let mut bash = Command::new("bash");
        bash.args(["-c", script]).current_dir(self.0.path()).env("dir", self.dir()).env("fs9", binary());
        bash.output().unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        while is_mounted(&self.dir()) {
            assert!(self.run("umount -l \"$dir\"").status.success());
        }
    }
}

fn is_mounted(dir: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts.lines().any(|line| line.split(' ').nth(4) == dir.to_str())
}

/// Checks that a command said no, in one line on stderr with `why` in it, and returns that line.
fn assert_refused(output: &Output, why: &str) -> String {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("fs9: ") && said.contains(why) && said.lines().count() == 1, "{said:?} without {why:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    said
}

fn up(dir: &Path) -> Output {
    fs9(&["up", dir.to_str().unwrap()]).output().unwrap()
}

fn down(dir: &Path) -> Output {
    fs9(&["down", dir.to_str().unwrap()]).output().unwrap()
}

#[test]
fn a_directory_that_is_not_empty_is_refused() {
    let place = Place::new();
    fs::write(place.dir().join("file"), "mine").unwrap();
    assert_refused(&up(&place.dir()), "is not empty");
    assert_refused(&fs9(&["up", "-f", place.dir().to_str().unwrap()]).output().unwrap(), "is not empty");
    assert_eq!(fs::read_to_string(place.dir().join("file")).unwrap(), "mine");
    assert!(!is_mounted(&place.dir()));
}

#[test]
fn a_file_and_a_name_that_does_not_exist_are_refused() {
    let place = Place::new();
    let file = place.0.path().join("file");
    fs::write(&file, "mine").unwrap();
    assert_refused(&up(&file), "is not a directory");
    assert_refused(&up(&place.dir().join("missing")), "does not exist");
    assert_refused(&up(&file.join("below")), "");
    assert_refused(&down(&file), "is not up on");
    assert_refused(&down(&place.dir().join("missing")), "");
    assert_eq!(fs::read_to_string(file).unwrap(), "mine");
}

#[test]
fn a_directory_on_which_fs9_is_up_is_refused_and_goes_on() {
    let mount = Mount::new();
    mount.run("printf kept > p/jobs");
    assert_refused(&up(&mount.path("")), "already up");
    assert_refused(&fs9(&["up", "--foreground", mount.path("").to_str().unwrap()]).output().unwrap(), "already up");
    assert_eq!(mount.run("cat p/jobs:whole"), "kept");
    // A directory inside is no mount point of its own.
    mount.run("mkdir p/dir");
    assert_refused(&down(&mount.path("dir")), "is not up on");
    assert_refused(&down(&mount.path("jobs")), "is not up on");
}

#[test]
fn a_file_system_that_is_not_ours_is_neither_mounted_on_nor_taken_away() {
    let place = Place::new();
    stdout(place.run("mount -t tmpfs none \"$dir\" && echo mine > \"$dir/file\""));
    assert_refused(&up(&place.dir()), "tmpfs");
    assert_refused(&down(&place.dir()), "not of fs9 (tmpfs)");
    assert_eq!(fs::read_to_string(place.dir().join("file")).unwrap(), "mine\n");
}

#[test]
fn a_dead_fuse_mount_of_somebody_else_is_left_alone() {
    let place = Place::new();
    // The server of this one never says anything, and is dead when bash has ended.
    let options = "fd=5,rootmode=40000,user_id=0,group_id=0";
    stdout(place.run(&format!("exec 5<>/dev/fuse; mount -i -t fuse -o {options} other \"$dir\"")));
    assert_eq!(fs::metadata(place.dir()).unwrap_err().raw_os_error(), Some(107), "ENOTCONN: it is dead");
    assert_refused(&up(&place.dir()), "(fuse)");
    assert_refused(&down(&place.dir()), "not of fs9 (fuse)");
    assert!(is_mounted(&place.dir()));
}

/// The sysctl is the whole machine's, so this one is only for a process that sees another file in its place.
#[test]
fn a_request_timeout_is_refused_before_anything_is_mounted() {
    for sysctl in ["max_request_timeout", "default_request_timeout"] {
        let place = Place::new();
        let refused = place.run(&format!(
            "echo 7 > seconds; export sysctl=/proc/sys/fs/fuse/{sysctl}
             [ -e $sysctl ] || {{ echo absent; exit; }}
             exec unshare --mount bash -c 'mount --bind seconds $sysctl && \"$fs9\" up \"$dir\" && exec \"$fs9\" down \"$dir\"'"
        ));
        if refused.stdout == b"absent\n" {
            continue; // a kernel that has no such timeout
        }
        let said = assert_refused(&refused, &format!("sysctl fs.fuse.{sysctl}=0"));
        assert!(said.contains("7 s"), "{said}");
        assert!(!is_mounted(&place.dir()));
        assert_eq!(fs::read_to_string(format!("/proc/sys/fs/fuse/{sysctl}")).unwrap(), "0\n");
    }
}

/// A pipe whose reader has left.
fn broken_pipe() -> Stdio {
    Stdio::from(rustix::pipe::pipe().unwrap().1)
}

#[test]
fn up_works_when_nobody_hears_it() {
    for _ in 0..10 {
        let place = Place::new();
        let dir = place.dir();
        stdout(place.run("\"$fs9\" up \"$dir\" >&- 2>&- <&- && [ -e \"$dir/status\" ] && \"$fs9\" down \"$dir\" >&-"));
        let heard = fs9(&["up", dir.to_str().unwrap()]).stdout(broken_pipe()).status().unwrap();
        assert_eq!((heard.code(), is_mounted(&dir)), (Some(0), true), "a greeting that nobody reads is no failure");
        stdout(down(&dir));
    }
}

#[test]
fn up_in_front_goes_on_when_nobody_hears_it() {
    for closed in [true, false] {
        let place = Place::new();
        let dir = place.dir();
        let mut command = Command::new("bash");
        let redirection = if closed { ">&-" } else { "" };
        command
            .args(["-c", &format!("exec \"$fs9\" up -f \"$dir\" {redirection}")])
            .env("dir", &dir)
            .env("fs9", binary());
        command.stdout(if closed { Stdio::from(File::open("/dev/null").unwrap()) } else { broken_pipe() });
        let mut server = Running::new(&mut command);
        wait_for("the mount to be up", || {
            assert_eq!(server.try_wait().unwrap(), None, "it has not gone on");
            dir.join("status.json").exists().then_some(())
        });
        server.signal(Signal::TERM);
        assert_eq!(server.ended().code(), Some(0));
        assert!(!is_mounted(&dir));
    }
}

#[test]
fn up_in_front_that_is_signalled_at_any_moment_leaves_nothing_behind() {
    for round in 0..30 {
        let place = Place::new();
        let mut server = Waiter::of(&mut fs9(&["up", "-f", place.dir().to_str().unwrap()]));
        // From before the mount is there to after it is served.
        std::thread::sleep(std::time::Duration::from_micros(round * 700));
        server.signal(if round % 2 == 0 { Signal::TERM } else { Signal::INT });
        let status = server.status();
        assert!(!is_mounted(&place.dir()), "after {status}");
    }
}

/// A mount whose server is stopped as long as this lives.
struct Stopped(Mount, u32);

impl Stopped {
    fn new() -> Stopped {
        let mount = Mount::new();
        let server = mount.server();
        stop(server);
        Stopped(mount, server)
    }

    fn resume(&self) {
        signal(self.1, Signal::CONT);
    }

    fn up(&self, args: &[&str]) -> Command {
        let mut up = fs9(&["up"]);
        up.args(args).arg(self.0.path(""));
        up
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.resume();
    }
}

/// Where the kernel lets a process sleep that waits for an answer of a FUSE server.
const ASKING: &str = "request_wait_answer";

#[test]
fn up_in_front_that_waits_for_a_stopped_server_ends_on_a_signal() {
    let mount = Stopped::new();
    for sent in [Signal::TERM, Signal::INT] {
        let mut server = Waiter::of(&mut mount.up(&["-f"])).asleep(ASKING);
        server.signal(sent);
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&server.status()), Some(sent.as_raw()));
    }
}

/// The only child of a process.
fn child(pid: u32) -> Option<u32> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?.trim().parse().ok()
}

#[test]
fn ctrl_c_also_ends_the_server_that_is_not_yet_ready() {
    let mount = Stopped::new();
    let mut up = Running::new(mount.up(&[]).process_group(0));
    let server = wait_for("the server to be started", || child(up.id()));
    wait_for("it to look at the mount", || {
        fs::read_to_string(format!("/proc/{server}/wchan")).unwrap_or_default().contains(ASKING).then_some(())
    });
    kill_process_group(Pid::from_child(&up), Signal::INT).unwrap();
    assert!(!up.ended().success());
    wait_for("the server to be gone", || matches!(state(server), None | Some('Z' | 'X')).then_some(()));
}

#[test]
fn what_up_waits_for_is_explained_on_a_terminal() {
    for (args, what) in [("", "the server to be ready"), ("-f", "an answer of what is mounted on")] {
        let mount = Stopped::new();
        let up = format!("exec '{}' up {args} '{}'", binary().display(), mount.0.path("").display());
        let mut terminal = Command::new("script");
        // indicatif draws nothing on a terminal that cannot move its cursor.
        terminal.args(["-qefc", &up, "said"]).current_dir(mount.0.beside()).env("TERM", "xterm");
        let mut terminal = Running::new(terminal.stdin(Stdio::null()).stdout(Stdio::null()));
        let said =
            || String::from_utf8_lossy(&fs::read(mount.0.beside().join("said")).unwrap_or_default()).into_owned();
        wait_for("the explanation", || said().contains(&format!("waiting for {what}")).then_some(()));
        mount.resume();
        assert_eq!(terminal.ended().code(), Some(1));
    }
}

#[test]
fn the_server_keeps_nothing_that_up_inherited() {
    let mount = Mount::new();
    stdout(mount.down());
    let script = "exec 9>&1; fs9 up p > /dev/null 2>&1";
    // Ends when the last one has closed the pipe, and that must not be the server.
    let mut bash = Running::piped(&mut mount.shell(script));
    let mut output = bash.stdout.take().unwrap();
    let heard = fs9_tests::file::later(move || std::io::read_to_string(&mut output).unwrap());
    wait_for("the end of the pipe", || heard.is_done().then_some(()));
    assert_eq!(heard.get(), "");
    assert!(bash.ended().success());
    assert!(is_mounted(&mount.path("")));
}

#[test]
fn the_owner_looks_at_a_mount_without_room_and_ends_it() {
    let place = Place::new();
    stdout(place.run("\"$fs9\" up --max-bytes 1 \"$dir\""));
    let full = fs::write(place.dir().join("q"), "xy").unwrap_err();
    assert_eq!(full.raw_os_error(), Some(28), "ENOSPC");
    assert!(!fs::read(place.dir().join("status.json")).unwrap().is_empty());
    stdout(down(&place.dir()));
    assert!(!is_mounted(&place.dir()));
}

#[test]
fn root_ends_a_mount_that_it_may_not_enter() {
    for dead in [false, true] {
        let home = Home::new();
        home.run("fs9 up p");
        let server = home.status()["server"]["pid"].as_u64().unwrap() as u32;
        assert_eq!(fs::metadata(home.path("status.json")).unwrap_err().raw_os_error(), Some(13), "EACCES");
        if dead {
            signal(server, Signal::KILL);
        }
        stdout(down(&home.path("")));
        assert!(!home.is_mounted());
        wait_for("the server to be gone", || matches!(state(server), None | Some('Z' | 'X')).then_some(()));
    }
}
