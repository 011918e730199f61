//! The examples in `mnt-examples/` print what they should, in the languages that the tests need anyway.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::path::PathBuf;
use std::process::Command;

use fs9_tests::setup::set_up;
use fs9_tests::{binary, stdout};

const LANGUAGES: [&str; 6] = ["sh", "bash", "python", "c", "perl", "awk"];

#[test]
fn every_example_prints_what_is_expected_and_speaks_with_the_other_languages() {
    set_up();
    let run: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../mnt-examples/run"].iter().collect();
    let said = stdout(Command::new(run).args(LANGUAGES).env("FS9", binary()).output().unwrap());
    // A service in each, asked in all; and in three of them a work queue, and two conversations of each with each.
    assert_eq!(said.lines().filter(|line| line.starts_with("ok: ")).count(), LANGUAGES.len() + 3 + 2 * 9, "{said}");
}
