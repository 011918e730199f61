//! The words of 9P2000's Rerror for an error number, and back.
//!
//! Programs that want a number again have tables: the Linux kernel of whole phrases (`net/9p/error.c`), plan9port of
//! parts of them (`9pfuse`). So each is what strerror(3) says, which both know, but for the few that Plan 9 says in its
//! own words: its programs look for those.

/// Words that are nobody's, or about something that has no other number.
use crate::errno::EIO;

/// Numbers of Linux, the words that are sent, and others that are understood.
const PHRASES: &[(u32, &str, &[&str])] = &[
    (1, "Operation not permitted", &["wstat prohibited"]),
    (2, "file does not exist", &["No such file or directory", "file not found", "directory entry not found"]),
    (4, "Interrupted system call", &["interrupted"]),
    (EIO, "i/o error", &["Input/output error"]),
    (7, "Argument list too long", &[]),
    (9, "Bad file descriptor", &["unknown fid", "fid unknown or out of range", "bad use of fid"]),
    (11, "Resource temporarily unavailable", &[]),
    (12, "Cannot allocate memory", &[]),
    (13, "permission denied", &["Permission denied", "access permission denied"]),
    (16, "Device or resource busy", &["file in use", "exclusive use file already open"]),
    (17, "file already exists", &["File exists", "file exists"]),
    (18, "Invalid cross-device link", &[]),
    (20, "not a directory", &["Not a directory"]),
    (21, "Is a directory", &["file is a directory"]),
    (22, "Invalid argument", &["illegal mode", "bad arg in system call"]),
    (23, "Too many open files in system", &[]),
    (24, "Too many open files", &[]),
    (27, "File too large", &[]),
    (28, "No space left on device", &["file system is full"]),
    (29, "Illegal seek", &[]),
    (30, "Read-only file system", &["read only file system"]),
    (32, "Broken pipe", &[]),
    (36, "File name too long", &[]),
    (38, "Function not implemented", &[]),
    (39, "Directory not empty", &["directory is not empty"]),
    (61, "No data available", &[]),
    (67, "Link has been severed", &[]),
    (71, "Protocol error", &["protocol botch"]),
    (75, "Value too large for defined data type", &[]),
    (90, "Message too long", &[]),
    (95, "Operation not supported", &[]),
    (104, "Connection reset by peer", &[]),
    (105, "No buffer space available", &[]),
    (107, "Transport endpoint is not connected", &[]),
    (108, "Cannot send after transport endpoint shutdown", &[]),
    (110, "Connection timed out", &[]),
    (111, "Connection refused", &["authentication failed"]),
    (113, "No route to host", &[]),
    (116, "Stale file handle", &[]),
    (126, "Required key not available", &[]),
    (127, "Key has expired", &[]),
    (128, "Key has been revoked", &[]),
    (129, "Key was rejected by service", &[]),
];

/// The words for an error number of Linux.
pub fn of(errno: u32) -> &'static str {
    PHRASES.iter().find(|(number, ..)| *number == errno).map_or("unknown error", |(_, phrase, _)| phrase)
}

/// The error number of such words; EIO for what nobody knows.
pub fn errno(words: &str) -> u32 {
    let known = |(_, phrase, others): &&(u32, &str, &[&str])| *phrase == words || others.contains(&words);
    PHRASES.iter().find(known).map_or(EIO, |(number, ..)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_own_words_and_gets_them_back() {
        for (number, phrase, others) in PHRASES {
            assert_eq!(of(*number), *phrase);
            assert!(others.iter().chain([phrase]).all(|words| errno(words) == *number), "{number}");
        }
        assert!(PHRASES.is_sorted_by_key(|(number, ..)| number));
    }

    #[test]
    fn the_system_says_the_same_but_for_plan_9_s_own_words() {
        let ours = PHRASES.iter().filter(|(number, phrase, _)| {
            let system = std::io::Error::from_raw_os_error(number.cast_signed()).to_string();
            system.strip_suffix(&format!(" (os error {number})")) != Some(phrase)
        });
        let ours: Vec<_> = ours.map(|(_, phrase, _)| *phrase).collect();
        let plan9 = ["file does not exist", "i/o error", "permission denied", "file already exists", "not a directory"];
        assert_eq!(ours, plan9);
    }

    #[test]
    fn words_that_nobody_knows_are_an_error_all_the_same() {
        assert_eq!((errno("venti is full of eels"), errno(""), of(4000)), (EIO, EIO, "unknown error"));
    }
}
