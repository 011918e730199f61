//! The `fs9` command as the tests run it: built with them, so that `cargo test` alone is enough.

use std::process::ExitCode;

fn main() -> ExitCode {
    fs9::cli::main()
}
