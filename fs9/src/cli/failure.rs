//! How a command fails: what is said on stderr, and the exit code.

use std::process::ExitCode;

/// The exit code of a wait that its deadline ended, as timeout(1) has it.
pub const TIMED_OUT: u8 = 124;

/// A deadline passed. Says what was waited for.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TimedOut(pub String);

/// A failure about which nothing is left to say, or nobody left to say it to.
#[derive(Debug, thiserror::Error)]
#[error("already said")]
pub struct Quiet;

/// Says on stderr what went wrong and gives the exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if !error.is::<Quiet>() {
        say(&format!("{error:#}"));
    }
    if error.is::<TimedOut>() { ExitCode::from(TIMED_OUT) } else { ExitCode::FAILURE }
}

/// One line on stderr in this command's name. A closed stderr is no reason to fail.
pub fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "fs9: {text}");
}
