//! The `fs9` command.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    fs9::cli::main()
}
