//! The layouts of the manuals once more, as lists of fields, and frames made of them with whatever values.

use super::*;
use crate::message::Dialect::{Linux, Old, Own};

/// Who says it, its number, and its fields: a number of bytes, or `s` a string, `e` one that is not empty, `q` a qid,
/// `N` names, `Q` qids, `D` counted data, `R` the rest, `t` a time, `b` a boolean, `A` what setattr changes, `S` a stat
/// with its length twice.
pub const LAYOUTS: &[(Dialect, u8, &str)] = &[
    (Linux, 7, "4"),
    (Linux, 8, "4"),
    (Linux, 9, "4 4 8 8 8 8 8 8 4"),
    (Linux, 12, "4 4"),
    (Linux, 13, "q 4"),
    (Linux, 14, "4 s 4 4 4"),
    (Linux, 15, "q 4"),
    (Linux, 16, "4 s s 4"),
    (Linux, 17, "q"),
    (Linux, 18, "4 s 4 4 4 4"),
    (Linux, 19, "q"),
    (Linux, 20, "4 4 s"),
    (Linux, 21, ""),
    (Linux, 22, "4"),
    (Linux, 23, "s"),
    (Linux, 24, "4 8"),
    (Linux, 25, "8 q 4 4 4 8 8 8 8 8 t t t t 8 8"),
    (Linux, 26, "4 A"),
    (Linux, 27, ""),
    (Linux, 30, "4 4 s"),
    (Linux, 31, "8"),
    (Linux, 32, "4 s 8 4"),
    (Linux, 33, ""),
    (Linux, 40, "4 8 4"),
    (Linux, 41, "D"),
    (Linux, 50, "4 4"),
    (Linux, 51, ""),
    (Linux, 52, "4 1 4 8 8 4 s"),
    (Linux, 53, "1"),
    (Linux, 54, "4 1 8 8 4 s"),
    (Linux, 55, "1 8 8 4 s"),
    (Linux, 70, "4 4 s"),
    (Linux, 71, ""),
    (Linux, 72, "4 s 4 4"),
    (Linux, 73, "q"),
    (Linux, 74, "4 s 4 s"),
    (Linux, 75, ""),
    (Linux, 76, "4 s 4"),
    (Linux, 77, ""),
    (Old, 100, "4 s"),
    (Old, 101, "4 s"),
    (Old, 102, "4 s s"),
    (Linux, 102, "4 s s 4"),
    (Old, 103, "q"),
    (Old, 104, "4 4 s s"),
    (Linux, 104, "4 4 s s 4"),
    (Old, 105, "q"),
    (Old, 107, "e"),
    (Old, 108, "2"),
    (Old, 109, ""),
    (Old, 110, "4 4 N"),
    (Old, 111, "Q"),
    (Old, 112, "4 1"),
    (Old, 113, "q 4"),
    (Old, 114, "4 s 4 1"),
    (Old, 115, "q 4"),
    (Old, 116, "4 8 4"),
    (Old, 117, "D"),
    (Old, 118, "4 8 D"),
    (Old, 119, "4"),
    (Old, 120, "4"),
    (Old, 121, ""),
    (Old, 122, "4"),
    (Old, 123, ""),
    (Old, 124, "4"),
    (Old, 125, "S"),
    (Old, 126, "4 S"),
    (Old, 127, ""),
    (Own, 7, "4 s"),
    (Own, 200, "8 8 8 8"),
    (Own, 201, "8 8 8 8 4 4 4"),
    (Own, 202, "4 4 4"),
    (Own, 203, "q b"),
    (Own, 204, "4 1 R"),
    (Own, 205, "4"),
    (Own, 206, "4 1 4"),
    (Own, 207, "R"),
    (Own, 208, "4 4"),
    (Own, 209, "4"),
    (Own, 210, "4 4"),
    (Own, 211, "4"),
    (Own, 212, "4 1 4"),
    (Own, 213, ""),
    (Own, 214, "8"),
    (Own, 216, ""),
    (Own, 217, ""),
];

/// A frame of this layout, its values taken from `entropy` over and over.
pub fn frame(number: u8, fields: &str, entropy: &[u8]) -> Vec<u8> {
    let mut entropy = entropy.iter().copied().cycle();
    let mut frame = vec![0, 0, 0, 0, number, 0x34, 0x12];
    for field in fields.split_ascii_whitespace() {
        put(field, &mut entropy, &mut frame);
    }
    sized(frame)
}

/// With the size that it has.
pub fn sized(mut frame: Vec<u8>) -> Vec<u8> {
    let size = frame.len() as u32;
    frame[..4].copy_from_slice(&size.to_le_bytes());
    frame
}

fn put(field: &str, entropy: &mut impl Iterator<Item = u8>, frame: &mut Vec<u8>) {
    let mut byte = || entropy.next().unwrap_or(0);
    match field {
        "s" => {
            let text: String =
                (0..byte() % 9).map(|_| char::from_u32(u32::from(byte()) * 97).unwrap_or('\n')).collect();
            frame.extend((text.len() as u16).to_le_bytes());
            frame.extend(text.as_bytes());
        }
        "e" => frame.extend([1, 0, b'a' + byte() % 26]),
        "q" => frame.extend((0..Qid::SIZE).map(|_| byte())),
        "N" | "Q" => {
            let count = byte() % 17;
            frame.extend(u16::from(count).to_le_bytes());
            (0..count).for_each(|_| put(if field == "N" { "s" } else { "q" }, entropy, frame));
        }
        "D" => {
            let count = byte();
            frame.extend(u32::from(count).to_le_bytes());
            frame.extend((0..count).map(|_| byte()));
        }
        "R" => frame.extend((0..byte()).map(|_| byte())),
        "b" => frame.push(byte() % 2),
        "t" => {
            frame.extend((0..8).map(|_| byte()));
            frame.extend((u64::from(byte()) * 3_921_568).to_le_bytes());
        }
        "S" => {
            let mut stat = Vec::new();
            for field in "2 4 q 4 4 4 8 s s s s".split(' ') {
                put(field, entropy, &mut stat);
            }
            frame.extend((stat.len() as u16 + 2).to_le_bytes());
            frame.extend((stat.len() as u16).to_le_bytes());
            frame.extend(stat);
        }
        "A" => setattr(entropy, frame),
        bytes => frame.extend((0..bytes.parse::<u8>().unwrap()).map(|_| byte())),
    }
}

/// Fields without their bit are zero, as we send them, and no time has a SET bit alone.
fn setattr(entropy: &mut impl Iterator<Item = u8>, frame: &mut Vec<u8>) {
    let valid = entropy.next().unwrap_or(0);
    let set = if valid & 0x10 != 0 { valid & 0x90 } else { 0 };
    let valid = u32::from(valid & 0x6f | set) | if valid & 0x20 != 0 && valid & 1 != 0 { 0x100 } else { 0 };
    frame.extend(valid.to_le_bytes());
    for (bit, field) in [(1, "4"), (2, "4"), (4, "4"), (8, "8"), (0x80, "t"), (0x100, "t")] {
        if valid & bit != 0 {
            put(field, entropy, frame);
        } else {
            frame.extend(vec![0; if field == "t" { 16 } else { field.parse().unwrap() }]);
        }
    }
}
