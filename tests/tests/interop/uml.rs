//! A Linux kernel that runs as a process, and says on its console how it fares.

use std::path::Path;
use std::process::{Command, Stdio};

use fs9_tests::waiter::Waiter;

/// A kernel under test. Its first process is a script beside this file, its files are those of this machine.
pub struct Kernel(Waiter);

impl Kernel {
    /// Boots it with the script `init`. `words` are more of its command line: serial lines; variables of the script's.
    /// Where `opening` is not empty, it is what bash is told to open for it first.
    pub fn boot(init: &str, dir: &Path, input: impl Into<Stdio>, opening: &str, words: &[&str]) -> Kernel {
        let init = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(init);
        let mut linux = Command::new("bash");
        linux.args(["-c", &format!("exec {opening}; exec \"$@\""), "bash"]);
        // Whatever becomes of the test, all its processes end with the first one.
        linux.args(["unshare", "--fork", "--pid", "--kill-child", "timeout", "-k", "1", "120"]);
        linux.args(["linux.uml", "mem=96M", "quiet", "con=null", "con0=null,fd:1"]);
        linux.args(["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"]).args(words);
        linux.arg(format!("init={}", init.display())).arg(format!("uml_dir={}/", dir.display()));
        Kernel(Waiter::with_input(&mut linux, input))
    }

    /// What it says next of `name`.
    pub fn says(&mut self, name: &str) -> String {
        let mut heard = Vec::new();
        loop {
            let line = self.0.line();
            println!("{line}");
            if let Some(what) = line.strip_prefix(&format!("{name}:")) {
                return what.trim_start().to_owned();
            }
            heard.push(line);
            assert!(heard.len() < 50, "the kernel does not say {name:?}, but {heard:#?}");
        }
    }

    /// Waits until it has ended.
    pub fn ended(mut self) {
        self.0.said();
    }
}
