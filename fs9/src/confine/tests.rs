//! What confined threads may and may not. Each does it in a thread of its own, since there is no way back.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

use super::*;

/// Does `work` in a thread that is confined to `duty`.
fn confined<T: Send>(duty: Duty<'_>, work: impl FnOnce() -> T + Send) -> T {
    let confined = |duty| {
        let confinement = enter(duty);
        assert!(confinement.seccomp, "this kernel filters system calls");
        work()
    };
    thread::scope(|threads| threads.spawn(|| confined(duty)).join().expect("it may end"))
}

const ALL: [Duty<'_>; 4] =
    [Duty::Loop, Duty::Net { state: None }, Duty::Link { port: None, state: None }, Duty::LookUp];

fn status(name: &str) -> String {
    let status = fs::read_to_string("/proc/thread-self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the line");
    line.trim_start_matches(':').trim().to_owned()
}

#[test]
fn the_thread_alone_is_confined() {
    for duty in [Duty::Loop, Duty::Net { state: None }, Duty::LookUp] {
        let inside = confined(duty, || (status("Seccomp"), status("NoNewPrivs")));
        assert_eq!(inside, ("2".into(), "1".into()), "{duty:?}");
        assert_eq!((status("Seccomp"), status("NoNewPrivs")), ("0".into(), "0".into()));
    }
    assert!(Command::new("true").status().expect("it starts").success());
}

#[test]
fn no_program_is_started_and_no_process_entered() {
    for duty in ALL {
        let refused = confined(duty, || {
            let own = pidfd_open(getpid(), PidfdFlags::empty()).expect("it may be seen");
            [
                Command::new("/bin/true").spawn().map(drop).expect_err("no program").raw_os_error(),
                pidfd_getfd(own, 0, PidfdGetfdFlags::empty()).map(drop).err().map(Errno::raw_os_error),
                mount("none", "/proc", "tmpfs", MountFlags::empty(), None).err().map(Errno::raw_os_error),
            ]
        });
        assert_eq!(refused, [Some(libc::EPERM); 3], "{duty:?}");
    }
}

#[test]
fn nothing_is_written_but_what_is_kept() {
    let (dir, state) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let file = |dir: &Path| File::create(dir.join("new")).map(drop).map_err(|error| error.kind());
    for duty in ALL {
        assert_eq!(confined(duty, || file(dir.path())), Err(ErrorKind::PermissionDenied), "{duty:?}");
    }
    let duty = Duty::Link { port: None, state: Some(state.path()) };
    assert_eq!(confined(duty, || file(dir.path())), Err(ErrorKind::PermissionDenied));
    assert_eq!(confined(duty, || file(state.path())), Ok(()));
    let duty = Duty::Net { state: Some(state.path()) };
    assert_eq!(confined(duty, || file(state.path())), Err(ErrorKind::PermissionDenied));
    assert!(confined(duty, || fs::read(state.path().join("new"))).is_ok());
}

#[test]
fn only_what_a_duty_needs_is_read() {
    let read = |path: &str| fs::read(path).map(drop).map_err(|error| error.kind());
    let seen = |duty| confined(duty, || ["/etc/passwd", "/proc/thread-self/status"].map(read));
    let no = Err(ErrorKind::PermissionDenied);
    assert_eq!(seen(Duty::Loop), [Ok(()); 2]);
    assert_eq!(seen(Duty::LookUp), [Ok(()); 2]);
    let expected = if offered().landlock.is_some() { [[no, Ok(())], [no, no]] } else { [[Ok(()); 2]; 2] };
    assert_eq!([Duty::Net { state: None }, Duty::Link { port: None, state: None }].map(seen), expected);
}

#[test]
fn a_link_dials_its_node_and_nobody_else() {
    let [node, other] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let [port, elsewhere] = [&node, &other].map(|listener| listener.local_addr().expect("bound").port());
    let dir = tempfile::tempdir().expect("a directory");
    let path: PathBuf = dir.path().join("socket");
    let _listener = UnixListener::bind(&path).expect("a socket");
    let dial = |port| TcpStream::connect(("127.0.0.1", port)).map(drop).map_err(|error| error.kind());
    let (there, beside) = confined(Duty::Link { port: Some(port), state: None }, || (dial(port), dial(elsewhere)));
    assert_eq!(there, Ok(()));
    let knows_ports = offered().landlock.is_some_and(|version| version >= 4);
    assert_eq!(beside, if knows_ports { Err(ErrorKind::PermissionDenied) } else { Ok(()) });
    assert!(confined(Duty::Link { port: None, state: None }, || UnixStream::connect(&path)).is_ok());
    for duty in [Duty::Loop, Duty::Net { state: None }] {
        assert_eq!(confined(duty, || dial(port)), Err(ErrorKind::PermissionDenied), "{duty:?}");
    }
}

#[test]
fn what_goes_wrong_is_still_told() {
    for duty in ALL {
        let panicked = confined(duty, || std::panic::catch_unwind(|| panic!("on purpose")).is_err());
        assert!(panicked);
        let name = confined(duty, || {
            assert_eq!(thread::Builder::new().spawn(|| ()).is_ok(), matches!(duty, Duty::LookUp));
            thread::sleep(std::time::Duration::from_millis(1));
            vec![1u8; 16 << 20].len()
        });
        assert_eq!(name, 16 << 20);
    }
}

#[test]
fn names_are_looked_up() {
    let found = confined(Duty::LookUp, || {
        use std::net::ToSocketAddrs;
        (("localhost", 1).to_socket_addrs().expect("it is known").count(), nix::unistd::User::from_name("root"))
    });
    assert!(found.0 > 0 && found.1.is_ok_and(|user| user.is_some()));
}

#[test]
fn what_confines_for_people() {
    let text = |landlock, seccomp| Confinement { landlock, seccomp }.text();
    assert_eq!(text(Some(7), true).as_deref(), Some("Landlock 7 and seccomp"));
    assert_eq!((text(None, true).as_deref(), text(None, false)), (Some("seccomp"), None));
}
