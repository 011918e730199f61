//! Paths in the text that a person reads: inside a sentence, or inside a command line to copy into a shell.

use std::fmt;
use std::path::Path;

/// A path as a shell word: quoted only when it has to be.
pub struct Word<'a>(pub &'a Path);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string_lossy();
        let plain = |c: char| c.is_alphanumeric() || "/._-+,:@%".contains(c);
        match !text.is_empty() && text.chars().all(plain) {
            true => f.write_str(&text),
            false => write!(f, "'{}'", text.replace('\'', r"'\''")),
        }
    }
}

/// A path in a sentence, which stays one line and moves no cursor whatever the path holds.
pub fn shown(path: &Path) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    path.to_string_lossy().chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_only_when_needed() {
        for (path, word) in [("/p/jobs:line", "/p/jobs:line"), ("/a b", "'/a b'"), ("it's", r"'it'\''s'"), ("", "''")] {
            assert_eq!(Word(Path::new(path)).to_string(), word);
        }
    }

    #[test]
    fn control_characters_are_spelled_out() {
        assert_eq!(shown(Path::new("a\n\u{1b}b \u{e9}'")), "a\\n\\u{1b}b \u{e9}'");
    }
}
