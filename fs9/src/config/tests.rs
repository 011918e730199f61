//! What files say, and what is said of those that are wrong.

use std::time::Duration;

use super::*;
use crate::spec::Framing;

fn parsed(text: &str) -> Options {
    parse(text, |_| {}).unwrap_or_else(|mistakes| panic!("{}", Mistakes::new(Path::new("f"), text, mistakes)))
}

/// What is said of a file that is wrong: `LINE:COLUMN: KEY: ...`, a line each.
fn said(text: &str) -> String {
    let mistakes = parse(text, |_| {}).expect_err(text);
    let said = Mistakes::new(Path::new("f"), text, mistakes).to_string();
    said.lines().skip(1).map(|line| line.strip_prefix("f:").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

fn names(options: &Options) -> Vec<&str> {
    options.items.iter().map(|item| &*item.path).collect()
}

fn program(text: &str) -> Program {
    match parsed(text).items.remove(0).what {
        What::Channel(Spec::Service(ServiceSpec { program: Some(program), .. })) => program,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_empty_file_says_nothing() {
    for text in ["", "# nothing\n", "[queue]\n[mount]\n[limits]"] {
        let options = parsed(text);
        assert!(options.items.is_empty() && !options.allow_other);
        assert_eq!(options.limits, Limits::default());
    }
}

#[test]
fn how_to_mount() {
    let options = parsed("[mount]\nallow_other = true\nthreads = 4\n[limits]\nmessage = 0x10\nopens = 1_000\n");
    assert_eq!((options.allow_other, options.threads), (true, 4));
    let listen = "listen = [\"unix:/s\", \"tls://[::1]\"]\n";
    let rest = "insecure = true\nlinger = \"5s\"\nstate = \"/s\"\nexport_nodes = true\nkeep_alive = \"9s\"\n";
    let serving = parsed(&format!("[mount]\n{listen}{rest}")).serving;
    let addresses: Vec<String> = serving.listen.iter().map(ToString::to_string).collect();
    assert_eq!((addresses.join(" "), serving.insecure), ("unix:/s tls://[::1]:5640".into(), true));
    let times = (serving.linger, serving.keep_alive);
    assert_eq!((times, serving.export_nodes), ((Duration::from_secs(5), Duration::from_secs(9)), true));
    assert_eq!(serving.state, Some("/s".into()));
    assert_eq!(options.limits, Limits { message: 16, opens: 1000, ..Limits::default() });
}

#[test]
fn the_command_line_has_the_last_word() {
    let text = "[limits]\nchannels = 1\n[queue]\na = {}\nb = {}";
    assert_eq!(said(text), "5:1: queue.b: one too many: limits.channels is 1, and directories count");
    let options = parse(text, |options| options.limits.channels = 2).expect("room for two");
    assert_eq!((names(&options), options.limits.channels), (vec!["a", "b"], 2));
}

#[test]
fn names_of_every_kind() {
    let options = parsed(
        "queue.plain = {}
         [queue.strict]\n ack = true\n mode = \"0660\"\n owner = \"root\"\n group = 7
         [pair.'my talk']
         [topic]\n all = {}\n newest = { latest = true }
         [service.\"svc/calc\"]\n backlog = 0\n hello = true\n refuse = true
         [directory.svc]\n mode = \"1777\"",
    );
    let item = |path: &str, what, mode| Item { path: path.into(), what, mode, uid: None, gid: None };
    let service = ServiceSpec { backlog: 0, refuse: true, hello: true, program: None };
    assert_eq!(
        options.items,
        [
            item("all", What::Channel(Spec::Topic { latest: false }), 0o600),
            item("my talk", What::Channel(Spec::Pair), 0o600),
            item("newest", What::Channel(Spec::Topic { latest: true }), 0o600),
            item("plain", What::Channel(Spec::Queue { ack: false }), 0o600),
            Item { uid: Some(0), gid: Some(7), ..item("strict", What::Channel(Spec::Queue { ack: true }), 0o660) },
            item("svc", What::Directory, 0o1777),
            item("svc/calc", What::Channel(Spec::Service(service)), 0o600),
        ]
    );
}

#[test]
fn programs() {
    assert_eq!(program("[program.bc]\ncommand = ['bc', '-lq']"), {
        Program { command: vec!["bc".into(), "-lq".into()], ..Program::default() }
    });
    let all =
        "[program.wc]\ncommand = ['wc', '']\nframing = 'whole'\ndir = '/a b'\nenv = { B = '', A = 'x=y' }\nmax = 1
               idle = '1m 30s'\ngrace = '250ms'";
    assert_eq!(
        program(all),
        Program {
            command: vec!["wc".into(), String::new()],
            framing: Framing::Whole,
            dir: Some("/a b".into()),
            env: vec![("A".into(), "x=y".into()), ("B".into(), String::new())],
            max: 1,
            idle: Some(Duration::from_secs(90)),
            grace: Duration::from_millis(250),
        }
    );
}

#[test]
fn every_value_has_its_words() {
    let command = "write the program and its arguments, each in quotes, such as [\"bc\", \"-lq\"], not";
    for (line, words) in [
        ("mount.listen = [\"p\"]", {
            "16: mount.listen: \"p\" is no address: write unix:/path, tls://host:port, tcp://host:port, or ssh://host/mount"
        }),
        ("mount.threads = 65", "17: mount.threads: write a whole number from 1 to 64, not 65"),
        ("mount.threads = -1", "17: mount.threads: write a whole number from 1 to 64, not -1"),
        ("mount.threads = 1.5", "17: mount.threads: write a whole number from 1 to 64, not 1.5"),
        ("mount.allow_other = 1", "21: mount.allow_other: write true or false, not 1"),
        ("limits.message = 1044481", "18: limits.message: write a whole number from 1 to 1044480, not 1044481"),
        ("limits.opens = 99999999999999999999", {
            "16: limits.opens: write a whole number, 1 or more, not 99999999999999999999"
        }),
        ("limits.bytes = \"1 GiB\"", "16: limits.bytes: write a whole number, 1 or more, not \"1 GiB\""),
        ("queue.q.mode = 660", {
            "16: queue.q.mode: write three or four octal digits in quotes, such as \"0660\", not 660"
        }),
        ("queue.q.mode = \"rw\"", {
            "16: queue.q.mode: write three or four octal digits in quotes, such as \"0660\", not \"rw\""
        }),
        ("queue.q.mode = '0980'", {
            "16: queue.q.mode: write three or four octal digits in quotes, such as \"0660\", not \"0980\""
        }),
        ("queue.q.owner = 'no such user'", "17: queue.q.owner: there is no user \"no such user\""),
        ("queue.q.group = true", "17: queue.q.group: write the name of a group in quotes, or a number, not true"),
        ("queue.q.group = 4294967295", {
            "17: queue.q.group: write the name of a group in quotes, or a number, not 4294967295"
        }),
        ("queue.q.ack = 1979-05-27", "15: queue.q.ack: write true or false, not 1979-05-27"),
        ("topic.t.latest = []", "18: topic.t.latest: write true or false, not this array"),
        ("service.s.backlog = {}", "21: service.s.backlog: write a whole number, 0 or more, not a table"),
        ("program.p = { command = 'bc -l' }", &*format!("25: program.p.command: {command} \"bc -l\"")),
        ("program.p = { command = [''] }", &*format!("25: program.p.command: {command} this array")),
        ("program.p = { command = [\"a\\u0000\"] }", &*format!("25: program.p.command: {command} this array")),
        ("program.p = {}", "9: program.p.command: it is missing: write command = [\"bc\", \"-lq\"]"),
        ("program.p = { command = ['a'], max = 0 }", { "38: program.p.max: write a whole number, 1 or more, not 0" }),
        ("program.p = { command = ['a'], dir = 'a' }", {
            "38: program.p.dir: write a path that begins with /, in quotes, not \"a\""
        }),
        ("program.p = { command = ['a'], idle = 5 }", {
            "39: program.p.idle: write a time in quotes, such as \"250ms\", \"30s\" or \"5m\", not 5"
        }),
        ("program.p = { command = ['a'], grace = 'soon' }", {
            "40: program.p.grace: write a time in quotes, such as \"250ms\", \"30s\" or \"5m\", not \"soon\""
        }),
        ("program.p = { command = ['a'], framing = 'lines' }", {
            "42: program.p.framing: write one of \"line\", \"whole\", \"frames\", \"peer\", not \"lines\""
        }),
        ("program.p = { command = ['a'], env = { A = 1 } }", {
            "38: program.p.env: write names and texts, such as { TZ = \"UTC\" }, not a table"
        }),
        ("mount = 1", "9: mount: write a table, [mount] with its keys below, not 1"),
        ("queue.q = 'ack'", "11: queue.q: write a table, [queue.q] with its keys below, not \"ack\""),
    ] {
        assert_eq!(said(line), format!("1:{words}"), "{line}");
    }
}

#[test]
fn unknown_keys() {
    for (text, words) in [
        ("[channel.x]", {
            "1:2: channel: there is no such key: the keys here are mount, limits, directory, queue, pair, service, topic, \
             program, node"
        }),
        ("[limits]\nmesage = 1", {
            "2:1: limits.mesage: there is no such key: the keys here are message, channels, opens, bytes"
        }),
        ("[queue.jobs]\n\n  latest = true", {
            "3:3: queue.jobs.latest: there is no such key: the keys here are ack, mode, owner, group"
        }),
        ("[queue.a.b]", {
            "1:10: queue.a.b: there is no such key: the keys here are ack, mode, owner, group; \
             a name that is not just letters, digits, - and _ is written in quotes"
        }),
    ] {
        assert_eq!(said(text), words);
    }
}

#[test]
fn all_mistakes_are_told_in_the_order_of_the_file() {
    let text = "\
[queue.jobs]
mode = 660

[program.bc]
comand = [\"bc\"]
max = 0

[limits]
message = 0
";
    assert_eq!(
        said(text),
        "\
2:8: queue.jobs.mode: write three or four octal digits in quotes, such as \"0660\", not 660
4:10: program.bc.command: it is missing: write command = [\"bc\", \"-lq\"]
5:1: program.bc.comand: there is no such key: the keys here are \
backlog, framing, max, grace, idle, dir, env, command, mode, owner, group
6:7: program.bc.max: write a whole number, 1 or more, not 0
9:11: limits.message: write a whole number from 1 to 1044480, not 0"
    );
}

#[test]
fn what_is_not_toml() {
    assert_eq!(
        said("[queue.jobs]\nack = yes\n"),
        "2:7: this is not TOML: string values must be quoted, expected literal string"
    );
    assert_eq!(said("queue.jobs = [[["), "1:17: this is not TOML: unclosed array, expected `]`");
    assert_eq!(said("[queue.jobs]\n[queue.jobs]\n"), "2:8: this is not TOML: duplicate key");
}

#[test]
fn the_tree_has_its_say() {
    let long = "x".repeat(256);
    let deep = "d/".repeat(2047);
    let own = "the mount has a file of its own there: choose another name";
    let name = "each part between slashes is a name: not empty, . or .., without control characters, and not ending \
                like a view (:line, :whole)";
    for (key, what) in [
        ("queue.ctl", own),
        ("directory.\"status.json\"", own),
        ("queue.\"README/x\"", own),
        ("queue.timer", own),
        ("queue.\"timer/1s\"", own),
        ("queue.\"timer/x\"", own),
        ("queue.\"a/../b\"", name),
        ("queue.\"/a\"", name),
        ("queue.\"a/\"", name),
        ("queue.\"a//b\"", name),
        ("queue.\"\"", name),
        ("queue.\"jobs:line\"", name),
        ("queue.\"jobs:whole/x\"", name),
        ("queue.\"a\\nb\"", name),
        (&*format!("queue.{long}"), "each part has 255 bytes at most, and the whole 4095"),
        (&*format!("queue.\"{deep}xx\""), "each part has 255 bytes at most, and the whole 4095"),
    ] {
        let column = key.find('.').map_or(0, |dot| dot + 3);
        assert_eq!(said(&format!("[{key}]")), format!("1:{column}: {key}: {what}"));
    }
    for (text, words) in [
        ("[queue.x]\n[pair.x]", "2:7: pair.x: queue.x has this name already"),
        ("[pair.x]\n[queue.x]", "2:8: queue.x: pair.x has this name already"),
        ("[queue.\"x/y\"]\n[pair.x]", "1:8: queue.\"x/y\": pair.x is no directory that something could be made in"),
        ("[queue.x]\n[pair.\"x/y/z\"]", "2:7: pair.\"x/y/z\": queue.x is no directory that something could be made in"),
        ("[pair.x]\n[queue.\"x/a\"]", "2:8: queue.\"x/a\": pair.x is no directory that something could be made in"),
        ("[queue.x]\n[queue.\"x:line/y\"]", &format!("2:8: queue.\"x:line/y\": {name}")),
    ] {
        assert_eq!(said(text), words, "{text}");
    }
}

#[test]
fn the_manual_s_example() {
    let manual = include_str!("../../../docs/config.md");
    let example = manual.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let options = parsed(example);
    assert_eq!(
        names(&options),
        ["jobs", "news", "results/bad", "results/good", "shared", "svc/bc", "svc/calc", "talk",]
    );
}

#[test]
fn how_a_node_is_attached() {
    let grant = "fs9grant:AYqI4910CfGV_VLbLTy6XXLKZwm_HZQSG_N0iAG0D29ciojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1yBOXcOqH0XX1aj\
                 VGbDTH7My42KkbTuN6Jd9g9bj8mzlAEEam9icwHU4_6JB6zo_okHBwcHBwcHBwcHBwcHBwcHBwADyo_FbDOqowSU5H2PSpEoL_34\
                 Jkq4LV3WoL6URYHFEjM9k8EGWO0akifWsEfEqOeg-4j8lJ6RSZ9wPMCpt3XBAQ";
    let text = format!(
        "node.alpha = {{ address = 'tls://a.example', accept_new = true, grant = ['{grant}'], linger = '5s' }}"
    );
    let What::Node(how) = parsed(&text).items.remove(0).what else { panic!("a node") };
    assert_eq!((how.accept_new, how.grants.len(), how.linger), (true, 1, Duration::from_secs(5)));
    assert_eq!(how.grants[0].to_string(), grant);
    for (grant, words) in [
        (
            "'fs9grant:A'",
            "49: node.a.grant: write grants, each in quotes, such as [\"fs9grant:...\"], not \"fs9grant:A\"",
        ),
        ("['fs9grant:']", "49: node.a.grant: these are not the bytes of one to four grants, each in its one form"),
    ] {
        let text = format!("node.a = {{ address = 'tls://a.example', grant = {grant} }}");
        assert_eq!(said(&text), format!("1:{words}"));
    }
}
