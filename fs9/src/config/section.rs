//! One table of the file. Keys are taken out of it; what is left at its end is unknown, and a mistake.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::mistake::Mistake;
use super::value::{Read, instead};

/// A table that is being read.
pub struct Section<'d, 'm> {
    /// Its key from the top of the file, as one would write it; empty for the file itself.
    key: String,
    at: usize,
    left: BTreeMap<&'d str, Entry<'d>>,
    known: Vec<&'static str>,
    mistakes: &'m mut Vec<Mistake>,
}

/// A key's place, and its value.
type Entry<'d> = (usize, &'d Spanned<DeValue<'d>>);

impl<'d, 'm> Section<'d, 'm> {
    /// The file as a whole. Mistakes go to `mistakes`.
    pub fn file(table: &'d DeTable<'d>, mistakes: &'m mut Vec<Mistake>) -> Section<'d, 'm> {
        Section::new(String::new(), 0, table, mistakes)
    }

    fn new(key: String, at: usize, table: &'d DeTable<'d>, mistakes: &'m mut Vec<Mistake>) -> Section<'d, 'm> {
        let entry = |(key, value): (&'d Spanned<DeString<'d>>, _)| (&**key.get_ref(), (key.span().start, value));
        Section { key, at, left: table.iter().map(entry).collect(), known: Vec::new(), mistakes }
    }

    /// Its key from the top of the file.
    pub fn key(&self) -> String {
        self.key.clone()
    }

    /// Where it begins.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The value of a key; None without it, or when it is not what it should be.
    pub fn take<T>(&mut self, key: &'static str, read: impl FnOnce(&DeValue<'d>) -> Read<T>) -> Option<T> {
        let (_, value) = self.pick(key)?;
        read(value.get_ref()).map_err(|what| self.mistake(value.span().start, key, &what)).ok()
    }

    /// Puts the value of a key, if there is a lawful one, into `place`.
    pub fn set<T>(&mut self, key: &'static str, place: &mut T, read: impl FnOnce(&DeValue<'d>) -> Read<T>) {
        if let Some(value) = self.take(key, read) {
            *place = value;
        }
    }

    /// The value of a key that must be there, such as `example`.
    pub fn need<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&DeValue<'d>) -> Read<T>,
    ) -> Option<T> {
        if !self.left.contains_key(key) {
            self.mistake(self.at, key, &format!("it is missing: write {key} = {example}"));
        }
        self.take(key, read)
    }

    /// Reads the table of a key to its end.
    pub fn inside(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'d, '_>)) {
        if let Some(entry) = self.pick(key) {
            self.enter(key, entry, read);
        }
    }

    /// Reads the tables of all keys that are left, each to its end.
    pub fn each(&mut self, mut read: impl FnMut(&str, &mut Section<'d, '_>)) {
        for (key, entry) in std::mem::take(&mut self.left) {
            self.enter(key, entry, |section| read(key, section));
        }
    }

    /// Complains of every key that nobody has taken.
    pub fn end(mut self) {
        self.refuse_what_is_left();
    }

    fn pick(&mut self, key: &'static str) -> Option<Entry<'d>> {
        self.known.push(key);
        self.left.remove(key)
    }

    fn enter(&mut self, key: &str, (at, value): Entry<'d>, read: impl FnOnce(&mut Section<'d, '_>)) {
        let Some(table) = value.get_ref().as_table() else {
            let right = format!("a table, [{}] with its keys below", self.path(key));
            return self.mistake(value.span().start, key, &instead(&right, value.get_ref()));
        };
        let mut section = Section::new(self.path(key), at, table, self.mistakes);
        read(&mut section);
        section.refuse_what_is_left();
    }

    fn refuse_what_is_left(&mut self) {
        for (key, (at, value)) in std::mem::take(&mut self.left) {
            let known = match &*self.known {
                [] => "there are no keys here".to_owned(),
                known => format!("the keys here are {}", known.join(", ")),
            };
            // A name with a dot in it that was not quoted.
            let quoted = match value.get_ref().is_table() && !self.key.is_empty() {
                true => "; a name that is not just letters, digits, - and _ is written in quotes",
                false => "",
            };
            self.mistake(at, key, &format!("there is no such key: {known}{quoted}"));
        }
    }

    fn mistake(&mut self, at: usize, key: &str, what: &str) {
        let text = format!("{}: {what}", self.path(key));
        self.mistakes.push(Mistake { at, text });
    }

    /// The path of one of its keys from the top of the file, as one would write it.
    fn path(&self, key: &str) -> String {
        let bare = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        let key = match !key.is_empty() && key.chars().all(bare) {
            true => key.to_owned(),
            false => format!("{key:?}"),
        };
        if self.key.is_empty() { key } else { format!("{}.{key}", self.key) }
    }
}
