//! Clients and servers find each other, in order, and every connection is its own.

use fs9_tiers::error::Reason;
use fs9_tiers::holder::Holder;

use super::*;
use crate::tree::NodeId;

/// With a service `s` made with `options`.
fn service(options: &str) -> Script {
    let mut s = Script::new();
    s.ctl(&format!("new --service {options} s"));
    s
}

#[test]
fn a_connection_is_private_and_duplex() {
    let mut s = service("");
    let (c1, c2) = (s.open("s/connect", "rw"), s.open("s/connect", "rw"));
    assert_eq!(s.write(c1, 1, "one"), ["1 wrote 3"]);
    assert_eq!(s.write(c2, 2, "two"), ["2 wrote 3"]);
    let (a1, a2) = (s.open("s/accept", "rw"), s.open("s/accept", "rw"));
    assert_eq!(s.read(a2, 3), ["3 has \"one\""], "bound at its first read, not at open");
    assert_eq!(s.read(a1, 4), ["4 has \"two\""]);
    assert_eq!(s.write(a1, 5, "to two"), ["5 wrote 6"]);
    assert_eq!(s.read(c1, 6), NOTHING);
    assert_eq!(s.read(c2, 7), ["7 has \"to two\""]);
    assert_eq!(s.clunk(a2), ["6 at end"]);
    assert_eq!(s.write(c1, 8, "more"), ["8 EPIPE"]);
    assert_eq!(s.clunk(c2), NOTHING);
    assert_eq!(s.read(a1, 9), ["9 at end"]);
    s.done();
}

#[test]
fn servers_that_ask_first_stand_in_line() {
    let mut s = service("");
    let (a1, a2, a3) = (s.open("s/accept", "rw"), s.open("s/accept", "rw"), s.open("s/accept", "rw"));
    assert_eq!(s.read(a2, 1), NOTHING);
    assert_eq!(s.write(a1, 2, "hello"), NOTHING, "it greets whoever comes");
    assert_eq!(s.poll(a3, IN, Some(70)), 0);
    let c1 = s.open("s/connect", "rw");
    assert_eq!(s.said(), NOTHING);
    assert_eq!(s.write(c1, 3, "x"), ["1 has \"x\"", "3 wrote 1"]);
    let c2 = s.open("s/connect", "rw");
    assert_eq!(s.said(), ["2 wrote 5"]);
    assert_eq!(s.read(c2, 4), ["4 has \"hello\""]);
    let c3 = s.open("s/connect", "rw");
    assert_eq!(s.said(), NOTHING, "there is nothing to read yet");
    assert_eq!(s.write(c3, 5, "y"), ["5 wrote 1", "70 wake"]);
    assert_eq!(s.poll(a3, IN, None) & IN, IN);
    s.done();
}

#[test]
fn what_is_too_long_for_any_client_waits_for_none() {
    let mut s = service("");
    let (a, reader) = (s.open("s/accept", "rw"), s.open("s/accept", "r"));
    assert_eq!(s.write(a, 1, "more than sixteen"), ["1 EMSGSIZE"]);
    assert_eq!(s.write(reader, 2, "x"), ["2 EBADF"]);
    s.open("s/connect", "rw");
    assert_eq!(s.write(a, 3, "more than sixteen"), ["3 EMSGSIZE"]);
    assert_eq!(s.read_some(reader, 4, 100, true), ["4 EAGAIN"], "it has taken the client");
    s.done();
}

#[test]
fn who_leaves_the_line_gets_no_client() {
    let mut s = service("");
    let (a1, a2) = (s.open("s/accept", "rw"), s.open("s/accept", "rw"));
    assert_eq!(s.read(a1, 1), NOTHING);
    assert_eq!(s.read(a2, 2), NOTHING);
    assert_eq!(s.interrupt(1), ["1 EINTR"]);
    assert_eq!(s.read_some(a1, 3, 100, true), ["3 EAGAIN"]);
    let c = s.open("s/connect", "rw");
    assert_eq!(s.write(c, 4, "x"), ["2 has \"x\"", "4 wrote 1"]);
    assert_eq!(s.read(a1, 5), NOTHING);
    assert_eq!(s.clunk(a1), ["5 EINTR"]);
    s.done();
}

#[test]
fn a_client_that_left_is_served_if_it_has_said_something() {
    let mut s = service("");
    let (silent, c) = (s.open("s/connect", "rw"), s.open("s/connect", "rw"));
    assert_eq!(s.write(c, 1, "and off"), ["1 wrote 7"]);
    s.clunk(silent);
    s.clunk(c);
    let a = s.open("s/accept", "rw");
    assert_eq!(s.read(a, 2), ["2 has \"and off\""]);
    assert_eq!(s.read(a, 3), ["3 at end"]);
    assert_eq!(s.write(a, 4, "x"), ["4 EPIPE"]);
    s.done();
}

#[test]
fn a_killed_client_is_a_lost_one() {
    let mut s = service("");
    let killed = Ended::killed();
    let c = s.try_open("s/connect", "rw", killed.tid()).unwrap();
    s.write(c, 1, "last words");
    s.clunk(c);
    let a = s.open("s/accept", "rw");
    assert_eq!(s.read(a, 2), ["2 has \"last words\""]);
    assert_eq!(s.read(a, 3), ["3 ECONNRESET"]);
    assert_eq!(s.read(a, 4), ["4 at end"]);
    s.done();
}

#[test]
fn the_backlog_has_a_limit_and_a_service_without_servers_may_refuse() {
    let mut s = service("--backlog=1");
    let c = s.open("s/connect", "rw");
    assert_eq!(s.try_open("s/connect", "rw", 0), Err(Errno::AGAIN));
    s.clunk(c);
    s.open("s/connect", "rw");
    s.done();

    let mut s = service("--refuse");
    assert_eq!(s.try_open("s/connect", "rw", 0), Err(Errno::CONNREFUSED));
    let a = s.open("s/accept", "rw");
    s.open("s/connect", "rw");
    s.clunk(a);
    assert_eq!(s.try_open("s/connect", "rw", 0), Err(Errno::CONNREFUSED));
    s.done();
}

#[test]
fn hello_says_who_the_client_is() {
    let mut s = service("--hello");
    let c = s.open("s/connect", "rw");
    s.write(c, 1, "x");
    let a = s.open("s/accept", "rw");
    assert_eq!(s.read(a, 2), [r#"2 has "{\"pid\":0,\"uid\":0,\"gid\":0,\"node\":null,\"key\":null}\n""#]);
    assert_eq!(s.read(a, 3), ["3 has \"x\""]);
    s.done();
}

#[test]
fn hello_is_there_before_the_client_has_said_anything_and_before_a_whole() {
    let mut s = service("--hello");
    let a = s.open("s/accept:whole", "r");
    assert_eq!(s.poll(a, IN, Some(70)), 0);
    let c = s.open("s/connect", "rw");
    assert_eq!((s.said(), s.poll(a, IN, None) & IN), (vec!["70 wake".into()], IN));
    assert!(s.read_some(a, 1, 7, false)[0].starts_with("1 has \"{"), "in pieces, as any message");
    assert!(s.read(a, 2)[0].ends_with("null}\\n\""));
    assert_eq!(s.write(c, 3, "x"), ["3 wrote 1"]);
    assert_eq!((s.read(a, 4), s.read(a, 5)), (vec!["4 has \"x\"".into()], vec!["5 at end".into()]));
    s.done();
}

#[test]
fn removed_it_ends_for_all() {
    let mut s = service("");
    let (c, waiting, unheard) = (s.open("s/connect", "rw"), s.open("s/connect", "rw"), s.open("s/connect", "rw"));
    let a = s.open("s/accept", "rw");
    s.write(c, 1, "x");
    s.write(unheard, 2, "y");
    assert_eq!(s.read(a, 3), ["3 has \"x\""]);
    assert_eq!(s.read(c, 4), NOTHING);
    assert_eq!(s.read(waiting, 5), NOTHING);
    let idle = s.open("s/accept", "rw");
    let mut said = s.ctl("rm s");
    said.sort();
    assert_eq!(said, ["4 at end", "5 at end", "wrote 4"]);
    assert_eq!(s.read(a, 6), ["6 at end"]);
    assert_eq!(s.read(idle, 7), ["7 at end"]);
    assert_eq!(s.write(idle, 8, "z"), ["8 EPIPE"]);
    for handle in [c, waiting, unheard, a, idle] {
        s.clunk(handle);
    }
    nothing_is_left(&s.server);
    assert_eq!(s.store.used(), 0);
}

#[test]
fn removed_it_ends_for_servers_in_line() {
    let mut s = service("");
    let (a1, a2) = (s.open("s/accept", "rw"), s.open("s/accept", "rw"));
    assert_eq!(s.read(a1, 1), NOTHING);
    assert_eq!(s.poll(a2, IN, Some(70)), 0);
    assert_eq!(s.ctl("rm s"), ["1 at end", "wrote 4", "70 wake"]);
    assert_eq!(s.poll(a2, IN, None), PRI | ready::HUP, "neither would wait");
    assert_eq!((s.read(a2, 3), s.write(a2, 4, "x")), (vec!["3 at end".into()], vec!["4 EPIPE".into()]));
    s.done();
}

#[test]
fn hung_up_the_conversations_end_and_others_may_come() {
    let mut s = service("");
    let (c, a) = (s.open("s/connect", "rw"), s.open("s/accept", "rw"));
    s.write(c, 1, "x");
    s.read(a, 2);
    assert_eq!(s.ctl("hangup s"), ["wrote 8"]);
    assert_eq!(s.read(c, 3), ["3 at end"]);
    let (c, a) = (s.open("s/connect", "rw"), s.open("s/accept", "rw"));
    s.write(c, 4, "y");
    assert_eq!(s.read(a, 5), ["5 has \"y\""]);
    s.done();
}

#[test]
fn stopped_everything_that_waits_is_answered() {
    let mut s = service("");
    let (a, other) = (s.open("s/accept", "rw"), s.open("s/accept", "rw"));
    assert_eq!(s.read(other, 2), NOTHING);
    let c = s.open("s/connect", "rw");
    assert_eq!(s.read(a, 1), NOTHING);
    assert_eq!(s.read(c, 3), NOTHING);
    let mut said = s.stop();
    said.sort();
    assert_eq!(said, ["1 ESHUTDOWN", "2 ESHUTDOWN", "3 ESHUTDOWN"]);
}

/// The service that a process was asked for last, of so many.
fn engaged(s: &Script) -> (usize, NodeId) {
    let engaged = s.host.engaged.lock().unwrap();
    (engaged.len(), engaged.last().copied().unwrap_or_default())
}

#[test]
fn a_program_is_started_for_each_connection_up_to_its_limit() {
    let mut s = Script::new();
    assert_eq!(s.ctl("spawn --max=2 --backlog=1 p -- cat"), ["wrote 34"]);
    let clients = [s.open("p/connect", "rw"), s.open("p/connect", "rw"), s.open("p/connect", "rw")];
    let (count, service) = engaged(&s);
    assert_eq!(count, 2);
    assert_eq!(s.try_open("p/connect", "rw", 0), Err(Errno::AGAIN));
    let me = Arc::new(Holder::me().unwrap());
    let ends = [0, 1].map(|_| s.server.accept(service, me.clone(), &mut s.fx).unwrap());
    s.write(clients[1], 1, "x");
    assert_eq!(s.read(ends[1], 2), ["2 has \"x\""]);
    s.server.leave(ends[0], Some(Reason::Killed(9)), &mut s.fx);
    s.server.dismiss(service);
    assert_eq!(s.read(clients[0], 3), ["3 ECONNRESET"]);
    assert_eq!(engaged(&s).0, 3);
    s.server.refuse(service, "no such program".into(), &mut s.fx);
    s.server.dismiss(service);
    assert_eq!(s.read(clients[2], 4), ["4 at end"]);
    s.server.leave(ends[1], Some(Reason::Exited(0)), &mut s.fx);
    s.server.dismiss(service);
    assert_eq!(s.read(clients[1], 5), ["5 at end"]);
    s.done();
}

#[test]
fn status_tells_others_nothing_of_each_other() {
    let mut s = service("");
    s.open("s/connect", "rw");
    let (file, _) = s.find("s");
    let of = |uid| s.server.status_of(file.node, Caller { uid, ..Caller::default() }).unwrap();
    assert!(of(0).contains("s/connect  pid 0 uid 0"), "{}", of(0));
    assert!(!of(7).contains("s/connect"), "{}", of(7));
    assert!(of(7).contains("connections 1"));
    s.done();
}

#[test]
fn what_was_received_for_nobody_is_dropped() {
    let mut s = service("");
    let (c, a) = (s.open("s/connect", "rw"), s.open("s/accept", "rw"));
    s.write(c, 1, "x");
    s.read(a, 2);
    s.server.discard(a, Reason::Exited(0), &mut s.fx);
    s.server.deafen(a, Reason::Exited(0), &mut s.fx);
    assert_eq!(s.write(c, 3, "y"), ["3 EPIPE"]);
    let status = s.server.status(Caller::default());
    assert_eq!(status.channels[0].lanes[0].dropped["exited"], 1);
    s.done();
}
