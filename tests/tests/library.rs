//! The mount as a library: mounted by the test itself, used by its threads and by other processes.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use fs9::{Builder, Limits, Mount, MountError, Name, NameError, Peer, Refusal, Spec};
use fs9_tests::file::Fd;
use fs9_tests::process::Running;
use fs9_tests::tiers::peer;
use fs9_tests::waiter::Waiter;
use fs9_tests::{DEADLINE, binary, setup, stdout, wait_for};
use fs9_tiers::error::{Reason, RecvError};
use fs9_tiers::{pair, process};
use rustix::io::Errno;
use serde_json::Value;
use tempfile::TempDir;

type Bytes = Peer<Vec<u8>, Vec<u8>>;

/// A directory with an empty one, `p`, in it.
struct Home(TempDir);

impl Home {
    fn new() -> Home {
        setup::set_up();
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("p")).unwrap();
        fs::create_dir(home.path().join("bin")).unwrap();
        symlink(binary(), home.path().join("bin/fs9")).unwrap();
        Home(home)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn mount(&self, builder: Builder) -> Mount {
        builder.mount(self.path("p")).unwrap()
    }

    /// bash with `script`, in the directory that holds `p`.
    fn shell(&self, script: &str) -> Command {
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("timeout");
        let seconds = DEADLINE.as_secs().to_string();
        command.args(["-k", "1", &seconds, "bash", "-c", script]).current_dir(self.0.path()).env("PATH", path);
        command
    }

    fn run(&self, script: &str) -> String {
        stdout(self.shell(script).output().unwrap())
    }

    /// What `status.json` says of one channel.
    fn channel(&self, name: &str) -> Value {
        let status: Value = serde_json::from_str(&fs::read_to_string(self.path("p/status.json")).unwrap()).unwrap();
        status["channels"].as_array().unwrap().iter().find(|channel| channel["name"] == name).unwrap().clone()
    }

    /// Waits until the server has process `pid` in a line.
    fn wait_blocked(&self, pid: u32) {
        wait_for(&format!("process {pid} to wait at a channel"), || {
            let status: Value = serde_json::from_str(&fs::read_to_string(self.path("p/status.json")).unwrap()).unwrap();
            let channels = status["channels"].as_array().unwrap().iter();
            let mut holders = channels.flat_map(|channel| channel["holders"].as_array().unwrap());
            holders.any(|holder| holder["pid"] == pid && holder["waiting"].is_string()).then_some(())
        });
    }

    /// Whether anything is mounted.
    fn is_mounted(&self) -> bool {
        let point = self.path("p").canonicalize().unwrap();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        mounts.lines().any(|line| line.split(' ').nth(4) == point.to_str())
    }
}

/// A mount in which `echo` gives requests back.
fn with_echo(home: &Home) -> (Mount, Name) {
    let mount = home.mount(Mount::builder());
    let echo = mount.serve("echo", <[u8]>::to_vec).unwrap();
    (mount, echo)
}

/// One request and its answer.
fn ask(end: &Fd, request: &str) -> String {
    assert_eq!(end.write(request), Ok(request.len()));
    end.text()
}

fn shout(peer: Bytes) {
    for message in peer.iter() {
        if peer.send(message.to_ascii_uppercase()).is_err() {
            break;
        }
    }
}

#[test]
fn a_function_answers_each_request_of_each_client() {
    let home = Home::new();
    let mount = home.mount(Mount::builder());
    let hello = mount.serve("hello", |name| [b"hello, ", name].concat()).unwrap();
    assert_eq!(hello.path(), home.path("p").canonicalize().unwrap().join("hello"));
    let (first, second) = (Fd::both(home.path("p/hello/connect")), Fd::both(home.path("p/hello/connect")));
    assert_eq!(ask(&first, "one"), "hello, one");
    assert_eq!(ask(&second, "two"), "hello, two");
    assert_eq!(ask(&first, "one again"), "hello, one again");
    assert_eq!(home.run("fs9 call p/hello/connect shell"), "hello, shell");
    assert_eq!(
        home.run("exec 3<>p/hello/connect:line; echo bash >&3; read -r said <&3; echo \"$said\""),
        "hello, bash\n"
    );
}

#[test]
fn thousands_of_requests_from_shells_and_from_python_all_get_their_own_answers() {
    let home = Home::new();
    let mount = home.mount(Mount::builder().threads(2));
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let _twice = mount
        .serve("twice", move |request| {
            counted.fetch_add(1, Ordering::Relaxed);
            let number: u64 = String::from_utf8_lossy(request).trim().parse().unwrap();
            format!("{}\n", 2 * number)
        })
        .unwrap();
    let bash = "exec 3<>p/twice/connect; for i in $(seq $1 $2); do echo $i >&3; IFS= read -r x <&3; \
                [ $x = $((2 * i)) ] || echo \"$i: $x\"; done";
    let python = "import os, sys\n\
                  fd = os.open('p/twice/connect', os.O_RDWR)\n\
                  for i in range(int(sys.argv[1]), int(sys.argv[2]) + 1):\n    \
                  os.write(fd, b'%d' % i)\n    \
                  assert os.read(fd, 65536) == b'%d\\n' % (2 * i)\n";
    fs::write(home.path("ask.sh"), bash).unwrap();
    fs::write(home.path("ask.py"), python).unwrap();
    let ask =
        |program: &str, from: usize| Running::piped(&mut home.shell(&format!("{program} {} {}", from, from + 299)));
    let askers: Vec<Running> = (0..3)
        .flat_map(|number| [ask("bash ask.sh", 10_000 * number), ask("python3 ask.py", 10_000 * number + 1000)])
        .collect();
    for asker in askers {
        assert_eq!(asker.said(), "");
    }
    assert_eq!(count.load(Ordering::Relaxed), 6 * 300);
}

#[test]
fn functions_of_several_clients_run_at_once_as_many_as_there_are_workers() {
    let home = Home::new();
    let mount = home.mount(Mount::builder().workers(8));
    let (barrier, running) = (Barrier::new(8), AtomicUsize::new(0));
    let _meet = mount
        .serve("meet", move |_| {
            assert!(running.fetch_add(1, Ordering::Relaxed) < 8);
            barrier.wait();
            running.fetch_sub(1, Ordering::Relaxed);
            // Nobody begins the next round before all have left this one.
            barrier.wait();
            "met"
        })
        .unwrap();
    let ends: Vec<Fd> = (0..24).map(|_| Fd::both(home.path("p/meet/connect"))).collect();
    for end in &ends {
        assert_eq!(end.write("here"), Ok(4));
    }
    for end in &ends {
        assert_eq!(end.text(), "met");
    }
}

#[test]
fn a_mount_serves_other_nodes_where_it_is_told_to_listen() {
    let home = Home::new();
    let socket = format!("unix:{}", home.path("s").display());
    let builder = Mount::builder().listen("tcp://127.0.0.1:0").listen(&*socket).export_nodes(true);
    let times = [Duration::from_secs(5), Duration::from_secs(9)];
    let mount = home.mount(builder.linger(times[0]).keep_alive(times[1]).insecure(true));
    let _hello = mount.serve("hello", |name| [b"hello, ", name].concat()).unwrap();
    let tcp = mount.listening()[0].clone();
    assert!(tcp.starts_with("tcp://127.0.0.1:") && !tcp.ends_with(":0"), "{tcp}");
    assert_eq!(mount.listening()[1], socket);
    let script = format!(
        "mkdir r; fs9 up -q r; trap 'fs9 down r > /dev/null' EXIT; fs9 attach r/n/a {tcp}; fs9 attach r/n/b {socket}
         for n in a b; do fs9 call r/n/$n/hello world; echo; done; fs9 attach p/n/self {socket}; ls r/n/a/n"
    );
    assert_eq!(home.run(&script), "hello, world\nhello, world\nself\n");
    for (address, why) in
        [("nowhere", "is no address"), ("tcp://192.0.2.1", "--insecure"), (&*socket, "another server")]
    {
        let other = Home::new();
        let error = Mount::builder().listen(address).mount(other.path("p")).unwrap_err();
        assert!(matches!(error, MountError::Unheard(_)) && error.to_string().contains(why), "{error}");
    }
}

#[test]
fn a_panic_ends_its_own_connection_and_nothing_else() {
    let home = Home::new();
    let mount = home.mount(Mount::builder());
    let divide = |request: &[u8]| format!("{}", 100 / String::from_utf8_lossy(request).parse::<u32>().unwrap());
    let _divide = mount.serve("divide", divide).unwrap();
    let (good, bad) = (Fd::both(home.path("p/divide/connect")), Fd::both(home.path("p/divide/connect")));
    assert_eq!(ask(&good, "4"), "25");
    assert_eq!(bad.write("0"), Ok(1));
    assert_eq!(bad.read(10), Err(Errno::CONNRESET));
    assert_eq!(bad.read(10), Ok(vec![]));
    assert_eq!(bad.write("4"), Err(Errno::PIPE));
    assert_eq!(ask(&good, "5"), "20");
    assert_eq!(home.channel("divide")["left"]["reason"], "panicked");
    assert_eq!(home.run("fs9 call p/divide/connect 50"), "2");
}

#[test]
fn an_answer_without_bytes_is_none_and_one_that_is_too_long_ends_the_connection() {
    let home = Home::new();
    let mount = home.mount(Mount::builder().limits(Limits { message: 100, ..Limits::default() }));
    let repeat = |request: &[u8]| vec![b'x'; String::from_utf8_lossy(request).parse().unwrap()];
    let _repeat = mount.serve("repeat", repeat).unwrap();
    let events = Fd::reader(home.path("p/events"));
    let end = Fd::both(home.path("p/repeat/connect"));
    assert_eq!(end.write("0"), Ok(1));
    assert_eq!(ask(&end, "100").len(), 100);
    assert_eq!(end.write("101"), Ok(3));
    assert_eq!(end.read(200), Err(Errno::CONNRESET));
    let told = wait_for("the event", || Some(events.text()).filter(|event| event.contains("dropped")));
    assert!(told.contains("a message of 101 bytes is longer than the limit"), "{told}");
}

#[test]
fn a_service_has_a_peer_for_each_client_and_knows_who_it_is() {
    let home = Home::new();
    let mount = home.mount(Mount::builder());
    let _count = mount
        .service("count", |peer: Bytes, client| {
            for (number, message) in peer.iter().enumerate() {
                let text = format!("{number} {} {}", client.pid, message.len());
                if message == b"enough" || peer.send(text.into_bytes()).is_err() {
                    break;
                }
            }
        })
        .unwrap();
    let me = std::process::id();
    let (first, second) = (Fd::both(home.path("p/count/connect")), Fd::both(home.path("p/count/connect")));
    assert_eq!(ask(&first, "abc"), format!("0 {me} 3"));
    assert_eq!(ask(&first, "defg"), format!("1 {me} 4"));
    assert_eq!(ask(&second, "a"), format!("0 {me} 1"));
    assert_eq!(first.write("enough"), Ok(6));
    assert_eq!(first.read(10), Ok(vec![]), "its function has returned");
    assert_eq!(ask(&second, "b"), format!("1 {me} 1"));
    let pid = home.run("exec 3<>p/count/connect; printf abc >&3; echo $$ $(dd bs=100 count=1 status=none <&3)");
    let (shell, said) = pid.trim().split_once(' ').unwrap();
    assert_eq!(said, format!("0 {shell} 3"));
}

#[test]
fn a_conversation_whose_function_panics_ends_with_what_it_sent_and_a_reset() {
    let home = Home::new();
    let mount = home.mount(Mount::builder());
    let _last = mount
        .service("last", |peer: Bytes, _| {
            peer.send(b"last words".to_vec()).unwrap();
            panic!("on purpose");
        })
        .unwrap();
    let end = Fd::both(home.path("p/last/connect"));
    assert_eq!(end.text(), "last words");
    assert_eq!(end.read(10), Err(Errno::CONNRESET));
    assert_eq!(end.read(10), Ok(vec![]));
}

#[test]
fn a_service_without_a_free_worker_leaves_the_next_client_waiting() {
    let home = Home::new();
    let mount = home.mount(Mount::builder().workers(1));
    let _shout = mount.service("shout", |peer, _| shout(peer)).unwrap();
    let (first, second) = (Fd::both(home.path("p/shout/connect")), Fd::both(home.path("p/shout/connect")));
    assert_eq!(ask(&first, "one"), "ONE");
    assert_eq!(second.write("two"), Ok(3));
    let answer = second.reading(100);
    assert_eq!(ask(&first, "still"), "STILL");
    assert!(!answer.is_done());
    drop(first);
    assert_eq!(answer.get().unwrap(), b"TWO");
}

#[test]
fn a_client_that_dies_is_the_end_of_its_peer() {
    let home = Home::new();
    let mount = home.mount(Mount::builder());
    let (tell, told) = channel();
    let _hold = mount
        .service("hold", move |peer: Bytes, _| {
            tell.send((peer.recv(), peer.recv(), peer.send(b"too late".to_vec()).is_err())).unwrap();
        })
        .unwrap();
    let script = format!("exec 3<>{}; printf hello >&3; exec sleep 60", home.path("p/hold/connect").display());
    let idle = Waiter::of(Command::new("bash").args(["-c", &script]));
    wait_for("the message to be taken", || (home.channel("hold")["lanes"][0]["received"] == 1).then_some(()));
    idle.killed();
    let ended = Err(RecvError::Disconnected(Reason::Closed));
    assert_eq!(told.recv_timeout(DEADLINE).unwrap(), (Ok(b"hello".to_vec()), ended, true));
}

#[test]
fn a_peer_of_a_thread_is_the_other_end_of_a_pair() {
    let home = Home::new();
    let mount = home.mount(Mount::builder());
    let (near, far) = pair();
    let worker = thread::spawn(move || shout(far));
    let _near = mount.put("near", near).unwrap();
    let end = Fd::both(home.path("p/near/a"));
    assert_eq!(ask(&end, "hello"), "HELLO");
    assert_eq!(Fd::open(home.path("p/near/a"), rustix::fs::OFlags::RDWR).unwrap_err(), Errno::BUSY);
    assert_eq!(end.write("last"), Ok(4));
    drop(end);
    worker.join().unwrap();
    wait_for("the name to go", || (!home.path("p/near").exists()).then_some(()));
}

#[test]
fn what_a_peer_sent_before_it_went_is_read_first() {
    let home = Home::new();
    let mount = home.mount(Mount::builder());
    let (near, far): (Bytes, Bytes) = pair();
    let _gone = mount.put("gone", near).unwrap();
    far.send(b"one".to_vec()).unwrap();
    far.send(b"two".to_vec()).unwrap();
    drop(far);
    let end = Fd::both(home.path("p/gone/a"));
    assert_eq!((end.text(), end.text(), end.text()), ("one".into(), "two".into(), String::new()));
    assert_eq!(end.write("three"), Err(Errno::PIPE));
}

#[test]
fn a_peer_that_only_sends_breaks_who_writes_to_it() {
    let home = Home::new();
    let mount = home.mount(Mount::builder());
    let (near, far): (Bytes, Bytes) = pair();
    let (sender, receiver) = far.split();
    let _news = mount.put("news", near).unwrap();
    let end = Fd::both(home.path("p/news/a"));
    sender.send(b"one".to_vec()).unwrap();
    assert_eq!(end.text(), "one");
    drop(receiver);
    wait_for("a write to fail", || (end.write("?") == Err(Errno::PIPE)).then_some(()));
    sender.send(b"two".to_vec()).unwrap();
    assert_eq!(end.text(), "two");
}

#[test]
fn a_peer_in_a_process_speaks_through_the_file_and_its_death_is_the_files() {
    let home = Home::new();
    let mount = home.mount(Mount::builder());
    let (far, child) = process::spawn(peer(&["echo"])).unwrap();
    let _far = mount.put("far", far).unwrap();
    let end = Fd::both(home.path("p/far/a"));
    assert_eq!(ask(&end, "through shared memory"), "through shared memory");
    let long = "x".repeat(fs9::LARGEST_MESSAGE);
    assert_eq!(ask(&end, &long), long);
    let reading = end.reading(100);
    child.kill().unwrap();
    assert_eq!(reading.get(), Err(Errno::CONNRESET));
    assert_eq!(end.read(10), Ok(vec![]));
    assert_eq!(end.write("?"), Err(Errno::PIPE));
    assert!(!home.path("p/far").exists() || home.channel("far")["ends"].to_string().contains("killed 9"));
}

#[test]
fn a_peer_whose_process_died_before_anybody_came_still_tells_why() {
    let home = Home::new();
    let mount = home.mount(Mount::builder());
    let (far, mut child) = process::spawn(peer(&["echo"])).unwrap();
    let _far = mount.put("far", far).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for("the end to be left", || home.channel("far").to_string().contains("killed 9").then_some(()));
    let end = Fd::both(home.path("p/far/a"));
    assert_eq!(end.read(10), Err(Errno::CONNRESET));
    assert_eq!(end.read(10), Ok(vec![]));
}

#[test]
fn names_have_directories_are_there_once_and_go_when_they_are_dropped() {
    let home = Home::new();
    let mount = home.mount(Mount::builder());
    let deep = mount.serve("some/where/echo", <[u8]>::to_vec).unwrap();
    assert_eq!(home.run("fs9 call p/some/where/echo/connect deep"), "deep");
    assert!(matches!(mount.make("some/where/echo", Spec::default()), Err(NameError::Taken(_))));
    assert!(matches!(mount.put("some", pair().0), Err(NameError::Taken(_))));
    assert!(matches!(mount.service("status", |_, _| ()), Err(NameError::Taken(_))));
    assert!(matches!(mount.make("README/below", Spec::Pair), Err(NameError::NotDirectory(_))));
    let long = "x".repeat(256);
    for unfit in ["", "a/", "a/..", "nul\0", "x:line", &long] {
        let refused = mount.make(unfit, Spec::Pair).unwrap_err();
        assert!(matches!(refused, NameError::Unfit(_)), "{unfit:?}: {refused}");
    }
    drop(deep);
    assert!(!home.path("p/some/where/echo").exists());

    mount.make("jobs", Spec::Queue { ack: true }).unwrap().keep();
    let news = mount.make("news", Spec::Topic { latest: false }).unwrap();
    assert_eq!(home.channel("jobs")["ack"], true);
    assert!(home.path("p/news").exists());
    drop(news);
    assert!(!home.path("p/news").exists());
}

#[test]
fn a_name_that_somebody_removed_and_made_anew_is_not_ours_to_take_away() {
    let home = Home::new();
    let (_mount, echo) = with_echo(&home);
    let end = Fd::both(home.path("p/echo/connect"));
    assert_eq!(ask(&end, "hello"), "hello");
    home.run("fs9 rm p/echo; fs9 new p/echo; printf kept > p/echo");
    drop(echo);
    assert_eq!(home.run("cat p/echo:whole"), "kept");
}

#[test]
fn a_dropped_name_hangs_up_on_whoever_waits_there() {
    let home = Home::new();
    let mount = home.mount(Mount::builder());
    let (silent, other) =
        (mount.serve("silent", |_| Vec::new()).unwrap(), mount.serve("echo", <[u8]>::to_vec).unwrap());
    let (far, near): (Bytes, Bytes) = pair();
    let put = mount.put("put", near).unwrap();
    let (end, answered) = (Fd::both(home.path("p/silent/connect")), Fd::both(home.path("p/echo/connect")));
    assert_eq!(end.write("is anybody there?"), Ok(17));
    let (reading, waiting) = (end.reading(10), Fd::both(home.path("p/put/a")).reading(10));
    drop(silent);
    drop(put);
    assert_eq!(reading.get(), Ok(vec![]));
    assert_eq!(end.write("?"), Err(Errno::PIPE));
    assert_eq!(waiting.get(), Ok(vec![]));
    assert_eq!(far.recv(), Err(RecvError::Disconnected(Reason::Closed)));
    assert_eq!(ask(&answered, "still here"), "still here");
    drop(other);
}

#[test]
fn a_dropped_name_lets_go_of_what_its_function_held() {
    let home = Home::new();
    let mount = home.mount(Mount::builder());
    let held = Arc::new(());
    let (one, two) = (held.clone(), held.clone());
    let serve = mount.serve("serve", move |_| format!("{}", Arc::strong_count(&one))).unwrap();
    let service = mount
        .service("service", move |peer, _| {
            shout(peer);
            let _two = &two;
        })
        .unwrap();
    let ends = [Fd::both(home.path("p/serve/connect")), Fd::both(home.path("p/service/connect"))];
    assert_eq!(ask(&ends[0], "how many?"), "3");
    assert_eq!(ask(&ends[1], "hello"), "HELLO");
    drop((serve, service));
    assert_eq!(Arc::strong_count(&held), 1);
}

#[test]
fn a_dropped_mount_answers_whoever_waits_and_leaves_an_empty_directory() {
    let home = Home::new();
    let mount = home.mount(Mount::builder().threads(2));
    let _never = mount.serve("never", |_| Vec::new()).unwrap();
    let _shout = mount.service("shout", |peer, _| shout(peer)).unwrap();
    let (near, far): (Bytes, Bytes) = pair();
    let _put = mount.put("put", near).unwrap();
    let _queue = mount.make("queue", Spec::default()).unwrap();
    let waiters: Vec<Waiter> = ["never/connect", "shout/connect", "put/a", "queue"]
        .into_iter()
        .map(|name| Waiter::new("read", home.path("p").join(name), &[]))
        .inspect(|waiter| home.wait_blocked(waiter.pid()))
        .collect();
    drop(mount);
    for mut waiter in waiters {
        assert_eq!(waiter.said(), "ESHUTDOWN");
    }
    assert_eq!(far.recv(), Err(RecvError::Disconnected(Reason::Closed)));
    assert!(!home.is_mounted());
    assert_eq!(fs::read_dir(home.path("p")).unwrap().count(), 0);
}

#[test]
fn a_function_that_does_not_end_holds_up_nobody_for_longer_than_the_grace() {
    let home = Home::new();
    let mount = home.mount(Mount::builder().grace(Duration::from_millis(10)));
    let (began, begun) = channel();
    let (release, released) = sync_channel::<()>(0);
    let released = Mutex::new(released);
    let stuck = mount
        .serve("stuck", move |_| {
            began.send(()).unwrap();
            let _ = released.lock().unwrap().recv();
            "nobody reads this"
        })
        .unwrap();
    let end = Fd::both(home.path("p/stuck/connect"));
    assert_eq!(end.write("wait"), Ok(4));
    begun.recv_timeout(DEADLINE).unwrap();
    let reading = end.reading(100);
    drop(stuck);
    assert_eq!(reading.get(), Ok(vec![]));
    drop(mount);
    assert!(!home.is_mounted());
    drop(release);
}

#[test]
fn a_function_may_drop_its_own_name_and_its_own_mount() {
    let home = Home::new();
    let mount = home.mount(Mount::builder());
    let slot = Arc::new(Mutex::new(None::<(Name, Mount)>));
    let (own, (tell, told)) = (slot.clone(), channel());
    let last = mount
        .serve("last", move |_| {
            drop(own.lock().unwrap().take());
            tell.send(()).unwrap();
            "gone"
        })
        .unwrap();
    *slot.lock().unwrap() = Some((last, mount));
    let end = Fd::both(home.path("p/last/connect"));
    assert_eq!(end.write("go"), Ok(2));
    told.recv_timeout(DEADLINE).unwrap();
    wait_for("the mount to be gone", || (!home.is_mounted()).then_some(()));
}

#[test]
fn several_mounts_live_in_one_program() {
    let (one, two) = (Home::new(), Home::new());
    let ((first, _echo), second) = (with_echo(&one), two.mount(Mount::builder()));
    // A function of one is a client of the other.
    let path = one.path("p/echo/connect");
    let _relay =
        second.serve("relay", move |request| ask(&Fd::both(&path), &String::from_utf8_lossy(request))).unwrap();
    assert_eq!(ask(&Fd::both(two.path("p/relay/connect")), "through both"), "through both");
    drop(first);
    assert!(two.is_mounted());
    assert_eq!(two.run("fs9 new p/q; printf x > p/q; cat p/q:whole"), "x");
    assert!(matches!(Mount::builder().mount(two.path("p")), Err(MountError::Unusable(Refusal::AlreadyUp(_)))));
    drop(second);
    assert!(!two.is_mounted());
    assert!(matches!(Mount::builder().mount(two.path("none")), Err(MountError::Unusable(Refusal::Missing(_)))));
}

#[test]
fn whoever_waits_for_the_mount_learns_when_somebody_ends_it() {
    let home = Home::new();
    for how in ["fs9 down p", "umount p", "umount -l p", "echo stop > p/ctl"] {
        let (mount, echo) = with_echo(&home);
        let stopper = mount.stopper();
        let waiting = thread::spawn(|| mount.wait());
        home.run(how);
        wait_for(&format!("the end by {how}"), || waiting.is_finished().then_some(()));
        waiting.join().unwrap().unwrap();
        assert!(!home.is_mounted());
        stopper.stop();
        drop(echo);
    }
    let (mount, _echo) = with_echo(&home);
    let stopper = mount.stopper();
    let stopping = thread::spawn(move || stopper.stop());
    mount.wait().unwrap();
    stopping.join().unwrap();
    assert!(!home.is_mounted());
}

#[test]
fn nothing_can_be_put_into_a_mount_that_has_ended() {
    let home = Home::new();
    let (mount, _echo) = with_echo(&home);
    home.run("fs9 down p");
    wait_for("the mount to be gone", || (!home.is_mounted()).then_some(()));
    for refused in [mount.serve("x", <[u8]>::to_vec), mount.service("x", |_, _| ()), mount.put("x", pair().0)] {
        assert!(matches!(refused, Err(NameError::Ended)), "{refused:?}");
    }
    assert!(matches!(mount.make("x", Spec::Pair), Err(NameError::Ended)));
}

#[test]
fn a_service_outlives_a_lack_of_descriptors() {
    let home = Home::new();
    let mount = home.mount(Mount::builder().limits(Limits { opens: 2, ..Limits::default() }));
    let echo = mount.serve("echo", <[u8]>::to_vec).unwrap();
    for _ in 0..3 {
        // The kernel tells of a close later.
        let connect = || Fd::open(home.path("p/echo/connect"), rustix::fs::OFlags::RDWR).ok();
        let end = wait_for("the client before to be gone", connect);
        assert_eq!(end.read(10), Ok(vec![]), "there is no descriptor for the next client, so this one is turned away");
    }
    assert!(matches!(mount.serve("more", <[u8]>::to_vec), Ok(_) | Err(NameError::Full(_))));
    drop(echo);
}

#[test]
fn others_come_in_where_they_are_let() {
    let home = Home::new();
    fs::set_permissions(home.0.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mount = home.mount(Mount::builder().allow_other(true));
    let echo = mount.serve("echo", <[u8]>::to_vec).unwrap();
    let ask = "setpriv --reuid 65534 --regid 65534 --clear-groups bash -c 'exec 3<>p/echo/connect; printf hi >&3; \
               dd bs=100 count=1 status=none <&3' 2>&1";
    assert!(stdout(home.shell(&format!("{ask} || true")).output().unwrap()).contains("Permission denied"));
    let mode =
        |path: &Path, mode| fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    mode(echo.path(), 0o755);
    mode(&echo.path().join("connect"), 0o666);
    assert_eq!(home.run(ask), "hi");
}

/// What this process has: threads, descriptors, mounts.
fn possessions() -> [usize; 3] {
    let count = |dir: &str| fs::read_dir(dir).unwrap().count();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    [count("/proc/self/task"), count("/proc/self/fd"), mounts.lines().filter(|line| line.contains(" fs9 ")).count()]
}

/// The variable by which a test knows that it is alone in its process.
const ALONE: &str = "FS9_TESTS_ALONE";

#[test]
fn nothing_is_left_of_a_mount_that_is_dropped() {
    if std::env::var_os(ALONE).is_none() {
        let mut alone = Command::new(std::env::current_exe().unwrap());
        let name = "nothing_is_left_of_a_mount_that_is_dropped";
        return drop(stdout(alone.args(["--exact", name, "--nocapture"]).env(ALONE, "1").output().unwrap()));
    }
    // What the first peer of another process starts stays.
    drop(process::pair::<u8, u8>().unwrap());
    let (home, other) = (Home::new(), Home::new());
    let [threads, descriptors, _] = possessions();
    let mounted =
        |home: &Home| fs::read_to_string("/proc/self/mountinfo").unwrap().contains(home.path("p").to_str().unwrap());
    for round in 0..3 {
        let mount = home.mount(Mount::builder().threads(2));
        let second = other.mount(Mount::builder());
        let _echo = mount.serve("echo", <[u8]>::to_vec).unwrap();
        let _shout = mount.service("shout", |peer, _| shout(peer)).unwrap();
        let _again = second.serve("echo", <[u8]>::to_vec).unwrap();
        let (far, _child) = process::spawn(peer(&["echo"])).unwrap();
        let _far = mount.put("far", far).unwrap();
        let ends: Vec<Fd> =
            (0..50).flat_map(|_| ["p/echo/connect", "p/shout/connect"]).map(|name| Fd::both(home.path(name))).collect();
        for end in &ends {
            assert_eq!(ask(end, "1"), "1");
        }
        assert_eq!(ask(&Fd::both(home.path("p/far/a")), "far"), "far");
        let waiting = ends[0].reading(10);
        if round == 1 {
            drop(ends);
            drop((mount, second));
        } else {
            drop((mount, second));
            drop(ends);
        }
        assert_eq!(waiting.get(), Err(Errno::SHUTDOWN));
        assert!(!mounted(&home) && !mounted(&other));
    }
    wait_for("threads and descriptors to be gone", || {
        let [threads_now, descriptors_now, _] = possessions();
        (threads_now == threads && descriptors_now == descriptors).then_some(())
    });
}
