//! The Linux kernel's own client, in a kernel that runs as a process: everything that `kernel.sh` does in it.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use fs9_tests::waiter::{wait_all_released, wait_waiting};

use crate::Served;
use crate::uml::Kernel;

#[test]
fn the_kernel_reads_writes_and_is_killed() {
    let served = Served::new();
    let mount = &served.mount;
    mount.run("fs9 new p/steps; fs9 new p/results; chmod 640 p/jobs");
    // The kernel's second serial line is a connection to the mount.
    let line = OwnedFd::from(UnixStream::connect(served.socket()).unwrap());
    let mut kernel = Kernel::boot("kernel.sh", served.dir.path(), line, "", &["ssl1=fd:0"]);
    // Lets it go on after a script has been run here.
    let step = |script: &str| {
        mount.run(script);
        mount.run("echo next > p/steps");
    };
    assert_eq!(kernel.says("mount"), "done");

    assert_eq!(kernel.says("list").split(' ').collect::<Vec<_>>(), served.names());
    assert_eq!(kernel.says("modes"), "-rw-r----- 0 regular empty file drwx------ 0 directory");
    assert_eq!(kernel.says("nosuch"), "cat: nosuch: No such file or directory");

    step("printf hello > p/jobs");
    assert_eq!(kernel.says("read"), "hello");
    step("printf one > p/jobs; printf two > p/jobs 2> /dev/null &");
    assert_eq!((kernel.says("first").as_str(), kernel.says("second").as_str()), ("one", "two"));
    step("echo whole > p/jobs");
    assert_eq!(kernel.says("cat"), "whole");
    let sum = mount.run("seq 4000 > numbers; md5sum < numbers");
    step("dd if=numbers bs=1M of=p/jobs status=none");
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
    step("");
    assert_eq!(kernel.says("killed"), "137");
    wait_waiting(mount, 2);
    let received = mount.figure("jobs", "received");
    step("");
    mount.wait_figure("jobs", "received", received + 1);
    wait_waiting(mount, 2);
    step("");
    assert_eq!(kernel.says("beside"), "to the reader");
    step("echo after > p/jobs");
    assert_eq!(kernel.says("after"), "after");
    mount.wait_figure("jobs", "writers", 1);
    step("");
    assert_eq!(kernel.says("writer"), "137");
    assert_eq!(mount.run("cat p/jobs:whole"), "in the slot\n");
    assert_eq!(kernel.says("unmount"), "done");
    kernel.ended();
    wait_all_released(mount);
    mount.assert_ledgers_balance();
}
