//! The examples in `mnt-examples/`, in every language, print what they should.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::path::PathBuf;
use std::process::Command;

use fs9_tests::{binary, stdout};

#[test]
fn every_example_prints_what_is_expected_and_speaks_with_the_other_languages() {
    let run: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../mnt-examples/run"].iter().collect();
    let said = stdout(Command::new(run).env("FS9", binary()).output().unwrap());
    // Three work queues, and two conversations of each language with each.
    assert_eq!(said.lines().filter(|line| line.starts_with("ok: ")).count(), 3 + 2 * 9, "{said}");
}
