//! What programs do with the files, in many languages and with nothing but their own file calls.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::fs;
use std::path::Path;

use fs9_tests::Mount;
use fs9_tests::file::Fd;
use fs9_tests::process::Running;
use rustix::fs::OFlags;

/// A mount with the queue `q`.
fn with_queue() -> Mount {
    let mount = Mount::new();
    mount.run("touch p/q");
    mount
}

/// A shell that runs `script` by the side; what it prints is for [`Running::said`].
fn aside(mount: &Mount, script: &str) -> Running {
    Running::piped(&mut mount.shell(script))
}

/// What a program prints that is run as `LANGUAGE SCRIPT-FILE`.
fn script(mount: &Mount, language: &str, text: &str) -> Running {
    let file = mount.beside().join(format!("script.{language}"));
    fs::write(&file, text).unwrap();
    Running::piped(&mut mount.command(language, &[file.to_str().unwrap()]))
}

/// Waits until `count` descriptors are open on q.
fn wait_holders(mount: &Mount, count: usize) {
    let what = format!("{count} holders");
    mount.wait_channel("q", &what, |q| q["holders"].as_array().unwrap().len() == count);
}

/// Numbered lines of JSON, `len` bytes or a little more.
fn json(len: usize) -> String {
    let mut text = String::new();
    for number in 0.. {
        if text.len() >= len {
            break;
        }
        text += &format!("{{\"number\": {number}, \"text\": \"{}\"}}\n", "ab".repeat(number % 40));
    }
    text
}

#[test]
fn one_shell_sends_and_another_receives() {
    let mount = Mount::new();
    assert_eq!(mount.run("echo hi > p/jobs; head -n1 p/jobs 2> /dev/null"), "hi\n");
    let reader = aside(&mount, "head -n1 p/jobs 2> /dev/null");
    mount.wait_figure("jobs", "readers", 1);
    mount.run("echo 'for the one who waits' > p/jobs");
    assert_eq!(reader.said(), "for the one who waits\n");
}

#[test]
fn cat_of_a_whole_file_is_one_message_and_comes_out_the_same() {
    let mount = Mount::new();
    for len in [1, 4_096, 131_072, 131_073, 300_000, 900_000, 1_044_400] {
        let text = json(len);
        fs::write(mount.beside().join("big.json"), &text).unwrap();
        mount.run("cat big.json > p/jobs:whole; cat p/jobs:whole > out.json; cmp big.json out.json");
        mount.run("cp big.json p/jobs:whole; cp p/jobs:whole copy.json; cmp big.json copy.json");
        mount.run("cat < big.json >> p/jobs:whole; tail -n +1 p/jobs:whole | cmp big.json -");
        let last = mount.run("dd if=big.json of=p/jobs:whole bs=1000 2>/dev/null; tail -n1 p/jobs:whole");
        assert_eq!(Some(last.trim_end()), text.lines().last());
    }
    assert_eq!(mount.figure("jobs", "sent"), 4 * 7);
    assert_eq!(mount.figure("jobs", "received"), 4 * 7);
}

#[test]
fn the_whole_view_turns_binary_files_over_unchanged() {
    let mount = Mount::new();
    mount.run("head -c 700000 /dev/urandom > a; cat a > p/q:whole; cat p/q:whole | cmp a -");
    mount.run("gzip -c a > p/q:whole; gzip -dc < p/q:whole | cmp a -");
    mount.run("tar cf p/q:whole a; tar xOf p/q:whole a | cmp a -");
}

#[test]
fn the_commands_send_receive_and_call() {
    let mount = with_queue();
    assert_eq!(mount.run("fs9 send p/q 'no newline'; fs9 recv p/q"), "no newline");
    assert_eq!(mount.run("seq 3 | fs9 send p/q; fs9 recv p/q"), "1\n2\n3\n");
    assert_eq!(mount.run("fs9 call p/q 'to myself'"), "to myself", "on a queue anyone may receive either message");
    mount.run("fs9 new --pair p/t");
    let server = aside(&mount, "exec 3<>p/t/b; read -r question <&3; echo \"you said $question\" >&3; read -r _ <&3");
    mount.wait_channel("t", "a server", |t| t["holders"][0]["waiting"] == "read");
    assert_eq!(mount.run("fs9 call p/t/a $'hello\\n'"), "you said hello\n");
    drop(server);
    mount.assert_ledgers_balance();
}

#[test]
fn bash_workers_share_a_queue_line_by_line() {
    for view in ["p/q", "p/q:line"] {
        let mount = with_queue();
        // The loop ends when the queue is removed.
        let worker = format!("while IFS= read -r line; do echo \"got $line\"; done < {view}");
        let workers = [aside(&mount, &worker), aside(&mount, &worker), aside(&mount, &worker)];
        mount.wait_figure("q", "readers", 3);
        mount.run("for i in $(seq 60); do echo \"job $i\" > p/q; done");
        mount.wait_figure("q", "received", 60);
        mount.wait_figure("q", "readers", 3);
        fs::remove_file(mount.path("q")).unwrap();
        let mut lines: Vec<u32> = Vec::new();
        for worker in workers {
            let said = worker.said();
            assert!(!said.is_empty(), "every worker has had work");
            lines.extend(said.lines().map(|line| line.strip_prefix("got job ").unwrap().parse::<u32>().unwrap()));
        }
        lines.sort_unstable();
        assert_eq!(lines, (1..=60).collect::<Vec<_>>());
    }
}

#[test]
fn a_line_worker_needs_no_newline_in_the_message() {
    let mount = with_queue();
    let worker = aside(&mount, "while IFS= read -r line; do echo \"got $line\"; done < p/q:line");
    mount.wait_figure("q", "readers", 1);
    mount.run("printf one > p/q; printf 'two' > p/q");
    mount.wait_figure("q", "received", 2);
    mount.wait_figure("q", "readers", 1);
    fs::remove_file(mount.path("q")).unwrap();
    assert_eq!(worker.said(), "got one\ngot two\n");
}

#[test]
fn bash_builtins_through_the_line_view_send_lines_whole() {
    let mount = with_queue();
    let long = "x".repeat(20_000);
    let sender = aside(&mount, "printf '%s\\n' one \"$(printf 'x%.0s' {1..20000})\" three > p/q:line");
    let reader = Fd::reader(mount.path("q"));
    assert_eq!((reader.text(), reader.text(), reader.text()), ("one\n".into(), long + "\n", "three\n".into()));
    assert_eq!(sender.said(), "");
}

#[test]
fn appending_is_sending() {
    let mount = with_queue();
    let sender = aside(&mount, "echo one >> p/q; echo two >> p/q; echo three >> p/q");
    assert_eq!(mount.run("for i in 1 2 3; do head -n1 p/q 2> /dev/null; done"), "one\ntwo\nthree\n");
    assert_eq!(sender.said(), "");
}

#[test]
fn dash_and_bash_can_hold_a_descriptor() {
    let mount = with_queue();
    for shell in ["dash", "bash"] {
        let text = "exec 3<>p/q; echo ping >&3; read -r x <&3; echo \"$x\"; printf 'a b' >&3; exec 3>&-; head -c3 p/q";
        assert_eq!(script(&mount, shell, text).said(), "ping\na b", "{shell}");
    }
}

#[test]
fn awk_reads_and_writes() {
    let mount = with_queue();
    let reader = aside(&mount, "awk '{ print NR, $2; fflush(); if (NR == 3) exit }' p/q:line");
    mount.wait_figure("q", "readers", 1);
    mount.run("awk 'BEGIN { for (i = 1; i <= 3; i++) print \"n\", i * i > \"p/q:line\" }'");
    assert_eq!(reader.said(), "1 1\n2 4\n3 9\n");
}

#[test]
fn perl_reads_and_writes() {
    let mount = with_queue();
    let text = "open(my $f, '+<', 'p/q') or die; syswrite($f, 'x' x 100_000) == 100_000 or die $!;
                sysread($f, my $m, 1 << 20) == 100_000 or die; print length($m), qq{\n};
                open(my $w, '>', 'p/q:whole') or die; print $w \"line $_\\n\" for 1 .. 2000; close($w) or die $!;
                open(my $r, '<', 'p/q:whole') or die; my @lines = <$r>; print scalar(@lines), ' ', $lines[-1];";
    assert_eq!(script(&mount, "perl", text).said(), "100000\n2000 line 2000\n");
}

#[test]
fn dd_reads_and_writes_a_block_a_message() {
    let mount = with_queue();
    mount.run("seq 1000 > in");
    let sender = aside(&mount, "dd if=in of=p/q bs=1000 2> /dev/null");
    mount.run("dd if=p/q of=out bs=1M count=4 2> dd.log; cmp in out");
    assert_eq!(sender.said(), "");
    assert_eq!(mount.figure("q", "received"), 4);
    let log = fs::read_to_string(mount.beside().join("dd.log")).unwrap();
    assert!(log.contains("0+4 records in"), "{log}");
}

#[test]
fn python_opens_unbuffered_for_both() {
    let mount = with_queue();
    let text = "
f = open('p/q', 'r+b', buffering=0)
assert f.write(b'one') == 3
assert f.read(100) == b'one'
assert f.write(b'x' * 500_000) == 500_000
assert len(f.read(1 << 20)) == 500_000
with open('p/q', 'ab', buffering=0) as g: g.write(b'appended')
assert f.readinto(b := bytearray(100)) == 8 and b[:8] == b'appended'
with open('p/q:whole', 'w') as g: print('buffered', 'text', file=g)
print(open('p/q:whole').read(), end='')
import pathlib
pathlib.Path('p/q:whole').write_bytes(b'path')
print(pathlib.Path('p/q:whole').read_bytes())
";
    assert_eq!(script(&mount, "python3", text).said(), "buffered text\nb'path'\n");
}

#[test]
fn python_os_calls_have_the_errors_of_the_contract() {
    let mount = with_queue();
    mount.run("fs9 new --pair p/t");
    let text = "
import os, errno
def fails(what, *args):
    try: what(*args)
    except OSError as e: return errno.errorcode[e.errno]
f = os.open('p/q', os.O_RDWR | os.O_NONBLOCK)
print(fails(os.read, f, 10))
print(os.write(f, b'message'), fails(os.write, f, b'second'))
os.set_blocking(f, True)
print(os.read(f, 4), os.read(f, 100), os.writev(f, [b'a', b'bc']), os.read(f, 100))
print(fails(os.write, f, b'x' * 1_044_481), os.write(f, b'x' * 1_044_480), len(os.read(f, 1 << 20)))
a, b = os.open('p/t/a', os.O_RDWR), os.open('p/t/b', os.O_RDWR)
print(fails(os.open, 'p/t/a', os.O_RDWR))
os.close(a)
print(os.read(b, 10), fails(os.write, b, b'x'))
";
    let expected = "EAGAIN\n7 EAGAIN\nb'mess' b'age' 3 b'abc'\nEMSGSIZE 1044480 1044480\nEBUSY\nb'' EPIPE\n";
    assert_eq!(script(&mount, "python3", text).said(), expected);
}

/// Python waits for input on three queues with each of its ways; what it prints is who came.
fn python_waits(wait: &str) -> String {
    let mount = with_queue();
    mount.run("touch p/r p/go");
    let text = format!(
        "
import os, select, selectors, asyncio
q, r = (os.open(p, os.O_RDWR | os.O_NONBLOCK) for p in ('p/q', 'p/r'))
name = {{q: 'q', r: 'r'}}
go = os.open('p/go', os.O_WRONLY)
def ready():
    os.write(go, b'now')
{wait}"
    );
    let process = script(&mount, "python3", &text);
    let go = Fd::reader(mount.path("go"));
    for (name, message) in [("q", "one"), ("r", "two"), ("q", "three")] {
        assert_eq!(go.text(), "now");
        Fd::writer(mount.path(name)).write(message).unwrap();
    }
    process.said()
}

const CAME: &str = "q b'one'\nr b'two'\nq b'three'\n";

#[test]
fn python_select_poll() {
    let wait = "
p = select.poll()
p.register(q, select.POLLIN); p.register(r, select.POLLIN)
assert p.poll(0) == []
for _ in range(3):
    ready()
    for fd, event in p.poll(30_000):
        assert event == select.POLLIN, event
        print(name[fd], os.read(fd, 100))
p.modify(q, select.POLLOUT)
assert p.poll(0) == [(q, select.POLLOUT)], p.poll(0)
";
    assert_eq!(python_waits(wait), CAME);
}

#[test]
fn python_select_select() {
    let wait = "
assert select.select([q, r], [q, r], [], 0) == ([], [q, r], [])
for _ in range(3):
    ready()
    for fd in select.select([q, r], [], [], 30)[0]:
        print(name[fd], os.read(fd, 100))
";
    assert_eq!(python_waits(wait), CAME);
}

#[test]
fn python_selectors_with_epoll() {
    let wait = "
s = selectors.EpollSelector()
s.register(q, selectors.EVENT_READ); s.register(r, selectors.EVENT_READ)
assert s.select(0) == []
for _ in range(3):
    ready()
    for key, events in s.select(30):
        assert events == selectors.EVENT_READ
        print(name[key.fd], os.read(key.fd, 100))
";
    assert_eq!(python_waits(wait), CAME);
}

#[test]
fn python_asyncio_add_reader() {
    let wait = "
async def main():
    came = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for fd in (q, r):
        loop.add_reader(fd, lambda fd=fd: came.put_nowait((name[fd], os.read(fd, 100))))
    for _ in range(3):
        ready()
        print(*await asyncio.wait_for(came.get(), 30))
    room = asyncio.Event()
    os.write(q, b'fills the slot')
    loop.remove_reader(q)
    loop.add_writer(q, room.set)
    await asyncio.sleep(0)
    os.read(q, 100)
    await asyncio.wait_for(room.wait(), 30)
asyncio.run(main())
";
    assert_eq!(python_waits(wait), CAME);
}

#[test]
fn c_reads_writes_and_polls() {
    const PROGRAM: &str = r#"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
int main(void) {
    char buffer[100];
    int fd = open("p/q", O_RDWR);
    assert(fd >= 0);
    struct pollfd poll_fd = { fd, POLLIN | POLLOUT, 0 };
    assert(poll(&poll_fd, 1, 0) == 1 && poll_fd.revents == POLLOUT);
    struct iovec parts[3] = { { "a", 1 }, { "bc", 2 }, { "def", 3 } };
    assert(writev(fd, parts, 3) == 6);
    assert(poll(&poll_fd, 1, 0) == 1 && poll_fd.revents == POLLIN);
    struct iovec places[2] = { { buffer, 2 }, { buffer + 2, 98 } };
    assert(readv(fd, places, 2) == 6 && !memcmp(buffer, "abcdef", 6));
    assert(pread(fd, buffer, 1, 5) == -1 && errno == ESPIPE);
    assert(pwrite(fd, buffer, 1, 5) == -1 && errno == ESPIPE);
    assert(write(fd, buffer, 0) == 0);
    struct stat st;
    assert(fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0);
    int epoll = epoll_create1(0);
    struct epoll_event event = { .events = EPOLLIN };
    assert(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0 && epoll_wait(epoll, &event, 1, 0) == 0);
    FILE *file = fopen("p/q:line", "w");
    fprintf(file, "from stdio %d\n", 1);
    assert(fclose(file) == 0);
    assert(epoll_wait(epoll, &event, 1, -1) == 1 && event.events == EPOLLIN);
    file = fopen("p/q:line", "r");
    assert(fgets(buffer, sizeof buffer, file));
    fputs(buffer, stdout);
    return 0;
}
"#;
    let mount = with_queue();
    let source = mount.beside().join("program.c");
    fs::write(&source, PROGRAM).unwrap();
    mount.run("gcc -Wall -Wno-unused-result -o program program.c");
    assert_eq!(mount.run("./program"), "from stdio 1\n");
    mount.assert_ledgers_balance();
}

#[test]
fn programs_that_only_look_take_nothing() {
    let mount = with_queue();
    Fd::writer(mount.path("q")).write("untouched").unwrap();
    mount.run("ls -lR p > /dev/null; find p -type f > /dev/null; du -s p > /dev/null; stat p/q > /dev/null");
    mount.run("test -s p/q && exit 1; [ -f p/q ] && [ -r p/q ] && file -b --mime-type p > /dev/null || true");
    assert_eq!(mount.run("find p -name q -size 0 -printf %p"), "p/q");
    assert_eq!((mount.figure("q", "received"), mount.figure("q", "slot")), (0, 1));
    assert_eq!(Fd::reader(mount.path("q")).text(), "untouched");
}

#[test]
fn a_descriptor_that_is_inherited_stays_open_until_the_last_is_closed() {
    let mount = with_queue();
    let child = aside(&mount, "exec 3< p/q; (read -r line <&3; echo \"child $line\") & exec 3<&-; wait");
    mount.wait_figure("q", "readers", 1);
    wait_holders(&mount, 1);
    mount.run("echo inherited > p/q");
    assert_eq!(child.said(), "child inherited\n");
    wait_holders(&mount, 0);
    assert_eq!(mount.figure("q", "received"), 1);
}

#[test]
fn an_editor_s_way_of_saving_is_refused_without_harm() {
    let mount = with_queue();
    fs::write(mount.beside().join("saved"), "text").unwrap();
    // Written beside and renamed over: it would take the channel's place.
    assert!(!mount.shell("touch p/q.tmp; mv -f p/q.tmp p/q").status().unwrap().success());
    assert!(Path::new(&mount.path("q")).exists() && mount.path("q.tmp").exists());
    assert!(Fd::open(mount.path("q"), OFlags::RDWR).is_ok());
}
