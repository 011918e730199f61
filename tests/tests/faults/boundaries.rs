//! A link that is reset after every single frame of some traffic, at its end and within the next one: whoever reads and
//! writes does not notice.

use fs9_tests::{Mount, fs9, stdout};

use crate::wire::{Break, Wire};

/// Everything once: a listing, messages both ways through a queue, a channel made and removed, a talk.
const TRAFFIC: &str = "\
    ls n/far/below
    printf one > n/far/q && cat n/far/q:whole && echo
    printf two > n/far/q && cat far/q:whole && echo
    printf three > far/q && cat n/far/q:whole && echo
    mkdir n/far/new && touch n/far/new/q && ls n/far/new && rm n/far/new/q && rmdir n/far/new
    exec 3<>n/far/t/a:line 4<>far/t/b:line
    echo question >&3; read -r text <&4; echo \"$text\"; echo answer >&4; read -r text <&3; echo \"$text\"";

const SAID: &str = "deep\none\ntwo\nthree\nq\nquestion\nanswer\n";

#[test]
fn a_reset_at_any_frame_is_not_noticed() {
    let far = Mount::with(&["--listen", "tcp://127.0.0.1:0"]);
    far.run("fs9 new p/q; fs9 new --pair p/t; mkdir p/below; fs9 new p/below/deep");
    let listens = far.address().strip_prefix("tcp://").unwrap().parse().unwrap();
    let near = Mount::new();
    let wire = Wire::to(listens);
    let node = near.path("n/far").display().to_string();
    stdout(fs9(&["attach", &node, &format!("tcp://{}", wire.address())]).output().unwrap());
    let traffic = TRAFFIC
        .replace(" far/", &format!(" {}/", far.path("").display()))
        .replace(">far/", &format!(">{}/", far.path("").display()));
    let traffic = format!("cd p; {traffic}");
    assert_eq!(near.run(&traffic), SAID);
    for (bytes, step) in [(0, 1), (5, 7)] {
        for after in (0..).step_by(step) {
            let before = wire.broken();
            wire.break_at(Break { after, bytes, resets: [true, true] });
            assert_eq!(near.run(&traffic), SAID, "reset after {after} frames and {bytes} bytes");
            if wire.take_back() {
                println!("{after} frames, and {bytes} bytes of the next: not noticed");
                assert!(after > 20, "there was hardly any traffic");
                break;
            }
            assert_eq!(wire.broken(), before + 1);
        }
    }
    near.assert_ledgers_balance();
    far.assert_ledgers_balance();
}
