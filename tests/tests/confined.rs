//! What the threads of a server may ask of the kernel, as the kernel itself tells it.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::collections::BTreeMap;
use std::fs;

use fs9_tests::{Mount, wait_for};

/// What /proc says of a thread: whether it can gain no rights and has its system calls filtered. None while it is
/// about to.
fn is_confined(status: &str) -> Option<bool> {
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    match (&*line("NoNewPrivs:"), &*line("Seccomp:")) {
        ("0", "0") => Some(false),
        ("1", "2") => Some(true),
        _ => None,
    }
}

/// The threads of process `pid` by their names, and which of them are confined.
fn threads(pid: u32) -> BTreeMap<String, Option<bool>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let thread = |task: fs::DirEntry| {
        // Nothing, once it has ended.
        let read = |name| fs::read_to_string(task.path().join(name)).ok();
        Some((read("comm")?.trim_end().to_owned(), is_confined(&read("status")?)))
    };
    tasks.filter_map(|task| thread(task.ok()?)).collect()
}

/// Waits until these are the threads of `mount`.
fn wait_threads(mount: &Mount, expected: &[(&str, bool)]) {
    let expected: BTreeMap<_, _> =
        expected.iter().map(|(name, is_confined)| ((*name).to_owned(), Some(*is_confined))).collect();
    wait_for(&format!("{expected:?}"), || {
        let threads = threads(mount.server());
        // The first has the name of the program, and beside it there is one for signals.
        (expected.iter().all(|expected| threads.get_key_value(expected.0) == Some(expected))
            && threads.len() == expected.len() + 2)
            .then_some(())
    });
}

#[test]
fn threads_that_listen_to_others_are_confined_and_the_others_are_not() {
    let far = Mount::with(&["--state", "BESIDE/state", "--listen", "unix:BESIDE/socket"]);
    let near = Mount::with(&["--state", "BESIDE/state", "--threads", "2"]);
    near.run(&format!("fs9 attach p/n/far unix:{}", far.beside().join("socket").display()));
    near.run("fs9 spawn p/echo -- cat");
    let _runs = fs::File::options().read(true).write(true).open(near.path("echo/connect")).unwrap();
    let serving = |others: &[(&'static str, bool)]| {
        [&[("fs9-keeper", false), ("fs9-mount", false), ("fs9-loop-0", true)], others].concat()
    };
    wait_threads(&far, &serving(&[("fs9-net", true), ("fs9-clerk", true)]));
    wait_threads(&near, &serving(&[("fs9-loop-1", true), ("fs9-link", true), ("fs9-program", false)]));
}

#[test]
fn programs_are_not_confined() {
    let mount = Mount::with(&["--state", "BESIDE/state", "--listen", "unix:BESIDE/socket"]);
    mount.run("fs9 spawn p/show -- grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status");
    assert_eq!(is_confined(&mount.run("cat p/show/connect")), Some(false));
}

#[test]
fn status_says_how_it_is_confined() {
    let mount = Mount::new();
    let confined = mount.status()["server"]["confined"].clone();
    assert!(confined["landlock"].as_u64().is_some_and(|version| version > 0), "{confined}");
    assert_eq!(confined["seccomp"], true);
    let text = fs::read_to_string(mount.path("status")).unwrap();
    assert!(text.contains(&format!("\nconfined by Landlock {} and seccomp\n", confined["landlock"])), "{text}");
    let doctor = mount.run("fs9 doctor || true");
    assert!(doctor.contains("threads that listen to others are confined by Landlock"), "{doctor}");
}
