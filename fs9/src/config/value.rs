//! What a value must be, and the words when it is something else.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use fs9_grants::{Chain, ChainError};
use nix::unistd::{Group, User};
use toml::de::{DeInteger, DeValue};

use crate::net::address::{Address, AddressError};
use crate::spec::Framing;

/// A value, or what would be right instead.
pub type Read<T> = Result<T, String>;

/// Characters of a wrong text that a message repeats.
const SHOWN: usize = 40;

/// `true` or `false`.
pub fn boolean(value: &DeValue<'_>) -> Read<bool> {
    value.as_bool().ok_or_else(|| instead("true or false", value))
}

/// A whole number in a range.
pub fn number(range: RangeInclusive<usize>) -> impl Fn(&DeValue<'_>) -> Read<usize> {
    move |value| {
        let number = value.as_integer().and_then(whole).and_then(|number| usize::try_from(number).ok());
        number.filter(|number| range.contains(number)).ok_or_else(|| match (range.start(), range.end()) {
            (from, &usize::MAX) => instead(&format!("a whole number, {from} or more"), value),
            (from, to) => instead(&format!("a whole number from {from} to {to}"), value),
        })
    }
}

fn whole(integer: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// Permissions, as chmod(1) has them in digits.
pub fn mode(value: &DeValue<'_>) -> Read<u32> {
    let digits = value.as_str().filter(|text| matches!(text.len(), 3 | 4) && text.bytes().all(|b| b.is_ascii_digit()));
    let mode = digits.and_then(|digits| u32::from_str_radix(digits, 8).ok());
    mode.ok_or_else(|| instead("three or four octal digits in quotes, such as \"0660\"", value))
}

/// A time such as `250ms`.
pub fn duration(value: &DeValue<'_>) -> Read<Duration> {
    let duration = value.as_str().and_then(|text| humantime::parse_duration(text).ok());
    duration.ok_or_else(|| instead("a time in quotes, such as \"250ms\", \"30s\" or \"5m\"", value))
}

/// A time that is not shorter than `least`.
pub fn lasting(least: Duration) -> impl Fn(&DeValue<'_>) -> Read<Duration> {
    move |value| {
        let right = || instead(&format!("a time of at least {}", humantime::format_duration(least)), value);
        Some(duration(value)?).filter(|time| *time >= least).ok_or_else(right)
    }
}

/// Where another machine is found.
pub fn address(value: &DeValue<'_>) -> Read<Address> {
    let text = text(value).ok_or_else(|| instead("an address in quotes, such as \"unix:/run/alpha\"", value))?;
    text.parse().map_err(|error: AddressError| error.to_string())
}

/// How the bytes of a program are messages.
pub fn framing(value: &DeValue<'_>) -> Read<Framing> {
    let framing = value.as_str().and_then(|text| Framing::WORDS.into_iter().find(|(word, _)| *word == text));
    framing.map(|(_, framing)| framing).ok_or_else(|| {
        let words = Framing::WORDS.map(|(word, _)| format!("{word:?}"));
        instead(&format!("one of {}", words.join(", ")), value)
    })
}

/// The path of a directory. The server has no directory of its own that it could start from.
pub fn directory(value: &DeValue<'_>) -> Read<PathBuf> {
    let path = text(value).filter(|path| path.starts_with('/'));
    path.map(PathBuf::from).ok_or_else(|| instead("a path that begins with /, in quotes", value))
}

/// A program and its arguments.
pub fn command(value: &DeValue<'_>) -> Read<Vec<String>> {
    let words = value.as_array().and_then(|words| words.iter().map(|word| text(word.get_ref())).collect());
    let words = words.filter(|words: &Vec<&str>| words.first().is_some_and(|program| !program.is_empty()));
    let words = words.map(|words| words.into_iter().map(str::to_owned).collect());
    words.ok_or_else(|| instead("the program and its arguments, each in quotes, such as [\"bc\", \"-lq\"]", value))
}

/// Where to listen.
pub fn addresses(value: &DeValue<'_>) -> Read<Vec<Address>> {
    let texts = value.as_array().and_then(|all| all.iter().map(|one| one.get_ref().as_str()).collect());
    let texts: Vec<&str> =
        texts.ok_or_else(|| instead("addresses, each in quotes, such as [\"unix:/run/fs9.sock\"]", value))?;
    texts.into_iter().map(|text| text.parse().map_err(|error: AddressError| error.to_string())).collect()
}

/// What a node shows.
pub fn grants(value: &DeValue<'_>) -> Read<Vec<Chain>> {
    let texts = value.as_array().and_then(|all| all.iter().map(|one| one.get_ref().as_str()).collect());
    let texts: Vec<&str> = texts.ok_or_else(|| instead("grants, each in quotes, such as [\"fs9grant:...\"]", value))?;
    texts.into_iter().map(|text| text.parse().map_err(|error: ChainError| error.to_string())).collect()
}

/// Variables and their values.
pub fn environment(value: &DeValue<'_>) -> Read<Vec<(String, String)>> {
    let is_name = |name: &str| !name.is_empty() && !name.contains(['=', '\0']);
    let pair =
        |(name, value): (&str, &DeValue<'_>)| Some((is_name(name).then(|| name.to_owned())?, text(value)?.to_owned()));
    let table = value.as_table();
    let pairs =
        table.and_then(|table| table.iter().map(|(name, value)| pair((name.get_ref(), value.get_ref()))).collect());
    pairs.ok_or_else(|| instead("names and texts, such as { TZ = \"UTC\" }", value))
}

/// A user, by name or number.
pub fn user(value: &DeValue<'_>) -> Read<u32> {
    id(value, "user", |name| Ok(User::from_name(name)?.map(|user| user.uid.as_raw())))
}

/// A group, by name or number.
pub fn group(value: &DeValue<'_>) -> Read<u32> {
    id(value, "group", |name| Ok(Group::from_name(name)?.map(|group| group.gid.as_raw())))
}

fn id(value: &DeValue<'_>, what: &str, find: impl Fn(&str) -> nix::Result<Option<u32>>) -> Read<u32> {
    let wrong = || instead(&format!("the name of a {what} in quotes, or a number"), value);
    match value {
        DeValue::String(name) => match find(name) {
            Ok(Some(id)) => Ok(id),
            Ok(None) => Err(format!("there is no {what} {}", said(value))),
            Err(error) => Err(format!("the {what} {} cannot be looked up ({error}): write the number", said(value))),
        },
        DeValue::Integer(number) => {
            let id = whole(number).and_then(|id| u32::try_from(id).ok());
            // The last number means "no change" to chown(2).
            id.filter(|id| *id != u32::MAX).ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

/// A text that a path or an argument can hold.
fn text<'d>(value: &'d DeValue<'_>) -> Option<&'d str> {
    value.as_str().filter(|text| !text.contains('\0'))
}

/// The words for a value that should be something else.
pub fn instead(right: &str, value: &DeValue<'_>) -> String {
    format!("write {right}, not {}", said(value))
}

fn said(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.chars().count() > SHOWN => {
            format!("{:?}...", text.chars().take(SHOWN).collect::<String>())
        }
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "this array".into(),
        DeValue::Table(_) => "a table".into(),
    }
}
