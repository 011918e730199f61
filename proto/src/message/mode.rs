//! The mode of a 9P2000 open or create (open(5)), in the words of open(2).

/// Who asks: to read 0, to write 1, both 2, to execute 3.
const ACCESS: u8 = 3;
const OEXEC: u8 = 3;
const OTRUNC: u8 = 0x10;
const ORCLOSE: u8 = 0x40;

/// The bit of [`flags`] for O_TRUNC.
pub const O_TRUNC: u32 = 0o1000;

/// The flags of open(2) for this mode. Executing is reading, and what [`removes`] says is not among the flags. `None`
/// for bits that the manual does not know.
pub const fn flags(mode: u8) -> Option<u32> {
    if mode & !(ACCESS | OTRUNC | ORCLOSE) != 0 {
        return None;
    }
    let access = if mode & ACCESS == OEXEC { 0 } else { mode & ACCESS };
    Some(access as u32 | if mode & OTRUNC != 0 { O_TRUNC } else { 0 })
}

/// Whether the file is to be removed when the fid is clunked.
pub const fn removes(mode: u8) -> bool {
    mode & ORCLOSE != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_of_plan_9_are_flags_of_linux() {
        assert_eq!([0, 1, 2, 3].map(flags), [Some(0), Some(1), Some(2), Some(0)]);
        assert_eq!(flags(0x11), Some(0o1001), "what plan9port opens with");
        assert_eq!((flags(0x41), removes(0x41), removes(0x11)), (Some(1), true, false));
        assert_eq!([0x04, 0x20, 0x80, 0xff].map(flags), [None; 4]);
    }
}
