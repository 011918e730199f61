//! The command line. Every command that takes a path works through the mounted files: there is no private door.
//!
//! One file a command; what they share is one file a noun: `place` (a path in a mount), `peer` (one descriptor),
//! `wait` (a call that may block), `background` (what goes on there), `report` (status.json), `errno` (what an error
//! means), `output` (stdout), `process` (what one runs), `columns` (tables of text).

mod attach;
mod audit;
mod background;
mod call;
mod channel;
mod check;
mod columns;
mod completions;
mod delegate;
mod doctor;
mod down;
mod errno;
mod events;
mod failure;
mod grant;
mod grants;
mod graph;
mod helper;
mod id;
mod ls;
mod man;
mod message;
mod mount9p;
mod notify;
mod output;
mod peer;
mod place;
mod process;
mod recv;
mod report;
mod send;
mod serve;
mod shell;
mod spawn;
mod status;
mod terms;
mod top;
mod up;
mod wait;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Channels as files: write(2) sends a message, read(2) receives one
///
/// `fs9 up DIR` turns an empty directory into a place where any program can make
/// channels and talk through them with nothing but files. The other commands are a
/// comfort: all they do goes through those files.
#[derive(Debug, Parser)]
#[command(name = "fs9", version, verbatim_doc_comment, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 124 timed out.";

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Up),
    Check(check::Check),
    Down(down::Down),
    Id(id::Id),
    New(channel::New),
    Spawn(spawn::Spawn),
    Attach(attach::Attach),
    Detach(attach::Detach),
    Serve(serve::Serve),
    Mount9p(mount9p::Mount9p),
    Grant(grant::Grant),
    Delegate(delegate::Delegate),
    Grants(grants::Grants),
    Revoke(grant::Revoke),
    Audit(audit::Audit),
    Rm(channel::Rm),
    Ls(ls::Ls),
    Status(status::Status),
    Events(events::Events),
    Top(top::Top),
    Graph(graph::Graph),
    Send(send::Send),
    Recv(recv::Recv),
    Call(call::Call),
    Doctor(doctor::Doctor),
    Completions(completions::Completions),
    Man(man::Man),
}

impl Command {
    fn run(self) -> anyhow::Result<()> {
        match self {
            Command::Up(command) => command.run(),
            Command::Check(command) => command.run(),
            Command::Down(command) => command.run(),
            Command::Id(command) => command.run(),
            Command::New(command) => command.run(),
            Command::Spawn(command) => command.run(),
            Command::Attach(command) => command.run(),
            Command::Detach(command) => command.run(),
            Command::Serve(command) => command.run(),
            Command::Mount9p(command) => command.run(),
            Command::Grant(command) => command.run(),
            Command::Delegate(command) => command.run(),
            Command::Grants(command) => command.run(),
            Command::Revoke(command) => command.run(),
            Command::Audit(command) => command.run(),
            Command::Rm(command) => command.run(),
            Command::Ls(command) => command.run(),
            Command::Status(command) => command.run(),
            Command::Events(command) => command.run(),
            Command::Top(command) => command.run(),
            Command::Graph(command) => command.run(),
            Command::Send(command) => command.run(),
            Command::Recv(command) => command.run(),
            Command::Call(command) => command.run(),
            Command::Doctor(command) => command.run(),
            Command::Completions(command) => command.run(),
            Command::Man(command) => command.run(),
        }
    }
}

/// Runs the `fs9` command with this process's arguments, or the helper of mount(8) when that is what it was called.
pub fn main() -> ExitCode {
    let is_helper = helper::is_called(std::env::args_os().next().as_deref());
    match if is_helper { helper::run() } else { Cli::parse().command.run() } {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn refused(line: &str) -> bool {
        Cli::try_parse_from(line.split(' ')).is_err()
    }

    #[test]
    fn the_parser_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn limits_are_checked_before_anything_runs() {
        for line in [
            "fs9 up /p --threads 0",
            "fs9 up /p --threads 65",
            "fs9 up /p --limit 0",
            "fs9 up /p --limit 1044481",
            "fs9 up /p --max-channels 0",
            "fs9 up /p --max-opens 0",
            "fs9 up /p --config",
            "fs9 recv p -t 0",
            "fs9 recv p -t -1",
            "fs9 recv p -t nan",
            "fs9 recv p -n 0",
            "fs9 recv p -n 2 --follow",
            "fs9 new --pair --ack p",
            "fs9 spawn p/x cat",
            "fs9 spawn p/x --",
            "fs9 spawn p/x --line --whole -- cat",
            "fs9 spawn p/x --max 0 -- cat",
            "fs9 spawn p/x --env =v -- cat",
            "fs9 spawn p/x --idle soon -- cat",
            "fs9 attach p/n/a",
            "fs9 attach p/n/a alpha",
            "fs9 attach p/n/a tls://",
            "fs9 attach p/n/a unix:/a --keep-alive 1ms",
            "fs9 detach",
            "fs9 mount9p unix:/a",
            "fs9 mount9p nonsense /mnt",
            "fs9 man nonsense",
            "fs9 top -i 0",
            "fs9 top --sort nonsense",
            "fs9 graph --format png",
        ] {
            assert!(refused(line), "{line}");
        }
        assert!(!refused("fs9 up /p --threads 64 --limit 1044480 --max-channels 1 --max-opens 1 -f --allow-other"));
        assert!(!refused("fs9 recv p -t 0.25 -n 3"));
        assert!(!refused("fs9 spawn p/x --frames --dir / --env A=b --env C= --max 1 --idle 5m --grace 0s -- cat --x"));
    }
}
