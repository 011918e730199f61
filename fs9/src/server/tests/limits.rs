//! The limits of the server, and what is reserved beyond them.

use super::*;

#[test]
fn limits_are_told_to_the_one_who_asks_and_disturb_nobody() {
    let mut s = Script::with(Limits { message: 16, channels: 2, opens: 3, bytes: 40 });
    let root = File::of(ROOT);
    for name in ["q", "r"] {
        s.server.make_queue(root, name.as_bytes(), 0o600, Caller::default(), &mut s.fx).unwrap();
    }
    assert!(matches!(s.server.make_queue(root, b"s", 0o600, Caller::default(), &mut s.fx), Err(Errno::NOSPC)));
    assert!(matches!(s.server.make_directory(root, b"d", 0o700, Caller::default(), &mut s.fx), Err(Errno::NOSPC)));
    assert_eq!(s.server.room(), (2, 2));
    let (w, r, other) = (s.open("q", "w"), s.open("q", "r"), s.open("r", "rw"));
    assert_eq!(s.try_open("q", "r", 0), Err(Errno::MFILE));
    assert_eq!(s.write(w, 1, "1234567890123456"), ["1 wrote 16"]);
    assert_eq!(s.write(w, 2, "1234567890123456"), NOTHING);
    assert_eq!(s.write(w, 3, "1234567890123456"), ["3 ENOSPC"]);
    assert_eq!(s.write(other, 4, "1234567890123456"), ["4 ENOSPC"]);
    assert_eq!(s.write(other, 5, "12345678"), ["5 wrote 8"]);
    assert_eq!(s.read(r, 6), ["6 has \"1234567890123456\"", "2 wrote 16"]);
    assert_eq!(s.store.used(), 40);
    // Everything is full, and still somebody may look and act, if not without end.
    let texts: Vec<Handle> = (0..RESERVE).map(|_| s.open("ctl", "rw")).collect();
    assert_eq!(s.try_open("status", "r", 0), Err(Errno::MFILE));
    assert!(s.read_some(texts[0], 7, 3, false)[0].starts_with("7 has"));
    for handle in [&[w, r, other][..], &texts].concat() {
        s.clunk(handle);
    }
    s.server.remove(root, b"q", false, &mut s.fx).unwrap();
    s.server.remove(root, b"r", false, &mut s.fx).unwrap();
    s.open.clear();
    s.done();
}
