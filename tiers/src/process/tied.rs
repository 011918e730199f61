//! A program that ends with the thread that started it.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::io::retry_on_intr;
use rustix::process::{Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::holder::Holder;
use crate::sys::vfork::{self, Image};

/// Where a program is looked for without PATH, as execvp(3) does.
const PATH: &[u8] = b"/bin:/usr/bin";

/// A program to start, tied to the thread that starts it as [`confine`](super::confine) ties one; but without a copy of
/// this process (vfork(2)), which takes the longer the more memory this process has.
#[derive(Debug, Clone, Copy)]
pub struct Tied<'a> {
    /// Its name, which is looked for in the PATH that it gets unless it has a slash, and its arguments.
    pub command: &'a [String],
    /// What is added to this process's environment.
    pub env: &'a [(String, String)],
    /// The directory it starts in; without one, this process's.
    pub dir: Option<&'a Path>,
}

impl Tied<'_> {
    /// Starts it with these as its standard input, output and error. It is the caller's to reap: by
    /// [`Holder::pidfd`] and waitid(2).
    ///
    /// # Errors
    /// Those of clone(2), chdir(2) and execve(2); what [`confine`](super::confine) names; too many descriptors.
    ///
    /// ```
    /// use std::io::{Read, pipe};
    /// use std::os::fd::AsFd;
    /// use fs9_tiers::process::Tied;
    ///
    /// let (input, (mut said, output)) = (pipe()?.0, pipe()?);
    /// let command = ["sh", "-c", "echo $GREETING"].map(String::from);
    /// let greet = Tied { command: &command, env: &[("GREETING".into(), "hello".into())], dir: None };
    /// let process = greet.start([input.as_fd(), output.as_fd(), std::io::stderr().as_fd()])?;
    /// drop(output);
    /// let mut text = String::new();
    /// said.read_to_string(&mut text)?;
    /// assert_eq!(text, "hello\n");
    /// # let _ = rustix::process::waitid(rustix::process::WaitId::PidFd(process.pidfd().unwrap()), rustix::process::WaitIdOptions::EXITED);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn start(&self, streams: [BorrowedFd<'_>; 3]) -> io::Result<Holder> {
        let (pid, pidfd) = vfork::start(&self.image()?, streams)?;
        Holder::holding(pid.as_raw_nonzero().get().unsigned_abs(), pidfd).inspect_err(|_| {
            // Nobody would look after it. Until it is reaped, here, its number is its own.
            let _ = kill_process(pid, Signal::KILL);
            let _ = retry_on_intr(|| waitid(WaitId::Pid(pid), WaitIdOptions::EXITED));
        })
    }

    fn image(&self) -> io::Result<Image> {
        let name = self.command.first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut env: BTreeMap<OsString, OsString> = env::vars_os().collect();
        env.extend(self.env.iter().map(|(key, value)| (key.into(), value.into())));
        let path = env.get(OsStr::new("PATH")).map_or(PATH, |path| path.as_bytes());
        let paths = match name.as_bytes() {
            b"" => Vec::new(),
            name if name.contains(&b'/') => vec![name.to_vec()],
            name => path.split(|byte| *byte == b':').map(|dir| within(dir, name)).collect(),
        };
        let pairs = env.iter().map(|(key, value)| [key.as_bytes(), b"=", value.as_bytes()].concat());
        Ok(Image {
            paths: strings(paths)?,
            args: strings(self.command.iter().map(|word| word.as_bytes().to_vec()))?,
            env: strings(pairs)?,
            dir: self.dir.map(|dir| CString::new(dir.as_os_str().as_bytes())).transpose()?,
        })
    }
}

/// No directory is the current one.
fn within(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let dir = if dir.is_empty() { Path::new(".") } else { Path::new(OsStr::from_bytes(dir)) };
    dir.join(OsStr::from_bytes(name)).into_os_string().into_vec()
}

fn strings(all: impl IntoIterator<Item = Vec<u8>>) -> io::Result<Vec<CString>> {
    all.into_iter().map(|bytes| Ok(CString::new(bytes)?)).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::io::{Read, pipe};
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::error::Reason;

    /// How it ended, and what it has printed.
    fn ran(tied: Tied<'_>) -> io::Result<(Reason, String)> {
        let (null, (mut said, output)) = (File::open("/dev/null")?, pipe()?);
        let process = tied.start([null.as_fd(), output.as_fd(), io::stderr().as_fd()])?;
        drop(output);
        let mut text = String::new();
        said.read_to_string(&mut text)?;
        let ending = ended(&process);
        Ok((ending, text))
    }

    fn ended(process: &Holder) -> Reason {
        let pidfd = process.pidfd().expect("it can be seen");
        retry_on_intr(|| waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED)).expect("it is our child");
        process.ending()
    }

    fn words<const N: usize>(words: [&str; N]) -> [String; N] {
        words.map(String::from)
    }

    fn sh(script: &str) -> [String; 3] {
        words(["sh", "-c", script])
    }

    #[test]
    fn a_tied_program_gets_its_streams_alone_and_leads_its_group() {
        let file = File::open("/dev/null").expect("a file");
        let _loose: Vec<OwnedFd> = (0..3).map(|_| rustix::io::dup(&file).expect("a copy")).collect();
        let script = "n=0; while [ $n -lt 512 ]; do [ -e /proc/$$/fd/$n ] && echo $n; n=$((n + 1)); done
            cut -d' ' -f5 /proc/$$/stat; echo $$; pwd; echo $A-$B; grep -E '^Sig(Blk|Cgt|Ign):' /proc/$$/status | uniq";
        let env = [("A", "1"), ("B", "x y")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let tied = Tied { command: &sh(script), env: &env, dir: Some("/usr".as_ref()) };
        let (ending, said) = ran(tied).expect("sh runs");
        assert_eq!(ending, Reason::Exited(0));
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines[..3], ["0", "1", "2"]);
        assert_eq!(lines[3], lines[4], "the group is its own");
        assert_eq!(lines[5..7], ["/usr", "1-x y"]);
        let set = |line: &str| u64::from_str_radix(line[7..].trim(), 16).expect("a set of signals");
        assert_eq!(set(lines[7]), 0, "none is blocked");
        assert_eq!(set(lines[8]) & 1 << 12, 0, "SIGPIPE is not ignored");
    }

    #[test]
    fn streams_that_are_in_each_others_places_are_not_mixed_up() {
        let (mut said, output) = pipe().expect("a pipe");
        let command = sh("a=$(readlink /proc/$$/fd/0 /proc/$$/fd/1); echo \"$a\" >&2");
        let tied = Tied { command: &command, env: &[], dir: None };
        let (stdin, stderr) = (io::stdin(), io::stderr());
        let process = tied.start([stderr.as_fd(), stdin.as_fd(), output.as_fd()]).expect("sh starts");
        drop(output);
        let mut text = String::new();
        said.read_to_string(&mut text).expect("what it says");
        assert_eq!(ended(&process), Reason::Exited(0));
        let ours = [2, 0].map(|number| fs::read_link(format!("/proc/self/fd/{number}")).expect("a stream"));
        assert_eq!(text, format!("{}\n{}\n", ours[0].display(), ours[1].display()));
    }

    #[test]
    fn the_signals_of_this_thread_are_as_before() {
        let blocked = || {
            let status = fs::read_to_string("/proc/thread-self/status").expect("a status");
            status.lines().filter(|line| line.starts_with("Sig")).skip(2).map(str::to_owned).collect::<Vec<_>>()
        };
        let before = blocked();
        ran(Tied { command: &words(["true"]), env: &[], dir: None }).expect("it runs");
        ran(Tied { command: &words(["/no/such"]), env: &[], dir: None }).expect_err("there is none");
        assert_eq!(blocked(), before);
    }

    #[test]
    fn why_it_cannot_start_is_told_and_nobody_is_left() {
        let refusal = |command: &[String], dir: Option<&Path>| {
            ran(Tied { command, env: &[], dir }).expect_err("refused").raw_os_error()
        };
        assert_eq!(refusal(&words(["/no/such"]), None), Some(libc::ENOENT));
        assert_eq!(refusal(&words(["no-such-program"]), None), Some(libc::ENOENT));
        assert_eq!(refusal(&words([""]), None), Some(libc::ENOENT));
        assert_eq!(refusal(&words(["/etc/passwd"]), None), Some(libc::EACCES));
        assert_eq!(refusal(&words(["true"]), Some("/no".as_ref())), Some(libc::ENOENT));
        assert_eq!(refusal(&words(["true", "\0"]), None), None, "not a string");
        let thread = fs::read_to_string("/proc/thread-self/children").expect("a list");
        assert_eq!(thread, "");
    }

    #[test]
    fn it_is_looked_for_in_its_own_path_and_may_be_a_script_without_a_first_line() {
        let dir = tempfile();
        let file = dir.join("greet");
        fs::write(&file, "echo hello $1").expect("a script");
        let path = [("PATH".to_owned(), format!("/no:/etc/passwd::{}:/bin", dir.display()))];
        let command = words(["greet", "you"]);
        let greet = Tied { command: &command, env: &path, dir: None };
        let denied = ran(greet).expect_err("it is not to be executed");
        assert_eq!(denied.raw_os_error(), Some(libc::EACCES));
        fs::set_permissions(&file, Permissions::from_mode(0o755)).expect("now it is");
        assert_eq!(ran(greet).expect("it runs"), (Reason::Exited(0), "hello you\n".into()));
        fs::remove_dir_all(dir).expect("it was ours");
    }

    fn tempfile() -> std::path::PathBuf {
        let dir = env::temp_dir().join(format!("fs9-tied-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        dir
    }

    #[test]
    fn it_ends_with_the_thread_that_started_it() {
        let start = || {
            let null = File::open("/dev/null").expect("a file");
            let sleep = words(["sleep", "60"]);
            Tied { command: &sleep, env: &[], dir: None }.start([null.as_fd(); 3]).expect("it starts")
        };
        let process = std::thread::spawn(start).join().expect("the thread ends");
        assert_eq!(ended(&process), Reason::Killed(9));
    }

    #[test]
    fn many_start_at_once() {
        let start = || {
            for _ in 0..50 {
                let (ending, said) = ran(Tied { command: &sh("echo $$"), env: &[], dir: None }).expect("sh runs");
                assert_eq!((ending, said.is_empty()), (Reason::Exited(0), false));
            }
        };
        let threads: Vec<_> = (0..8).map(|_| std::thread::spawn(start)).collect();
        threads.into_iter().for_each(|thread| thread.join().expect("all of them"));
    }
}
