//! `fs9 graph`: a picture of a mount in use.
#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::fs;

use fs9_tests::Mount;
use fs9_tests::file::Fd;
use fs9_tests::process::Running;
use roxmltree::Document;
use rustix::io::Errno;

/// The arrows of a picture in Graphviz's language, in the order of the alphabet.
fn arrows(dot: &str) -> Vec<&str> {
    let mut arrows: Vec<_> = dot.lines().map(str::trim).filter(|line| line.contains(" -> ")).collect();
    arrows.sort_unstable();
    arrows
}

#[test]
fn the_graph_is_who_has_what_open() {
    let mount = Mount::new();
    mount.run("mkdir p/d; touch 'p/d/my \"jobs\"' p/idle; fs9 new --pair p/talk");
    let script =
        "use strict; open(my $f, '<', 'p/d/my \"jobs\"') or die; open(my $g, '+<', 'p/talk/b') or die; <STDIN>";
    let perl = Running::piped(&mut mount.command("perl", &["-e", script]));
    mount.wait_channel("talk", "perl has its end", |talk| talk["holders"][0]["end"] == "b");
    let _writers = [0, 1].map(|_| Fd::writer(mount.path("d/my \"jobs\"")));
    let talk = Fd::both(mount.path("talk/a"));
    let waiting = talk.reading(10);
    mount.wait_channel("talk", "it waits", |talk| talk["lanes"][1]["readers"] == 1);
    let (own, perls) = (std::process::id(), perl.id());
    let dot = mount.run("fs9 graph p");
    let uid = rustix::process::geteuid().as_raw();
    let mut expected = [
        format!(r#""process {own} uid {uid}" -> "channel d/my \"jobs\"" [label="×2"];"#),
        format!(r#""channel d/my \"jobs\"" -> "process {perls} uid {uid}" [label=""];"#),
        format!(
            r#""process {own} uid {uid}" -> "channel talk" [label="a waits to read", dir=both, color=red, fontcolor=red];"#
        ),
        format!(r#""channel talk" -> "process {perls} uid {uid}" [label="b", dir=both];"#),
    ];
    expected.sort_unstable();
    assert_eq!(arrows(&dot), expected, "{dot}");
    let own_name = fs::read_to_string("/proc/self/comm").unwrap();
    for said in
        ["\"perl\\npid ", &format!("\"{}\\npid {own}", own_name.trim_end()), "channels: 2; not drawn: 1 that nobody"]
    {
        assert!(dot.contains(said), "no {said}: {dot}");
    }
    assert_eq!(arrows(&mount.run("fs9 graph p/talk")).len(), 2);
    assert!(mount.run("fs9 graph --all p").contains("\"channel idle\""));
    drop(perl);
    assert_eq!(waiting.get(), Err(Errno::CONNRESET));
}

#[test]
fn the_graph_as_svg_is_xml_with_every_name() {
    let mount = Mount::new();
    let long = "<&\"'>".repeat(50);
    let names = [long.as_str(), "größer als 日本", "\u{ffff}"];
    let _holders = names.map(|name| {
        fs::write(mount.path(name), "").unwrap();
        Fd::reader(mount.path(name))
    });
    mount.run("fs9 graph p -o p.svg; fs9 graph p --format svg > again.svg; cmp p.svg again.svg");
    let svg = fs::read_to_string(mount.beside().join("p.svg")).unwrap();
    let document = Document::parse(&svg).unwrap();
    let texts: String = document.descendants().filter(|node| node.is_text()).filter_map(|node| node.text()).collect();
    let texts = texts.replace('\n', "");
    for name in [&long, "größer als 日本", "\\u{ffff}", "processes: 1, channels: 3"] {
        assert!(texts.contains(name), "no {name}: {svg}");
    }
    assert_eq!(document.descendants().filter(|node| node.has_tag_name("path")).count(), 3 + 2);
}

#[test]
fn both_ends_of_a_connection_have_its_number() {
    let mount = Mount::new();
    mount.run("fs9 new --service p/s; fs9 new --topic p/news");
    let script = "use strict; open(my $f, '+<', 'p/s/connect') or die; <STDIN>";
    let perl = Running::piped(&mut mount.command("perl", &["-e", script]));
    mount.wait_channel("s", "perl is connected", |s| s["connections"] == 1);
    let (client, server) = (Fd::both(mount.path("s/connect")), [0, 1].map(|_| Fd::both(mount.path("s/accept"))));
    let requests = server.each_ref().map(|server| server.reading(10));
    mount.wait_channel("s", "they wait for requests", |s| s["lanes"][0]["readers"] == 2);
    let idle = Fd::both(mount.path("s/accept"));
    let waiting = idle.reading(10);
    mount.wait_channel("s", "it waits for a client", |s| {
        s["holders"].as_array().unwrap().iter().any(|holder| holder["waiting"] == "accept")
    });
    let _reader = Fd::reader(mount.path("news"));
    let number = |pid: u32| {
        let service = mount.channel("s");
        let mut holders = service["holders"].as_array().unwrap().iter();
        holders.find(|holder| holder["pid"] == pid && holder["end"] == "connect").unwrap()["connection"].clone()
    };
    let (own, perls) = (std::process::id(), perl.id());
    let (first, second) = (number(perls), number(own));
    let both = match second.as_u64() == first.as_u64().map(|first| first + 1) {
        true => format!("#{first}-{second}"),
        false => format!("#{first} #{second}"),
    };
    let dot = mount.run("fs9 graph p");
    let uid = rustix::process::geteuid().as_raw();
    let red = "color=red, fontcolor=red";
    let mut expected = [
        format!(r#""process {perls} uid {uid}" -> "channel s" [label="connect #{first}", dir=both];"#),
        format!(r#""process {own} uid {uid}" -> "channel s" [label="connect #{second}", dir=both];"#),
        format!(r#""channel s" -> "process {own} uid {uid}" [label="accept {both} waits to read", dir=both, {red}];"#),
        format!(r#""channel s" -> "process {own} uid {uid}" [label="accept waits to accept", dir=both, {red}];"#),
        format!(r#""channel news" -> "process {own} uid {uid}" [label=""];"#),
    ];
    expected.sort_unstable();
    assert_eq!(arrows(&dot), expected, "{dot}");
    drop((client, perl));
    for request in requests {
        // One client hung up, the other was killed.
        assert!(matches!(request.get().as_deref(), Ok([]) | Err(&Errno::CONNRESET)));
    }
    mount.run("fs9 rm p/s");
    assert_eq!(waiting.get().unwrap(), b"");
}

#[test]
fn what_cannot_be_drawn_is_explained() {
    let mount = Mount::new();
    for (script, word) in [
        ("fs9 graph .", "not in an fs9 mount"),
        ("fs9 graph p/absent", "neither a channel nor a directory"),
        ("fs9 graph p -o absent/file", "cannot write absent/file"),
    ] {
        let output = mount.shell(script).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{script}: {said}");
        assert!(said.starts_with("fs9: ") && said.contains(word), "{script}: {said}");
    }
}
