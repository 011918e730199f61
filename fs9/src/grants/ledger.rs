//! The file of the audit's log: lines are added, and never changed. What cannot be written down is not done.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use fs9_grants::audit::{Record, Trail, TrailError};

/// The longest line: it has a chain of grants, a name and reasons.
const LONGEST: u64 = 64 << 10;

/// See the [module](self).
#[derive(Debug)]
pub struct Ledger {
    file: File,
    trail: Trail,
    /// It could not be written to: nobody is let in any more.
    broken: bool,
}

/// Why a log cannot be continued.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The system says no.
    #[error(transparent)]
    System(#[from] io::Error),
    /// Its last line is none of a log.
    #[error("{0}; move it away, and a new one is begun")]
    Trail(#[from] TrailError),
}

impl Ledger {
    /// Continues the log at `path`, or begins one. A last line without an end was never whole, and is taken away.
    ///
    /// # Errors
    /// See [`LedgerError`].
    pub fn open(path: &Path) -> Result<Ledger, LedgerError> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let (line, end) = tail(&mut file)?;
        file.set_len(end)?;
        let trail = line.map_or(Ok(Trail::default()), |line| Trail::after(&line))?;
        Ok(Ledger { file, trail, broken: false })
    }

    /// When the last thing was written, in seconds since 1970.
    pub fn last(&self) -> u64 {
        self.trail.now(0)
    }

    /// Adds a line.
    ///
    /// # Errors
    /// It could not be written, now or before.
    pub fn write(&mut self, now: u64, record: Record) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("the audit's log could not be written to before"));
        }
        let mut line = self.trail.write(now, record)?;
        line.push('\n');
        // One write, so that of two lines none is in the other.
        let written = match self.file.write(line.as_bytes()) {
            Ok(len) if len == line.len() => Ok(()),
            Ok(_) => Err(io::ErrorKind::WriteZero.into()),
            Err(error) => Err(error),
        };
        self.broken = written.is_err();
        written
    }
}

/// When the last thing was written to the log at `path`, in seconds since 1970: 0 where there is none.
pub fn last(path: &Path) -> u64 {
    let line = File::open(path).and_then(|mut file| tail(&mut file));
    let trail = line.ok().and_then(|(line, _)| Trail::after(&line?).ok());
    trail.unwrap_or_default().now(0)
}

/// The last whole line of a file, and where it ends.
fn tail(file: &mut File) -> io::Result<(Option<String>, u64)> {
    let from = file.metadata()?.len().saturating_sub(2 * LONGEST);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(2 * LONGEST).read_to_end(&mut tail)?;
    let end = tail.iter().rposition(|byte| *byte == b'\n');
    if end.is_none() && from > 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its last line is too long for one of a log"));
    }
    let line = end.and_then(|end| tail[..end].rsplit(|byte| *byte == b'\n').next());
    let line = line.map(|line| String::from_utf8_lossy(line).into_owned());
    Ok((line, from + end.map_or(0, |end| end as u64 + 1)))
}

#[cfg(test)]
mod tests {
    use fs9_grants::audit::Event;

    use super::*;

    fn lines(path: &Path) -> Vec<String> {
        std::fs::read_to_string(path).expect("a log").lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_log_goes_on_where_it_was_left() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("audit.log");
        for now in [1000, 2000, 1500] {
            let mut ledger = Ledger::open(&path).expect("a log");
            ledger.write(now, Record::of(Event::Started)).expect("written");
            ledger.write(now, Record::of(Event::Refused)).expect("written");
        }
        let mut trail = Trail::default();
        let records: Vec<_> = lines(&path).iter().map(|line| trail.read(line).expect("unbroken")).collect();
        assert_eq!(records.iter().map(|record| record.time).collect::<Vec<_>>(), [1000, 1000, 2000, 2000, 2000, 2000]);
        assert_eq!(Ledger::open(&path).expect("a log").last(), 2000);
    }

    #[test]
    fn a_line_that_was_never_whole_is_taken_away() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("audit.log");
        std::fs::write(&path, "{\"sequence\":0,\"ti").expect("a torn line");
        Ledger::open(&path).expect("a log").write(7, Record::of(Event::Started)).expect("written");
        let whole = lines(&path);
        std::fs::write(&path, format!("{}\n{{\"seq", whole[0])).expect("a torn line");
        let mut ledger = Ledger::open(&path).expect("a log");
        assert_eq!(lines(&path), whole);
        ledger.write(8, Record::of(Event::Started)).expect("written");
        let mut trail = Trail::default();
        assert!(lines(&path).iter().all(|line| trail.read(line).is_ok()));
    }

    fn long() -> Record {
        Record { reason: Some("x".repeat(60_000)), ..Record::of(Event::Refused) }
    }

    #[test]
    fn the_last_line_of_a_long_log_is_found_behind_a_long_one_that_is_not_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("audit.log");
        let mut ledger = Ledger::open(&path).expect("a log");
        for now in 1..=4 {
            ledger.write(now, long()).expect("written");
        }
        let whole = lines(&path);
        let size = || path.metadata().expect("a log").len();
        let before = size();
        (&ledger.file).write_all(&whole[0].as_bytes()[..60_000]).expect("a torn line");
        assert_eq!(last(&path), 4);
        let mut ledger = Ledger::open(&path).expect("a log");
        assert_eq!(size(), before);
        ledger.write(5, long()).expect("written");
        assert_eq!(lines(&path)[..4], whole);
        let mut trail = Trail::default();
        assert!(lines(&path).iter().all(|line| trail.read(line).is_ok()));
    }

    #[test]
    fn a_line_that_is_too_long_for_one_is_left_as_it_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("audit.log");
        std::fs::write(&path, "x".repeat(200_000)).expect("a file");
        let error = Ledger::open(&path).expect_err("no log").to_string();
        assert_eq!(error, "its last line is too long for one of a log");
        assert_eq!((lines(&path)[0].len(), last(&path)), (200_000, 0));
    }

    #[test]
    fn what_is_no_log_is_not_continued() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("audit.log");
        std::fs::write(&path, "hello\n").expect("a file");
        let error = Ledger::open(&path).expect_err("no log").to_string();
        assert!(error.contains("move it away"), "{error}");
        assert_eq!(lines(&path), ["hello"]);
    }

    impl Ledger {
        /// One on a full disk.
        pub(in crate::grants) fn full() -> Ledger {
            let file = File::options().append(true).open("/dev/full").expect("a full disk");
            Ledger { file, trail: Trail::default(), broken: false }
        }
    }

    #[test]
    fn a_line_of_which_a_part_is_written_is_a_failure() {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).expect("a pipe");
        rustix::pipe::fcntl_setpipe_size(&writer, 8192).expect("little room");
        let mut ledger = Ledger { file: writer.into(), trail: Trail::default(), broken: false };
        assert!(ledger.write(1, long()).is_err());
        let mut part = [0; 100_000];
        let len = File::from(reader).read(&mut part).expect("the part");
        assert!(len > 0 && ledger.write(2, Record::of(Event::Started)).is_err(), "there is half a line");
    }

    #[test]
    fn after_a_failure_nothing_is_written() {
        let mut ledger = Ledger::full();
        assert!(ledger.write(1, Record::of(Event::Started)).is_err());
        let dir = tempfile::tempdir().expect("a directory");
        ledger.file = File::create(dir.path().join("room")).expect("a file");
        assert!(ledger.write(2, Record::of(Event::Started)).is_err(), "there would be a gap");
    }
}
