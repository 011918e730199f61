//! A picture in the language of Graphviz.

use std::fmt::Write;

use super::picture::{Picture, Shape};

/// The whole of it.
pub fn write(picture: &Picture) -> String {
    let mut text = String::from("digraph fs9 {\n  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n");
    text.push_str("  edge [fontname=\"sans-serif\", fontsize=10];\n");
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  graph [fontname=\"sans-serif\", label=\"{}\"];", picture.caption());
    for node in &picture.nodes {
        let look = match node.shape {
            Shape::Process => "shape=box",
            Shape::Channel => "shape=box, style=\"rounded,filled\", fillcolor=\"#e3eefc\"",
        };
        let label = format!("{}\\n{}", label(&node.name), label(&node.facts));
        let _ = writeln!(text, "  {} [label=\"{label}\", {look}];", id(&node.id));
    }
    for arrow in &picture.arrows {
        let (from, to) = (id(&picture.nodes[arrow.from].id), id(&picture.nodes[arrow.to].id));
        let both = if arrow.both { ", dir=both" } else { "" };
        let waits = if arrow.waits { ", color=red, fontcolor=red" } else { "" };
        let _ = writeln!(text, "  {from} -> {to} [label=\"{}\"{both}{waits}];", label(&arrow.label));
    }
    text.push_str("}\n");
    text
}

/// A quoted name. A backslash would join what follows it, a quote at the end too.
fn id(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// What stands between the quotes of a label, where Graphviz also reads the character references of HTML.
fn label(text: &str) -> String {
    text.replace('&', "&amp;").replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::super::picture::tests::picture;
    use super::*;

    #[test]
    fn every_box_and_every_arrow() {
        let channels = r#"{"name":"q","kind":"queue","lanes":[{"sent":7}],"holders":[
            {"pid":12,"uid":3,"access":"w","waiting":"write"},{"pid":13,"access":"rw"}]}"#;
        assert_eq!(
            write(&picture(channels, false)),
            r##"digraph fs9 {
  rankdir=LR;
  node [fontname="sans-serif"];
  edge [fontname="sans-serif", fontsize=10];
  graph [fontname="sans-serif", label="processes: 2, channels: 1"];
  "channel q" [label="q\nqueue, 7 sent", shape=box, style="rounded,filled", fillcolor="#e3eefc"];
  "process 12 uid 3" [label="program12\npid 12 uid 3", shape=box];
  "process 13 uid 0" [label="program13\npid 13 uid 0", shape=box];
  "process 12 uid 3" -> "channel q" [label="waits to write", color=red, fontcolor=red];
  "process 13 uid 0" -> "channel q" [label="", dir=both];
}
"##
        );
    }

    #[test]
    fn a_name_may_hold_anything() {
        let channels = r#"{"name":"a\"b\\n\\","kind":"queue"},{"name":"&lt;\n","kind":"queue"}"#;
        let text = write(&picture(channels, true));
        assert!(text.contains(r#""channel a\"b\\n\\" [label="a\"b\\n\\\nqueue", "#), "{text}");
        assert!(text.contains(r#""channel &lt;\\n" [label="&amp;lt;\\n\nqueue", "#), "{text}");
    }
}
