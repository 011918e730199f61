//! Standard output, unbuffered: a message goes out in one write(2), so that it stays one message in another channel.

use std::io::IsTerminal;

use anyhow::Context;
use rustix::io::Errno;

use super::failure::Quiet;

/// Writes all of it. A reader that has gone away (`fs9 ls | head -n1`) ends the command without a word.
pub fn print(bytes: impl AsRef<[u8]>) -> anyhow::Result<()> {
    let mut rest = bytes.as_ref();
    while !rest.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR) => {}
            Err(Errno::PIPE) => return Err(Quiet.into()),
            Err(errno) => return Err(errno).context("cannot write to standard output"),
        }
    }
    Ok(())
}

/// Writes one message as it is. On a terminal the prompt that follows gets a line of its own.
pub fn print_message(message: &[u8]) -> anyhow::Result<()> {
    print(message)?;
    if !message.ends_with(b"\n") && std::io::stdout().is_terminal() { print("\n") } else { Ok(()) }
}
