//! A picture for a browser.

use std::fmt::Write;

use anyhow::anyhow;
use unicode_width::UnicodeWidthStr;

use super::super::columns::wrapped;
use super::layout::{Link, Plan, Point, Route, Size, plan};
use super::picture::{Arrow, Node, Picture, Shape};

/// Columns of a line; a longer name takes several.
const COLUMNS: usize = 40;
/// Of a column and a line of text.
const COLUMN: f64 = 7.3;
const LINE: f64 = 16.0;
/// Around the text of a box, and around all.
const MARGIN: f64 = 10.0;

const HEAD: &str = r##"<style>
text { font: 12px "DejaVu Sans Mono", Menlo, Consolas, monospace; text-anchor: middle; white-space: pre }
.fact { font-size: 11px; fill: #555 }
.process rect { fill: #fff; stroke: #333 }
.channel rect { fill: #e3eefc; stroke: #4a78b5; rx: 10px }
.arrow path { fill: none; stroke: #555; marker-end: url(#head) }
.both path { marker-start: url(#head) }
.waits path { stroke: #c00; marker-end: url(#red) }
.waits.both path { marker-start: url(#red) }
.arrow text { font-size: 11px; fill: #333 }
.waits text { fill: #c00 }
.arrow rect { fill: #fff; fill-opacity: 0.85 }
</style>
<defs>
<marker id="head" viewBox="0 0 10 8" refX="10" refY="4" markerWidth="9" markerHeight="7" orient="auto-start-reverse"><path
d="M0 0L10 4L0 8z" fill="#555"/></marker>
<marker id="red" viewBox="0 0 10 8" refX="10" refY="4" markerWidth="9" markerHeight="7" orient="auto-start-reverse"><path
d="M0 0L10 4L0 8z" fill="#c00"/></marker>
</defs>
"##;

/// The whole of it.
pub fn write(picture: &Picture) -> anyhow::Result<String> {
    let texts: Vec<Text> = picture.nodes.iter().map(Text::new).collect();
    let boxes: Vec<Size> = texts.iter().map(Text::size).collect();
    let plan = plan(&boxes, &links(&picture.arrows)).ok_or_else(|| too_many(picture.arrows.len()))?;
    let Plan { size, boxes: places, routes } = plan;
    let caption = Text { name: Vec::new(), facts: wrapped(&picture.caption(), COLUMNS) };
    let width = size.0.max(caption.size().0) + 2.0 * MARGIN;
    let height = size.1 + caption.size().1 + 2.0 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\">\n{HEAD}<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <g transform=\"translate({MARGIN} {MARGIN})\">\n"
    );
    for (arrow, route) in picture.arrows.iter().zip(&routes) {
        draw_arrow(&mut svg, arrow, route);
    }
    for ((node, text), middle) in picture.nodes.iter().zip(&texts).zip(&places) {
        draw_box(&mut svg, node.shape, text, *middle);
    }
    let below = (width / 2.0 - MARGIN, size.1 + MARGIN + caption.size().1 / 2.0);
    caption.draw(&mut svg, below);
    svg.push_str("</g>\n</svg>\n");
    Ok(svg)
}

fn too_many(arrows: usize) -> anyhow::Error {
    anyhow!("{arrows} arrows are too many to lay out: name one channel, or use --format dot and Graphviz's sfdp")
}

fn links(arrows: &[Arrow]) -> Vec<Link> {
    let label = |text: &str| match text.width() {
        0 => (0.0, 0.0),
        width => (width as f64 * COLUMN + 4.0, LINE),
    };
    arrows.iter().map(|arrow| Link { from: arrow.from, to: arrow.to, label: label(&arrow.label) }).collect()
}

/// What a box says, in lines.
struct Text {
    name: Vec<String>,
    facts: Vec<String>,
}

impl Text {
    fn new(node: &Node) -> Text {
        Text { name: wrapped(&node.name, COLUMNS), facts: wrapped(&node.facts, COLUMNS) }
    }

    fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        let name = self.name.iter().map(|line| ("name", line.as_str()));
        name.chain(self.facts.iter().map(|line| ("fact", line.as_str())))
    }

    fn size(&self) -> Size {
        let columns = self.lines().map(|(_, line)| line.width()).max().unwrap_or(0);
        (columns as f64 * COLUMN + 2.0 * MARGIN, self.lines().count() as f64 * LINE + MARGIN)
    }

    fn draw(&self, svg: &mut String, (x, y): Point) {
        let first = y - self.lines().count() as f64 * LINE / 2.0 + 12.0;
        for (place, (class, line)) in self.lines().enumerate() {
            let y = first + place as f64 * LINE;
            // Writing to a String cannot fail.
            let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escaped(line));
        }
    }
}

fn draw_box(svg: &mut String, shape: Shape, text: &Text, middle: Point) {
    let class = match shape {
        Shape::Process => "process",
        Shape::Channel => "channel",
    };
    let _ = writeln!(svg, "<g class=\"{class}\">");
    draw_rect(svg, middle, text.size());
    text.draw(svg, middle);
    svg.push_str("</g>\n");
}

fn draw_arrow(svg: &mut String, arrow: &Arrow, route: &Route) {
    let both = if arrow.both { " both" } else { "" };
    let waits = if arrow.waits { " waits" } else { "" };
    let _ = writeln!(svg, "<g class=\"arrow{both}{waits}\">\n<path d=\"{}\"/>", curve(&route.points));
    if !arrow.label.is_empty() {
        let (x, y) = route.label;
        draw_rect(svg, route.label, (arrow.label.width() as f64 * COLUMN, LINE - 2.0));
        let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{:.1}\">{}</text>", y + 4.0, escaped(&arrow.label));
    }
    svg.push_str("</g>\n");
}

fn draw_rect(svg: &mut String, (x, y): Point, (width, height): Size) {
    let (left, top) = (x - width / 2.0, y - height / 2.0);
    let _ = writeln!(svg, "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>");
}

/// A line that begins and ends straight and takes every bend in between as a curve.
fn curve(points: &[Point]) -> String {
    let mut path = String::new();
    let [first, bends @ .., last] = points else { return path };
    let _ = write!(path, "M{:.1} {:.1}", first.0, first.1);
    for (place, bend) in bends.iter().enumerate() {
        let next = bends.get(place + 1).unwrap_or(last);
        let middle = ((bend.0 + next.0) / 2.0, (bend.1 + next.1) / 2.0);
        let _ = write!(path, "Q{:.1} {:.1} {:.1} {:.1}", bend.0, bend.1, middle.0, middle.1);
    }
    let _ = write!(path, "L{:.1} {:.1}", last.0, last.1);
    path
}

/// Text as XML has it, without the characters that it cannot hold.
fn escaped(text: &str) -> String {
    let mut xml = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '\u{fffe}' | '\u{ffff}' => xml.extend(c.escape_default()),
            c if c.is_control() => xml.extend(c.escape_default()),
            c => xml.push(c),
        }
    }
    xml
}

#[cfg(test)]
mod tests {
    use roxmltree::Document;

    use super::super::picture::tests::picture;
    use super::*;

    /// The text of every element of a class, line by line.
    fn texts(svg: &str, class: &str) -> Vec<String> {
        let document = Document::parse(svg).expect("XML");
        let of_class = document.descendants().filter(|node| node.attribute("class") == Some(class));
        of_class.filter_map(|node| node.text().map(str::to_owned)).collect()
    }

    #[test]
    fn every_box_and_every_arrow() {
        let channels = r#"{"name":"q","kind":"queue","lanes":[{"sent":7}],"holders":[
            {"pid":12,"uid":3,"access":"w","waiting":"write"},{"pid":13,"access":"rw"}]}"#;
        let svg = write(&picture(channels, false)).expect("small");
        assert_eq!(texts(&svg, "name"), ["q", "program12", "program13"]);
        assert_eq!(texts(&svg, "fact"), ["queue, 7 sent", "pid 12 uid 3", "pid 13 uid 0", "processes: 2, channels: 1"]);
        let document = Document::parse(&svg).expect("XML");
        let classes: Vec<_> = document.descendants().filter_map(|node| node.attribute("class")).collect();
        assert_eq!(classes[..2], ["arrow waits", "arrow both"]);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn a_name_may_hold_anything_and_is_not_cut() {
        let long = "größe ".repeat(60);
        for name in ["<a href=\"x\">&amp;]]>", "a  b", "\u{ffff}\u{fffe}", "\u{7}\u{85}", "日本", &long] {
            let channel = serde_json::json!({ "name": name, "kind": "queue" });
            let svg = write(&picture(&channel.to_string(), true)).expect("small");
            let expected = name.replace('\u{ffff}', "\\u{ffff}").replace('\u{fffe}', "\\u{fffe}");
            let expected = expected.replace('\u{7}', "\\u{7}").replace('\u{85}', "\\u{85}");
            assert_eq!(texts(&svg, "name").concat(), expected);
        }
    }

    #[test]
    fn a_line_through_points() {
        assert_eq!(curve(&[(0.0, 0.0), (10.0, 5.0)]), "M0.0 0.0L10.0 5.0");
        assert_eq!(curve(&[(0.0, 0.0), (10.0, 0.0), (20.0, 10.0)]), "M0.0 0.0Q10.0 0.0 15.0 5.0L20.0 10.0");
        assert_eq!(curve(&[]), "");
    }

    #[test]
    fn too_many_arrows_are_refused() {
        let holder = |pid: usize| format!(r#"{{"pid":{pid},"access":"r"}}"#);
        let holders: Vec<_> = (1..=1000).map(holder).collect();
        let channel = format!(r#"{{"name":"q","kind":"queue","holders":[{}]}}"#, holders.join(","));
        let refused = write(&picture(&channel, false)).expect_err("too many").to_string();
        assert!(refused.starts_with("1000 arrows are too many"), "{refused}");
    }
}
