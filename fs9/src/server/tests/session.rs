//! Clients from elsewhere.

use fs9_tiers::error::Reason;
use fs9_tiers::holder::Holder;

use super::*;

impl Script {
    fn admit(&mut self, process: Option<Arc<Holder>>) -> u32 {
        let origin = Origin { node: "tcp://10.0.0.7:99".into(), uid: 5, key: None, process };
        self.server.admit(origin, &mut self.fx).unwrap().0
    }

    fn open_from(&mut self, session: u32, path: &str, tid: u32) -> Handle {
        let (file, view) = self.find(path);
        let caller = Caller { uid: 5, tid, session, ..Caller::default() };
        let opened = self.server.open(file, view, PLAIN, caller, &mut self.fx).unwrap();
        self.open.push(opened.handle);
        opened.handle
    }

    fn events(&mut self, reader: Handle) -> String {
        let said = std::iter::from_fn(|| {
            let line = self.read_some(reader, 1, 1000, true).remove(0);
            line.starts_with("1 has").then(|| line.replace('\\', ""))
        });
        said.collect()
    }
}

#[test]
fn a_holder_elsewhere_is_known_by_its_number_there_and_its_node() {
    let mut s = Script::usual();
    let events = s.open("events", "r");
    let session = s.admit(None);
    let q = s.open_from(session, "q", 4711);
    let status = s.server.status(Caller::default());
    let holder = &status.channels.iter().find(|channel| channel.name == "q").unwrap().holders[0];
    assert_eq!((holder.pid, holder.node.as_deref()), (4711, Some("tcp://10.0.0.7:99")));
    assert_eq!((status.sessions[0].opens, status.sessions[0].uid), (1, 5));
    assert!(status.text().contains("pid 4711 of tcp://10.0.0.7:99 uid 5"), "{}", status.text());
    assert!(
        s.server.status(Caller { uid: 5, ..Caller::default() }).sessions.is_empty(),
        "who else is there is no secret"
    );
    s.server.leave(q, Some(Reason::Unreachable), &mut s.fx);
    s.open.retain(|open| *open != q);
    s.server.dismiss_session(session, "unreachable".into(), &mut s.fx);
    let told = s.events(events);
    for event in [r#""event":"connected""#, r#""pid":4711,"uid":5,"node":"tcp://10.0.0.7:99""#, r#""event":"lost""#] {
        assert!(told.contains(event), "{event}: {told}");
    }
    assert!(told.contains(r#""event":"disconnected""#), "{told}");
    assert!(s.server.sessions.is_empty());
    s.done();
}

#[test]
fn what_an_unreachable_node_held_is_given_back() {
    let mut s = Script::usual();
    let writer = s.open("q", "w");
    s.write(writer, 1, "job");
    let session = s.admit(None);
    let q = s.open_from(session, "q", 4711);
    assert_eq!(s.read(q, 2), ["2 has \"job\""]);
    s.server.leave(q, Some(Reason::Unreachable), &mut s.fx);
    s.open.retain(|open| *open != q);
    s.server.dismiss_session(session, "unreachable".into(), &mut s.fx);
    let other = s.open("q", "r");
    assert_eq!(s.read(other, 3), ["3 has \"job\""]);
    s.done();
}

#[test]
fn a_process_of_this_machine_is_the_holder_of_what_it_opens_through_a_socket() {
    let mut s = Script::usual();
    let ended = Ended::killed();
    let session = s.admit(Some(Arc::new(Holder::of(ended.tid()).unwrap())));
    s.ctl("new --service --hello s");
    let accept = s.open("s/accept", "rw");
    let connect = s.open_from(session, "s/connect", 0);
    let hello = s.read(accept, 1).concat().replace('\\', "");
    assert!(hello.contains(&format!(r#""pid":{}"#, ended.tid())) && hello.contains(r#""node":null"#), "{hello}");
    s.clunk(connect);
    assert_eq!(s.read(accept, 2), ["2 ECONNRESET"]);
    s.server.dismiss_session(session, String::new(), &mut s.fx);
    s.done();
}

#[test]
fn the_hello_of_a_client_elsewhere_says_where() {
    let mut s = Script::usual();
    let session = s.admit(None);
    s.ctl("new --service --hello s");
    let accept = s.open("s/accept", "rw");
    s.open_from(session, "s/connect", 9);
    let hello = s.read(accept, 1).concat().replace('\\', "");
    assert!(hello.contains(r#""pid":9,"uid":5,"gid":0,"node":"tcp://10.0.0.7:99""#), "{hello}");
    s.done();
}

#[test]
fn a_session_that_is_over_opens_nothing() {
    let mut s = Script::usual();
    let session = s.admit(None);
    s.server.dismiss_session(session, String::new(), &mut s.fx);
    let (file, view) = s.find("q");
    let caller = Caller { session, ..Caller::default() };
    assert_eq!(s.server.open(file, view, PLAIN, caller, &mut s.fx), Err(Errno::SHUTDOWN));
    s.done();
}
