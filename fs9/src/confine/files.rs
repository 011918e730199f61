//! Files and ports, by Landlock (landlock(7)): as many of its rules as the kernel knows.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, Scope, path_beneath_rules,
};

use super::Duty;

/// The latest version whose rules are asked for: a later one would also forbid the Unix sockets that links connect to.
const VERSION: ABI = ABI::V7;

/// Confines the calling thread. Returns the version of Landlock, or None where there is none or the duty does not go
/// with it.
pub fn restrict(duty: &Duty<'_>) -> Result<Option<u32>, RulesetError> {
    let files = Ruleset::default().handle_access(AccessFs::from_all(VERSION))?;
    let ruleset = match *duty {
        Duty::Loop => return Ok(None),
        Duty::Net { state } => may_read(alone(files)?.create()?, [Path::new("/proc")].into_iter().chain(state))?,
        Duty::Link { port, state } => {
            let mut ruleset = alone(files)?.create()?;
            if let Some(port) = port {
                ruleset = ruleset.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?;
            }
            match state {
                Some(state) => ruleset.add_rules(path_beneath_rules([state], keeping()))?,
                None => ruleset,
            }
        }
        Duty::LookUp => may_read(files.scope(Scope::Signal)?.create()?, [Path::new("/")])?,
    };
    let status = ruleset.restrict_self()?;
    Ok(match status.landlock {
        LandlockStatus::Available { effective_abi, kernel_abi } => {
            Some(kernel_abi.unwrap_or(effective_abi as i32).unsigned_abs())
        }
        _ => None,
    })
}

/// Without connections of its own making, and without signals to other processes.
fn alone(ruleset: Ruleset) -> Result<Ruleset, RulesetError> {
    ruleset
        .handle_access(AccessNet::from_all(VERSION))?
        .scope(BitFlags::from(Scope::Signal) | Scope::AbstractUnixSocket)
}

fn may_read<'a>(
    ruleset: RulesetCreated,
    dirs: impl IntoIterator<Item = &'a Path>,
) -> Result<RulesetCreated, RulesetError> {
    ruleset.add_rules(path_beneath_rules(dirs, reading()))
}

fn reading() -> BitFlags<AccessFs> {
    AccessFs::ReadFile | AccessFs::ReadDir
}

/// What `State` does in its directory while a link lasts.
fn keeping() -> BitFlags<AccessFs> {
    reading() | AccessFs::WriteFile | AccessFs::MakeReg
}
