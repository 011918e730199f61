//! `fs9 graph`: who talks to whom, as a picture.

mod dot;
mod layout;
mod picture;
mod svg;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};

use self::picture::Picture;
use super::output::print;
use super::place::Place;
use super::process::command;
use super::report::status_at;
use super::shell::shown;
use super::wait::Wait;

/// Draw who talks to whom: processes, channels, and who has which open
///
/// An arrow goes the way messages go. What somebody waits for is red. Both ends of
/// one connection of a service have the same number.
///     fs9 graph p -o p.svg        a picture, for a browser
///     fs9 graph p | dot -Tpdf     the same for Graphviz
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Graph {
    /// The mount or a directory in it, for every channel; a channel, for that one
    #[arg(default_value = ".")]
    path: PathBuf,
    /// How to draw; without it svg if FILE ends so, else dot
    #[arg(short, long)]
    format: Option<Format>,
    /// Write to FILE, not to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Draw channels that nobody has open as well
    #[arg(short, long)]
    all: bool,
}

/// A language of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Of Graphviz
    Dot,
    /// Of browsers
    Svg,
}

impl Graph {
    pub fn run(self) -> anyhow::Result<()> {
        let place = Place::of(&self.path)?;
        let picture = Picture::new(&status_at(&place, &Wait::new(None)?)?, self.all, command);
        let text = match self.format() {
            Format::Dot => dot::write(&picture),
            Format::Svg => svg::write(&picture)?,
        };
        match &self.output {
            Some(file) => std::fs::write(file, text).with_context(|| format!("cannot write {}", shown(file))),
            None => print(text),
        }
    }

    fn format(&self) -> Format {
        let is_svg = |file: &Path| file.extension().is_some_and(|end| end.eq_ignore_ascii_case("svg"));
        match self.format {
            Some(format) => format,
            None if self.output.as_deref().is_some_and(is_svg) => Format::Svg,
            None => Format::Dot,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_in_the_name_of_the_file() {
        let format = |format, output: Option<&str>| {
            Graph { path: PathBuf::new(), format, output: output.map(Into::into), all: false }.format()
        };
        assert_eq!(format(None, None), Format::Dot);
        assert_eq!(format(None, Some("p.SVG")), Format::Svg);
        assert_eq!(format(None, Some("svg")), Format::Dot);
        assert_eq!(format(Some(Format::Dot), Some("p.svg")), Format::Dot);
    }
}
