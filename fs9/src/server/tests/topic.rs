//! Every reader gets a copy, and the slowest sets the pace.

use super::*;

fn topic(options: &str) -> Script {
    let mut s = Script::new();
    s.ctl(&format!("new --topic {options} t"));
    s
}

#[test]
fn every_reader_that_is_there_gets_a_copy() {
    let mut s = topic("");
    let w = s.open("t", "w");
    assert_eq!(s.write(w, 1, "to nobody"), ["1 wrote 9"]);
    let (r1, r2) = (s.open("t", "r"), s.open("t", "r"));
    assert_eq!(s.read(r1, 2), NOTHING);
    assert_eq!(s.write(w, 3, "x"), ["2 has \"x\"", "3 wrote 1"]);
    assert_eq!(s.read(r2, 4), ["4 has \"x\""]);
    assert_eq!(s.try_open("t", "rw", 0), Err(Errno::INVAL));
    s.done();
}

#[test]
fn a_writer_waits_for_the_slowest() {
    let mut s = topic("");
    let (w, fast, slow) = (s.open("t", "w"), s.open("t", "r"), s.open("t", "r"));
    assert_eq!(s.write(w, 1, "1"), ["1 wrote 1"]);
    assert_eq!(s.read(fast, 2), ["2 has \"1\""]);
    assert_eq!(s.write(w, 3, "2"), NOTHING);
    assert_eq!(s.write_with(w, 4, "3", NONBLOCKING), ["4 EAGAIN"]);
    assert_eq!(s.poll(w, OUT, Some(70)), 0);
    assert_eq!(s.read(fast, 5), NOTHING);
    assert_eq!(s.read(slow, 6), ["6 has \"1\"", "5 has \"2\"", "3 wrote 1"]);
    assert_eq!(s.write(w, 7, "3"), NOTHING);
    assert_eq!(s.interrupt(7), ["7 EINTR"]);
    assert_eq!(s.write(w, 8, "4"), NOTHING);
    assert_eq!(s.clunk(slow), ["8 wrote 1"], "nobody waits for one that has gone");
    assert_eq!(s.read(fast, 9), ["9 has \"4\"", "70 wake"]);
    s.done();
}

#[test]
fn what_waits_to_be_published_is_also_for_readers_that_come_meanwhile() {
    let mut s = topic("");
    let (w, slow) = (s.open("t", "w"), s.open("t", "r"));
    s.write(w, 1, "1");
    assert_eq!(s.write(w, 2, "2"), NOTHING);
    let late = s.open("t", "r");
    assert_eq!(s.read_some(late, 3, 100, true), ["3 EAGAIN"]);
    assert_eq!(s.read(slow, 4), ["4 has \"1\"", "2 wrote 1"]);
    assert_eq!((s.read(late, 5), s.read(slow, 6)), (vec!["5 has \"2\"".into()], vec!["6 has \"2\"".into()]));
    s.done();
}

#[test]
fn of_the_newest_a_slow_reader_sees_one_and_holds_up_nobody() {
    let mut s = topic("--latest");
    let (w, r) = (s.open("t", "w"), s.open("t", "r"));
    for id in 1..4 {
        assert_eq!(s.write(w, id, &id.to_string()), [format!("{id} wrote 1")]);
    }
    assert_eq!(s.poll(w, OUT, None), OUT);
    assert_eq!(s.read(r, 4), ["4 has \"3\""]);
    assert_eq!(s.read(r, 5), NOTHING);
    let status = s.server.status(Caller::default());
    let topic = status.channels.iter().find(|channel| channel.name == "t").unwrap();
    assert_eq!(
        (topic.holders.iter().map(|holder| holder.missed).sum::<u64>(), topic.lanes[1].dropped["missed"]),
        (2, 2)
    );
    assert_eq!(s.interrupt(5), ["5 EINTR"]);
    s.done();
}

#[test]
fn views_work_on_a_topic() {
    let mut s = topic("");
    let (w, r) = (s.open("t:line", "w"), s.open("t:line", "r"));
    assert_eq!(s.write(w, 1, "a\nb\nc"), NOTHING, "the second line waits");
    assert_eq!(s.read(r, 2), ["2 has \"a\\n\"", "1 wrote 5"]);
    assert_eq!(s.read(r, 3), ["3 has \"b\\n\""]);
    s.clunk(w);
    assert_eq!(s.read(r, 4), ["4 has \"c\\n\""]);
    s.done();
}

#[test]
fn removed_readers_take_what_is_there_and_writers_are_broken() {
    let mut s = topic("");
    let (w, r) = (s.open("t", "w"), s.open("t", "r"));
    s.write(w, 1, "1");
    assert_eq!(s.write(w, 2, "2"), NOTHING);
    assert_eq!(s.ctl("rm t"), ["2 EPIPE", "wrote 4"]);
    assert_eq!(s.read(r, 3), ["3 has \"1\""]);
    assert_eq!(s.read(r, 4), ["4 at end"]);
    s.done();
}

#[test]
fn what_was_left_at_close_in_a_topic_that_is_removed_is_reported() {
    let mut s = topic("");
    let (r, w, events) = (s.open("t", "r"), s.open("t", "w"), s.open("events", "r"));
    s.write(w, 1, "1");
    let whole = s.open("t:whole", "w");
    assert_eq!(s.write(whole, 2, "left"), ["2 wrote 4"]);
    s.clunk(whole);
    s.ctl("rm t");
    assert_eq!((s.read(r, 3), s.read(r, 4)), (vec!["3 has \"1\"".into()], vec!["4 at end".into()]));
    s.clunk(r);
    s.clunk(w);
    let told =
        (10..).map(|id| s.read_some(events, id, 1000, true).concat()).take_while(|line| !line.ends_with("EAGAIN"));
    let dropped: Vec<String> = told.filter(|line| line.contains("dropped")).collect();
    assert!(dropped.len() == 1 && dropped[0].contains("removed"), "{dropped:?}");
    s.done();
}
