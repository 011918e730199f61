//! Another node's tree under `n/NAME`: two real mounts on one machine, and every sentence of the contract through the
//! link between them.

#![allow(clippy::unwrap_used, reason = "a failed test")]
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fs9_tests::file::{Fd, later};
use fs9_tests::process::{resources, signal, stop};
use fs9_tests::proxy::{Fault, Proxy};
use fs9_tests::waiter::{Waiter, wait_all_released, wait_opens, wait_waiting};
use fs9_tests::{Mount, fs9, stdout, wait_for};
use rustix::event::PollFlags;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::Signal;

const IN: PollFlags = PollFlags::IN;
const OUT: PollFlags = PollFlags::OUT;

/// An answer within the second that is promised, on a machine that does ten other things.
const SECOND: Duration = Duration::from_secs(3);

/// A node that listens, and another that shows its tree as `n/far`.
struct Two {
    near: Mount,
    far: Mount,
    address: String,
}

impl Two {
    fn new(listen: &str, options: &[&str]) -> Two {
        let (near, far) = (Mount::new(), Mount::with(&["--listen", listen]));
        let address = far.address();
        let two = Two { near, far, address };
        stdout(two.attach("far", options));
        two
    }

    fn tcp() -> Two {
        Two::new("tcp://127.0.0.1:0", &[])
    }

    fn unix() -> Two {
        Two::new("unix:BESIDE/socket", &[])
    }

    fn attach(&self, name: &str, options: &[&str]) -> std::process::Output {
        self.attach_to(&self.address, name, options)
    }

    fn attach_to(&self, address: &str, name: &str, options: &[&str]) -> std::process::Output {
        let path = self.near.path("n").join(name);
        fs9(&["attach", path.to_str().unwrap(), address]).args(options).output().unwrap()
    }

    /// The far node once more, as `n/cut`, through something that breaks.
    fn behind_proxy(&self, options: &[&str]) -> Proxy {
        let proxy = Proxy::before(&self.address, Fault::None, 1);
        stdout(self.attach_to(proxy.address(), "cut", options));
        proxy
    }

    /// A path of the far tree, through the link.
    fn path(&self, name: &str) -> PathBuf {
        self.near.path("n/far").join(name)
    }

    fn node(&self) -> serde_json::Value {
        self.near.status()["nodes"][0].clone()
    }

    fn wait_state(&self, state: &str) {
        wait_for(&format!("the link to be {state}"), || (self.node()["state"] == state).then_some(()));
    }

    /// kill -9 of the far server; the near one has seen it.
    fn kill_far(&self) {
        signal(self.far.server(), Signal::KILL);
        wait_for("the link to be gone", || (self.node()["state"] != "up").then_some(()));
    }

    /// The far server is there again, with nothing in its tree.
    fn revive(&mut self) {
        self.far.up(&["--listen", &self.address]);
        self.wait_state("up");
    }
}

/// A server that is stopped, and goes on at the end of a test however that comes.
struct Stopped(u32);

impl Stopped {
    fn new(pid: u32) -> Stopped {
        stop(pid);
        Stopped(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal(self.0, Signal::CONT);
    }
}

fn both(path: impl AsRef<Path>) -> Fd {
    Fd::both(path)
}

#[test]
fn a_host_may_have_a_name() {
    let two = Two::tcp();
    let port = two.address.rsplit_once(':').unwrap().1;
    stdout(two.attach_to(&format!("tcp://localhost:{port}"), "named", &[]));
    assert_eq!(two.near.run("diff <(ls p/n/named) <(ls p/n/far); fs9 detach p/n/named; ls p/n"), "far\n");
}

#[test]
fn who_is_below_a_directory_that_is_renamed_stays_there() {
    let two = Two::unix();
    let script = "mkdir -p p/n/far/a/b p/n/far/x; cd p/n/far/a/b; fs9 new q; exec 3<>q
        mv ../../a ../../x/c; ls; echo old > q; dd <&3 bs=99 count=1 status=none
        touch new; ls .; ls ../../../x/c/b; mv ../../c/b ../../d; echo moved > new; cat new:whole
        fs9 new --pair pair; mv pair other; echo hello > other/a; cat other/b:whole; rmdir other; rm q new; ls";
    assert_eq!(two.near.run(script), "q\nold\nnew\nq\nnew\nq\nmoved\nhello\n");
    assert_eq!(two.far.run("ls p/x; ls p/x/d"), "c\nd\n");
}

#[test]
fn what_one_node_writes_the_other_reads_whole() {
    for two in [Two::tcp(), Two::unix()] {
        two.near.run("fs9 new p/n/far/jobs; echo hello > p/n/far/jobs");
        assert_eq!(two.far.run("cat p/jobs:whole"), "hello\n");
        two.far.run("echo there > p/jobs");
        assert_eq!(two.near.run("cat p/n/far/jobs:whole"), "there\n");
        let (near, far) = (both(two.path("jobs")), both(two.far.path("jobs")));
        for size in [1, 4095, 4096, 65_536, 300_000, 1_044_480] {
            let message: Vec<u8> = (0..size).map(|at| (at * 31 % 251) as u8).collect();
            assert_eq!(near.write(message.clone()), Ok(size));
            assert!(far.read(1 << 20).unwrap() == message, "{size} bytes");
            assert_eq!(far.write(message.clone()), Ok(size));
            assert!(near.read(1 << 20).unwrap() == message, "{size} bytes back");
        }
        assert_eq!(near.write(vec![0; 1_044_481]), Err(Errno::MSGSIZE));
        far.write("long").unwrap();
        assert_eq!((near.read(2).unwrap(), near.read(9).unwrap()), (b"lo".to_vec(), b"ng".to_vec()));
        drop((near, far));
        wait_all_released(&two.far);
        two.far.assert_ledgers_balance();
    }
}

#[test]
fn names_are_made_listed_moved_and_removed_there() {
    let two = Two::unix();
    let said = two.near.run(
        "cd p/n/far; mkdir d; touch d/q; fs9 new --pair d/t; fs9 new --service s; mv d/q d/r; chmod 640 d/r; \
         stat -c '%a %F %s' d/r; find . -name 'r'; ls -R d; ls -lR > /dev/null; rmdir d 2>/dev/null; echo $?; \
         mkfifo f 2>&1; ln -s d l 2>&1; stat -f -c %l .; : > made; ls",
    );
    assert_eq!(
        said,
        "640 regular empty file 0\n./d/r\nd:\nr\nt\n\nd/t:\na\nb\nctl\nstatus\n1\n\
         mkfifo: cannot create fifo 'f': Operation not permitted\n\
         ln: failed to create symbolic link 'l': Operation not permitted\n255\n\
         README\nctl\nd\nevents\nid\nmade\ns\nstatus\nstatus.json\ntimer\n"
    );
    two.near.run("cd p/n/far; rm d/r made; fs9 rm d/t; fs9 rm s; rmdir d");
    assert_eq!(two.far.status()["channels"], serde_json::json!([]));
    let deep = vec!["d"; 40].join("/");
    two.near.run(&format!("mkdir -p p/n/far/{deep}; touch p/n/far/{deep}/q; echo x > p/n/far/{deep}/q"));
    assert_eq!(two.far.run(&format!("cat p/{deep}/q:whole")), "x\n");
}

#[test]
fn a_name_is_one_node_and_nothing_moves_between_two() {
    let two = Two::unix();
    assert!(String::from_utf8(two.attach("far", &[]).stderr).unwrap().contains("EEXIST"));
    stdout(two.attach("again", &[]));
    assert_eq!(two.near.run("ls p/n; touch p/q p/n/far/r"), "again\nfar\n");
    let rename = |from: &str, to: &str| rustix::fs::rename(two.near.path(from), two.near.path(to));
    assert_eq!(rename("q", "n/far/q"), Err(Errno::XDEV));
    assert_eq!(rename("n/far/r", "q"), Err(Errno::XDEV));
    assert_eq!(rename("n/far/r", "n/again/x"), Err(Errno::XDEV));
    assert_eq!(rename("n/far", "n/x"), Err(Errno::PERM));
    assert_eq!(rustix::fs::rmdir(two.near.path("n/far")), Err(Errno::PERM));
    assert_eq!(rustix::fs::rmdir(two.near.path("n")), Err(Errno::PERM));
    assert_eq!(rustix::fs::mkdir(two.near.path("n/x"), rustix::fs::Mode::RWXU), Err(Errno::PERM));
    let ino = |path: &str| std::os::unix::fs::MetadataExt::ino(&fs::metadata(two.near.path(path)).unwrap());
    let all: BTreeSet<u64> = ["q", "n/far/r", "n/again/r", "n/far", "n/again"].map(ino).into();
    assert_eq!(all.len(), 5, "each file is one of its own");
    assert_eq!(ino("n/far/r"), ino("n/far/r"));
    two.near.run("fs9 detach p/n/again; ! fs9 detach p/n/again 2>/dev/null; ! ls p/n/again 2>/dev/null");
    assert_eq!(two.near.run("ls p/n p/n/far | tr '\\n' ' '"), {
        "p/n: far  p/n/far: README ctl events id r status status.json timer "
    });
}

#[test]
fn what_cannot_be_reached_is_not_attached() {
    let near = Mount::new();
    for (address, why) in [
        ("unix:/no/such/socket", "No such file"),
        ("tcp://127.0.0.1:1", "refused"),
        ("tcp://192.0.2.1:5640", "--insecure"),
    ] {
        let path = near.path("n/x");
        let output = fs9(&["attach", path.to_str().unwrap(), address]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && said.contains(why) && said.lines().count() == 1, "{said}");
    }
    assert_eq!(near.run("ls p/n"), "");
}

#[test]
fn reads_and_writes_wait_and_every_wait_ends() {
    let two = Two::tcp();
    two.near.run("fs9 new p/n/far/q");
    let fd = both(two.path("q"));
    let reading = fd.reading(100);
    wait_waiting(&two.far, 1);
    Fd::writer(two.far.path("q")).write("here").unwrap();
    assert_eq!(reading.get(), Ok(b"here".to_vec()));

    let nonblocking = Fd::open(two.path("q"), OFlags::RDWR | OFlags::NONBLOCK).unwrap();
    assert_eq!(nonblocking.read(100), Err(Errno::AGAIN));
    assert_eq!(nonblocking.write("one"), Ok(3));
    assert_eq!(nonblocking.write("two"), Err(Errno::AGAIN));
    assert_eq!(nonblocking.read(100), Ok(b"one".to_vec()));

    let synchronous = Fd::open(two.path("q"), OFlags::WRONLY | OFlags::SYNC).unwrap();
    let writing = synchronous.writing("taken");
    wait_waiting(&two.far, 1);
    assert_eq!(Fd::reader(two.far.path("q")).read(100), Ok(b"taken".to_vec()));
    assert_eq!(writing.get(), Ok(5));

    let mut reader = Waiter::new("read", two.path("q"), &[]);
    wait_waiting(&two.far, 1);
    reader.signal(Signal::INT);
    assert_eq!(reader.said(), "EINTR");
    wait_waiting(&two.far, 0);
    fd.write("full").unwrap();
    let mut writer = Waiter::new("write", two.path("q"), &["never"]);
    wait_waiting(&two.far, 1);
    writer.signal(Signal::INT);
    assert_eq!(writer.said(), "EINTR");
    assert_eq!(fd.read(100), Ok(b"full".to_vec()), "and nothing else was sent");
    let waiter = Waiter::new("read", two.path("q"), &[]);
    wait_waiting(&two.far, 1);
    waiter.killed();
    drop((fd, nonblocking, synchronous));
    wait_all_released(&two.far);
    two.far.assert_ledgers_balance();
}

#[test]
fn readiness_comes_by_itself() {
    let two = Two::tcp();
    two.near.run("fs9 new --pair p/n/far/t");
    let (near, far) = (both(two.path("t/a")), both(two.far.path("t/b")));
    assert_eq!(near.poll(IN | OUT), OUT);
    let polling = near.polling(IN);
    far.write("x").unwrap();
    assert_eq!(polling.get(), IN);
    assert_eq!(near.read(9), Ok(b"x".to_vec()));
    near.write("full").unwrap();
    assert_eq!(near.poll(IN | OUT), PollFlags::empty());
    let polling = near.polling(OUT);
    assert_eq!(far.read(9), Ok(b"full".to_vec()));
    assert_eq!(polling.get(), OUT);
    let script = "
import os, select, sys
a = os.open('p/n/far/t/a', os.O_RDWR)
e = select.epoll(); e.register(a, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
seen = lambda: [what for _, what in e.poll(20)]
print(seen(), e.poll(0), flush=True)
for _ in range(3):
    assert sys.stdin.readline()
    print(seen(), os.read(a, 99), flush=True)
print(select.select([], [a], [], 20)[1] == [a])
";
    drop((near, far));
    wait_all_released(&two.far);
    let far = both(two.far.path("t/b"));
    let mut python = Waiter::talking(&mut two.near.command("python3", &["-c", script]));
    assert_eq!(python.line(), "[4] []");
    for text in ["one", "two", "three"] {
        far.write(text).unwrap();
        python.tell("\n");
        assert_eq!(python.line(), format!("[5] b'{text}'"));
    }
    assert_eq!(python.said(), "True");
}

#[test]
fn who_goes_and_how_is_told_on_the_other_side() {
    let two = Two::tcp();
    two.near.run("fs9 new --pair p/n/far/t; fs9 new p/n/far/q");
    let hold = |path: &str, last: &str| {
        let script = "import os, sys, time
f = os.open(sys.argv[1], os.O_RDWR); os.write(f, b'last'); print('there', flush=True)
if sys.argv[2] == 'wait': time.sleep(1000)
sys.exit(3)";
        let mut waiter = Waiter::of(&mut two.near.command("python3", &["-c", script, path, last]));
        assert_eq!(waiter.line(), "there");
        waiter
    };
    let holder = hold("p/n/far/t/a", "wait");
    let far = both(two.far.path("t/b"));
    let waits = two.far.status()["channels"].as_array().unwrap().len();
    assert_eq!(waits, 2);
    holder.killed();
    assert_eq!(far.read(9), Ok(b"last".to_vec()));
    assert_eq!(far.read(9), Err(Errno::CONNRESET));
    assert_eq!((far.read(9), far.write("x")), (Ok(Vec::new()), Err(Errno::PIPE)));
    two.far.wait_channel("t", "why it went", |t| t["left"]["reason"] == "killed 9");
    drop(far);
    wait_all_released(&two.far);

    assert_eq!(hold("p/n/far/t/a", "exit").status().code(), Some(3));
    let far = both(two.far.path("t/b"));
    assert_eq!((far.read(9), far.read(9)), (Ok(b"last".to_vec()), Ok(Vec::new())));
    two.far.wait_channel("t", "why it went", |t| t["ends"][0]["reason"] == "exited 3");
    drop(far);
    wait_all_released(&two.far);

    // And the other way: it is the far side's end that is killed.
    let near = both(two.path("t/b"));
    let mut far = Waiter::new("read", two.far.path("t/a"), &[]).blocked(&two.far);
    far.signal(Signal::KILL);
    far.status();
    assert_eq!(near.read(9), Err(Errno::CONNRESET));
    assert_eq!(near.read(9), Ok(Vec::new()));
    assert!(near.poll(IN | OUT).contains(PollFlags::HUP | PollFlags::ERR));
    drop(near);

    // A message belongs to its reader until that is killed.
    Fd::writer(two.far.path("q")).write("job").unwrap();
    let script =
        "import os, time; f = os.open('p/n/far/q', os.O_RDONLY); print(os.read(f, 9), flush=True); time.sleep(1000)";
    let mut reader = Waiter::of(&mut two.near.command("python3", &["-c", script]));
    assert_eq!(reader.line(), "b'job'");
    reader.killed();
    assert_eq!(Fd::reader(two.far.path("q")).read(9), Ok(b"job".to_vec()));
    two.far.assert_ledgers_balance();
}

#[test]
fn every_kind_works_with_what_people_have() {
    let two = Two::unix();
    two.near.run("cd p/n/far; fs9 new --service s; fs9 new --topic news; touch q");
    let mut server = Waiter::of(
        &mut two
            .far
            .shell("exec 3<>p/s/accept; echo up; while read -r line <&3; do echo \"got $line\" >&3; done; echo over"),
    );
    assert_eq!(server.line(), "up");
    assert_eq!(two.near.run("exec 3<>p/n/far/s/connect; echo one >&3; read -r x <&3; echo $x"), "got one\n");
    assert_eq!(server.said(), "over");

    let mut ears = Waiter::of(&mut two.near.shell("exec 3< p/n/far/news:line; echo open; head -n2 <&3 2>/dev/null"));
    assert_eq!(ears.line(), "open");
    two.far.run("printf 'a\\nb\\n' > p/news:line");
    assert_eq!(ears.said(), "a\nb");

    assert_eq!(two.near.run("head -n2 p/n/far/timer/20ms 2>/dev/null | wc -l"), "2\n");
    let script =
        "head -c 900000 /dev/urandom > big; cat big > p/n/far/q:whole; fs9 recv p/n/far/q | cmp - big && echo same
        cp big p/n/far/q:whole; cat p/n/far/q:whole | cmp - big && echo same
        printf '%s\\n' x y z > p/n/far/q:line & for i in 1 2 3; do fs9 recv p/n/far/q; done; wait
        python3 -c 'open(\"p/n/far/q\", \"wb\", buffering=0).write(b\"py\")'; fs9 recv p/n/far/q; echo
        fs9 spawn p/n/far/up -- tr -u a-z A-Z 2>/dev/null || fs9 spawn p/n/far/up -- cat; fs9 ls p/n/far | wc -l
        head -c 1044481 /dev/zero | fs9 send p/n/far/q 2>&1 | grep -o EMSGSIZE";
    assert_eq!(two.near.run(script), "same\nsame\nx\ny\nz\npy\n11\nEMSGSIZE\n");
    assert!(two.near.run("fs9 status p/n/far").contains("listens on unix:"));
}

#[test]
fn a_stopped_node_is_not_waited_for() {
    let two = Two::tcp();
    two.near.run("fs9 new p/n/far/q");
    let mut reader = Waiter::new("read", two.path("q"), &[]);
    let victim = Command::new("cat").arg(two.path("q")).stdout(std::process::Stdio::null()).spawn().unwrap();
    wait_waiting(&two.far, 2);
    let stopped = Stopped::new(two.far.server());
    let began = Instant::now();
    assert_eq!(rustix::fs::stat(two.path("q")).err(), Some(Errno::HOSTUNREACH));
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
    assert_eq!(two.near.run("ls p/n"), "far\n");
    reader.signal(Signal::INT);
    assert_eq!(reader.said(), "EINTR");
    let mut victim = victim;
    victim.kill().unwrap();
    let began = Instant::now();
    victim.wait().unwrap();
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
    drop(stopped);
    wait_for("the node to answer", || fs::metadata(two.path("q")).ok());
    wait_all_released(&two.far);
    // What came meanwhile for those who were sent away is lost to nobody.
    Fd::writer(two.far.path("q")).write("still").unwrap();
    assert_eq!(Fd::reader(two.path("q")).read(9), Ok(b"still".to_vec()));
}

#[test]
fn a_link_that_is_cut_while_others_wait_goes_on_as_if_nothing_had_happened() {
    let two = Two::tcp();
    let proxy = two.behind_proxy(&[]);
    two.near.run("fs9 new p/n/far/q; fs9 new p/n/far/full");
    let (reader, writer) = (Fd::reader(two.near.path("n/cut/q")), Fd::writer(two.near.path("n/cut/full")));
    writer.write("first").unwrap();
    for round in 1..=5 {
        let text = format!("message {round}");
        let (reading, writing) = (reader.reading(99), writer.writing(text.clone()));
        wait_waiting(&two.far, 2);
        proxy.cut();
        wait_for("another connection", || (proxy.connections() > round).then_some(()));
        // What comes while nobody knows yet whether there is a link is for who waits, and comes once.
        Fd::writer(two.far.path("q")).write(text.clone()).unwrap();
        assert_eq!(reading.get(), Ok(text.clone().into_bytes()));
        let before = if round == 1 { "first".into() } else { format!("message {}", round - 1) };
        assert_eq!(Fd::reader(two.far.path("full")).read(99), Ok(before.into_bytes()));
        assert_eq!(writing.get(), Ok(text.len()));
    }
    assert_eq!((two.far.figure("q", "sent"), two.far.figure("full", "sent")), (5, 6));
    two.far.assert_ledgers_balance();
    let cut = two.near.status()["nodes"].as_array().unwrap()[0].clone();
    assert_eq!((&cut["name"], &cut["unknown"]), (&"n/cut".into(), &0.into()));
}

#[test]
fn a_stream_of_messages_is_cut_again_and_again() {
    const MESSAGES: usize = 400;
    let two = Two::tcp();
    let proxy = two.behind_proxy(&[]);
    two.near.run("fs9 new p/n/far/q");
    let (writer, reader) = (Fd::writer(two.near.path("n/cut/q")), Fd::reader(two.near.path("n/cut/q")));
    let writing = later(move || (0..MESSAGES).all(|number| writer.write(format!("{number}")).is_ok()));
    for number in 0..MESSAGES {
        if number % 40 == 20 {
            proxy.cut();
        }
        assert_eq!(reader.read(99), Ok(number.to_string().into_bytes()), "nothing lost, nothing twice, all in order");
    }
    assert!(writing.get());
    two.far.wait_figure("q", "sent", MESSAGES as u64);
    two.far.assert_ledgers_balance();
}

#[test]
fn a_link_that_falls_silent_is_found_and_made_again() {
    let mut two = Two::tcp();
    assert!(two.far.down().status.success());
    two.far.up(&["--listen", &two.address, "--keep-alive", "3s"]);
    two.wait_state("up");
    let proxy = two.behind_proxy(&["--keep-alive", "500ms"]);
    two.near.run("fs9 new p/n/far/q");
    let reader = Fd::reader(two.near.path("n/cut/q"));
    let reading = reader.reading(9);
    wait_waiting(&two.far, 1);
    proxy.silence();
    Fd::writer(two.far.path("q")).write("late").unwrap();
    assert_eq!(reading.get(), Ok(b"late".to_vec()));
    assert!(proxy.connections() > 1);
    // A far side that is less patient than this one hears something in time, all the same.
    let other = Proxy::before(&two.address, Fault::None, 1);
    stdout(two.attach_to(other.address(), "quiet", &["--keep-alive", "1h"]));
    let clock = Fd::reader(two.near.path("timer/1s"));
    wait_for("more than the far side waits", || (clock.text().trim().parse::<u32>().unwrap() > 4).then_some(()));
    assert_eq!(other.connections(), 1);
}

#[test]
fn a_write_that_waits_at_a_node_that_is_restarted_is_unknown() {
    let mut two = Two::new("tcp://127.0.0.1:0", &["--linger", "60s"]);
    two.near.run("fs9 new p/n/far/q");
    let fd = both(two.path("q"));
    fd.write("full").unwrap();
    let writing = fd.writing("nobody knows");
    wait_waiting(&two.far, 1);
    two.kill_far();
    two.revive();
    assert_eq!(writing.get(), Err(Errno::IO));
    assert_eq!((fd.write("x"), fd.read(9), fd.read(9)), (Err(Errno::PIPE), Err(Errno::CONNRESET), Ok(Vec::new())));
    let node = two.node();
    assert_eq!((&node["unknown"], &node["state"]), (&1.into(), &"up".into()));
    assert_eq!(two.near.run("echo anew > p/n/far/q; cat p/n/far/q:whole"), "anew\n");
}

#[test]
fn a_node_that_is_killed_is_told_of_and_comes_back() {
    let mut two = Two::new("tcp://127.0.0.1:0", &["--linger", "60s"]);
    two.near.run("fs9 new p/n/far/q");
    let fd = both(two.path("q"));
    let reading = fd.reading(9);
    wait_waiting(&two.far, 1);
    two.kill_far();
    let began = Instant::now();
    assert_eq!(fs::read_dir(two.path("")).err().and_then(|error| error.raw_os_error()), {
        Some(Errno::HOSTUNREACH.raw_os_error())
    });
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
    assert_eq!(two.near.run("ls p/n"), "far\n");
    two.revive();
    assert_eq!(reading.get(), Err(Errno::CONNRESET));
    assert_eq!((fd.read(9), fd.write("x")), (Ok(Vec::new()), Err(Errno::PIPE)));
    assert_eq!(two.near.run("ls p/n/far | wc -l; echo hi > p/n/far/new; cat p/n/far/new:whole"), "7\nhi\n");
}

#[test]
fn a_link_that_is_lost_for_too_long_is_given_up() {
    let mut two = Two::new("tcp://127.0.0.1:0", &["--linger", "200ms"]);
    two.near.run("fs9 new p/n/far/q");
    let fd = both(two.path("q"));
    let reading = fd.reading(9);
    let idle = both(two.path("q"));
    wait_waiting(&two.far, 1);
    two.kill_far();
    assert_eq!(reading.get(), Err(Errno::NOLINK));
    two.wait_state("dialling");
    for fd in [&fd, &idle] {
        assert_eq!(
            (fd.read(9), fd.read(9), fd.write("x")),
            (Err(Errno::NOLINK), Err(Errno::NOLINK), Err(Errno::NOLINK))
        );
    }
    two.revive();
    assert_eq!(fd.read(9), Err(Errno::NOLINK), "what was open stays lost");
    assert_eq!(two.near.run("touch p/n/far/q; echo x > p/n/far/q; cat p/n/far/q:whole"), "x\n");
}

#[test]
fn detach_and_down_end_what_is_in_use() {
    let mut two = Two::tcp();
    two.near.run("fs9 new p/n/far/q; fs9 new --pair p/n/far/t");
    let end = both(two.path("t/a"));
    let reading = both(two.path("q")).reading(9);
    let other = both(two.far.path("t/b"));
    wait_waiting(&two.far, 1);
    two.near.run("fs9 detach p/n/far; ls p/n");
    assert_eq!(reading.get(), Err(Errno::SHUTDOWN));
    assert_eq!((end.read(9), end.write("x")), (Err(Errno::SHUTDOWN), Err(Errno::SHUTDOWN)));
    assert_eq!(other.read(9), Ok(Vec::new()), "the far side is told at once");
    drop((end, other));
    wait_all_released(&two.far);

    stdout(two.attach("far", &[]));
    let reading = both(two.path("q")).reading(9);
    wait_waiting(&two.far, 1);
    assert!(two.near.down().status.success());
    assert_eq!(reading.get(), Err(Errno::SHUTDOWN));
    wait_all_released(&two.far);
    two.near.up(&[]);
    assert_eq!(two.near.run("ls p/n"), "");
}

#[test]
fn the_far_server_ends_while_somebody_waits() {
    let mut two = Two::tcp();
    two.near.run("fs9 new p/n/far/q");
    let reading = both(two.path("q")).reading(9);
    wait_waiting(&two.far, 1);
    assert!(two.far.down().status.success());
    assert_eq!(reading.get(), Err(Errno::SHUTDOWN));
    two.revive();
    assert_eq!(two.near.run("ls p/n/far | wc -l"), "7\n");
}

#[test]
fn events_and_status_tell_of_the_link() {
    let two = Two::new("tcp://127.0.0.1:0", &["--linger", "100ms"]);
    let events = Fd::reader(two.near.path("events"));
    let next = |wanted: &str| {
        wait_for(wanted, || {
            let event: serde_json::Value = serde_json::from_str(&events.text()).unwrap();
            (event["event"] == wanted && event["name"] == "n/far").then_some(event)
        })
    };
    let line = two.near.run("fs9 new p/n/far/q; echo x > p/n/far/q; grep ^n/far p/status");
    assert!(line.contains(&two.address) && line.contains("up for") && line.contains("unknown 0"), "{line}");
    assert_eq!(two.node()["name"], "n/far");
    two.kill_far();
    assert!(!next("unlinked")["reason"].as_str().unwrap().is_empty());
    next("lost");
    two.near.run("fs9 detach p/n/far");
    next("detached");
    assert_eq!(two.near.status()["nodes"], serde_json::json!([]));
}

#[test]
fn a_configuration_file_has_nodes() {
    let far = Mount::with(&["--listen", "unix:BESIDE/socket"]);
    let file = far.beside().join("near.toml");
    fs::write(&file, format!("[node.far]\naddress = \"{}\"\nlinger = \"5s\"\n", far.address())).unwrap();
    let near = Mount::with(&["--config", file.to_str().unwrap()]);
    wait_for("the node", || (near.status()["nodes"][0]["state"] == "up").then_some(()));
    assert_eq!(near.run("ls p/n/far | wc -l"), "7\n");
}

#[test]
fn nothing_is_left_of_what_was_used() {
    let two = Two::tcp();
    two.near.run("fs9 new p/n/far/q; ls -R p/n > /dev/null");
    wait_all_released(&two.far);
    let (near, far) = (resources(two.near.server()), resources(two.far.server()));
    for _ in 0..3 {
        let readers: Vec<_> = (0..20).map(|_| Waiter::new("read", two.path("q"), &[])).collect();
        wait_waiting(&two.far, 20);
        wait_opens(&two.far, 20);
        for mut reader in readers {
            reader.signal(Signal::KILL);
            reader.status();
        }
        wait_all_released(&two.far);
        two.near.run("for i in 1 2 3; do echo $i > p/n/far/q; cat p/n/far/q:whole > /dev/null; done");
    }
    wait_all_released(&two.far);
    wait_for("what both had at rest", || {
        let now = (resources(two.near.server()), resources(two.far.server()));
        (now.0.descriptors == near.descriptors && now.1.descriptors == far.descriptors).then_some(())
    });
    assert_eq!(resources(two.near.server()).threads, near.threads);
    two.far.assert_ledgers_balance();
}

#[test]
fn who_opens_the_readme_there_reads_it_there() {
    let two = Two::unix();
    let near = fs::read_to_string(two.path("README")).unwrap();
    assert_eq!(near, fs::read_to_string(two.far.path("README")).unwrap());
    let lines = BufReader::new(fs::File::open(two.path("ctl")).unwrap()).lines().count();
    assert!(lines > 5);
    assert_eq!(Fd::open(two.path("status"), OFlags::WRONLY).err(), Some(Errno::ACCESS));
    assert_eq!(Fd::writer(two.path("ctl")).write("nonsense"), Err(Errno::INVAL));
    let events = Fd::reader(two.path("events"));
    let line = later(move || events.text());
    two.far.run("fs9 new p/x");
    assert!(line.get().starts_with('{'));
}
