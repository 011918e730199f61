//! Very many channels and very many readers, and what happens over a limit.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use fs9_proto::{Dialect, Tag};
use fs9_tests::ninep::{Client, READ, data};
use fs9_tests::process::{Resources, Running, resources, state};
use fs9_tests::{DEADLINE, Mount, fs9, stdout};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const KIB: f64 = 1024.0;

/// Makes a queue.
fn mknod(path: &Path) -> Result<(), Errno> {
    mknodat(CWD, path, FileType::RegularFile, Mode::RUSR | Mode::WUSR, 0)
}

/// One message to `queue` and back.
fn round_trip(mount: &Mount, queue: &str) {
    fs::write(mount.path(queue), "hello").unwrap();
    let mut message = [0; 10];
    let len = File::open(mount.path(queue)).unwrap().read(&mut message).unwrap();
    assert_eq!(&message[..len], b"hello");
}

/// The first line of `status`.
fn summary(mount: &Mount) -> String {
    fs::read_to_string(mount.path("status")).unwrap().lines().next().unwrap().to_owned()
}

/// Waits until the first line of `status` says this.
fn wait_summary(mount: &Mount, says: &str) {
    let start = Instant::now();
    while !summary(mount).contains(says) {
        assert!(start.elapsed() < 2 * DEADLINE, "waited for {says:?}: {}", summary(mount));
        thread::sleep(Duration::from_millis(100));
    }
}

/// `count` more readers of queues, from a process of their own.
fn crowd(path: &Path, numbers: std::ops::Range<usize>, who_opens: &str) -> Running {
    let mut party = Command::new(env!("CARGO_BIN_EXE_fs9-party"));
    party.arg("crowd").arg(path).args([numbers.start.to_string(), numbers.end.to_string(), who_opens.to_owned()]);
    Running::new(&mut party)
}

/// What `count` things have cost the server, in bytes each.
fn each(what: &str, count: usize, before: Resources, after: Resources) -> f64 {
    let cost = (after.memory as f64 - before.memory as f64) * KIB / count as f64;
    eprintln!("{count} {what}: {} -> {} KiB of the server's memory, {cost:.0} bytes each", before.memory, after.memory);
    cost
}

/// The memory of a server that has served everything once and has nothing to do.
fn at_rest(mount: &Mount) -> Resources {
    round_trip(mount, "other"); // and it makes the queue, if need be
    summary(mount);
    resources(mount.server())
}

#[test]
fn a_hundred_thousand_channels_and_ten_thousand_blocked_readers() {
    const CHANNELS: usize = 100_000;
    const READERS: usize = 10_000;
    let mount = Mount::new();
    let fresh = at_rest(&mount);

    for number in 0..CHANNELS {
        mknod(&mount.path(&format!("q{number}"))).unwrap();
    }
    let made = resources(mount.server());
    let channel = each("queues", CHANNELS, fresh, made);
    assert!(summary(&mount).contains(&format!("channels {} of", CHANNELS + 1)), "{}", summary(&mount));

    let shown = at_rest(&mount);
    let crowds = [0..READERS / 2, READERS / 2..READERS].map(|numbers| crowd(&mount.path("q"), numbers, "one-opens"));
    wait_summary(&mount, &format!("waiting {READERS} "));
    let blocked = resources(mount.server());
    let reader = each("blocked readers of as many queues", READERS, shown, blocked);
    assert_eq!(blocked.threads, fresh.threads, "threads");
    assert_eq!(blocked.descriptors, fresh.descriptors + crowds.len(), "one descriptor a process");

    // Everything else goes on.
    let listed = mount.run("ls p | grep -c ^q");
    assert_eq!(listed.trim(), CHANNELS.to_string());
    let waiting = mount.run("fs9 status p | grep -c 'waits to read'");
    assert_eq!(waiting.trim(), READERS.to_string());
    round_trip(&mount, "other");
    fs::write(mount.path("q7"), "done").unwrap();
    wait_summary(&mount, &format!("waiting {} ", READERS - 1));

    drop(crowds); // killed, all of them
    wait_summary(&mount, "waiting 0 ");
    for number in 0..CHANNELS {
        fs::remove_file(mount.path(&format!("q{number}"))).unwrap();
    }
    let after = at_rest(&mount);
    assert_eq!((after.descriptors, after.threads), (fresh.descriptors, fresh.threads));
    eprintln!("all gone: {} KiB, fresh: {} KiB", after.memory, fresh.memory);

    assert!(channel <= KIB, "a queue costs {channel:.0} bytes");
    assert!(reader <= 4.0 * KIB, "a blocked reader costs {reader:.0} bytes");
    assert!(after.memory < fresh.memory + 4096, "the memory does not come back: {after:?}, {fresh:?}");
}

#[test]
fn a_pair_costs_at_most_a_kibibyte() {
    const PAIRS: usize = 20_000;
    let mount = Mount::new();
    let fresh = at_rest(&mount);
    let mut ctl = File::options().write(true).open(mount.path("ctl")).unwrap();
    for number in 0..PAIRS {
        ctl.write_all(format!("new --pair p{number}").as_bytes()).unwrap();
    }
    let made = resources(mount.server());
    let pair = each("pairs", PAIRS, fresh, made);
    for number in 0..PAIRS {
        ctl.write_all(format!("rm p{number}").as_bytes()).unwrap();
    }
    drop(ctl);
    let after = at_rest(&mount);
    eprintln!("all gone: {} KiB, fresh: {} KiB", after.memory, fresh.memory);
    assert!(pair <= KIB, "a pair costs {pair:.0} bytes");
    assert!(after.memory < fresh.memory + 4096, "the memory does not come back: {after:?}, {fresh:?}");
}

#[test]
fn ten_thousand_readers_of_one_queue_are_served_in_order_of_arrival() {
    const READERS: usize = 10_000;
    let mount = Mount::new();
    mknod(&mount.path("jobs")).unwrap();
    let fresh = at_rest(&mount);
    let jobs = mount.path("jobs=");
    let crowds = [0..READERS / 2, READERS / 2..READERS].map(|numbers| crowd(&jobs, numbers, "one-opens"));
    wait_summary(&mount, &format!("waiting {READERS} "));
    let blocked = resources(mount.server());
    let reader = each("blocked readers of one queue", READERS, fresh, blocked);
    round_trip(&mount, "other");
    assert_eq!(blocked.threads, fresh.threads, "threads");

    for _ in 0..100 {
        fs::write(mount.path("jobs"), "job").unwrap();
    }
    wait_summary(&mount, &format!("waiting {} ", READERS - 100));
    assert_eq!(mount.figure("jobs", "sent"), 100);
    let crowds_len = crowds.len();
    drop(crowds);
    wait_summary(&mount, "waiting 0 ");
    mount.assert_ledgers_balance();
    fs::remove_file(mount.path("jobs")).unwrap();
    let after = at_rest(&mount);
    eprintln!("all gone: {} KiB, fresh: {} KiB", after.memory, fresh.memory);
    assert_eq!((after.descriptors, after.threads), (fresh.descriptors, fresh.threads));
    assert!(reader <= 4.0 * KIB, "a blocked reader costs {reader:.0} bytes");
    assert!(after.memory < fresh.memory + 4096, "the memory does not come back: {after:?}, {fresh:?}");
    assert_eq!(blocked.descriptors, fresh.descriptors + crowds_len, "one descriptor a process");
}

/// The client opens queue `q` so many times, and waits for a message at each.
fn wait_at_q(client: &mut Client, receives: u16) {
    for number in 1..=receives {
        let fid = client.opened(number.into(), "q", READ);
        client.begin_read(number, fid);
    }
}

#[test]
fn a_thousand_clients_with_ten_thousand_blocked_receives() {
    const CLIENTS: usize = 1000;
    const RECEIVES: u16 = 10;
    let place = tempfile::tempdir().unwrap();
    let socket = place.path().join("s");
    let mount = Mount::with(&["--listen", &format!("unix:{}", socket.display()), "--linger", "10ms"]);
    mknod(&mount.path("q")).unwrap();
    let fresh = at_rest(&mount);
    raise_limit();

    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::unix(&socket, Dialect::Own)).collect();
    let attached = resources(mount.server());
    let client = each("attached clients", CLIENTS, fresh, attached);
    assert_eq!(attached.descriptors, fresh.descriptors + 2 * CLIENTS, "a socket and a process each");
    clients.iter_mut().for_each(|client| wait_at_q(client, RECEIVES));
    let receives = CLIENTS * usize::from(RECEIVES);
    wait_summary(&mount, &format!("waiting {receives} "));
    let blocked = resources(mount.server());
    let receive = each("blocked receives of theirs", receives, attached, blocked);
    assert_eq!((blocked.threads, blocked.descriptors), (fresh.threads, attached.descriptors), "threads, descriptors");

    // Everything else goes on, and they are served in order of arrival.
    round_trip(&mount, "other");
    fs::write(mount.path("q"), "job").unwrap();
    assert_eq!(clients[0].hear(Tag(1)), data("job"));

    drop(clients);
    wait_summary(&mount, "waiting 0 ");
    let after = at_rest(&mount);
    eprintln!("all gone: {} KiB, fresh: {} KiB", after.memory, fresh.memory);
    assert_eq!((after.descriptors, after.threads), (fresh.descriptors, fresh.threads));
    assert!(client.max(receive) <= 8.0 * KIB, "a client costs {client:.0} bytes, a receive {receive:.0}");
    assert!(after.memory < fresh.memory + 4096, "the memory does not come back: {after:?}, {fresh:?}");
}

/// This process may have as many descriptors as the administrator allows.
fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

#[test]
fn the_threads_of_a_process_share_one_descriptor_of_the_server() {
    let mount = Mount::new();
    let fresh = at_rest(&mount);
    for number in 0..200 {
        mknod(&mount.path(&format!("q{number}"))).unwrap();
    }
    let threads = crowd(&mount.path("q"), 0..200, "threads-open");
    wait_summary(&mount, "waiting 200 ");
    let blocked = resources(mount.server());
    assert_eq!((blocked.descriptors, blocked.threads), (fresh.descriptors + 1, fresh.threads));
    drop(threads);
    wait_summary(&mount, "waiting 0 ");
    assert_eq!(resources(mount.server()).descriptors, fresh.descriptors);
}

/// A reader in its own process that is blocked on `other` while limits are met, and then gets its message.
fn bystander(mount: &Mount) -> Running {
    let reader = Running::new(&mut mount.shell("read -r line < p/other && [ \"$line\" = undisturbed ]"));
    mount.wait_figure("other", "readers", 1);
    reader
}

fn undisturbed(mount: &Mount, mut reader: Running) {
    fs::write(mount.path("other"), "undisturbed\n").unwrap();
    assert!(reader.ended().success());
}

#[test]
fn over_the_limit_of_channels_the_one_who_asks_gets_enospc() {
    let mount = Mount::with(&["--max-channels", "4"]);
    for name in ["other", "one"] {
        mknod(&mount.path(name)).unwrap();
    }
    fs::create_dir(mount.path("dir")).unwrap();
    mount.run("fs9 new --pair p/dir/pair");
    let reader = bystander(&mount);

    assert_eq!(mknod(&mount.path("five")), Err(Errno::NOSPC));
    assert_eq!(mknod(&mount.path("dir/five")), Err(Errno::NOSPC));
    assert_eq!(fs::create_dir(mount.path("five")).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(File::create(mount.path("five")).unwrap_err().kind(), ErrorKind::StorageFull);
    let refused = fs9(&["new", "--pair", mount.path("five").to_str().unwrap()]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("channels"), "{said}");
    assert!(!mount.path("five").exists());

    round_trip(&mount, "one");
    mount.run("rm p/one");
    mknod(&mount.path("five")).unwrap();
    round_trip(&mount, "five");
    undisturbed(&mount, reader);
}

#[test]
fn over_the_limit_of_descriptors_the_one_who_opens_gets_emfile() {
    const OPENS: usize = 16;
    let mount = Mount::with(&["--max-opens", &OPENS.to_string()]);
    for name in ["other", "jobs"] {
        mknod(&mount.path(name)).unwrap();
    }
    let reader = bystander(&mount);
    let open = || OpenOptions::new().read(true).write(true).open(mount.path("jobs"));
    let mut opened: Vec<File> = (1..OPENS).map(|_| open().unwrap()).collect();
    for path in ["jobs", "other"] {
        let refused = File::open(mount.path(path)).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(Errno::MFILE.raw_os_error()), "{path}");
    }
    // A creating open that is refused leaves nothing behind.
    let refused = File::create_new(mount.path("new")).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(Errno::MFILE.raw_os_error()));
    assert!(!mount.path("new").exists());

    // What is open works on, and one who has the mount can still see what is the matter.
    opened[0].write_all(b"job").unwrap();
    let mut job = [0; 10];
    assert_eq!(opened[1].read(&mut job).unwrap(), 3);
    let status = fs::read_to_string(mount.path("status"));
    assert!(status.as_ref().is_ok_and(|text| text.contains(&format!("open {OPENS} of {OPENS}"))), "{status:?}");

    opened.pop();
    opened.push(open().unwrap_or_else(|error| panic!("after one was closed: {error}")));
    assert!(open().is_err());
    opened.clear();
    undisturbed(&mount, reader);
}

#[test]
fn fs9_down_ends_a_mount_that_is_at_its_limit_of_descriptors() {
    let mut mount = Mount::with(&["--max-opens", "2"]);
    mknod(&mount.path("jobs")).unwrap();
    let held: Vec<File> = (0..2).map(|_| File::open(mount.path("jobs")).unwrap()).collect();
    let ended = mount.down();
    drop(held);
    stdout(ended);
    assert!(matches!(state(mount.server()), None | Some('Z')), "the server is still there");
    mount.up(&[]); // for its end
}

#[test]
fn over_the_limit_of_bytes_the_one_who_writes_gets_enospc() {
    let mount = Mount::with(&["--max-bytes", "67108864"]);
    mknod(&mount.path("other")).unwrap();
    let reader = bystander(&mount);
    let fresh = resources(mount.server());
    let status = mount.status();
    let (limit, largest) = (&status["limits"]["bytes"], &status["limits"]["message"]);
    let (limit, message) = (limit.as_u64().unwrap() as usize, vec![7; largest.as_u64().unwrap() as usize]);

    // One message in every slot, until the mount is full.
    let send = |number: usize| {
        let path = mount.path(&format!("q{number}"));
        let nonblocking = OFlags::NONBLOCK.bits() as i32;
        let mut queue = File::options().write(true).create(true).custom_flags(nonblocking).open(path).unwrap();
        queue.write_all(&message)
    };
    let full = (0..).find_map(|number| send(number).err().map(|error| (number, error)));
    let (sent, error) = full.unwrap();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    let most = resources(mount.server());
    eprintln!("{sent} messages of {} bytes: {} -> {} KiB", message.len(), fresh.memory, most.memory);
    assert!(sent >= limit / (message.len() + 64 * 1024), "{sent} messages are not all that fit");
    assert!(most.memory < fresh.memory + limit / 1024 + 64 * 1024, "{most:?} is over the limit of {limit} bytes");

    // There is room for what is small, the one who was refused has sent nothing, and status tells.
    assert!(summary(&mount).contains(&format!("of {limit}")));
    assert_eq!(mount.figure(&format!("q{sent}"), "sent"), 0);
    let mut first = vec![0; message.len()];
    assert_eq!(File::open(mount.path("q0")).unwrap().read(&mut first).unwrap(), message.len());
    assert!(first == message, "changed on its way");
    mount.wait_figure("q0", "received", 1);
    send(sent).unwrap();
    assert_eq!(send(sent + 1).unwrap_err().kind(), ErrorKind::StorageFull);

    for number in 0..=sent + 1 {
        fs::remove_file(mount.path(&format!("q{number}"))).unwrap();
    }
    undisturbed(&mount, reader);
    let after = at_rest(&mount);
    eprintln!("all gone: {} KiB", after.memory);
    assert!(after.memory < fresh.memory + 8192, "the memory does not come back: {after:?}, {fresh:?}");
}
