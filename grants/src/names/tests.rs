//! What names cover, as a table, and as rules that hold for all of them.

use proptest::prelude::*;

use super::*;

fn names(text: &str) -> Names {
    Names::new(text.split_whitespace()).unwrap()
}

#[test]
fn a_name_covers_itself_and_what_is_below() {
    for (name, path, covered) in [
        ("jobs", "jobs", true),
        ("jobs", "jobs/today", true),
        ("jobs", "jobs2", false),
        ("jobs", "job", false),
        ("jobs", ".", false),
        ("jobs", "other/jobs", false),
        ("jobs/today", "jobs", false),
        ("jobs/today", "jobs/today/late", true),
        ("worker-*", "worker-", true),
        ("worker-*", "worker-1", true),
        ("worker-*", "worker-1/log", true),
        ("worker-*", "worker", false),
        ("worker-*", "my/worker-1", false),
        ("jobs/*", "jobs/today", true),
        ("jobs/*", "jobs", false),
        ("jobs/w*", "jobs/w/x", true),
        ("jobs/w*", "jobs/x", false),
        ("*", "jobs", true),
        ("*", ".", false),
        (".", ".", true),
        (".", "jobs/today", true),
        (".", ".hidden", true),
        (".*", ".hidden", true),
        (".*", ".", false),
        ("a*b", "a*b", true),
        ("a*b", "axb", false),
    ] {
        assert_eq!(names(name).cover(path), covered, "'{name}' and '{path}'");
    }
}

#[test]
fn other_nodes_trees_go_with_names_of_theirs_only() {
    for (name, path, covered) in [
        (".", "n", false),
        (".", "n/alpha", false),
        ("*", "n/alpha/jobs", false),
        ("n*", "n/alpha", false),
        ("n*", "n", false),
        ("n*", "news", true),
        (".", "news", true),
        ("n", "n", true),
        ("n", "n/alpha/jobs", true),
        ("n/alpha", "n/alpha/jobs", true),
        ("n/alpha", "n/beta", false),
        ("n/*", "n/beta/jobs", true),
        ("n/*", "n", false),
    ] {
        assert_eq!(names(name).cover(path), covered, "'{name}' and '{path}'");
    }
    for (most, less, included) in [
        (".", "n", false),
        (".", "n/alpha", false),
        ("*", "n/*", false),
        ("n*", "n/*", false),
        ("n", "n/*", true),
        ("n/*", "n/alpha", true),
        ("n", "n*", false),
        (".", "n*", true),
    ] {
        assert_eq!(names(most).include(&names(less)), included, "'{most}' and '{less}'");
    }
}

#[test]
fn names_include_what_all_of_them_cover() {
    for (most, less, included) in [
        (".", ".", true),
        (".", "*", true),
        (".", "jobs", true),
        ("*", ".", false),
        ("*", "jobs", true),
        ("*", "w*", true),
        ("jobs", "jobs", true),
        ("jobs", "jobs/today", true),
        ("jobs", "jobs/*", true),
        ("jobs", "jobs*", false),
        ("jobs", "job", false),
        ("jobs", "jobs2", false),
        ("w*", "w*", true),
        ("w*", "wo*", true),
        ("wo*", "w*", false),
        ("w*", "w", true),
        ("w**", "w*", false),
        ("w*", "w**", true),
        ("w**", "w*x", true),
        ("a b c*", "a/x c c1", true),
        ("a b", "a c", false),
    ] {
        assert_eq!(names(most).include(&names(less)), included, "'{most}' and '{less}'");
    }
}

#[test]
fn the_way_to_a_name_is_seen() {
    for (name, path, seen) in [
        ("jobs", ".", true),
        ("jobs", "jobs", true),
        ("jobs", "jobs/today", false),
        ("jobs", "job", false),
        ("a/b/c", "a", true),
        ("a/b/c", "a/b", true),
        ("a/b/c", "a/b/c", true),
        ("a/b/c", "a/c", false),
        ("a/b/w*", "a/b", true),
        ("a/b/w*", "a/b/w", false),
        ("a/b/w*", "a/b/w1", false),
        ("w*", ".", true),
        ("w*", "w1", false),
        (".", "jobs", false),
    ] {
        assert_eq!(names(name).lead_through(path), seen, "'{name}' and '{path}'");
    }
}

#[test]
fn some_are_said_word_for_word() {
    assert!(names("ctl jobs").name("ctl"));
    assert!(!names("ctl jobs").name("ct") && !names(". c*").name("ctl") && !names("talk").name("talk/ctl"));
}

#[test]
fn names_are_paths_sorted_and_distinct() {
    let some = names("b a b");
    assert_eq!(some.iter().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(some.to_string(), "a, b");
    for wrong in ["", "/jobs", "jobs/", "a//b", "..", "a/..", "a/./b", "./a", "a\0"] {
        assert_eq!(Names::new([wrong]), Err(NamesError::Path(wrong.into())), "{wrong:?}");
    }
    assert!(Names::new(["a".repeat(255)]).is_ok());
    assert_eq!(Names::new(["a".repeat(256)]), Err(NamesError::Long(256)));
    assert_eq!(Names::new([] as [&str; 0]), Err(NamesError::Count(0)));
    let many = |count: u32| Names::new((0..count).map(|number| number.to_string()));
    assert!(many(16).is_ok());
    assert_eq!(many(17), Err(NamesError::Count(17)));
}

#[test]
fn names_are_read_only_in_the_form_in_which_they_are_written() {
    let read = |list: &[&str]| {
        let list: Vec<_> = list.iter().map(|&name| String::from(name)).collect();
        postcard::from_bytes::<Names>(&postcard::to_stdvec(&list).unwrap()).is_ok()
    };
    assert!(read(&["a"]) && read(&["a", "b"]));
    assert!(!read(&[]) && !read(&["b", "a"]) && !read(&["a", "a"]) && !read(&["/a"]) && !read(&["a", ""]));
    let many: Vec<_> = (10..=26).map(|number| number.to_string()).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert!(read(&many[..16]) && !read(&many));
    let error = serde_json::from_str::<Names>("1").unwrap_err().to_string();
    assert!(error.contains("expected the names of a grant"), "{error}");
    // It says there are 2^63, and there is one.
    let wide = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, b'a'];
    assert!(postcard::from_bytes::<Names>(&wide).is_err());
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![Just(".".to_owned()), "[nab](/[nab]){0,2}", "[nab]{1,3}(/[nab*]{1,2})?"]
}

fn name() -> impl Strategy<Value = String> {
    (path(), prop_oneof![Just(""), Just("*"), Just("/*"), Just("**")])
        .prop_map(|(path, end)| if path == "." { path } else { path + end })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn what_is_included_covers_nothing_more(most in name(), less in name(), path in path()) {
        let (most, less) = (names(&most), names(&less));
        if most.include(&less) && less.cover(&path) {
            prop_assert!(most.cover(&path));
        }
    }

    #[test]
    fn inclusion_is_reflexive_and_transitive(a in name(), b in name(), c in name()) {
        let (a, b, c) = (names(&a), names(&b), names(&c));
        prop_assert!(a.include(&a));
        prop_assert!(!(a.include(&b) && b.include(&c)) || a.include(&c));
    }
}
