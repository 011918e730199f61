//! What is wrong in a configuration file, and where.

use std::fmt::{self, Display, Formatter};
use std::io;
use std::path::{Path, PathBuf};

/// How many mistakes of one file are told.
const MOST: usize = 100;

/// One mistake, at an offset of the text.
#[derive(Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub at: usize,
    /// The key, and what would be right. One line.
    pub text: String,
}

impl Mistake {
    /// What is no TOML.
    pub fn of_syntax(error: &toml::de::Error) -> Mistake {
        Mistake {
            at: error.span().map_or(0, |span| span.start),
            text: format!("this is not TOML: {}", error.message()),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It says what cannot be.
    #[error(transparent)]
    Mistaken(Mistakes),
}

/// The mistakes of a file. To read: how many, then `FILE:LINE:COLUMN: KEY: ...` in a line each.
#[derive(Debug, thiserror::Error)]
pub struct Mistakes {
    file: PathBuf,
    /// How many there are; of very many only the first are in the list.
    count: usize,
    /// Line and column, from 1, and the text; in the order of the file.
    list: Vec<(usize, usize, String)>,
}

impl Mistakes {
    /// The mistakes of `file`, whose text is `text`.
    pub fn new(file: &Path, text: &str, mut mistakes: Vec<Mistake>) -> Mistakes {
        mistakes.sort_by_key(|mistake| mistake.at);
        // Of brackets that are left open the parser says so for each.
        mistakes.dedup();
        let count = mistakes.len();
        mistakes.truncate(MOST);
        let located = mistakes.into_iter().map(|mistake| {
            let (line, column) = position(text, mistake.at);
            (line, column, mistake.text)
        });
        Mistakes { file: file.to_owned(), count, list: located.collect() }
    }
}

fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let (above, line) = before.rsplit_once('\n').map_or((None, before), |(above, line)| (Some(above), line));
    (above.map_or(0, |above| above.matches('\n').count() + 1) + 1, line.chars().count() + 1)
}

impl Display for Mistakes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match self.count {
            1 => write!(f, "a mistake in {file}")?,
            count => write!(f, "{count} mistakes in {file}")?,
        }
        for (line, column, text) in &self.list {
            write!(f, "\n{file}:{line}:{column}: {text}")?;
        }
        match self.count - self.list.len() {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_and_in_characters() {
        let text = "a\nß = 1\n\nc";
        for (at, place) in [(0, (1, 1)), (1, (1, 2)), (2, (2, 1)), (5, (2, 3)), (9, (3, 1)), (10, (4, 1)), (99, (4, 2))]
        {
            assert_eq!(position(text, at), place, "{at}");
        }
    }

    #[test]
    fn of_very_many_the_first_are_told() {
        let mistakes = (0..MOST + 3).map(|at| Mistake { at, text: "wrong".into() }).collect();
        let said = Mistakes::new(Path::new("f"), "", mistakes).to_string();
        assert!(said.starts_with("103 mistakes in f\nf:1:1: wrong\n"), "{said}");
        assert!(said.ends_with("wrong\nand 3 more"), "{said}");
    }
}
