//! The message that a command sends: its argument, or all of standard input.

use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::os::unix::ffi::OsStringExt;

use anyhow::{Context, ensure};

use super::failure;
use crate::LARGEST_MESSAGE;

/// One byte more than any mount takes. Whatever is longer is refused by the server's own rule, with EMSGSIZE.
const ENOUGH: u64 = LARGEST_MESSAGE as u64 + 1;

/// The bytes to send. Never empty: a write of 0 bytes does not reach a server.
pub fn message(argument: Option<OsString>) -> anyhow::Result<Vec<u8>> {
    let message = match argument {
        Some(argument) => argument.into_vec(),
        None => {
            if std::io::stdin().is_terminal() {
                failure::say("type the message and end it with Ctrl-D");
            }
            read(std::io::stdin().lock())?
        }
    };
    ensure!(!message.is_empty(), "there is nothing to send: a message has 1 byte at least");
    Ok(message)
}

fn read(input: impl Read) -> anyhow::Result<Vec<u8>> {
    let mut message = Vec::new();
    input.take(ENOUGH).read_to_end(&mut message).context("cannot read the message from standard input")?;
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_read_no_further_than_the_limit_plus_one() {
        assert_eq!(read(std::io::repeat(7)).expect("endless").len(), 1_044_481);
        assert_eq!(read(&b"hi\n"[..]).expect("short"), b"hi\n");
    }

    #[test]
    fn an_empty_message_is_refused() {
        assert!(message(Some(OsString::new())).is_err());
        assert_eq!(message(Some("hi".into())).expect("two bytes"), b"hi");
    }
}
