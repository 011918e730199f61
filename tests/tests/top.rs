//! `fs9 top`: what it says of a mount in use, and how it behaves on a terminal.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::fs;
use std::process::Command;

use fs9_tests::file::Fd;
use fs9_tests::process::{Running, signal};
use fs9_tests::terminal::Terminal;
use fs9_tests::{Mount, wait_for};
use rustix::process::Signal;

/// The words of each line.
fn words(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split_whitespace().collect()).collect()
}

/// Starts `fs9 top --once ARGS...` and waits until it has looked at the mount the first time.
fn once(mount: &Mount, args: &[&str]) -> Running {
    let top = Running::piped(&mut mount.command("fs9", &[&["top", "--once"], args].concat()));
    let wchan = format!("/proc/{}/wchan", top.id());
    wait_for("it to sleep", || (fs::read_to_string(&wchan).unwrap() == "hrtimer_nanosleep").then_some(()));
    top
}

#[test]
fn once_prints_what_was_sent_meanwhile() {
    let mount = Mount::new();
    mount.run("mkdir p/d; touch p/d/busy p/calm; fs9 new --pair 'p/my talk'; fs9 send p/calm x");
    let writing = Fd::writer(mount.path("d/busy"));
    let reading = Fd::reader(mount.path("d/busy"));
    let waiting = Fd::reader(mount.path("my talk/a")).reading(10);
    mount.wait_channel("my talk", "it waits", |talk| talk["lanes"][1]["readers"] == 1);
    let top = once(&mount, &["-i", "3", "p"]);
    for _ in 0..9 {
        writing.write("x").unwrap();
        reading.read(10).unwrap();
    }
    let said = top.said();
    let rows = words(&said);
    assert_eq!(rows[0], ["KIND", "TIER", "MSG/S", "SENT", "WAIT-R", "WAIT-W", "HOLDERS", "OLDEST", "NAME"], "{said}");
    // The busiest first. The pause was no shorter than 3 s.
    let rate: f64 = rows[1][2].parse().unwrap();
    assert!(rate > 0.0 && rate <= 3.0, "{said}");
    assert_eq!((&rows[1][..2], &rows[1][3..]), (&["queue", "local"][..], &["9", "0", "0", "2", "-", "d/busy"][..]));
    assert_eq!(rows[2], ["queue", "local", "0.0", "1", "0", "0", "0", "-", "calm"], "{said}");
    assert_eq!(rows[3][..7], ["pair", "local", "0.0", "0", "1", "0", "1"], "{said}");
    assert!(rows[3][7].parse::<f64>().unwrap() >= 3.0 && rows[3][8..] == ["my", "talk"], "{said}");
    assert_eq!(rows.len(), 4, "{said}");
    mount.run("fs9 rm 'p/my talk'");
    assert_eq!(waiting.get().unwrap(), b"");
}

#[test]
fn once_prints_what_is_asked_for() {
    let mount = Mount::new();
    mount.run("touch p/one p/two p/three; mkdir p/d");
    let names = |args: &str| {
        let said = mount.run(&format!("fs9 top --once -i 0.01 {args}"));
        words(&said)[1..].iter().map(|row| row[8..].join(" ")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("p --sort name"), "one three two");
    assert_eq!(names("p/d"), "one three two");
    assert_eq!(names("p/two"), "two");
    assert_eq!(names("p --filter T"), "three two");
    assert_eq!(names("p --filter nothing"), "");
}

#[test]
fn without_a_terminal_there_is_only_once() {
    let mount = Mount::new();
    for (script, words) in [
        ("fs9 top p", &["no terminal", "--once"][..]),
        ("fs9 top --once p/absent", &["neither a channel nor a directory"]),
        ("fs9 top --once .", &["not in an fs9 mount"]),
    ] {
        let output = mount.shell(script).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{script}: {said}");
        assert!(said.starts_with("fs9: ") && words.iter().all(|word| said.contains(word)), "{script}: {said}");
    }
}

/// The script of a terminal in which `fs9 top ARGS` is looked at: it leaves its process number in `pid`, and ends in
/// failure unless the terminal is as it was before.
fn script(args: &str) -> String {
    format!(
        "stty -g > before; (echo $BASHPID > pid; tty > tty; exec fs9 top {args}); code=$?; \
         stty -g | cmp - before || exit 99; echo \"the code is $code\""
    )
}

/// The process of [`script`].
fn process(mount: &Mount) -> u32 {
    let pid = fs::read_to_string(mount.beside().join("pid")).unwrap();
    pid.trim().parse().unwrap()
}

#[test]
fn keys_sort_filter_and_show_holders() {
    let mount = Mount::new();
    mount.run("mkdir p/d; touch p/d/jobs p/logs; fs9 new --pair p/talk; fs9 send p/logs x");
    let reader = Fd::reader(mount.path("d/jobs"));
    let mut top = Terminal::new(&mount, &script("p"));
    let column = |lines: &[String]| -> Vec<String> {
        let names = lines[2..23].iter().filter_map(|line| line.split_whitespace().nth(8));
        names.map(str::to_owned).collect()
    };
    let names = |names: &'static [&str]| move |lines: &[String]| column(lines) == names;
    let lines = top.wait("the table", names(&["d/jobs", "logs", "talk"]));
    assert!(lines[0].contains(&format!("pid {}  up ", mount.server())), "{lines:#?}");
    assert!(lines[1].starts_with("KIND    TIER     MSG/S▼"), "{lines:#?}");
    top.press("s");
    top.wait("what has sent most", names(&["logs", "d/jobs", "talk"]));
    top.press("9r");
    top.wait("the names backwards", names(&["talk", "logs", "d/jobs"]));
    // What happens is seen.
    let waiting = reader.reading(100);
    top.wait("the wait", |lines| lines[4].contains("queue   local       0.0        0      1      0       1     "));
    top.press("/OB");
    top.wait("one name", names(&["d/jobs"]));
    top.press("\r\r");
    let lines = top.wait_for("COMMAND");
    assert!(lines[1].starts_with("d/jobs  queue 0600 uid "), "{lines:#?}");
    let name = fs::read_to_string("/proc/self/comm").unwrap();
    let holder = lines.iter().find(|line| line.contains(&std::process::id().to_string())).unwrap();
    assert!(holder.contains("read ") && holder.ends_with(name.trim_end()), "{lines:#?}");
    fs::write(mount.path("d/jobs"), "done").unwrap();
    assert_eq!(waiting.get().unwrap(), b"done");
    drop(reader);
    top.wait("the holder to leave", |lines| !lines.iter().any(|line| line.ends_with(name.trim_end())));
    mount.run("fs9 rm p/d/jobs");
    top.wait_for("d/jobs  is gone");
    top.press("?");
    top.wait_for("choose the column");
    top.press("q");
    let (status, lines) = top.ended();
    assert!(status.success() && lines.contains(&"the code is 0".into()), "{status}: {lines:#?}");
}

#[test]
fn the_terminal_is_given_back_whatever_ends_it() {
    let mut mount = Mount::new();
    mount.run("touch p/q");
    for (keys, code) in [("q", 0), ("\u{1b}", 0), ("\u{3}", 0), ("hq", 0), ("/x\u{3}", 0)] {
        let mut top = Terminal::new(&mount, &script("p"));
        top.wait_for("q quit");
        top.press(keys);
        let (status, lines) = top.ended();
        assert!(status.success() && lines.contains(&format!("the code is {code}")), "{keys:?}: {lines:#?}");
    }
    for (sent, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let mut top = Terminal::new(&mount, &script("p"));
        top.wait_for("q quit");
        signal(process(&mount), sent);
        let (status, lines) = top.ended();
        assert!(status.success() && lines.contains(&format!("the code is {code}")), "{sent:?}: {lines:#?}");
    }
    let mut top = Terminal::new(&mount, &script("-i 0.1 p"));
    top.wait_for("q quit");
    assert!(mount.down().status.success());
    let (status, lines) = top.ended();
    assert!(status.success() && lines.contains(&"the code is 1".into()), "{lines:#?}");
    let said = format!("fs9: the mount on {} has ended", fs::canonicalize(mount.path("")).unwrap().display());
    assert!(lines.contains(&said), "{lines:#?}");
    mount.up(&[]);
    mount.run("touch p/q");
    let mut top = Terminal::new(&mount, &script("-i 0.1 p"));
    top.wait_for("q quit");
    signal(mount.server(), Signal::KILL);
    let (status, lines) = top.ended();
    assert!(status.success() && lines.contains(&"the code is 1".into()), "{lines:#?}");
    assert!(lines.concat().contains("the server behind this mount has died"), "{lines:#?}");
    mount.up(&[]);
}

#[test]
fn it_stops_and_goes_on_as_the_shell_has_it() {
    let mount = Mount::new();
    mount.run("touch p/q");
    let script = "set -m; stty -g > before; fs9 top p; stty -g | cmp - before && echo stopped; read -r; fg > /dev/null";
    let mut top = Terminal::new(&mount, script);
    top.wait_for("q quit");
    top.press("\u{1a}");
    top.wait_for("stopped");
    top.press("\n");
    top.wait_for("q quit");
    top.press("q");
    assert!(top.ended().0.success());
}

#[test]
fn the_table_has_the_size_of_the_terminal() {
    let mount = Mount::new();
    let name = "n".repeat(200);
    mount.run(&format!("for i in $(seq 50); do : >> p/q$i; done; touch p/{name}"));
    let mut top = Terminal::new(&mount, &script("p --sort name"));
    let lines = top.wait_for("q quit");
    assert!(lines[23].starts_with("q quit") && lines[2].ends_with("nn…") && lines[22].ends_with("q27"), "{lines:#?}");
    top.press("G");
    top.wait("the last row", |lines| lines[22].ends_with("q9"));
    let tty = fs::read_to_string(mount.beside().join("tty")).unwrap();
    let resized = Command::new("stty").args(["-F", tty.trim(), "rows", "18", "cols", "40"]).status().unwrap();
    assert!(resized.success());
    top.wait("another size", |lines| lines[17] == "q quit  s sort  r reverse  / filter  h h" && lines[18].is_empty());
    top.press("gh");
    // Every letter of the name is there.
    let lines = top.wait_for("    PID   UID");
    assert!(lines[1..7].concat().contains(&name), "{lines:#?}");
    top.press("q");
    assert!(top.ended().0.success());
}

#[test]
fn a_mount_with_many_channels_is_looked_through() {
    let mount = Mount::new();
    fs::create_dir(mount.path("d")).unwrap();
    for n in 0..10_000 {
        fs::write(mount.path(&format!("d/{n:05}")), "").unwrap();
    }
    let mut top = Terminal::new(&mount, &script("p --sort name"));
    top.wait("the first", |lines| lines[2].ends_with("d/00000"));
    top.press("G");
    top.wait("the last", |lines| lines[22].ends_with("d/09999"));
    top.press("/4242");
    top.wait("the one", |lines| lines[2].ends_with("d/04242") && lines[3].is_empty());
    top.press("\u{3}");
    assert!(top.ended().0.success());
}
