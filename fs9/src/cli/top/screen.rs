//! The terminal: a thread reads its keys, one asks the mount, one hears signals, and the one who called draws. Whatever
//! happens, the terminal is given back as it was.

use std::io::{self, stdout};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow, bail};
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyEvent};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, enable_raw_mode};
use ratatui::{DefaultTerminal, Terminal};
use rustix::process::{Signal, kill_current_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::super::failure::Quiet;
use super::super::place::Place;
use super::super::process::command;
use super::super::shell::shown;
use super::super::wait::Wait;
use super::browser::{Browser, Wish};
use super::draw::{Scene, draw};
use super::table::Table;
use super::{Pace, Sample};
use crate::events::seconds;
use crate::mountpoint;

/// The ages on the screen are no older than this.
const REDRAW: Duration = Duration::from_secs(1);

/// What may happen.
enum Input {
    Key(KeyEvent),
    /// Another size, say.
    Other,
    /// The terminal cannot be read.
    Deaf(io::Error),
    Sample(Box<Sample>),
    /// The mount does not answer any more.
    Gone(anyhow::Error),
    Signal(i32),
}

/// Shows the table until somebody ends it. `pace` tells when the mount said what is in it.
pub(super) fn show(browser: Browser, pace: Pace, place: Place) -> anyhow::Result<()> {
    let signals = signals().context("cannot handle signals")?;
    // Whoever has something to say waits until it is heard, so nothing piles up.
    let (say, inputs) = sync_channel(0);
    let mount = place.root.clone();
    let screen = Screen::open().context("cannot draw on this terminal")?;
    spawn("signals", &say, |say| hear(signals, &say))?;
    spawn("keys", &say, |say| read_keys(&say))?;
    spawn("mount", &say, move |say| ask(&place, pace, &say))?;
    drop(say);
    let ended = Show { browser, pace, mount: &mount }.run(screen, &inputs)?;
    match ended {
        End::Quit => Ok(()),
        // The terminal is as it was: the rest is what the signal does to anybody.
        End::Signal(signal) => Err(emulate_default_handler(signal).map_or_else(Into::into, |()| Quiet.into())),
    }
}

fn spawn(
    name: &str,
    say: &SyncSender<Input>,
    life: impl FnOnce(SyncSender<Input>) + Send + 'static,
) -> anyhow::Result<()> {
    let say = say.clone();
    let spawned = std::thread::Builder::new().name(name.into()).spawn(|| life(say));
    spawned.map(drop).with_context(|| format!("cannot watch the {name}"))
}

/// The signals that end this command. When one comes again it ends it at once: whoever draws may be waiting for a
/// terminal that takes nothing.
fn signals() -> io::Result<Signals> {
    const ENDING: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];
    let again = Arc::new(AtomicBool::new(false));
    for signal in ENDING {
        flag::register_conditional_default(signal, Arc::clone(&again))?;
        flag::register(signal, Arc::clone(&again))?;
    }
    Signals::new(ENDING)
}

fn hear(mut signals: Signals, say: &SyncSender<Input>) {
    for signal in signals.forever() {
        if say.send(Input::Signal(signal)).is_err() {
            return;
        }
    }
}

fn read_keys(say: &SyncSender<Input>) {
    loop {
        let input = match event::read() {
            Ok(Event::Key(key)) if key.is_press() => Input::Key(key),
            Ok(_) => Input::Other,
            Err(error) => return drop(say.send(Input::Deaf(error))),
        };
        if say.send(input).is_err() {
            return;
        }
    }
}

/// Asks the mount again and again.
fn ask(place: &Place, mut pace: Pace, say: &SyncSender<Input>) {
    let wait = Wait::unseen();
    loop {
        std::thread::sleep(pace.pause().saturating_sub(pace.asked.elapsed()));
        let sample = Sample::take(place, &wait);
        let is_last = sample.is_err();
        if let Ok(Sample { asked, took, .. }) = sample {
            pace = Pace { asked, took, ..pace };
        }
        if say.send(sample.map_or_else(Input::Gone, |sample| Input::Sample(Box::new(sample)))).is_err() || is_last {
            return;
        }
    }
}

/// How the table came to its end.
enum End {
    Quit,
    Signal(i32),
}

struct Show<'a> {
    browser: Browser,
    /// When the mount was asked what is in the table.
    pace: Pace,
    mount: &'a Path,
}

impl Show<'_> {
    fn run(mut self, mut screen: Screen, inputs: &Receiver<Input>) -> anyhow::Result<End> {
        loop {
            self.draw(&mut screen).context("cannot draw on this terminal")?;
            match inputs.recv_timeout(REDRAW) {
                Ok(Input::Key(key)) => match self.browser.press(key) {
                    Wish::Stay => {}
                    Wish::Quit => return Ok(End::Quit),
                    Wish::Suspend => screen.suspend().context("cannot draw on this terminal again")?,
                },
                Ok(Input::Sample(sample)) => self.update(*sample),
                Ok(Input::Other) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Input::Signal(signal)) => return Ok(End::Signal(signal)),
                Ok(Input::Gone(error)) => return Err(gone(self.mount, error)),
                Ok(Input::Deaf(error)) => return Err(error).context("cannot read this terminal"),
                Err(RecvTimeoutError::Disconnected) => bail!("nothing is left that could happen"),
            }
        }
    }

    fn update(&mut self, Sample { status, asked, took }: Sample) {
        let table = Table::new(status, Some((&self.browser.table, asked - self.pace.asked)));
        self.browser.update(table);
        self.pace = Pace { asked, took, ..self.pace };
    }

    fn draw(&mut self, screen: &mut Screen) -> io::Result<()> {
        let scene = Scene { mount: self.mount, now: now(), silent: self.pace.silence(), command };
        screen.0.draw(|frame| draw(frame, &mut self.browser, &scene)).map(drop)
    }
}

/// Why there is nothing more to show.
fn gone(mount: &Path, error: anyhow::Error) -> anyhow::Error {
    let is_up = |mounts: Vec<mountpoint::MountInfo>| mounts.iter().any(|other| other.point == mount);
    match mountpoint::fs9_mounts().is_ok_and(|mounts| !is_up(mounts)) {
        true => anyhow!("the mount on {} has ended", shown(mount)),
        false => error,
    }
}

/// The time, in seconds since 1970.
pub fn now() -> f64 {
    seconds(SystemTime::now())
}

/// The terminal while it is ours; given back when this is dropped, and before a panic is reported.
struct Screen(DefaultTerminal);

impl Screen {
    fn open() -> io::Result<Screen> {
        ratatui::try_init().map(Screen).inspect_err(|_| drop(ratatui::try_restore()))
    }

    /// Gives the terminal back to the shell, and comes back when that lets us go on.
    fn suspend(&mut self) -> io::Result<()> {
        self.0.show_cursor()?;
        ratatui::try_restore()?;
        kill_current_process_group(Signal::TSTP)?;
        enable_raw_mode()?;
        execute!(stdout(), EnterAlternateScreen)?;
        // A new one, which knows of nothing on the screen and so draws all of it.
        self.0 = Terminal::new(CrosstermBackend::new(stdout()))?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Whatever cannot be restored, nothing can be done about it.
        let _ = self.0.show_cursor();
        let _ = ratatui::try_restore();
    }
}
