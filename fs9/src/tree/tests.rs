//! Names: what can be one, what is found under it, and what becomes of it.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::collections::HashSet;
use std::time::SystemTime;

use super::*;
use crate::channel::Kind;
use crate::view::View;

const DIR: File = File::of(ROOT);

fn directory() -> Body {
    Body::Directory(BTreeMap::new())
}

fn queue() -> Body {
    Body::Channel(Box::new(Channel::new(Kind::Queue { ack: false })))
}

fn pair() -> Body {
    Body::Channel(Box::new(Channel::new(Kind::Pair)))
}

fn attr() -> Attr {
    Attr::new(0o640, 7, 8)
}

fn tree() -> Tree {
    Tree::new(Attr::new(0o755, 0, 0), 100_000)
}

fn make(tree: &mut Tree, dir: File, name: &str, body: Body) -> File {
    File::of(tree.make(dir, name.as_bytes(), attr(), body).unwrap())
}

fn names(tree: &Tree, dir: File) -> Vec<String> {
    tree.list(dir).unwrap().into_iter().map(|entry| entry.name.into()).collect()
}

/// A chain of directories, one in the other, and the last of them.
fn nested(tree: &mut Tree, levels: usize) -> File {
    (0..levels).fold(DIR, |dir, _| make(tree, dir, "d", directory()))
}

#[test]
fn names_that_can_be_and_names_that_cannot() {
    let mut tree = tree();
    let longest = "x".repeat(255);
    for good in ["jobs", "a b", "ünïcödé", "...", "-", "a:b", ":line", ":whole", "x:lines", "日本", &longest] {
        let made = make(&mut tree, DIR, good, queue());
        assert_eq!(tree.walk(DIR, good.as_bytes()).unwrap(), (made, View::Plain), "{good}");
        assert_eq!(tree.make(DIR, good.as_bytes(), attr(), queue()), Err(Errno::EXIST), "{good}");
    }
    let before = tree.len();
    let bad: [&[u8]; 13] = [
        b"",
        b".",
        b"..",
        b"a/b",
        b"/",
        b"a\0b",
        b"a\nb",
        b"\t",
        b"a\x7f",
        b"a\xc2\x85b",
        b"\xff\xfe",
        b"a:line",
        b"a:whole",
    ];
    for bad in bad {
        let said = tree.make(DIR, bad, attr(), queue());
        assert_eq!(said, Err(Errno::INVAL), "{:?}", String::from_utf8_lossy(bad));
    }
    assert_eq!(tree.make(DIR, &[b'x'; 256], attr(), queue()), Err(Errno::NAMETOOLONG));
    assert_eq!(tree.len(), before, "nothing was made");
}

#[test]
fn a_name_that_cannot_be_is_not_found() {
    let tree = tree();
    assert_eq!(tree.walk(DIR, b"nobody"), Err(Errno::NOENT));
    assert_eq!(tree.walk(DIR, b".."), Err(Errno::NOENT));
    assert_eq!(tree.walk(DIR, &[b'x'; 256]), Err(Errno::NOENT));
    assert_eq!(tree.walk(DIR, b"\xff"), Err(Errno::INVAL));
}

#[test]
fn the_fixed_files_have_their_names_and_keep_them() {
    let mut tree = tree();
    for (name, part, mode) in Part::OF_ROOT {
        let file = File { node: ROOT, part };
        assert_eq!(tree.walk(DIR, name.as_bytes()).unwrap(), (file, View::Plain));
        assert_eq!((tree.stat(file).unwrap().attr.mode, tree.stat(file).unwrap().directory), (mode, false));
        assert_eq!(tree.make(DIR, name.as_bytes(), attr(), queue()), Err(Errno::EXIST));
        assert_eq!(tree.rename(DIR, name.as_bytes(), DIR, b"other"), Err(Errno::PERM));
        assert_eq!(tree.remove(file), Err(Errno::PERM));
        assert_eq!(tree.walk(file, b"x"), Err(Errno::NOTDIR));
        assert!(tree.node_mut(ROOT).unwrap().attr_mut(file).is_none());
    }
    let dir = make(&mut tree, DIR, "d", directory());
    make(&mut tree, dir, "ctl", queue()); // only the mount point has them
    assert_eq!(tree.remove(DIR), Err(Errno::PERM));
}

#[test]
fn a_view_is_a_suffix_of_a_queue_or_of_an_end() {
    let mut tree = tree();
    let (q, p) = (make(&mut tree, DIR, "q", queue()), make(&mut tree, DIR, "p", pair()));
    make(&mut tree, DIR, "d", directory());
    assert_eq!(tree.walk(DIR, b"q:line").unwrap(), (q, View::Line));
    assert_eq!(tree.walk(DIR, b"q:whole").unwrap(), (q, View::Whole));
    assert_eq!(tree.walk(DIR, b"q:other"), Err(Errno::NOENT));
    assert_eq!(tree.walk(DIR, b"q:line:line"), Err(Errno::NOENT));
    for name in [&b"d:line"[..], b"p:line", b"ctl:line", b"nobody:line"] {
        assert_eq!(tree.walk(DIR, name), Err(Errno::NOENT));
    }
    assert_eq!(tree.walk(p, b"a").unwrap(), (File { node: p.node, part: Part::A }, View::Plain));
    assert_eq!(tree.walk(p, b"b:whole").unwrap(), (File { node: p.node, part: Part::B }, View::Whole));
    assert_eq!(tree.walk(p, b"ctl").unwrap().0.part, Part::Ctl);
    assert_eq!(tree.walk(p, b"status:line"), Err(Errno::NOENT));
    assert_eq!(tree.walk(p, b"c"), Err(Errno::NOENT));
    assert_eq!(tree.walk(q, b"x"), Err(Errno::NOTDIR));
    assert_eq!(tree.make(p, b"c", attr(), queue()), Err(Errno::PERM), "a pair has its four files and no more");
    assert_eq!(tree.make(p, b"a", attr(), queue()), Err(Errno::EXIST));
    assert_eq!(tree.make(q, b"c", attr(), queue()), Err(Errno::NOTDIR));
}

#[test]
fn a_listing_has_the_fixed_files_and_the_names_in_order_and_no_views() {
    let mut tree = tree();
    for name in ["q", "d", "p"] {
        let body = match name {
            "q" => queue(),
            "d" => directory(),
            _ => pair(),
        };
        make(&mut tree, DIR, name, body);
    }
    let fixed = ["README", "ctl", "events", "id", "status", "status.json"];
    assert_eq!(names(&tree, DIR), [&[".", ".."][..], &fixed, &["d", "n", "p", "q", "timer"]].concat());
    assert_eq!(names(&tree, tree.find("p").unwrap()), [".", "..", "a", "b", "ctl", "status"]);
    assert_eq!(names(&tree, tree.find("d").unwrap()), [".", ".."]);
    assert!(matches!(tree.list(tree.find("q").unwrap()), Err(Errno::NOTDIR)));
    let entries = tree.list(DIR).unwrap();
    let directories: Vec<&str> = entries.iter().filter(|entry| entry.directory).map(|entry| &*entry.name).collect();
    assert_eq!(directories, [".", "..", "d", "n", "p", "timer"]);
    for entry in entries.iter().skip(2) {
        assert_eq!(tree.walk(DIR, entry.name.as_bytes()).unwrap().0, entry.file, "{}", entry.name);
        assert_eq!(tree.stat(entry.file).unwrap().directory, entry.directory, "{}", entry.name);
    }
}

#[test]
fn inode_numbers_are_different_for_all_files_and_the_same_for_all_views() {
    let mut tree = tree();
    let dirs = [DIR, make(&mut tree, DIR, "p", pair()), make(&mut tree, DIR, "d", directory())];
    make(&mut tree, DIR, "q", queue());
    let mut seen = HashSet::from([DIR.ino()]);
    for dir in dirs {
        for entry in tree.list(dir).unwrap().into_iter().skip(2) {
            assert!(seen.insert(entry.file.ino()), "{} has the number of another", entry.name);
            assert_eq!(tree.stat(entry.file).unwrap().ino, entry.file.ino());
        }
    }
    assert_eq!(DIR.ino(), 1);
    assert_eq!(tree.walk(DIR, b"q:line").unwrap().0.ino(), tree.walk(DIR, b"q").unwrap().0.ino());
    assert!(File { node: Tree::LAST, part: Part::Readme }.ino() < 1 << 40);
}

#[test]
fn a_removed_node_is_out_of_the_tree_and_stays_until_it_is_forgotten() {
    let mut tree = tree();
    let q = make(&mut tree, DIR, "q", queue());
    assert_eq!(tree.stat(q).unwrap().nlink, 1);
    tree.remove(q).unwrap();
    assert_eq!(tree.walk(DIR, b"q"), Err(Errno::NOENT));
    assert_eq!((tree.stat(q).unwrap().nlink, tree.path(q.node)), (0, "q".to_owned()));
    let another = make(&mut tree, DIR, "q", queue());
    assert_ne!(another, q, "a number is never used again");
    assert!(tree.forget(q.node).is_some());
    assert!(matches!(tree.stat(q), Err(Errno::STALE)));
    assert!(matches!(tree.node(q.node), Err(Errno::STALE)));
    assert_eq!(tree.walk(q, b"x"), Err(Errno::STALE));
    assert_eq!(tree.remove(q), Err(Errno::STALE));
    assert!(matches!(tree.list(q), Err(Errno::STALE)));
    assert_eq!(tree.make(q, b"x", attr(), queue()), Err(Errno::STALE));
    assert_eq!(tree.walk(DIR, b"q").unwrap().0, another);
}

#[test]
fn only_an_empty_directory_is_removed_and_nothing_is_made_in_a_removed_one() {
    let mut tree = tree();
    let d = make(&mut tree, DIR, "d", directory());
    let q = make(&mut tree, d, "q", queue());
    assert_eq!(tree.remove(d), Err(Errno::NOTEMPTY));
    tree.remove(q).unwrap();
    tree.remove(d).unwrap();
    assert_eq!(tree.make(d, b"x", attr(), queue()), Err(Errno::NOENT));
}

#[test]
fn a_rename_keeps_the_node_and_gives_it_its_name() {
    let mut tree = tree();
    let (d, q) = (make(&mut tree, DIR, "d", directory()), make(&mut tree, DIR, "q", queue()));
    make(&mut tree, DIR, "other", queue());
    tree.rename(DIR, b"q", d, b"r").unwrap();
    assert_eq!(tree.find("d/r"), Ok(q));
    assert_eq!(tree.path(q.node), "d/r");
    assert_eq!(tree.walk(DIR, b"q"), Err(Errno::NOENT));
    assert_eq!(tree.rename(d, b"r", d, b"r"), Ok(()), "to itself nothing changes");
    assert_eq!(tree.find("d/r"), Ok(q));
    assert_eq!(tree.rename(d, b"r", DIR, b"other"), Err(Errno::EXIST), "what has the name stays");
    assert_eq!(tree.rename(d, b"r", DIR, b"ctl"), Err(Errno::EXIST));
    assert_eq!(tree.rename(d, b"r", DIR, b"a\nb"), Err(Errno::INVAL));
    assert_eq!(tree.rename(d, b"r", DIR, b".."), Err(Errno::INVAL));
    assert_eq!(tree.rename(d, b"r", DIR, &[b'x'; 256]), Err(Errno::NAMETOOLONG));
    assert_eq!(tree.rename(d, b"r:line", DIR, b"x"), Err(Errno::INVAL));
    assert_eq!(tree.rename(d, b"nobody", DIR, b"x"), Err(Errno::NOENT));
    assert_eq!(tree.find("d/r"), Ok(q), "and nothing changed");
}

#[test]
fn a_rename_changes_the_times_of_both_directories() {
    let mut tree = tree();
    let (from, to) = (make(&mut tree, DIR, "from", directory()), make(&mut tree, DIR, "to", directory()));
    make(&mut tree, from, "q", queue());
    let long_ago = SystemTime::UNIX_EPOCH;
    for dir in [from, to] {
        tree.node_mut(dir.node).unwrap().attr.mtime = long_ago;
    }
    tree.rename(from, b"q", to, b"q").unwrap();
    for dir in [from, to] {
        assert!(tree.stat(dir).unwrap().attr.mtime > long_ago);
    }
}

#[test]
fn a_directory_is_not_renamed_into_itself() {
    let mut tree = tree();
    let d = make(&mut tree, DIR, "d", directory());
    let e = make(&mut tree, d, "e", directory());
    let f = make(&mut tree, e, "f", directory());
    assert_eq!(tree.rename(DIR, b"d", d, b"x"), Err(Errno::INVAL));
    assert_eq!(tree.rename(DIR, b"d", f, b"x"), Err(Errno::INVAL));
    assert_eq!(tree.path(f.node), "d/e/f");
    assert_eq!(tree.rename(d, b"e", DIR, b"e"), Ok(()), "upwards it goes");
    assert_eq!(tree.path(f.node), "e/f");
    assert_eq!(tree.rename(DIR, b"d", f, b"d"), Ok(()), "and then the other into it");
    assert_eq!(tree.path(d.node), "e/f/d");
    let p = make(&mut tree, DIR, "p", pair());
    assert_eq!(tree.rename(DIR, b"e", p, b"x"), Err(Errno::PERM), "nothing goes into a pair");
    assert_eq!(tree.rename(p, b"a", DIR, b"x"), Err(Errno::PERM), "and nothing out of it");
}

#[test]
fn at_the_limit_there_is_no_space_until_something_goes() {
    let mut tree = Tree::new(attr(), 2);
    let q = make(&mut tree, DIR, "q", queue());
    make(&mut tree, DIR, "d", directory());
    assert_eq!(tree.make(DIR, b"x", attr(), queue()), Err(Errno::NOSPC));
    assert_eq!(tree.make(DIR, b"q", attr(), queue()), Err(Errno::EXIST), "which says more");
    tree.remove(q).unwrap();
    tree.forget(q.node);
    make(&mut tree, DIR, "x", queue());
    tree.next = Tree::LAST + 1;
    tree.limit = 3;
    assert_eq!(tree.make(DIR, b"y", attr(), queue()), Err(Errno::NOSPC), "numbers are used up");
}

#[test]
fn mode_owner_and_times_are_of_each_file() {
    let mut tree = tree();
    let p = make(&mut tree, DIR, "p", pair());
    let (a, b) = (File { part: Part::A, ..p }, File { part: Part::B, ..p });
    tree.node_mut(p.node).unwrap().attr_mut(a).unwrap().mode = 0o666;
    let mode = |file| tree.stat(file).unwrap().attr.mode;
    assert_eq!((mode(p), mode(a), mode(b)), (0o640, 0o666, 0o600));
    assert_eq!(mode(File { part: Part::Ctl, ..p }), 0o600);
    assert_eq!(mode(File { part: Part::Status, ..p }), 0o444);
    assert_eq!(tree.stat(File { part: Part::Ctl, ..p }).unwrap().attr.uid, 7);
}

#[test]
fn a_path_finds_what_it_names_and_views_are_not_part_of_paths() {
    let mut tree = tree();
    let d = make(&mut tree, DIR, "d", directory());
    let q = make(&mut tree, d, "q", queue());
    for path in ["d/q", "/d/q", "d//q", "d/q/"] {
        assert_eq!(tree.find(path), Ok(q), "{path}");
    }
    assert_eq!(tree.find(""), Ok(DIR));
    assert_eq!(tree.find("d/q:line"), Err(Errno::NOENT));
    assert_eq!(tree.find("d/q/x"), Err(Errno::NOTDIR));
    assert_eq!(tree.find("d/../d/q"), Err(Errno::NOENT));
}

#[test]
fn channels_are_found_at_every_depth_in_the_order_of_their_names() {
    let mut tree = tree();
    let d = make(&mut tree, DIR, "d", directory());
    let e = make(&mut tree, d, "e", directory());
    for (dir, name) in [(e, "2"), (DIR, "z"), (d, "f"), (DIR, "a"), (e, "1"), (d, "a")] {
        make(&mut tree, dir, name, queue());
    }
    make(&mut tree, d, "p", pair());
    let removed = make(&mut tree, d, "gone", queue());
    tree.remove(removed).unwrap();
    let paths: Vec<String> = tree.channels().into_iter().map(|(path, ..)| path).collect();
    assert_eq!(paths, ["a", "d/a", "d/e/1", "d/e/2", "d/f", "d/p", "z"]);
    for (path, id, ..) in tree.channels() {
        assert_eq!((tree.find(&path), tree.path(id)), (Ok(File::of(id)), path));
    }
}

#[test]
fn ten_thousand_directories_in_one_another_fit_on_the_stack_of_a_thread() {
    const LEVELS: usize = 10_000;
    let on_a_small_stack = || {
        let mut tree = tree();
        let last = nested(&mut tree, LEVELS);
        let q = make(&mut tree, last, "q", queue());
        let path = "d/".repeat(LEVELS) + "q";
        assert_eq!(tree.path(q.node), path);
        let channels = tree.channels();
        assert_eq!((channels.len(), &channels[0].0), (1, &path));
        drop(channels);
        assert_eq!(tree.find(&path), Ok(q));
        assert_eq!(tree.rename(DIR, b"d", last, b"x"), Err(Errno::INVAL));
    };
    std::thread::Builder::new().stack_size(256 * 1024).spawn(on_a_small_stack).unwrap().join().unwrap();
}
