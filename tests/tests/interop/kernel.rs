//! The Linux kernel's own client, in a kernel that runs as a process: everything that `kernel.sh` does in it.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use fs9_tests::waiter::{Waiter, wait_all_released, wait_waiting};

use crate::Served;

/// A kernel whose second serial line is a connection to the mount.
struct Kernel<'a> {
    served: &'a Served,
    console: Waiter,
}

impl Kernel<'_> {
    fn boot(served: &Served) -> Kernel<'_> {
        let init = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/kernel.sh");
        let line = UnixStream::connect(served.socket()).unwrap();
        let mut linux = Command::new("unshare");
        // Whatever becomes of the test, all its processes end with the first one.
        linux.args(["--fork", "--pid", "--kill-child", "timeout", "-k", "1", "120"]);
        linux.args(["linux.uml", "mem=96M", "quiet", "con=null", "con0=null,fd:1"]);
        linux.args(["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "ssl1=fd:0"]);
        linux.arg(format!("init={}", init.display())).arg(format!("uml_dir={}/", served.dir.path().display()));
        Kernel { served, console: Waiter::with_input(&mut linux, OwnedFd::from(line)) }
    }

    /// What it says next of `name`.
    fn says(&mut self, name: &str) -> String {
        let mut heard = Vec::new();
        loop {
            let line = self.console.line();
            println!("{line}");
            if let Some(what) = line.strip_prefix(&format!("{name}:")) {
                return what.trim_start().to_owned();
            }
            heard.push(line);
            assert!(heard.len() < 50, "the kernel does not say {name:?}, but {heard:#?}");
        }
    }

    /// Lets it go on after `script` has been run here.
    fn step(&self, script: &str) {
        self.served.mount.run(script);
        self.served.mount.run("echo next > p/steps");
    }
}

#[test]
fn the_kernel_reads_writes_and_is_killed() {
    let served = Served::new();
    let mount = &served.mount;
    mount.run("fs9 new p/steps; fs9 new p/results; chmod 640 p/jobs");
    let mut kernel = Kernel::boot(&served);
    assert_eq!(kernel.says("mount"), "done");

    assert_eq!(kernel.says("list").split(' ').collect::<Vec<_>>(), served.names());
    assert_eq!(kernel.says("modes"), "-rw-r----- 0 regular empty file drwx------ 0 directory");
    assert_eq!(kernel.says("nosuch"), "cat: nosuch: No such file or directory");

    kernel.step("printf hello > p/jobs");
    assert_eq!(kernel.says("read"), "hello");
    kernel.step("printf one > p/jobs; printf two > p/jobs 2> /dev/null &");
    assert_eq!((kernel.says("first").as_str(), kernel.says("second").as_str()), ("one", "two"));
    kernel.step("echo whole > p/jobs");
    assert_eq!(kernel.says("cat"), "whole");
    let sum = mount.run("seq 4000 > numbers; md5sum < numbers");
    kernel.step("dd if=numbers bs=1M of=p/jobs status=none");
    assert_eq!(kernel.says("long"), sum.trim_end());

    assert_eq!(mount.run("cat p/results:whole"), "from the kernel\n");
    assert_eq!(mount.run("cat p/results:whole"), mount.run("seq 700"));
    assert_eq!(mount.run("cat p/results:whole"), "appended\n");
    assert_eq!(kernel.says("new"), "done");
    assert_eq!(mount.run("cat p/new:whole"), "in a new channel\n");
    assert_eq!(kernel.says("removed"), "ls: cannot access 'gone': No such file or directory");

    let script = "exec 3<>p/talk/b:line; read -r question <&3; echo \"$question: answered\" >&3";
    assert_eq!(mount.run(script), "");
    assert_eq!(kernel.says("answer"), "question: answered");
    assert_eq!(kernel.says("end"), "0");

    wait_waiting(mount, 2);
    kernel.step("");
    assert_eq!(kernel.says("killed"), "137");
    wait_waiting(mount, 2);
    let received = mount.figure("jobs", "received");
    kernel.step("");
    mount.wait_figure("jobs", "received", received + 1);
    wait_waiting(mount, 2);
    kernel.step("");
    assert_eq!(kernel.says("beside"), "to the reader");
    kernel.step("echo after > p/jobs");
    assert_eq!(kernel.says("after"), "after");
    mount.wait_figure("jobs", "writers", 1);
    kernel.step("");
    assert_eq!(kernel.says("writer"), "137");
    assert_eq!(mount.run("cat p/jobs:whole"), "in the slot\n");
    assert_eq!(kernel.says("unmount"), "done");
    kernel.console.said();
    wait_all_released(mount);
    mount.assert_ledgers_balance();
}
