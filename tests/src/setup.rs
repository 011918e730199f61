//! What the tests need of the machine, brought about by the tests themselves.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

/// Runs `.ci/setup`, once a process; nothing where we are not root, who alone can.
pub fn set_up() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        if rustix::process::geteuid().is_root() {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci/setup");
            let done = Command::new("bash").arg(&script).output().unwrap();
            assert!(done.status.success(), "{}: {}", script.display(), String::from_utf8_lossy(&done.stderr));
        }
    });
}
