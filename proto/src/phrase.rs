//! The words of 9P2000's Rerror for an error number, and back.
//!
//! Where Plan 9 has a phrase of its own, its programs look for that one and the tables of Linux (`net/9p/error.c`) and plan9port
//! (`9pfuse`) know it; for the rest it is what strerror(3) says.

const EIO: u32 = 5;

/// Error numbers of Linux and their phrases, the one we send first.
const PHRASES: &[(u32, &str)] = &[
    (1, "Operation not permitted"),
    (2, "file does not exist"),
    (4, "interrupted"),
    (EIO, "i/o error"),
    (13, "permission denied"),
];

/// The phrase for an error number of Linux.
pub fn of(errno: u32) -> &'static str {
    PHRASES.iter().find(|(number, _)| *number == errno).map_or("unknown error", |(_, phrase)| phrase)
}

/// The error number of a phrase; EIO for one that nobody knows.
pub fn errno(phrase: &str) -> u32 {
    PHRASES.iter().find(|(_, known)| *known == phrase).map_or(EIO, |(number, _)| *number)
}
