//! The thread of a link: it dials, has both ends prove who they are, reads what comes, and sees to the clock.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fs9_proto::client::{Answer, Event, Refusal};
use fs9_proto::frame::Frames;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};

use super::asked::Asked;
use super::dial::{self, Backoff, Begun, Search};
use super::link::{Link, State};
use super::meeting::Meeting;
use super::said;
use super::ssh::Program;
use crate::attachment::LinkState;
use crate::confine::{self, Duty};
use crate::fuse::patience::Patience;
use crate::local::verb;
use crate::net::Clerk;
use crate::net::address::Address;
use crate::net::stream::Stream;
use crate::net::tls::{TlsError, TlsStream};
use crate::server::Server;

/// How long a connection may take to be there, and again to be proved.
const DIAL: Duration = Duration::from_secs(10);

/// What the thread is at.
#[derive(Debug)]
enum Phase {
    /// Waiting to dial.
    Resting(Instant),
    /// Waiting for a name to be looked up.
    Searching(Search),
    /// Waiting for a connection, which fails at a time; others may be tried then.
    Dialling { socket: OwnedFd, others: Vec<OwnedFd>, until: Instant },
    /// Proving who is who, which fails at a time.
    Proving { tls: Box<TlsStream>, until: Instant },
    /// Reading.
    Connected(Arc<Stream>),
}

/// See the [module](self).
#[derive(Debug)]
pub struct Driver {
    link: Arc<Link>,
    server: Arc<Mutex<Server>>,
    meeting: Meeting,
    /// Looks up the name of the host, where it has one.
    clerk: Option<Clerk>,
    phase: Phase,
    /// What the connection needs as long as it lasts.
    program: Option<Program>,
    frames: Frames,
    backoff: Backoff,
    /// What `status` says.
    state: LinkState,
    /// The last failure that was told.
    told: Option<String>,
}

impl Driver {
    /// A thread to be.
    pub fn new(link: Arc<Link>, server: Arc<Mutex<Server>>, meeting: Meeting, clerk: Option<Clerk>) -> Driver {
        Driver {
            link,
            server,
            meeting,
            clerk,
            phase: Phase::Resting(Instant::now()),
            program: None,
            frames: Frames::default(),
            backoff: Backoff::new(),
            state: LinkState::Dialling,
            told: None,
        }
    }

    /// Confines the calling thread to what this one does. One that has to start ssh is not confined.
    pub fn confine(&self) {
        let state = Result::as_ref(&self.meeting.identity).ok().map(|identity| identity.state().path(""));
        let port = match self.link.how.address {
            Address::Ssh(_) => return,
            Address::Unix(_) => None,
            Address::Tcp { port, .. } | Address::Tls { port, .. } => Some(port),
        };
        confine::enter(Duty::Link { port, state: state.as_deref() });
    }

    /// Runs until the node is detached.
    pub fn run(mut self) {
        let mut patience = Patience::new();
        loop {
            let now = Instant::now();
            let (ended, events) = self.link.hear(|state| {
                state.client.handle_timeout(now);
                state.has_ended()
            });
            self.tell(events, "nothing was heard of it for too long");
            if ended {
                // Others may know the link for longer, such as inodes that the kernel has not forgotten.
                self.link.hear(State::close);
                return self.leave();
            }
            if let Err(reason) = self.step(now, &mut patience) {
                self.fail(&reason);
            }
        }
    }

    /// The node is detached. Where a program carries what was said last, it is not ended before it has.
    fn leave(&self) {
        if let (Some(program), Phase::Connected(stream)) = (&self.program, &self.phase) {
            // One that is gone has nothing to pass on.
            let _ = shutdown(stream, Shutdown::Write);
            program.finish();
        }
    }

    /// Goes on with what it is at, or sleeps until there is something to do.
    fn step(&mut self, now: Instant, patience: &mut Patience) -> Result<(), String> {
        match &mut self.phase {
            Phase::Resting(until) if *until <= now => {
                let link = self.link.clone();
                match dial::begin(&self.link.how, self.clerk.as_ref(), move || link.ring())? {
                    Begun::Sockets(sockets, program) => {
                        self.program = program;
                        self.dial(sockets, now)
                    }
                    Begun::Search(search) => {
                        self.phase = Phase::Searching(search);
                        Ok(())
                    }
                }
            }
            Phase::Searching(search) => match search.result() {
                Some(found) => self.dial(dial::sockets(found?)?, now),
                None => self.sleep(None, None).map(drop),
            },
            Phase::Resting(until) => {
                let until = *until;
                self.sleep(None, Some(until)).map(drop)
            }
            Phase::Dialling { until, .. } if *until <= now => Err(said(Errno::TIMEDOUT)),
            Phase::Dialling { socket, until, .. } => {
                let (socket, until) = (socket.try_clone().map_err(said)?, *until);
                if self.sleep(Some((socket.as_fd(), PollFlags::OUT)), Some(until))? {
                    self.arrive()?;
                }
                Ok(())
            }
            Phase::Proving { until, .. } if *until <= now => Err("it does not prove who it is in time".into()),
            Phase::Proving { .. } => self.prove(),
            Phase::Connected(stream) => {
                let stream = stream.clone();
                self.listen(&stream, patience)
            }
        }
    }

    /// Connections were begun, of which the first to be there is taken.
    fn dial(&mut self, sockets: Vec<OwnedFd>, now: Instant) -> Result<(), String> {
        let mut sockets = sockets.into_iter();
        let socket = sockets.next().ok_or("it has no address")?;
        self.phase = Phase::Dialling { socket, others: sockets.collect(), until: now + DIAL };
        Ok(())
    }

    /// The connection is there, or has failed; then the next is tried.
    fn arrive(&mut self) -> Result<(), String> {
        let Phase::Dialling { socket, others, .. } = &mut self.phase else { return Ok(()) };
        if let Err(reason) = dial::outcome(socket) {
            *socket = others.pop().ok_or(reason)?;
            return Ok(());
        }
        let socket = socket.try_clone().map_err(said)?;
        if let Address::Tls { .. } = self.link.how.address {
            let tls = Box::new(self.meeting.begin(socket, &self.link.how)?);
            self.phase = Phase::Proving { tls, until: Instant::now() + DIAL };
        } else {
            self.connect(Stream::Plain(socket));
        }
        Ok(())
    }

    /// Goes on with the handshake, or sleeps until there is more of it.
    fn prove(&mut self) -> Result<(), String> {
        let Phase::Proving { tls, until } = &self.phase else { return Ok(()) };
        if let Some(key) = tls.handshake().map_err(|error| error.to_string())? {
            self.meeting.end(&key, &self.link.how)?;
            if let Phase::Proving { tls, .. } = std::mem::replace(&mut self.phase, Phase::Resting(Instant::now())) {
                self.connect(Stream::Tls(tls));
            }
            return Ok(());
        }
        let wanted = if tls.is_stuck() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        self.sleep(Some((tls.as_fd(), wanted)), Some(*until)).map(drop)
    }

    /// There is a connection to talk through.
    fn connect(&mut self, stream: Stream) {
        let stream = Arc::new(stream);
        self.phase = Phase::Connected(stream.clone());
        self.frames = Frames::default();
        let (_, events) = self.link.hear(|state| state.connect(stream, Instant::now()));
        self.tell(events, "");
    }

    /// Reads what is there; sleeps when nothing comes for a while.
    fn listen(&mut self, stream: &Stream, patience: &mut Patience) -> Result<(), String> {
        let mut outcome = Ok(false);
        patience.look(|| {
            outcome = self.receive(stream);
            !matches!(outcome, Ok(false))
        });
        if outcome? {
            return Ok(());
        }
        let stuck = self.link.hear(|state| state.is_stuck()).0;
        let wanted = if stuck { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        if self.sleep(Some((stream.as_fd(), wanted)), None)? {
            self.receive(stream)?;
        } else {
            self.frames.trim();
        }
        Ok(())
    }

    /// Reads once and sees to what has come. Returns whether anything has.
    fn receive(&mut self, stream: &Stream) -> Result<bool, String> {
        let read = match stream.read(self.frames.space()) {
            Ok(0) => return Err(TlsError::Gone.to_string()),
            Ok(read) => read,
            Err(TlsError::System(Errno::AGAIN | Errno::INTR)) => return Ok(false),
            Err(error) => return Err(error.to_string()),
        };
        self.frames.filled(read);
        let now = Instant::now();
        let mut any = false;
        while let Some(frame) = self.frames.pull().map_err(|error| error.to_string())? {
            any = true;
            let (answer, events) = self.link.hear(|state| {
                let mut answer = state.client.handle_frame(now, frame)?;
                answer.iter_mut().for_each(|answer| state.settle(answer));
                Ok::<_, fs9_proto::violation::Violation>(answer)
            });
            match answer.map_err(|violation| violation.to_string())? {
                Some(Answer::Replied { token, reply }) => token.replied(&reply, &self.link),
                Some(Answer::Late { .. }) | None => {}
            }
            if !events.is_empty() {
                let limit = self.link.hear(|state| state.client.msize()).0;
                self.frames.set_limit(limit);
                self.tell(events, "");
            }
        }
        if !any {
            self.link.hear(|state| state.client.handle_progress(now));
        }
        Ok(true)
    }

    /// Waits for a socket, the bell, the machine's clock, or `until`. Returns whether it is the socket.
    fn sleep(
        &self,
        socket: Option<(std::os::fd::BorrowedFd<'_>, PollFlags)>,
        until: Option<Instant>,
    ) -> Result<bool, String> {
        let now = Instant::now();
        let planned = self.link.hear(|state| state.plan(now)).0;
        let timeout = [planned, until].into_iter().flatten().min().map(|at| at.saturating_duration_since(now));
        // A little late rather than again and again too early.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout + Duration::from_micros(100)).ok());
        let mut fds = vec![PollFd::from_borrowed_fd(self.link.bell(), PollFlags::IN)];
        fds.extend(socket.map(|(socket, flags)| PollFd::from_borrowed_fd(socket, flags)));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(said(io::Error::from(errno))),
        }
        if !fds[0].revents().is_empty() {
            self.link.hush();
        }
        Ok(fds.get(1).is_some_and(|fd| !fd.revents().is_empty()))
    }

    /// The connection is no more, or there was none to be had.
    fn fail(&mut self, reason: &str) {
        let complaint = self.program.take().and_then(|program| program.complaint());
        let reason = complaint.as_deref().unwrap_or(reason);
        let (_, events) = self.link.hear(|state| state.disconnect(Instant::now()));
        self.rest();
        if events.is_empty() {
            self.told(reason);
        }
        self.tell(events, reason);
    }

    fn rest(&mut self) {
        self.program = None;
        self.phase = Phase::Resting(Instant::now() + self.backoff.pause());
    }

    /// Sees to what has happened.
    fn tell(&mut self, events: Vec<Event<Asked>>, reason: &str) {
        for event in events {
            match event {
                Event::Failed { token, failure } => token.failed(failure, &self.link),
                Event::Up { resumed, .. } => {
                    self.backoff.reset();
                    // There we are the owner of the mount, whoever that is.
                    let is_owner = self.link.how.insecure || matches!(self.link.how.address, Address::Tls { .. });
                    if !resumed && is_owner {
                        self.link.ask_who_we_are();
                    }
                    self.told = None;
                    self.report(LinkState::Up, if resumed { "resumed" } else { "linked" }, None);
                }
                Event::Down => {
                    if matches!(self.phase, Phase::Connected(_)) {
                        self.link.hear(|state| state.disconnect(Instant::now()));
                        self.rest();
                    }
                    if self.state == LinkState::Up {
                        self.told = Some(reason.to_owned());
                        self.report(LinkState::Broken, "unlinked", Some(reason.to_owned()));
                    } else {
                        self.told(reason);
                    }
                }
                Event::Lost(loss) => self.report(LinkState::Dialling, "lost", Some(loss.to_string())),
                Event::Refused(refusal) => {
                    self.told(&refusal.to_string());
                    self.link.hear(|state| state.disconnect(Instant::now()));
                    self.rest();
                    if let Refusal::Error { errno, .. } = refusal
                        && self.link.is_branch
                    {
                        self.link.end_with(Errno::from_raw_os_error(errno as i32));
                    }
                }
            }
        }
    }

    /// It cannot be reached. The same is not told again.
    fn told(&mut self, reason: &str) {
        if self.told.as_deref() != Some(reason) {
            self.told = Some(reason.to_owned());
            self.report(self.state, "unlinked", Some(reason.to_owned()));
        }
    }

    fn report(&mut self, state: LinkState, event: &'static str, reason: Option<String>) {
        self.state = state;
        if self.link.is_branch {
            // How the attachment fares is said by its own link.
            return tracing::debug!(node = self.meeting.name, event, reason, "a guest's link");
        }
        verb(&self.server, |server, fx| server.link(self.link.node, state, event, reason, fx));
    }
}
