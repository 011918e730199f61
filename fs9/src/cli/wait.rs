//! A call that may block: plain, so that it keeps its place in line, but ended by a deadline and explained to a person.
//!
//! A helper thread watches from outside. After a second it shows on a terminal what is waited for. At the deadline it
//! sends SIGALRM until the blocked call returns EINTR, which promises that nothing was sent and nothing consumed.

use std::io::IsTerminal;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::ProgressBar;
use rustix::io::Errno;
use rustix::process::Signal;

use super::failure::{self, TimedOut};

/// How long a wait stays silent.
const PATIENCE: Duration = Duration::from_secs(1);
/// A signal that comes just before the call blocks is lost on it: it is sent again until the call has returned.
const REPEAT: Duration = Duration::from_millis(20);
/// How long a server may take to answer the interrupt. One that is itself stopped never does.
const GRACE: Duration = Duration::from_secs(1);

/// Why a call did not come to its end.
#[derive(Debug)]
pub enum Ended {
    /// The system refused.
    Refused(Errno),
    /// The deadline passed.
    TimedOut(TimedOut),
}

/// The waits of one command, all together under one deadline.
#[derive(Debug)]
pub struct Wait {
    watch: Arc<Watch>,
    helper: Option<JoinHandle<()>>,
}

impl Wait {
    /// Without `limit` a wait lasts as long as it takes.
    pub fn new(limit: Option<Duration>) -> anyhow::Result<Wait> {
        let deadline = limit.and_then(|limit| Some((limit, Instant::now().checked_add(limit)?)));
        let watch = Arc::new(Watch {
            state: Mutex::default(),
            changed: Condvar::new(),
            deadline,
            seen: std::io::stderr().is_terminal(),
        });
        let needed = watch.seen || deadline.is_some();
        let helper = needed.then(|| helper(&watch)).transpose().context("cannot watch the time")?;
        Ok(Wait { watch, helper })
    }

    /// Waits without end and without a word, beneath something that draws on the terminal itself.
    pub fn unseen() -> Wait {
        let watch = Watch { state: Mutex::default(), changed: Condvar::new(), deadline: None, seen: false };
        Wait { watch: Arc::new(watch), helper: None }
    }

    /// Runs a call that waits for `what`, again when a signal that is not the deadline's interrupted it.
    pub fn run<T>(&self, what: &str, mut call: impl FnMut() -> rustix::io::Result<T>) -> Result<T, Ended> {
        loop {
            match self.explain(what, &mut call) {
                Ok(value) => return Ok(value),
                Err(Errno::INTR) => self.in_time(what).map_err(Ended::TimedOut)?,
                Err(errno) => return Err(Ended::Refused(errno)),
            }
        }
    }

    /// Does something that waits for `what` and knows by itself when to give up.
    pub fn explain<T>(&self, what: &str, call: impl FnOnce() -> T) -> T {
        self.watch.begin(what);
        let outcome = call();
        self.watch.end();
        outcome
    }

    /// What is left until the deadline, or the reason to give up waiting for `what`.
    pub fn in_time(&self, what: &str) -> Result<(), TimedOut> {
        match self.watch.deadline {
            Some((limit, deadline)) if Instant::now() >= deadline => Err(timed_out(limit, what)),
            _ => Ok(()),
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.watch.lock().over = true;
        self.watch.changed.notify_all();
        // The helper holds nothing that could keep it: it ends at once, so no signal comes after this.
        let _ = self.helper.take().map(JoinHandle::join);
    }
}

fn timed_out(limit: Duration, what: &str) -> TimedOut {
    TimedOut(format!("gave up after {} s of waiting for {what}", limit.as_secs_f64()))
}

fn helper(watch: &Arc<Watch>) -> std::io::Result<JoinHandle<()>> {
    if watch.deadline.is_some() {
        // The handler only has to exist: it turns the signal's default, death, into EINTR.
        signal_hook::flag::register(signal_hook::consts::SIGALRM, Arc::new(AtomicBool::new(false)))?;
    }
    let watch = Arc::clone(watch);
    std::thread::Builder::new().name("wait".into()).spawn(move || watch.run())
}

/// What the helper and the one who waits share.
#[derive(Debug)]
struct Watch {
    state: Mutex<State>,
    changed: Condvar,
    /// The limit as it was given, and when it ends.
    deadline: Option<(Duration, Instant)>,
    /// Whether a person watches.
    seen: bool,
}

#[derive(Debug, Default)]
struct State {
    call: Option<Call>,
    over: bool,
}

/// The call that runs now.
#[derive(Debug)]
struct Call {
    what: String,
    since: Instant,
    spinner: Option<ProgressBar>,
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, what: &str) {
        self.lock().call = Some(Call { what: what.to_owned(), since: Instant::now(), spinner: None });
        self.changed.notify_all();
    }

    fn end(&self) {
        if let Some(spinner) = self.lock().call.take().and_then(|call| call.spinner) {
            spinner.finish_and_clear();
        }
    }

    /// The helper's life: attends to the call that runs, and sleeps until there is something to do.
    fn run(&self) {
        let mut state = self.lock();
        while !state.over {
            let pause = state.call.as_mut().and_then(|call| self.attend(call));
            state = match pause {
                Some(pause) => self.changed.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0,
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Does what is due, and gives the time until something is due again.
    fn attend(&self, call: &mut Call) -> Option<Duration> {
        let now = Instant::now();
        let left = self.deadline.map(|(_, deadline)| deadline.saturating_duration_since(now));
        if left.is_some_and(|left| left.is_zero()) {
            self.interrupt(call, now);
            return Some(REPEAT);
        }
        let silent = PATIENCE.saturating_sub(now - call.since);
        match (self.seen && call.spinner.is_none() && in_foreground(), silent.is_zero()) {
            (true, true) => call.spinner = Some(spinner(&call.what)),
            (true, false) => return Some(left.map_or(silent, |left| left.min(silent))),
            (false, _) => {}
        }
        left
    }

    fn interrupt(&self, call: &mut Call, now: Instant) {
        if let Some((limit, deadline)) = self.deadline
            && now.saturating_duration_since(deadline.max(call.since)) > GRACE
        {
            let said = timed_out(limit, &call.what);
            failure::say(&format!(
                "{said}, and the server does not answer: if it stays so, kill it, then `fs9 down` the mount"
            ));
            std::process::exit(failure::TIMED_OUT.into());
        }
        // To this process: it exists, so there is nothing to fail.
        let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::ALARM);
    }
}

fn spinner(what: &str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(format!("waiting for {what}"));
    // Drawn once: one that moves would go on over the prompt when the command is put into the background.
    spinner.tick();
    spinner
}

/// Whether the terminal is ours at the moment, and not that of the shell we run in the background of.
fn in_foreground() -> bool {
    rustix::termios::tcgetpgrp(std::io::stderr()).is_ok_and(|group| group == rustix::process::getpgrp())
}

/// Reads the SECONDS of a command line; fractions are fine.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds
        .filter(|seconds| !seconds.is_zero())
        .ok_or_else(|| "give a number of seconds above 0, such as 10 or 0.5".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_have_a_fraction() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for wrong in ["", "0", "-1", "nan", "inf", "1e99", "1s"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_call_that_returns_is_not_disturbed() {
        let wait = Wait::new(Some(Duration::from_secs(3600))).expect("a thread");
        assert_eq!(wait.run("nothing", || Ok(7)).expect("it returns"), 7);
        assert!(matches!(wait.run("nothing", || Err::<(), _>(Errno::PIPE)), Err(Ended::Refused(Errno::PIPE))));
    }

    #[test]
    fn another_signal_does_not_end_the_wait() {
        let wait = Wait::new(None).expect("no thread");
        let mut interrupted = false;
        let call = || if std::mem::replace(&mut interrupted, true) { Ok(()) } else { Err(Errno::INTR) };
        assert!(wait.run("a second try", call).is_ok());
    }

    #[test]
    fn the_deadline_ends_a_call_that_answers_interrupts() {
        let wait = Wait::new(Some(Duration::from_millis(30))).expect("a thread");
        let call = || {
            std::thread::sleep(Duration::from_millis(5));
            Err::<(), _>(Errno::INTR)
        };
        let Err(Ended::TimedOut(TimedOut(text))) = wait.run("a message", call) else { panic!("it must end") };
        assert_eq!(text, "gave up after 0.03 s of waiting for a message");
    }
}
