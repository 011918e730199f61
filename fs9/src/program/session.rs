//! One connection with its process: messages go both ways until one side is gone, and then the process is.
//!
//! In each direction at most one message is in hand: of the client nothing is received before the process has taken the
//! last, and of the process nothing is read before the client has taken the last. One poll(2) waits for everything.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;

use fs9_tiers::error::Reason;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Signal;

use super::Place;
use super::complaints::{Complaint, Complaints};
use super::course::{Act, Course};
use super::far::Far;
use super::framing::Fault;
use super::process::Process;
use crate::events::Event;
use crate::local::{Local, Pending};
use crate::spec::Program;

/// Bytes that a process may say to nobody.
const SPILLED: usize = 1 << 20;

/// See the [module](self).
pub struct Session<'a> {
    local: Local,
    process: Process,
    far: Box<dyn Far>,
    complaints: Complaints,
    course: Course,
    program: &'a Program,
    /// Readable once the server stops.
    stop: &'a OwnedFd,
    /// Among the processes that may run, until it has ended.
    place: Option<Place<'a>>,
    /// The message that is asked of the client.
    asked: Option<Pending>,
    /// The message that the client is to take.
    sending: Option<Pending>,
    /// What the client sends is not for the process any more.
    deaf: bool,
    /// Nobody is left who would take what the process says.
    left: bool,
    /// Bytes that it has said since.
    spilled: usize,
    /// The client knows that the process says nothing more.
    shut: bool,
    /// How the process ended.
    ended: Option<Reason>,
    /// What there is to say about its end.
    note: Option<String>,
    /// Why it counts as lost, whatever it exited with.
    fault: Option<Fault>,
}

/// What a sleep ended with.
struct Woken {
    bell: bool,
    stop: bool,
    process: bool,
}

impl<'a> Session<'a> {
    /// A process that has just been started, and the server's end of its connection.
    pub fn new(
        local: Local,
        (process, far, complaints): (Process, Box<dyn Far>, Complaints),
        program: &'a Program,
        stop: &'a OwnedFd,
        place: Place<'a>,
    ) -> Session<'a> {
        let course = Course::new(program.grace, program.idle, Instant::now());
        Session {
            local,
            process,
            far,
            complaints,
            course,
            program,
            stop,
            place: Some(place),
            asked: None,
            sending: None,
            deaf: false,
            left: false,
            spilled: 0,
            shut: false,
            ended: None,
            note: None,
            fault: None,
        }
    }

    /// Serves the connection to its end and that of the process.
    pub fn run(mut self) {
        self.local.tell(Event { event: "started", ..Event::default() });
        let mut woken = Woken { bell: true, stop: false, process: false };
        loop {
            let now = Instant::now();
            self.note_ends(&woken, now);
            if self.steer(now) {
                return self.abandon();
            }
            self.bring(now);
            self.take(now);
            self.hear(now);
            if let Some(reason) = self.over() {
                return self.finish(reason, now);
            }
            woken = match self.sleep() {
                Ok(woken) => woken,
                // There is no memory for a list of six descriptors.
                Err(error) => {
                    self.note = Some(format!("it cannot be looked after: {error}"));
                    self.process.signal(Signal::KILL);
                    let reason = self.process.reap();
                    return self.finish(reason, now);
                }
            };
        }
    }

    /// Who is gone since the last look?
    fn note_ends(&mut self, woken: &Woken, now: Instant) {
        if woken.bell && self.local.is_hung_up() && !self.left {
            self.left = true;
            self.course.leave(now);
        }
        if woken.stop {
            self.left = true;
            self.course.hurry(now);
        }
        if woken.process && self.ended.is_none() {
            let reason = self.process.reap();
            self.ended = Some(reason);
            self.far.finish();
            // Whoever writes now is told; and another process may run, however long the client takes to read.
            self.local.deafen(reason);
            self.place = None;
        }
    }

    /// From the client to the process: at most one message, so that the other way has its turn. Whoever asked is
    /// answered through the bell, at once perhaps.
    fn bring(&mut self, now: Instant) {
        self.advance(self.is_wanted());
        self.receive(now);
        if self.asked.is_none() && !self.deaf && self.ended.is_none() && self.far.has_room() {
            self.asked = Some(self.local.begin_recv());
        }
    }

    fn receive(&mut self, now: Instant) {
        let Some(received) = self.asked.and_then(|asked| self.local.received(asked)) else { return };
        self.asked = None;
        if let Ok(Some(_)) = &received
            && (self.deaf || self.ended.is_some())
        {
            return self.local.discard(self.ended.unwrap_or(Reason::Closed));
        }
        if let Ok(Some(message)) = received {
            self.course.pass(now);
            self.far.give(message);
        } else {
            // The client is gone, killed perhaps, or the server stops.
            self.deaf = true;
            self.far.hang_up();
        }
        self.advance(false);
    }

    fn advance(&mut self, wanted: bool) {
        if let Err(error) = self.far.advance(wanted) {
            let reason = Some(format!("the program takes no messages: {error}"));
            self.local.tell(Event { event: "dropped", count: Some(1), reason, ..Event::default() });
        }
    }

    /// From the process to the client.
    fn take(&mut self, now: Instant) {
        loop {
            match self.sending.and_then(|sending| self.local.sent(sending)) {
                None if self.sending.is_some() => return,
                None => {}
                Some(Ok(())) => {
                    self.sending = None;
                    self.course.pass(now);
                }
                Some(Err(error)) => {
                    self.sending = None;
                    self.undelivered(&error, now);
                }
            }
            match self.far.next() {
                Ok(Some(message)) if !self.left => self.sending = Some(self.local.begin_send(&message)),
                Ok(Some(message)) => self.spill(message.len()),
                Ok(None) => return self.shut_if_spent(),
                Err(fault) => return self.blame(fault, now),
            }
        }
    }

    /// What it says goes nowhere, so that it is not held up on its way to its end. But who says so much has not
    /// understood: it is cut off, as a pipe would (SIGPIPE).
    fn spill(&mut self, bytes: usize) {
        self.spilled += bytes;
        if self.spilled > SPILLED {
            self.far.close_output();
        }
    }

    /// The client has not taken a message and will take none.
    fn undelivered(&mut self, error: &io::Error, now: Instant) {
        self.left = true;
        match Errno::from_io_error(error) {
            Some(Errno::PIPE | Errno::SHUTDOWN) => self.course.leave(now),
            _ => {
                self.note = Some(format!("what it said cannot be sent: {error}"));
                self.course.kill(now);
            }
        }
    }

    fn blame(&mut self, fault: Fault, now: Instant) {
        self.note = Some(fault.to_string());
        self.far.close_output();
        // What was cut short by its end is told by that.
        if fault != Fault::CutShort {
            self.fault = Some(fault);
            self.course.kill(now);
        }
    }

    /// A process that has closed its output and lives has said everything; it may still want to hear.
    fn shut_if_spent(&mut self) {
        let says_more = !self.far.is_spent() || self.fault.is_some();
        if !says_more && !self.shut && self.ended.is_none() && self.process.lives() {
            self.shut = true;
            self.local.shut();
        }
    }

    /// What it says on standard error.
    fn hear(&mut self, now: Instant) {
        let complaints = self.complaints.read(now);
        self.pass_on(complaints);
    }

    fn pass_on(&self, complaints: Vec<Complaint>) {
        for complaint in complaints {
            self.local.tell(match complaint {
                Complaint::Line(text) => Event { event: "stderr", text: Some(text), ..Event::default() },
                Complaint::Missed(count) => {
                    let reason = Some("more lines on standard error than are told".into());
                    Event { event: "stderr", count: Some(count), reason, ..Event::default() }
                }
            });
        }
    }

    /// Does what is due to bring it to its end. True when there is nothing left to do.
    fn steer(&mut self, now: Instant) -> bool {
        if self.ended.is_some() {
            return false;
        }
        if self.course.is_idle(now) {
            let idle = humantime::format_duration(self.program.idle.unwrap_or_default());
            self.note = Some(format!("it was idle for {idle}"));
            self.course.leave(now);
        }
        match self.course.due(now) {
            Some(Act::HangUp) if self.left => {} // what the client has sent is still for it, see `bring`
            Some(Act::HangUp) => {
                self.deaf = true;
                self.local.deafen(Reason::Closed);
                self.far.hang_up();
                self.advance(false);
            }
            Some(Act::Terminate) => {
                self.far.cut_off();
                self.process.signal(Signal::TERM);
            }
            Some(Act::Kill) => self.process.signal(Signal::KILL),
            Some(Act::GiveUp) => return true,
            None => {}
        }
        false
    }

    /// Whether there is use for what the process says next.
    fn is_wanted(&self) -> bool {
        self.sending.is_none()
    }

    /// How the process ended, once everything that it said has gone its way.
    fn over(&self) -> Option<Reason> {
        self.ended.filter(|_| self.left || (self.sending.is_none() && self.far.is_spent()))
    }

    fn sleep(&self) -> io::Result<Woken> {
        let now = Instant::now();
        let deadline = if self.ended.is_some() { None } else { self.course.deadline() };
        let left = deadline.map(|at| at.saturating_duration_since(now));
        let time = left.map(|left| Timespec::try_from(left).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 }));
        let mut sources = vec![PollFd::from_borrowed_fd(self.local.bell(), PollFlags::IN)];
        // What has been heard is not listened for again: it would be heard for ever.
        let stop = Some(self.stop).filter(|_| !self.course.is_hurried());
        let process = self.process.pidfd().filter(|_| self.ended.is_none());
        sources.extend(stop.map(|stop| PollFd::new(stop, PollFlags::IN)));
        sources.extend(process.map(|pidfd: BorrowedFd<'_>| PollFd::from_borrowed_fd(pidfd, PollFlags::IN)));
        sources.extend(self.complaints.source().map(|pipe| PollFd::from_borrowed_fd(pipe, PollFlags::IN)));
        self.far.sources(self.is_wanted(), &mut sources);
        match poll(&mut sources, time.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut rang = sources.iter().map(|source| !source.revents().is_empty());
        let bell = rang.next().unwrap_or(false);
        let stop = stop.is_some() && rang.next().unwrap_or(false);
        let process = process.is_some() && rang.next().unwrap_or(false);
        Ok(Woken { bell, stop, process })
    }

    fn finish(mut self, reason: Reason, now: Instant) {
        let complaints = self.complaints.finish(now);
        self.pass_on(complaints);
        let how = self.note.map_or_else(|| reason.to_string(), |note| format!("{reason}: {note}"));
        self.local.tell(Event { event: "ended", reason: Some(how), ..Event::default() });
        self.local.leave(if self.fault.is_some() { Reason::Protocol } else { reason });
    }

    fn abandon(self) {
        self.local.tell(Event {
            event: "ended",
            reason: Some("not yet: the kernel does not end it".into()),
            ..Event::default()
        });
        self.process.abandon();
    }
}
