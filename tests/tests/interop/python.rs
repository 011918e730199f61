//! Two clients in Python: the package python-9p speaks 9P2000 over a Unix socket, p9fs 9P2000.L over TCP.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use fs9_tests::waiter::{Waiter, wait_all_released, wait_opens, wait_waiting};
use fs9_tests::{binary, setup, stdout};

use crate::Served;

/// One of the two, as its package is called.
#[derive(Clone, Copy)]
enum Package {
    Python9p,
    P9fs,
}
use Package::{P9fs, Python9p};

impl Package {
    /// Its script in this directory, and the versions that are installed for it.
    fn script(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Python9p => ("with_python_9p.py", &["python-9p==0.1.0"]),
            P9fs => ("with_p9fs.py", &["p9fs==0.0.4", "fsspec==2025.9.0"]),
        }
    }

    /// Its interpreter: a virtual environment of its own, because both packages have a module `py9p`.
    fn python(self) -> PathBuf {
        static MADE: [OnceLock<PathBuf>; 2] = [OnceLock::new(), OnceLock::new()];
        let make = || {
            let (script, wanted) = self.script();
            virtual_environment(script.trim_end_matches(".py"), wanted)
        };
        MADE[self as usize].get_or_init(make).clone()
    }

    /// Its script that `does` something with `path`, not yet started.
    fn command(self, served: &Served, does: &[&str]) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(self.script().0);
        let mut command = Command::new(self.python());
        command.arg(script);
        match self {
            Python9p => command.arg(served.socket()),
            P9fs => command.arg(served.port()),
        };
        command.args(does);
        command
    }

    /// What it printed in the end.
    fn said(self, served: &Served, does: &[&str]) -> String {
        stdout(self.command(served, does).output().unwrap())
    }

    /// Started, and with a standard input that stays open.
    fn talking(self, served: &Served, does: &[&str]) -> Waiter {
        Waiter::talking(&mut self.command(served, does))
    }
}

/// The interpreter of a virtual environment in which just `wanted` is installed, made beside the tests where it is not
/// there.
fn virtual_environment(name: &str, wanted: &[&str]) -> PathBuf {
    setup::set_up();
    let dir = binary().with_file_name(format!("{name}-{}", wanted.join("-").replace('=', "")));
    let (python, done) = (dir.join("bin/python"), dir.join("done"));
    if !done.exists() {
        let run = |program: &Path, args: &[&str]| {
            let output = Command::new(program).args(args).output();
            stdout(output.unwrap_or_else(|error| panic!("{}: {error}", program.display())));
        };
        run(Path::new("python3"), &["-m", "venv", "--clear", dir.to_str().unwrap()]);
        run(
            &python,
            &[&["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"], wanted].concat(),
        );
        fs::write(done, "").unwrap();
    }
    python
}

/// Both packages have the tree as its owner sees it in the mount.
fn lists_the_tree(package: Package) {
    let served = Served::new();
    let mut names: Vec<String> = package.said(&served, &["list", ""]).lines().map(plain).collect();
    names.sort();
    assert_eq!(names, served.names());
    assert_eq!(package.said(&served, &["list", "below"]).lines().map(plain).collect::<Vec<_>>(), ["deep"]);
}

/// A name without the path before it and the slash after it, which p9fs adds.
fn plain(name: &str) -> String {
    name.trim_end_matches('/').rsplit('/').next().unwrap().to_owned()
}

fn receives_one_message_a_read(package: Package) {
    let served = Served::new();
    for word in ["one", "two"] {
        served.mount.run(&format!("printf {word} > p/jobs"));
        assert_eq!(package.said(&served, &["receive", "jobs"]), word);
    }
    wait_all_released(&served.mount);
    assert_eq!((served.mount.figure("jobs", "received"), served.mount.figure("jobs", "redelivered")), (2, 0));
    served.mount.assert_ledgers_balance();
}

fn reads_on_in_a_long_message(package: Package) {
    let served = Served::new();
    let text =
        served.mount.run("seq 20000 | tee numbers | dd bs=1M iflag=fullblock of=p/jobs status=none; cat numbers");
    assert_eq!(package.said(&served, &["drain", "jobs:whole"]), text);
    wait_all_released(&served.mount);
}

fn sends_one_message_a_write(package: Package) {
    let served = Served::new();
    for word in ["one", "two"] {
        assert_eq!(package.said(&served, &["send", "below/deep", word]), "");
        assert_eq!(served.mount.run("cat p/below/deep:whole"), word);
    }
    wait_all_released(&served.mount);
    assert_eq!(served.mount.figure("below/deep", "sent"), 2);
    served.mount.assert_ledgers_balance();
}

fn asks_at_an_end_of_a_pair(package: Package) {
    let served = Served::new();
    let mut asks = package.talking(&served, &["ask", "talk/a", "how are you"]);
    served
        .mount
        .run("exec 3<>p/talk/b:line; read -r question <&3; echo \"$question: fine\" >&3; read -r _ <&3 || true");
    assert_eq!(asks.said(), "how are you: fine");
}

fn waits_until_a_message_comes(package: Package) {
    let served = Served::new();
    let mut reader = package.talking(&served, &["receive", "jobs"]);
    wait_waiting(&served.mount, 1);
    served.mount.run("printf late > p/jobs");
    assert_eq!(reader.said(), "late");
    wait_all_released(&served.mount);
}

fn killed_while_it_waits_takes_nothing_along(package: Package) {
    let served = Served::new();
    let reader = package.talking(&served, &["receive", "jobs"]);
    wait_waiting(&served.mount, 1);
    reader.killed();
    wait_all_released(&served.mount);
    assert_eq!(served.mount.run("printf next > p/jobs; cat p/jobs:whole"), "next");
    served.mount.assert_ledgers_balance();
}

fn killed_with_a_message_gives_it_back(package: Package) {
    let served = Served::new();
    served.mount.run("printf work > p/jobs");
    let mut reader = package.talking(&served, &["hold", "jobs"]);
    assert_eq!(reader.line(), "work");
    wait_opens(&served.mount, 1);
    reader.killed();
    assert_eq!(served.mount.run("cat p/jobs:whole"), "work");
    wait_all_released(&served.mount);
    assert_eq!(served.mount.figure("jobs", "redelivered"), 1);
    served.mount.assert_ledgers_balance();
}

fn says_what_a_file_is(package: Package, expected: &str) {
    let served = Served::new();
    served.mount.run("chmod 640 p/jobs");
    assert_eq!(package.said(&served, &["stat", "jobs"]), expected);
}

/// A name that is not there is an error, and the next request of the same connection is none.
fn is_told_of_a_name_that_is_not_there(package: Package, error: &str) {
    let served = Served::new();
    let output = package.command(&served, &["receive", "nosuch"]).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.trim_end().ends_with(error), "{said}");
    wait_all_released(&served.mount);
}

/// One test of each behaviour for each package.
macro_rules! both {
    ($($behaviour:ident)*) => {
        mod python_9p {
            $(#[test] fn $behaviour() { super::$behaviour(super::Python9p); })*
        }
        mod p9fs {
            $(#[test] fn $behaviour() { super::$behaviour(super::P9fs); })*
        }
    };
}

both! {
    lists_the_tree
    receives_one_message_a_read
    reads_on_in_a_long_message
    sends_one_message_a_write
    asks_at_an_end_of_a_pair
    waits_until_a_message_comes
    killed_while_it_waits_takes_nothing_along
    killed_with_a_message_gives_it_back
}

#[test]
fn python_9p_says_what_a_file_is() {
    says_what_a_file_is(Python9p, "jobs 0o640 0 0\n");
}

#[test]
fn p9fs_says_what_a_file_is() {
    says_what_a_file_is(P9fs, "jobs 0o100640 0 file\n");
}

#[test]
fn python_9p_is_told_of_a_name_that_is_not_there() {
    is_told_of_a_name_that_is_not_there(Python9p, "file does not exist");
}

#[test]
fn p9fs_is_told_of_a_name_that_is_not_there() {
    is_told_of_a_name_that_is_not_there(P9fs, "RpcError: 2");
}
