//! Processes as a person knows them: by the name of what they run.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::shell::shown;

/// What process `pid` runs, as ps(1) names it; `None` where it is gone or cannot be seen. A process chooses its name
/// itself, so it is shown with every control character spelled out.
pub fn command(pid: u32) -> Option<String> {
    let name = std::fs::read(format!("/proc/{pid}/comm")).ok()?;
    let name = name.strip_suffix(b"\n").unwrap_or(&name);
    Some(shown(Path::new(OsStr::from_bytes(name))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_the_name_it_gave_itself() {
        let program = std::env::current_exe().expect("/proc");
        let name = program.file_name().expect("a file").to_string_lossy();
        let own = command(std::process::id()).expect("it is there");
        assert!(name.starts_with(&own) && !own.is_empty(), "{own}");
        assert_eq!(command(0), None);
    }
}
