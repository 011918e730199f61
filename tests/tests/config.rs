//! A mount as a file says: `fs9 up --config`, `fs9 check`, a line of /etc/fstab, and what a unit of systemd needs.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fs9_tests::process::Running;
use fs9_tests::setup::set_up;
use fs9_tests::{DEADLINE, Mount, binary, fs9, stdout, user};
use rustix::process::Signal;
use tempfile::TempDir;

/// A directory with a configuration file `p.toml` and an empty directory `p`.
struct Folder(TempDir);

impl Folder {
    fn with(config: &str) -> Folder {
        set_up();
        let folder = Folder(tempfile::tempdir().unwrap());
        fs::write(folder.path("p.toml"), config).unwrap();
        fs::create_dir(folder.path("p")).unwrap();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file's path as text.
    fn config(&self) -> String {
        self.path("p.toml").into_os_string().into_string().unwrap()
    }

    /// `fs9 ARGS...` in this directory.
    fn fs9(&self, args: &[&str]) -> Command {
        let mut command = fs9(args);
        command.current_dir(self.0.path());
        command
    }

    /// Runs a [`private`] script in this directory, which must be a success, and returns what it printed.
    fn private(&self, script: &str) -> String {
        stdout(private(&binary(), script).current_dir(self.0.path()).output().unwrap())
    }

    fn assert_not_mounted(&self) {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.lines().any(|line| line.split(' ').nth(4) == self.path("p").to_str()));
    }
}

/// What a command that must have failed said.
fn refused(output: Output) -> String {
    assert_eq!((output.status.code(), output.stdout), (Some(1), Vec::new()));
    String::from_utf8(output.stderr).unwrap()
}

const ALL: &str = r#"
[limits]
message = 1000

[queue.jobs]
ack = true
mode = "0660"
owner = "fs9-tester"
group = 12345

[directory.shared]
mode = "1777"

[queue]
"shared/a" = { mode = "0622" }
"deep/down/here" = {}

[pair.talk]
mode = "0666"

[topic.news]
latest = true
mode = "0644"

[service."svc/calc"]
hello = true
mode = "0666"

[program."svc/cat"]
command = ["cat"]
"#;

const MISTAKEN: &str = "[queue.jobs]\nmode = 660\n\n[topic.news]\nlatets = true\n";

const SAID: &str = "\
2 mistakes in p.toml
p.toml:2:8: queue.jobs.mode: write three or four octal digits in quotes, such as \"0660\", not 660
p.toml:5:1: topic.news.latets: there is no such key: the keys here are latest, mode, owner, group
";

#[test]
fn everything_is_there_when_up_returns() {
    let folder = Folder::with(ALL);
    let mount = Mount::with(&["--config", &folder.config()]);
    let uid = mount.run("id -u fs9-tester");
    assert_eq!(
        mount.run("cd p; stat -c '%n %A %u %g' jobs shared shared/a deep deep/down deep/down/here news"),
        format!(
            "jobs -rw-rw---- {} 12345\n\
             shared drwxrwxrwt 0 0\n\
             shared/a -rw--w--w- 0 0\n\
             deep drwxr-xr-x 0 0\n\
             deep/down drwxr-xr-x 0 0\n\
             deep/down/here -rw------- 0 0\n\
             news -rw-r--r-- 0 0\n",
            uid.trim()
        )
    );
    // Who may use the ends may walk to them, but only the owner serves.
    assert_eq!(
        mount.run(
            "cd p; stat -c '%n %a' talk talk/? talk/ctl svc/calc svc/calc/{connect,accept} svc/cat svc/cat/connect"
        ),
        "talk 755\ntalk/a 666\ntalk/b 666\ntalk/ctl 600\n\
         svc/calc 755\nsvc/calc/connect 666\nsvc/calc/accept 600\nsvc/cat 700\nsvc/cat/connect 600\n"
    );
    let kind = |name| mount.channel(name)["kind"].clone();
    assert_eq!((kind("jobs"), mount.channel("jobs")["ack"].clone()), ("queue".into(), true.into()));
    assert_eq!(
        [kind("talk"), kind("news"), kind("svc/calc"), kind("svc/cat")],
        ["pair", "topic", "service", "program"]
    );
    assert_eq!(mount.status()["limits"]["message"], 1000);
    assert_eq!(mount.run("fs9 call p/svc/cat hello"), "hello\n");
}

#[test]
fn the_command_line_wins() {
    let folder = Folder::with("[mount]\nthreads = 2\n[limits]\nmessage = 10\nopens = 20\n");
    let mount = Mount::with(&["--config", &folder.config(), "--limit", "30"]);
    let limits = mount.status()["limits"].clone();
    assert_eq!((&limits["message"], &limits["opens"]), (&30.into(), &20.into()));
}

#[test]
fn with_a_mistake_nothing_is_mounted() {
    let folder = Folder::with(MISTAKEN);
    for front in [&["up", "p", "--config", "p.toml"][..], &["up", "-f", "--config=p.toml", "p"]] {
        let said = refused(folder.fs9(front).output().unwrap());
        assert_eq!(said, format!("fs9: nothing is mounted: {SAID}"));
        folder.assert_not_mounted();
    }
    let said = refused(folder.fs9(&["up", "p", "--config", "absent.toml"]).output().unwrap());
    assert!(said.starts_with("fs9: nothing is mounted: cannot read absent.toml: No such file"), "{said}");
    fs::write(folder.path("p.toml"), b"\n[queue.\"\xff\"]").unwrap();
    let said = refused(folder.fs9(&["check", "p.toml"]).output().unwrap());
    assert_eq!(said, "fs9: a mistake in p.toml\np.toml:2:9: this is not UTF-8\n");
    let said = refused(folder.fs9(&["check", "/dev/zero"]).output().unwrap());
    assert_eq!(said, "fs9: cannot read /dev/zero: it has more than 16777216 bytes\n");
}

#[test]
fn check_lists_what_would_be_made() {
    let folder = Folder::with(ALL);
    let uid = stdout(Command::new("id").args(["-u", user::NAME]).output().unwrap());
    assert_eq!(
        stdout(folder.fs9(&["check", "p.toml"]).output().unwrap()),
        format!(
            "0600     -     -  new -- deep/down/here
0660 {:>5} 12345  new --ack -- jobs
0644     -     -  new --topic --latest -- news
1777     -     -  mkdir shared
0622     -     -  new -- shared/a
0666     -     -  new --service --backlog=128 --hello -- svc/calc
0600     -     -  spawn --line '--backlog=128' '--max=128' '--grace=2s' -- svc/cat -- cat
0666     -     -  new --pair -- talk
",
            uid.trim()
        )
    );
    let folder = Folder::with(MISTAKEN);
    assert_eq!(refused(folder.fs9(&["check", "p.toml"]).output().unwrap()), format!("fs9: {SAID}"));
}

#[test]
fn systemd_is_told_when_it_is_up() {
    let folder = Folder::with("[queue.jobs]");
    let socket = UnixDatagram::bind(folder.path("socket")).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut up = folder.fs9(&["up", "-f", "-q", "p", "--config", "p.toml"]);
    let server = Running::piped(up.env("NOTIFY_SOCKET", folder.path("socket")));
    let mut said = [0; 100];
    let len = socket.recv(&mut said).unwrap();
    assert_eq!(&said[..len], b"READY=1");
    assert!(folder.path("p/jobs").exists());
    server.signal(Signal::TERM);
    assert_eq!(server.said(), "");
    folder.assert_not_mounted();
}

/// bash with `script`, where nobody else sees what it mounts, and where `helper` is /sbin/mount.fs9. One that hangs is
/// ended.
fn private(helper: &Path, script: &str) -> Command {
    let set_up = "set -eu; mkdir upper work; sbin=$(realpath /sbin)
                  mount -t overlay none -o lowerdir=$sbin,upperdir=$PWD/upper,workdir=$PWD/work $sbin
                  ln -s $helper $sbin/mount.fs9
                  trap 'umount -l a b c p 2>/dev/null || true' EXIT\n";
    let mut command = Command::new("timeout");
    let seconds = DEADLINE.as_secs().to_string();
    command.args(["-k", "1", &seconds, "unshare", "--mount", "bash", "-c", &format!("{set_up}{script}")]);
    command.env("helper", helper);
    command
}

#[test]
fn lines_of_fstab_are_mounted() {
    let folder = Folder::with("[queue.jobs]");
    let said = folder.private(
        "mkdir a b c
         cat > fstab <<END
none $PWD/a fs9 defaults 0 0
fs9 $PWD/b fs9 config=$PWD/p.toml,allow_other,nofail,x-nothing 0 0
$PWD/p.toml $PWD/c fs9 noauto,limit=20 0 0
END
         mount -a -T fstab
         for dir in a b; do findmnt -nro SOURCE,FSTYPE $dir; done
         findmnt -no OPTIONS b | grep -o allow_other
         [ ! -e a/jobs ] && [ ! -e c/README ] && mount -T fstab $PWD/c
         echo hello > c/jobs; cat c/jobs:whole; grep -o '\"message\":20' c/status.json
         grep fs9 fstab | grep nofail > second; mount -a -T second; findmnt -nro TARGET | grep -c $PWD/b
         server=$(grep -o '\"pid\":[0-9]*' a/status.json | head -n1 | cut -d: -f2)
         umount a; tail -s 0.01 --pid=$server -f /dev/null; [ ! -e a/README ]
         umount -l b; umount c; ls -A a b c",
    );
    assert_eq!(said, "fs9 fuse\nfs9 fuse\nallow_other\nhello\n\"message\":20\n1\na:\n\nb:\n\nc:\n");
}

#[test]
fn what_mount_cannot_have_is_said() {
    let folder = Folder::with(MISTAKEN);
    let said = folder.private(
        "exec 2>&1
         mount -t fs9 fs9 p -o ro || echo $?
         mount -t fs9 fs9 p -o what || echo $?
         mount -t fs9 /dev/null p || echo $?
         mount -s -t fs9 fs9 p -o what && umount p
         mount -t fs9 ./p.toml p || echo $?
         /sbin/mount.fs9 fs9 p -f -o what || echo $?
         /sbin/mount.fs9 fs9 p -f
         ls p",
    );
    let unknown = "fs9: mount.fs9: there is no option what: there are allow_other, config=, threads=, limit=, \
                   max_channels=, max_opens=, max_bytes=\n1\n";
    let mistaken = SAID.replace("p.toml", folder.path("p.toml").to_str().unwrap());
    assert_eq!(
        said,
        format!(
            "fs9: mount.fs9: not read-only: to receive is to read, but to take a message is to change it\n1\n\
             {unknown}\
             fs9: mount.fs9: /dev/null is neither fs9 nor a file whose name ends in .toml\n1\n\
             fs9: nothing is mounted: {mistaken}1\n\
             {unknown}"
        )
    );
}

#[test]
fn with_the_option_user_it_is_the_user_s_mount() {
    let home = user::Home::new();
    let mut script = private(
        &home.path("../fs9"),
        "echo fs9 $PWD/p fs9 user 0 0 > fstab; mount --bind fstab /etc/fstab
         as_user() { setpriv --reuid fs9-tester --regid fs9-tester --clear-groups $@; }
         as_user mount p; findmnt -nro SOURCE,FSTYPE p; as_user stat -c %U p/ctl
         as_user umount p; ls -A p",
    );
    let said = stdout(script.current_dir(home.path("..")).output().unwrap());
    assert_eq!(said, "fs9 fuse.fs9\nfs9-tester\n");
}
