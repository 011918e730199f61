//! Bytes as people copy them: RFC 4648's base32 in lower case, without padding. Of each value there is one text.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use serde::de::{self, Deserialize, Deserializer};

/// The text of `bytes`.
pub(crate) fn base32(bytes: &[u8]) -> String {
    BASE32_NOPAD.encode(bytes).to_ascii_lowercase()
}

/// The bytes whose text this is, if it is that of `N` bytes.
pub(crate) fn parse_base32<const N: usize>(text: &str) -> Option<[u8; N]> {
    // First the length, so that a long text costs nothing.
    if text.len() != (N * 8).div_ceil(5) || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).ok()?.try_into().ok()
}

/// Takes what is written as text in formats for people.
pub(crate) fn deserialize<'de, T: FromStr<Err: fmt::Display>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    String::deserialize(from)?.parse().map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_lead_to_each_other() {
        assert_eq!(base32(b"fs9"), "mzzts");
        assert_eq!(parse_base32(&base32(b"fs9")), Some(*b"fs9"));
        assert_eq!(base32(&[0xff; 32]), format!("{}q", "7".repeat(51)));
    }

    #[test]
    fn what_no_value_has_for_a_text_is_refused() {
        for wrong in ["", "mzzt", "mzztsa", "MZZTS", "mzztS", "mzzt1", "mzzt=", "mzzt\u{e4}", "mzz\u{e4}"] {
            assert_eq!(parse_base32::<3>(wrong), None, "{wrong}");
        }
        // The last letter has four bits that belong to no byte.
        assert_eq!(parse_base32::<2>("mzzq"), Some(*b"fs"));
        assert_eq!(parse_base32::<2>("mzzr"), None);
    }
}
