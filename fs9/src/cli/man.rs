//! `fs9 man`: the manual, generated from the same text as `--help`.

use anyhow::Context;
use clap::builder::PossibleValuesParser;
use clap::{Args, CommandFactory};
use clap_mangen::Man as Page;

use super::Cli;
use super::output::print;

/// Print a manual page
///
/// To read one:     fs9 man send | man -l -
/// To install one:  fs9 man > /usr/local/share/man/man1/fs9.1
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Man {
    /// A command; the page of fs9 itself without it
    #[arg(value_parser = PossibleValuesParser::new(COMMANDS))]
    command: Option<String>,
}

/// Every command has a page. Listed, because the parser cannot ask itself while it is being made; a test compares.
const COMMANDS: [&str; 27] = [
    "up",
    "check",
    "down",
    "id",
    "new",
    "spawn",
    "attach",
    "detach",
    "serve",
    "mount9p",
    "grant",
    "delegate",
    "grants",
    "revoke",
    "audit",
    "rm",
    "ls",
    "status",
    "events",
    "top",
    "graph",
    "send",
    "recv",
    "call",
    "doctor",
    "completions",
    "man",
];

impl Man {
    pub fn run(self) -> anyhow::Result<()> {
        print(page(self.command.as_deref())?)
    }
}

fn page(name: Option<&str>) -> anyhow::Result<Vec<u8>> {
    let mut command = Cli::command();
    // Gives each subcommand its full name, `fs9-send`, and its usage line.
    command.build();
    if let Some(name) = name {
        command = command.find_subcommand(name).with_context(|| format!("there is no command {name}"))?.clone();
    }
    let mut page = Vec::new();
    Page::new(command).render(&mut page).context("cannot write the page")?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let cli = Cli::command();
        assert_eq!(cli.get_subcommands().map(clap::Command::get_name).collect::<Vec<_>>(), COMMANDS);
        for name in COMMANDS {
            let page = String::from_utf8(page(Some(name)).expect("a page")).expect("text");
            assert!(page.contains(&format!("fs9\\-{name}")), "{page}");
        }
        assert!(page(None).is_ok());
    }
}
