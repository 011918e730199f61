//! Transcripts: what a program asks, what the server says, what the program is told.

use super::*;
use crate::Tag;
use crate::message::{NONBLOCK, Names};

const SECOND: Duration = Duration::from_secs(1);

/// A client, and a server that says what the test says.
struct Talk {
    client: Client<&'static str>,
    now: Instant,
}

impl Talk {
    fn new() -> Talk {
        let now = Instant::now();
        Talk { client: Client::new(Settings::default(), now), now }
    }

    /// With a session, its root attached, and everything acknowledged.
    fn up() -> Talk {
        let mut talk = Talk::new();
        talk.begin(1);
        assert_eq!(talk.sent(), ["0 Tattach"]);
        assert_eq!(talk.says(0, Reply::Attach { qid: crate::Qid::default() }), "up");
        assert_eq!(talk.ack(1), "");
        talk
    }

    /// One that has something to show.
    fn with_credentials(credentials: &[u8]) -> Talk {
        let now = Instant::now();
        let settings = Settings { credentials: credentials.to_vec(), ..Settings::default() };
        Talk { client: Client::new(settings, now), now }
    }

    fn begin(&mut self, id: u8) {
        self.client.handle_connected(self.now);
        assert_eq!(self.sent(), ["- Tversion"]);
        let version = Reply::Version { msize: 1 << 20, version: "9P2000.L.fs9" };
        assert_eq!(self.says(NO_TAG.0, version), "");
        assert_eq!(self.sent(), ["- Tsession"]);
        assert_eq!(self.says(NO_TAG.0, session(id, 0)), "");
    }

    /// The link breaks and comes back, and the server has `received` frames of this session.
    fn resume(&mut self, received: u64) {
        self.client.handle_broken(self.now);
        assert_eq!(self.events(), "down");
        self.client.handle_connected(self.now);
        assert_eq!(self.sent(), ["- Tversion"]);
        assert_eq!(self.says(NO_TAG.0, Reply::Version { msize: 1 << 20, version: "9P2000.L.fs9" }), "");
        assert_eq!(self.sent(), ["- Tsession"]);
        assert_eq!(self.says(NO_TAG.0, session(1, received)), "up again");
    }

    fn wait(&mut self, time: Duration) -> String {
        self.now += time;
        self.client.handle_timeout(self.now);
        self.events()
    }

    fn fid(&mut self) -> Fid {
        self.client.fid().unwrap()
    }

    fn ask(&mut self, token: &'static str, requests: &[Request<'_>]) -> Call {
        self.client.ask(self.now, requests, token).unwrap()
    }

    fn walk(&mut self, token: &'static str, fid: Fid) -> Call {
        let names = Names::new(["jobs"]).unwrap();
        self.ask(token, &[Request::Walk { fid: ROOT, newfid: fid, names }, Request::Getattr { fid, mask: 0 }])
    }

    /// A fid that a walk has made something of.
    fn opened(&mut self) -> Fid {
        let fid = self.fid();
        let names = Names::new(["jobs"]).unwrap();
        self.ask("open", &[Request::Walk { fid: ROOT, newfid: fid, names }]);
        let tag = tag(&self.sent()[0]);
        let qids = crate::message::Qids::new([crate::Qid::default()]).unwrap();
        assert_eq!(self.says(tag, Reply::Walk { qids }), "open: Rwalk qids [(0000000000000000 0)]");
        fid
    }

    fn recv(&mut self, token: &'static str, fid: Fid) -> (Call, u16) {
        let call = self.ask(token, &[Request::Recv { fid, flags: 0, count: 100 }]);
        (call, tag(&self.sent()[0]))
    }

    fn send(&mut self, token: &'static str, fid: Fid) -> Call {
        self.ask(token, &[Request::Send { fid, flags: 0, data: b"hello" }])
    }

    fn cancel(&mut self, call: Call) -> String {
        self.client.cancel(self.now, call);
        self.events()
    }

    /// What goes out: tag and name, without acknowledgements.
    fn sent(&mut self) -> Vec<String> {
        let frames = std::iter::from_fn(|| self.client.poll_transmit());
        let said = frames.map(|frame| {
            let (tag, request) = Request::parse(Dialect::Own, &frame).unwrap();
            let name = request.to_string();
            let name = if let Request::Flush { .. } = request { &name } else { name.split(' ').next().unwrap() };
            if tag == NO_TAG { format!("- {name}") } else { format!("{tag} {name}") }
        });
        said.filter(|said| said != "- Tack").collect()
    }

    /// The server says this, and what it means for whom.
    fn says(&mut self, tag: u16, reply: Reply<'_>) -> String {
        let mut frame = Vec::new();
        reply.emit(Dialect::Own, Tag(tag), &mut frame);
        let answer = match self.client.handle_frame(self.now, &frame) {
            Ok(None) => String::new(),
            Ok(Some(Answer::Replied { token, reply })) => format!("{token}: {reply}"),
            Ok(Some(Answer::Late { fid, reply })) => format!("late at {fid}: {reply}"),
            Err(violation) => format!("violation: {violation}"),
        };
        answer + &self.events()
    }

    fn ack(&mut self, received: u64) -> String {
        let frame = emit(&Request::Ack { received });
        self.client.handle_frame(self.now, &frame).map_or_else(|v| v.to_string(), |_| String::new())
    }

    fn events(&mut self) -> String {
        let events = std::iter::from_fn(|| self.client.poll_event());
        let said = events.map(|event| match event {
            Event::Failed { token, failure } => format!("{token}: {failure:?}"),
            Event::Up { resumed: true, .. } => "up again".into(),
            Event::Up { resumed: false, .. } => "up".into(),
            Event::Down => "down".into(),
            Event::Lost(loss) => format!("lost: {loss:?}"),
            Event::Refused(refusal) => format!("refused: {refusal}"),
        });
        said.collect::<Vec<_>>().join(", ")
    }
}

fn session(id: u8, received: u64) -> Reply<'static> {
    Reply::Session { id: [id; 16], epoch: 5, received, linger_ms: 20_000, keep_alive_ms: 45_000, limit: 1000 }
}

fn tag(said: &str) -> u16 {
    said.split(' ').next().unwrap().parse().unwrap()
}

fn error(errno: u32) -> Reply<'static> {
    Reply::Error { errno, reason: "" }
}

#[test]
fn several_requests_are_one_call_and_their_fid_goes_by_itself() {
    let mut t = Talk::up();
    let fid = t.fid();
    t.walk("stat", fid);
    t.client.release(fid, Release::Clunk);
    assert_eq!(t.sent(), ["1 Twalk", "2 Tgetattr", "3 Tclunk"], "all in one round trip");
    let qids = crate::message::Qids::new([crate::Qid::default()]).unwrap();
    assert_eq!(t.says(1, Reply::Walk { qids }), "");
    assert!(t.says(2, Reply::Getattr { attr: crate::attr::Attr::default() }).starts_with("stat: Rgetattr"));
    assert_eq!(t.client.fids(), 1);
    assert_eq!(t.says(3, Reply::Clunk), "");
    assert_eq!((t.client.fids(), t.client.outstanding()), (0, 0));
    assert_eq!(t.fid(), fid, "free again");
}

#[test]
fn the_first_error_is_the_answer_of_a_call() {
    let mut t = Talk::up();
    let fid = t.fid();
    t.walk("stat", fid);
    t.client.release(fid, Release::Clunk);
    t.sent();
    assert_eq!(t.says(1, Reply::Walk { qids: Default::default() }), "stat: Rerror errno 2 reason ''");
    assert_eq!(t.says(2, error(9)), "", "the rest is answered to nobody");
    assert_eq!(t.says(3, error(9)), "");
    assert_eq!((t.client.fids(), t.client.outstanding()), (0, 0));
}

#[test]
fn a_flush_is_answered_before_the_reply_nothing_was_taken() {
    let mut t = Talk::up();
    let fid = t.opened();
    let (call, tag) = t.recv("read", fid);
    assert_eq!(t.cancel(call), "");
    assert_eq!(t.sent(), [format!("3 Tflush oldtag {tag}")]);
    assert_eq!(t.cancel(call), "", "twice is once");
    assert_eq!(t.sent(), [""; 0]);
    assert_eq!(t.says(3, Reply::Flush), "read: Cancelled");
    assert_eq!(t.client.outstanding(), 0);
    assert_eq!(
        t.says(tag, Reply::Recv { data: b"late" }),
        format!("violation: it answers tag {tag}, which waits for no answer")
    );
}

#[test]
fn a_reply_that_is_faster_than_the_flush_counts() {
    let mut t = Talk::up();
    let fid = t.opened();
    let (call, tag) = t.recv("read", fid);
    t.cancel(call);
    t.sent();
    assert_eq!(t.says(tag, Reply::Recv { data: b"hello" }), "read: Rrecv data 5 bytes");
    assert_eq!(t.client.outstanding(), 2, "the tag is not used again before Rflush");
    assert_eq!(t.says(3, Reply::Flush), "");
    assert_eq!(t.client.outstanding(), 0);
}

#[test]
fn what_is_cancelled_after_it_ended_or_before_it_was_sent_needs_no_flush() {
    let mut t = Talk::up();
    let fid = t.opened();
    let (call, tag) = t.recv("read", fid);
    t.says(tag, Reply::Recv { data: b"" });
    assert_eq!((t.cancel(call), t.sent().len()), (String::new(), 0));
    let call = t.send("write", fid);
    assert_eq!(t.cancel(call), "write: Cancelled");
    assert_eq!((t.sent().len(), t.client.outstanding()), (0, 0));
}

#[test]
fn who_is_interrupted_while_the_link_is_silent_waits_for_patience_and_no_longer() {
    let mut t = Talk::up();
    let fid = t.opened();
    let (read, tag) = t.recv("read", fid);
    let write = t.send("write", fid);
    assert_eq!(t.sent(), ["3 Tsend"]);
    t.cancel(read);
    t.cancel(write);
    t.sent();
    assert_eq!(t.wait(SECOND / 2), "");
    assert_eq!(t.wait(SECOND / 2), "read: Cancelled, write: Unknown");
    assert_eq!(t.says(tag, Reply::Recv { data: b"hello" }), "late at 1: Rrecv data 5 bytes");
    assert_eq!(t.says(3, Reply::Send { count: 5 }), "");
    assert_eq!([t.says(4, Reply::Flush), t.says(5, Reply::Flush)], ["", ""]);
    assert_eq!(t.client.outstanding(), 0);
}

#[test]
fn the_next_receive_waits_for_what_the_one_before_may_have_taken() {
    let mut t = Talk::up();
    let fid = t.opened();
    let (read, tag) = t.recv("read", fid);
    t.cancel(read);
    t.sent();
    assert_eq!(t.wait(SECOND), "read: Cancelled");
    t.ask("again", &[Request::Recv { fid, flags: 0, count: 100 }]);
    t.send("write", fid);
    assert_eq!(t.sent(), ["5 Tsend"], "only a receive says that what came before has arrived");
    assert_eq!(t.says(tag, error(4)), "", "it took nothing");
    assert_eq!(t.sent(), ["4 Trecv"]);
}

#[test]
fn a_flush_during_a_break_goes_when_the_link_is_back() {
    let mut t = Talk::up();
    let fid = t.opened();
    let (read, _) = t.recv("read", fid);
    t.client.handle_broken(t.now);
    assert_eq!(t.events(), "down");
    t.cancel(read);
    assert_eq!(t.wait(SECOND), "read: Cancelled");
    t.client.release(fid, Release::Leave { kind: 0, code: 0 });
    t.client.handle_connected(t.now);
    t.sent();
    t.says(NO_TAG.0, Reply::Version { msize: 1 << 20, version: "9P2000.L.fs9" });
    t.sent();
    assert_eq!(t.says(NO_TAG.0, session(1, 2)), "up again");
    assert_eq!(t.sent(), ["2 Trecv", "3 Tflush oldtag 2", "4 Tleave"], "the server has not even the first");
    assert_eq!([t.says(2, Reply::Recv { data: b"x" }), t.says(3, Reply::Flush), t.says(4, Reply::Leave)], ["", "", ""]);
    assert_eq!((t.client.outstanding(), t.client.fids()), (0, 0));
}

#[test]
fn what_comes_late_is_not_for_who_has_the_number_of_the_fid_next() {
    let mut t = Talk::up();
    let fid = t.opened();
    let (read, tag) = t.recv("read", fid);
    t.cancel(read);
    t.client.release(fid, Release::Clunk);
    t.sent();
    assert_eq!(t.wait(SECOND), "read: Cancelled");
    assert_eq!(t.says(4, Reply::Clunk), "");
    assert_eq!(t.fid(), fid);
    assert_eq!(t.says(tag, Reply::Recv { data: b"x" }), "");
    t.ask("again", &[Request::Recv { fid, flags: 0, count: 100 }]);
    assert_eq!(t.sent(), ["5 Trecv"]);
}

#[test]
fn nobody_notices_a_break() {
    let mut t = Talk::up();
    let fid = t.opened();
    let (_, tag) = t.recv("read", fid);
    t.send("write", fid);
    assert_eq!(t.sent(), ["3 Tsend"]);
    t.resume(3);
    assert_eq!(t.sent(), ["3 Tsend"], "the fourth frame is the one that got lost");
    assert_eq!(t.says(3, Reply::Send { count: 5 }), "write: Rsend count 5");
    assert_eq!(t.says(tag, Reply::Recv { data: b"x" }), "read: Rrecv data 1 bytes");
}

#[test]
fn who_did_not_ask_to_wait_does_not_wait_through_a_silence() {
    let mut t = Talk::up();
    let open = t.opened();
    let (_, receive) = t.recv("read", open);
    let fid = t.fid();
    t.walk("stat", fid);
    t.client.release(fid, Release::Clunk);
    t.ask("try", &[Request::Send { fid: open, flags: NONBLOCK, data: b"x" }]);
    t.ask("text", &[Request::Read { fid: open, offset: 0, count: 10 }]);
    t.sent();
    assert_eq!(t.wait(SECOND), "stat: Unreachable, try: Unknown, text: Unreachable");
    t.client.handle_broken(t.now);
    let fid = t.fid();
    t.walk("stat", fid);
    t.client.release(fid, Release::Clunk);
    assert_eq!(t.wait(SECOND), "down, stat: Unreachable");
    assert_eq!(t.client.fids(), 2, "the far side never heard of the last");
    t.resume_all();
    assert_eq!(t.says(receive, Reply::Recv { data: b"x" }), "read: Rrecv data 1 bytes");
}

impl Talk {
    fn resume_all(&mut self) {
        self.client.handle_connected(self.now);
        self.sent();
        self.says(NO_TAG.0, Reply::Version { msize: 1 << 20, version: "9P2000.L.fs9" });
        self.sent();
        assert_eq!(self.says(NO_TAG.0, session(1, 2)), "up again");
        assert_eq!(self.sent(), ["2 Trecv", "3 Twalk", "4 Tgetattr", "5 Tclunk", "6 Tsend", "7 Tread"]);
    }
}

#[test]
fn a_server_that_was_restarted_does_not_know_the_session() {
    let mut t = Talk::up();
    let fid = t.opened();
    t.recv("read", fid);
    t.send("write", fid);
    t.sent();
    t.client.handle_broken(t.now);
    t.send("too late", fid);
    t.client.handle_connected(t.now);
    t.sent();
    t.says(NO_TAG.0, Reply::Version { msize: 1 << 20, version: "9P2000.L.fs9" });
    t.sent();
    let said = "read: Lost(Restarted), write: Unknown, too late: Unsent(Restarted), lost: Restarted";
    assert_eq!(t.says(NO_TAG.0, error(116)), said);
    assert_eq!(t.sent(), ["- Tsession"], "over the same connection");
    assert_eq!(t.says(NO_TAG.0, session(2, 0)), "", "not before there is a root");
    t.send("write", fid);
    assert_eq!(t.events(), "write: Unsent(Restarted)", "a fid of the lost session");
    t.client.release(fid, Release::Clunk);
    assert_ne!(t.fid(), fid);
}

#[test]
fn a_far_side_is_there_once_it_has_let_us_in() {
    let mut t = Talk::new();
    t.begin(1);
    t.sent();
    t.client.handle_broken(t.now);
    assert_eq!(t.events(), "down");
    t.client.handle_connected(t.now);
    t.sent();
    t.says(NO_TAG.0, Reply::Version { msize: 1 << 20, version: "9P2000.L.fs9" });
    t.sent();
    assert_eq!(t.says(NO_TAG.0, session(1, 0)), "", "it has not heard of the root yet");
    assert_eq!(t.sent(), ["0 Tattach"]);
    assert_eq!(t.says(0, Reply::Attach { qid: crate::Qid::default() }), "up");
}

#[test]
fn a_session_without_a_link_is_given_up_when_the_server_does() {
    let mut t = Talk::up();
    let fid = t.opened();
    t.recv("read", fid);
    t.client.handle_broken(t.now);
    assert_eq!(t.wait(19 * SECOND), "down");
    assert_eq!(t.wait(SECOND), "read: Lost(Lingered), lost: Lingered", "20 s, as the server has said");
    assert_eq!(t.client.poll_timeout(), None);
}

#[test]
fn a_silent_link_is_asked_and_then_given_up() {
    let mut t = Talk::up();
    assert_eq!((t.wait(15 * SECOND), t.sent()), (String::new(), vec!["- Tping".to_owned()]));
    assert_eq!(t.says(NO_TAG.0, Reply::Ping), "");
    assert_eq!((t.wait(15 * SECOND), t.sent()), (String::new(), vec!["- Tping".to_owned()]));
    assert_eq!((t.wait(15 * SECOND), t.sent()), (String::new(), vec!["- Tping".to_owned()]));
    assert_eq!(t.wait(14 * SECOND), "");
    assert_eq!(t.wait(SECOND), "down");
    t.client.handle_connected(t.now);
    assert_eq!(t.wait(10 * SECOND), "down", "nobody greets");
}

#[test]
fn a_server_that_is_less_patient_is_pinged_more_often() {
    let mut t = Talk::new();
    t.client.handle_connected(t.now);
    let version = Dialect::Own.version();
    t.says(NO_TAG.0, Reply::Version { msize: 8192, version });
    t.says(
        NO_TAG.0,
        Reply::Session { id: [1; 16], epoch: 5, received: 0, linger_ms: 0, keep_alive_ms: 9000, limit: 1000 },
    );
    t.sent();
    assert_eq!((t.wait(2 * SECOND), t.sent()), (String::new(), Vec::<String>::new()));
    assert_eq!((t.wait(SECOND), t.sent()), (String::new(), vec!["- Tping".to_owned()]));
    assert_eq!(t.wait(41 * SECOND), "", "we wait as long as we have said");
    assert_eq!(t.wait(SECOND), "down, lost: Lingered");
}

#[test]
fn a_server_that_is_none_of_ours_is_refused() {
    let mut t = Talk::new();
    t.client.handle_connected(t.now);
    let said = t.says(NO_TAG.0, Reply::Version { msize: 8192, version: "9P2000.L" });
    assert_eq!(
        said,
        r#"refused: the other side speaks "9P2000.L" and not 9P2000.L.fs9: it is no fs9, or another version of it"#
    );
    let mut t = Talk::new();
    t.begin(1);
    t.sent();
    let no = Reply::Error { errno: 13, reason: "not for you" };
    assert_eq!(t.says(0, no), "refused: the other side refuses: not for you (error 13), lost: Restarted");
    t.client.handle_broken(t.now);
    assert_eq!(t.events(), "down");
    t.begin(2);
    assert_eq!(t.sent(), ["1 Tattach"], "another session, not one without a root");
}

#[test]
fn who_breaks_the_protocol_is_found() {
    let mut t = Talk::up();
    let fid = t.opened();
    let (_, tag) = t.recv("read", fid);
    let other =
        format!("violation: it answers tag {tag} with the reply to something else, or with more than was asked for");
    assert_eq!(t.says(tag, Reply::Send { count: 1 }), other);
    assert_eq!(t.says(tag, Reply::Recv { data: &[0; 101] }), other);
    assert_eq!(t.says(77, Reply::Flush), "violation: it answers tag 77, which waits for no answer");
    t.send("write", fid);
    let unsent = t.says(3, Reply::Send { count: 5 });
    assert_eq!(unsent, "violation: it answers tag 3, which waits for no answer", "it was never asked");
    assert_eq!(t.ack(9), "it acknowledges 9 frames, and has 1 to 3");
    let mut t = Talk::new();
    t.client.handle_connected(t.now);
    assert!(t.says(NO_TAG.0, session(1, 0)).starts_with("violation"));
}

#[test]
fn who_detaches_is_told_and_tells() {
    let mut t = Talk::up();
    let fid = t.opened();
    t.recv("read", fid);
    t.client.end();
    assert_eq!(t.events(), "read: Lost(Ended), lost: Ended");
    assert_eq!(t.sent(), ["- Tversion"]);
    assert_eq!((t.client.fids(), t.client.outstanding()), (0, 0));
    t.client.handle_broken(t.now);
    assert_eq!(t.client.poll_timeout(), None);
}

#[test]
fn requests_and_fids_are_bounded() {
    let mut t = Talk::up();
    let fid = t.opened();
    let recv = Request::Recv { fid, flags: 0, count: 100 };
    for _ in 0..MAX_REQUESTS {
        t.ask("read", &[recv]);
    }
    assert_eq!(t.client.ask(t.now, &[recv], "one more"), Err("one more"));
    assert!((1..MAX_FIDS).all(|_| t.client.fid().is_some()));
    assert_eq!(t.client.fid(), None);
}

#[test]
fn what_is_to_be_shown_comes_before_the_root() {
    let mut t = Talk::with_credentials(b"a grant");
    t.begin(1);
    let mut sent = t.sent();
    sent.iter_mut().for_each(|frame| *frame = frame.split_off(frame.find('T').unwrap()));
    assert_eq!(sent, ["Tauth", "Twrite", "Tattach"]);
    // They are numbered as they were made, the last one first.
    assert_eq!(t.says(2, Reply::Auth { aqid: crate::Qid::default() }), "");
    assert_eq!(t.says(1, Reply::Write { count: 7 }), "");
    assert_eq!(t.says(0, Reply::Attach { qid: crate::Qid::default() }), "up");

    let mut t = Talk::with_credentials(b"a grant");
    t.begin(1);
    t.sent();
    let refused = t.says(2, Reply::Error { errno: 2, reason: "no authentication is needed" });
    assert!(refused.contains("no authentication is needed"), "{refused}");
}
