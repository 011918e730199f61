//! Transcripts: what a client says, what is to be done, what it is answered.

use super::*;
use crate::message::Names;

/// A server whose client has `msize` 8192.
fn plain(dialect: Dialect) -> Server<&'static str> {
    let mut server = Server::plain(dialect, 8192, Bytes::from_static(b"hello"), Limits::default());
    assert_eq!(server.poll_transmit(), Some(Bytes::from_static(b"hello")));
    server
}

fn session() -> Server<&'static str> {
    let identity = Identity { id: [7; 16], epoch: 1, linger_ms: 30_000, keep_alive_ms: 45_000, limit: 1_044_480 };
    let mut server = Server::begin(Tag(0), 1 << 20, identity, Limits::default());
    assert_eq!(heard(&mut server), ["0 session received 0"]);
    server
}

/// What a client says, as what is then to be done.
fn says(server: &mut Server<&'static str>, tag: u16, request: Request<'_>) -> String {
    let mut bytes = Vec::new();
    request.emit(server.dialect(), Tag(tag), &mut bytes);
    match server.handle_frame(&bytes) {
        Ok(Step::Done) => "done".into(),
        Ok(Step::Ask { tag, .. }) => format!("ask {tag}"),
        Ok(Step::Cancel(tag)) => format!("cancel {tag}"),
        Ok(Step::Again) => "again".into(),
        Err(violation) => format!("violation: {violation}"),
    }
}

fn reads(server: &mut Server<&'static str>, tag: u16) -> String {
    says(server, tag, Request::Read { fid: Fid(1), offset: 0, count: 100 })
}

fn flushes(server: &mut Server<&'static str>, tag: u16, oldtag: u16) -> String {
    says(server, tag, Request::Flush { oldtag: Tag(oldtag) })
}

fn interrupted(server: &mut Server<&'static str>, tag: u16) {
    server.reply(Tag(tag), &Reply::Error { errno: EINTR, reason: "" });
}

/// What the client is then told, a word for each reply after its tag.
fn heard(server: &mut Server<&'static str>) -> Vec<String> {
    let dialect = server.dialect();
    let mut all = Vec::new();
    while let Some(frame) = server.poll_transmit() {
        all.push(match Reply::parse(dialect, &frame) {
            Ok((tag, Reply::Flush)) => format!("{tag} flush"),
            Ok((tag, Reply::Read { data } | Reply::Recv { data })) => {
                format!("{tag} read {:?}", String::from_utf8_lossy(data))
            }
            Ok((tag, Reply::Error { errno, .. })) => format!("{tag} error {errno}"),
            Ok((tag, Reply::Clunk)) => format!("{tag} clunk"),
            Ok((tag, Reply::Ping)) => format!("{tag} ping"),
            Ok((tag, Reply::Session { received, .. })) => format!("{tag} session received {received}"),
            Ok((tag, other)) => format!("{tag} {other:?}"),
            Err(_) => match Request::parse(dialect, &frame) {
                Ok((_, Request::Ack { received })) => format!("ack {received}"),
                other => format!("{other:?}"),
            },
        });
    }
    all
}

/// Both dialects of standard clients, and our own.
fn each(test: impl Fn(Server<&'static str>)) {
    [plain(Dialect::Old), plain(Dialect::Linux), session()].into_iter().for_each(test);
}

/// Without acknowledgements.
fn answers(server: &mut Server<&'static str>) -> Vec<String> {
    heard(server).into_iter().filter(|said| !said.starts_with("ack")).collect()
}

#[test]
fn a_flush_before_the_answer_cancels_and_the_old_tag_hears_nothing() {
    each(|mut s| {
        assert_eq!(reads(&mut s, 1), "ask 1");
        assert_eq!(flushes(&mut s, 2, 1), "cancel 1");
        assert_eq!(answers(&mut s), [""; 0], "Rflush waits for the end of the old request");
        interrupted(&mut s, 1);
        assert_eq!(answers(&mut s), ["2 flush"]);
        s.deliver(Tag(1), b"late");
        assert_eq!(answers(&mut s), [""; 0], "nothing comes to the old tag any more");
        assert!(s.is_idle());
    });
}

#[test]
fn a_request_that_was_faster_than_its_flush_is_answered_before_it() {
    each(|mut s| {
        reads(&mut s, 1);
        assert_eq!(flushes(&mut s, 2, 1), "cancel 1");
        s.deliver(Tag(1), b"hello");
        interrupted(&mut s, 1);
        assert_eq!(answers(&mut s), ["1 read \"hello\"", "2 flush"]);
    });
}

#[test]
fn a_flush_after_the_answer_is_answered() {
    each(|mut s| {
        reads(&mut s, 1);
        s.deliver(Tag(1), b"hello");
        assert_eq!(flushes(&mut s, 2, 1), "done");
        assert_eq!(answers(&mut s), ["1 read \"hello\"", "2 flush"]);
    });
}

#[test]
fn a_flush_of_nothing_or_of_itself_is_answered() {
    each(|mut s| {
        assert_eq!(flushes(&mut s, 2, 9), "done");
        assert_eq!(flushes(&mut s, 3, 3), "done");
        assert_eq!(answers(&mut s), ["2 flush", "3 flush"]);
        assert!(s.is_idle());
    });
}

#[test]
fn several_flushes_are_answered_in_their_order_and_a_flush_can_be_flushed() {
    each(|mut s| {
        reads(&mut s, 1);
        assert_eq!(flushes(&mut s, 5, 1), "cancel 1");
        assert_eq!(flushes(&mut s, 3, 1), "done");
        assert_eq!(flushes(&mut s, 4, 5), "done", "it waits for what the other waits for");
        interrupted(&mut s, 1);
        assert_eq!(answers(&mut s), ["5 flush", "3 flush", "4 flush"]);
        assert_eq!(reads(&mut s, 5), "ask 5", "the tags are free");
    });
}

#[test]
fn flushes_of_different_requests_do_not_wait_for_each_other() {
    each(|mut s| {
        reads(&mut s, 1);
        reads(&mut s, 2);
        flushes(&mut s, 3, 1);
        flushes(&mut s, 4, 2);
        interrupted(&mut s, 2);
        assert_eq!(answers(&mut s), ["4 flush"]);
        interrupted(&mut s, 1);
        assert_eq!(answers(&mut s), ["3 flush"]);
    });
}

#[test]
fn an_error_that_is_not_of_the_flush_is_told() {
    each(|mut s| {
        reads(&mut s, 1);
        flushes(&mut s, 2, 1);
        s.reply(Tag(1), &Reply::Error { errno: 104, reason: "" });
        let said = answers(&mut s);
        assert!(said.len() == 2 && said[0].starts_with("1 error") && said[1] == "2 flush", "{said:?}");
    });
}

#[test]
fn a_standard_client_that_is_gone_is_told_nothing() {
    let mut s = plain(Dialect::Linux);
    reads(&mut s, 1);
    flushes(&mut s, 2, 1);
    s.disconnect();
    s.abandon();
    s.deliver(Tag(1), b"to nobody");
    interrupted(&mut s, 1);
    assert_eq!(heard(&mut s), [""; 0]);
}

#[test]
fn a_session_tells_after_its_break_what_its_client_has_not_heard() {
    let mut s = session();
    let ask = |s: &mut Server<_>, tag| says(s, tag, Request::Recv { fid: Fid(1), flags: 0, count: 100 });
    assert_eq!(ask(&mut s, 1), "ask 1");
    assert_eq!(ask(&mut s, 2), "ask 2");
    s.deliver(Tag(1), b"one");
    assert_eq!(heard(&mut s), ["ack 2", "1 read \"one\""]);
    s.disconnect();
    assert_eq!(flushes(&mut s, 3, 2), "cancel 2", "as it was about to be read");
    s.deliver(Tag(2), b"two");
    assert_eq!(heard(&mut s), [""; 0]);
    s.resume(Tag(9), 0).unwrap();
    assert_eq!(heard(&mut s), ["9 session received 3", "1 read \"one\"", "2 read \"two\"", "3 flush"]);
    s.resume(Tag(9), 2).unwrap();
    assert_eq!(heard(&mut s), ["9 session received 3", "3 flush"]);
    assert!(s.resume(Tag(9), 1).is_err(), "it has had two");
}

#[test]
fn the_read_that_goes_on_with_a_message_is_answered_with_nothing_once() {
    let read = |s: &mut Server<_>, tag, offset, count| says(s, tag, Request::Read { fid: Fid(1), offset, count });
    for dialect in [Dialect::Old, Dialect::Linux] {
        let mut s = plain(dialect);
        assert_eq!(read(&mut s, 1, 0, 4096), "ask 1");
        s.deliver(Tag(1), b"hello");
        assert_eq!(read(&mut s, 2, 5, 4091), "done");
        assert_eq!(heard(&mut s), ["1 read \"hello\"", "2 read \"\""]);
        assert_eq!(read(&mut s, 3, 5, 4091), "ask 3", "once and only once");
        s.deliver(Tag(3), &[b'x'; 4091]);
        assert_eq!(read(&mut s, 4, 4096, 0), "ask 4", "a full buffer is not gone on with");
        s.deliver(Tag(4), b"");
        assert_eq!(read(&mut s, 5, 4096, 10), "ask 5");
        s.deliver(Tag(5), b"abc");
        assert_eq!(read(&mut s, 6, 4099, 8), "ask 6", "another length is another read");
        s.deliver(Tag(6), b"d");
        s.bind(Fid(1), "opened anew");
        assert_eq!(read(&mut s, 7, 4100, 7), "ask 7");
    }
}

#[test]
fn what_breaks_the_protocol_ends_the_connection_and_what_does_not_is_answered() {
    let mut s = plain(Dialect::Linux);
    reads(&mut s, 1);
    assert_eq!(reads(&mut s, 1), "violation: it asks under tag 1, which is in use");
    assert_eq!(reads(&mut s, NO_TAG.0), "violation: it asks under tag 65535, which is in use");
    assert_eq!(s.handle_frame(&[8, 0, 0, 0, 255, 3, 0, 0]), Ok(Step::Done), "no such message");
    assert_eq!(heard(&mut s), ["3 error 71"]);
    let version = Request::Version { msize: 8192, version: "9P2000.L" };
    assert_eq!(says(&mut s, NO_TAG.0, version), "again");
    let mut s = session();
    assert!(says(&mut s, NO_TAG.0, version).starts_with("violation"));
    assert!(says(&mut s, 1, Request::Session { id: [0; 16], epoch: 0, received: 0 }).starts_with("violation"));
}

#[test]
fn pings_are_answered_and_count_for_nothing() {
    let mut s = session();
    assert_eq!(says(&mut s, 1, Request::Ping), "done");
    assert_eq!(heard(&mut s), ["1 ping"]);
    s.disconnect();
    s.resume(Tag(2), 0).unwrap();
    assert_eq!(heard(&mut s), ["2 session received 0"]);
    assert_eq!(reads(&mut s, 1), "ask 1");
    assert_eq!(says(&mut s, 3, Request::Ping), "done");
    assert_eq!(heard(&mut s), ["ack 1", "3 ping"], "who only waits need not keep what it asked");
}

#[test]
fn what_was_for_one_connection_does_not_go_to_the_next() {
    let mut s = session();
    assert_eq!(says(&mut s, 1, Request::Ping), "done");
    s.resume(Tag(2), 0).unwrap();
    assert_eq!(heard(&mut s), ["2 session received 0"]);
}

#[test]
fn a_client_that_begins_again_has_ended_its_session() {
    let version = Request::Version { msize: 8192, version: "9P2000.L.fs9" };
    let said = says(&mut session(), NO_TAG.0, version);
    assert_eq!(said, format!("violation: {}", Violation::Greeting));
}

#[test]
fn fids_and_requests_are_bounded() {
    let limits = Limits { fids: 2, requests: 2, ..Limits::default() };
    let mut s = Server::plain(Dialect::Linux, 8192, Bytes::new(), limits);
    s.poll_transmit();
    assert_eq!(s.admit(crate::NO_FID), Err(EBADF));
    for fid in [1, 2] {
        s.admit(Fid(fid)).unwrap();
        s.bind(Fid(fid), "file");
    }
    assert_eq!((s.admit(Fid(1)), s.admit(Fid(3))), (Err(EBADF), Err(EMFILE)));
    assert_eq!(s.fid(Fid(3)), Err(EBADF));
    assert_eq!((s.unbind(Fid(1)), s.unbind(Fid(1))), (Ok("file"), Err(EBADF)));
    assert_eq!(s.drain().collect::<Vec<_>>(), [(Fid(2), "file")]);
    let walk = Request::Walk { fid: Fid(1), newfid: Fid(2), names: Names::none() };
    assert_eq!(["1", "2", "3"].map(|tag| says(&mut s, tag.parse().unwrap(), walk)), ["ask 1", "ask 2", "done"]);
    assert_eq!(heard(&mut s), ["3 error 24"]);
}
