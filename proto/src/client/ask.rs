//! What was asked: calls, the requests they are made of, and the tags that name those on the wire.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::Call;
use crate::message::{Dialect, Fid, NO_TAG, NONBLOCK, Request, Tag};

/// How long somebody waits, and what it means when nobody answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The far side has it answered at once.
    Prompt,
    /// A message goes there.
    Send { waits: bool },
    /// A message comes from there.
    Receive { waits: bool },
    /// Readiness.
    Watch,
}

impl Kind {
    pub fn of(request: &Request<'_>) -> Kind {
        match *request {
            Request::Send { flags, .. } => Kind::Send { waits: flags & NONBLOCK == 0 },
            Request::Recv { flags, .. } => Kind::Receive { waits: flags & NONBLOCK == 0 },
            // What has a position is a text, and no text waits for anybody.
            Request::Write { .. } => Kind::Send { waits: false },
            Request::Watch { .. } => Kind::Watch,
            _ => Kind::Prompt,
        }
    }

    pub const fn sends(self) -> bool {
        matches!(self, Kind::Send { .. })
    }

    const fn waits(self) -> bool {
        matches!(self, Kind::Send { waits: true } | Kind::Receive { waits: true } | Kind::Watch)
    }
}

/// What a tag stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Part of a call, of which there may be nobody left to answer.
    Call(Call),
    /// A Tflush of that tag.
    Flush(Tag),
    /// The end of a fid.
    Release(Fid),
    /// Who asks for the root of a new session.
    Introduce,
    /// The root of a new session.
    Attach,
    /// Answered, and not to be used before its Tflush is.
    Answered,
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub purpose: Purpose,
    /// The number of the message.
    pub number: u8,
    /// Whether its reply takes something from the fid.
    pub receives: bool,
    pub fid: Option<Fid>,
    pub newfid: Option<Fid>,
    /// The most that the reply may have: bytes of Rrecv, elements of Rwalk.
    pub most: u32,
    /// A Tflush of it is on its way.
    pub flushed: bool,
    /// It may have taken something that nobody waits for any more.
    orphan: bool,
    /// Its place among those that were never sent; none once it was.
    pending: Option<u64>,
}

#[derive(Debug)]
struct Party<T> {
    token: T,
    kind: Kind,
    asked: Instant,
    /// Those that were not answered, in order.
    tags: VecDeque<Tag>,
    /// Whether any was ever sent.
    sent: bool,
    /// Cancelled, and ends by then.
    until: Option<Instant>,
}

/// What is left of a call that was cancelled.
#[derive(Debug)]
pub(super) struct Left {
    pub withdrawn: Vec<Asked>,
    /// The far side has none of it.
    pub none_sent: bool,
}

/// All that was asked and has not ended.
#[derive(Debug)]
pub(super) struct Asking<T> {
    calls: FxHashMap<Call, Party<T>>,
    tags: FxHashMap<Tag, Asked>,
    /// Frames that were never sent, by their places, which go up.
    pending: VecDeque<(u64, Tag, Bytes)>,
    pending_bytes: usize,
    places: u64,
    last_call: u64,
    next_tag: u16,
    /// Calls that fail after a silence, the oldest first.
    prompt: BTreeSet<Call>,
    cancelled: BTreeSet<(Instant, Call)>,
    /// Where something may have been taken that nobody waits for, and how often. The next request to receive there says
    /// that what came before has arrived, so it is held back until that is true.
    orphans: FxHashMap<Fid, u32>,
}

impl<T> Default for Asking<T> {
    fn default() -> Asking<T> {
        Asking {
            calls: FxHashMap::default(),
            tags: FxHashMap::default(),
            pending: VecDeque::new(),
            pending_bytes: 0,
            places: 0,
            last_call: 0,
            next_tag: 0,
            prompt: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            orphans: FxHashMap::default(),
        }
    }
}

impl<T> Asking<T> {
    pub fn len(&self) -> usize {
        self.tags.len()
    }

    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// A call of no requests yet.
    pub fn call(&mut self, now: Instant, kind: Kind, token: T) -> Call {
        self.last_call += 1;
        let call = Call(self.last_call);
        self.calls.insert(call, Party { token, kind, asked: now, tags: VecDeque::new(), sent: false, until: None });
        if !kind.waits() {
            self.prompt.insert(call);
        }
        call
    }

    /// One more request of a call.
    pub fn ask(&mut self, call: Call, request: &Request<'_>) {
        let Some(tag) = self.push(Purpose::Call(call), request) else { return };
        if let Some(party) = self.calls.get_mut(&call) {
            party.tags.push_back(tag);
        }
    }

    /// The end of a fid.
    pub fn release(&mut self, fid: Fid, request: &Request<'_>) {
        self.push(Purpose::Release(fid), request);
    }

    /// What has the root of a new session attached, before all else: nothing is pending then that was asked of an
    /// earlier one.
    pub fn attach(&mut self, requests: &[Request<'_>]) {
        requests.iter().rev().for_each(|request| self.push_first(request));
    }

    fn push_first(&mut self, request: &Request<'_>) {
        let is_last = matches!(request, Request::Attach { .. });
        if let Some(tag) = self.push(if is_last { Purpose::Attach } else { Purpose::Introduce }, request) {
            if let Some(last) = self.pending.pop_back() {
                self.pending.push_front((0, last.1, last.2));
            }
            if let Some(asked) = self.tags.get_mut(&tag) {
                asked.pending = Some(0);
            }
        }
    }

    /// The next frame that was never sent, which now is.
    pub fn next(&mut self) -> Option<Bytes> {
        let (_, tag, frame) = self.pending.remove(self.ready()?)?;
        self.pending_bytes -= frame.len();
        if let Some(asked) = self.tags.get_mut(&tag) {
            asked.pending = None;
            if let Purpose::Call(call) = asked.purpose
                && let Some(party) = self.calls.get_mut(&call)
            {
                party.sent = true;
            }
        }
        Some(frame)
    }

    /// The first that need not be held back.
    fn ready(&self) -> Option<usize> {
        let held_back = |asked: &Asked| asked.receives && asked.fid.is_some_and(|fid| self.orphans.contains_key(&fid));
        let mut tags = self.pending.iter().map(|(_, tag, _)| tag);
        if self.orphans.is_empty() {
            return tags.next().map(|_| 0);
        }
        tags.position(|tag| self.tags.get(tag).is_none_or(|asked| !held_back(asked)))
    }

    /// The request with this tag, if the far side can have it.
    pub fn sent(&self, tag: Tag) -> Option<&Asked> {
        self.tags.get(&tag).filter(|asked| asked.pending.is_none())
    }

    /// This request is answered, or never will be. Its tag is free, unless a Tflush of it is on its way.
    pub fn done(&mut self, tag: Tag) {
        let Some(asked) = self.tags.get_mut(&tag) else { return };
        if let Purpose::Call(call) = asked.purpose
            && let Some(party) = self.calls.get_mut(&call)
        {
            party.tags.retain(|other| *other != tag);
        }
        if std::mem::take(&mut asked.orphan)
            && let Some(fid) = asked.fid
            && let Some(count) = self.orphans.get_mut(&fid)
        {
            *count -= 1;
            if *count == 0 {
                self.orphans.remove(&fid);
            }
        }
        if asked.flushed {
            asked.purpose = Purpose::Answered;
        } else {
            self.tags.remove(&tag);
        }
    }

    /// A Tflush of `tag` is answered: the tag is free. What it stood for, if it was never answered.
    pub fn flushed(&mut self, tag: Tag) -> Option<Asked> {
        let asked = self.tags.get_mut(&tag)?;
        asked.flushed = false;
        let asked = *asked;
        self.done(tag);
        Some(asked).filter(|asked| asked.purpose != Purpose::Answered)
    }

    /// Whether the call waits for this one alone.
    pub fn is_last(&self, call: Call, tag: Tag) -> bool {
        self.calls.get(&call).is_some_and(|party| party.tags.back() == Some(&tag))
    }

    /// Whether somebody is there to be answered.
    pub fn is_waiting(&self, call: Call) -> bool {
        self.calls.contains_key(&call)
    }

    /// The call has ended: whom to tell, and what was withdrawn of it. The far side answers the rest to nobody.
    pub fn settle(&mut self, call: Call) -> Option<(T, Vec<Asked>)> {
        let party = self.calls.remove(&call)?;
        self.prompt.remove(&call);
        if let Some(until) = party.until {
            self.cancelled.remove(&(until, call));
        }
        let withdrawn = self.withdraw(party.tags.iter().copied());
        for tag in party.tags {
            let Some(asked) = self.tags.get_mut(&tag).filter(|asked| asked.receives) else { continue };
            asked.orphan = true;
            asked.fid.iter().for_each(|fid| *self.orphans.entry(*fid).or_default() += 1);
        }
        Some((party.token, withdrawn))
    }

    /// What was never sent is withdrawn; of the rest the far side is told that nobody waits for it.
    pub fn cancel(&mut self, call: Call, until: Instant) -> Option<Left> {
        let party = self.calls.get_mut(&call).filter(|party| party.until.is_none())?;
        party.until = Some(until);
        let tags = std::mem::take(&mut party.tags);
        let withdrawn = self.withdraw(tags.iter().copied());
        let left: VecDeque<Tag> = tags.into_iter().filter(|tag| self.tags.contains_key(tag)).collect();
        self.cancelled.insert((until, call));
        for tag in &left {
            let flush = self.push(Purpose::Flush(*tag), &Request::Flush { oldtag: *tag });
            if let (Some(_), Some(asked)) = (flush, self.tags.get_mut(tag)) {
                asked.flushed = true;
            }
        }
        let none_sent = left.is_empty();
        if let Some(party) = self.calls.get_mut(&call) {
            party.tags = left;
        }
        Some(Left { withdrawn, none_sent })
    }

    /// The end of a fid that nothing was made of need not be sent.
    pub fn withdraw_release(&mut self, fid: Fid) {
        let release = self.pending.iter().map(|(_, tag, _)| *tag);
        let mut release = release.filter(|tag| self.tags.get(tag).is_some_and(|a| a.purpose == Purpose::Release(fid)));
        if let Some(tag) = release.next() {
            self.withdraw([tag]);
        }
    }

    pub fn has_orphans(&self, fid: Fid) -> bool {
        self.orphans.contains_key(&fid)
    }

    /// The far side has forgotten the fid: what comes of it now is of nobody, least of all of who has the number next.
    pub fn disown(&mut self, fid: Fid) {
        if self.orphans.remove(&fid).is_some() {
            let orphans = self.tags.values_mut().filter(|asked| asked.orphan && asked.fid == Some(fid));
            orphans.for_each(|asked| (asked.orphan, asked.fid) = (false, None));
        }
    }

    /// When the next call fails if nothing comes, and what failed by `now`: the far side was last heard at `heard`.
    pub fn silent(&self, heard: Option<Instant>) -> Option<(Instant, Call)> {
        let call = *self.prompt.first()?;
        let asked = self.calls.get(&call)?.asked;
        Some((heard.map_or(asked, |heard| heard.max(asked)), call))
    }

    /// The cancelled call that ends first.
    pub fn ending(&self) -> Option<(Instant, Call)> {
        self.cancelled.first().copied()
    }

    /// Whether the far side may have a message of this call.
    pub fn may_be_sent(&self, call: Call) -> bool {
        self.calls.get(&call).is_some_and(|party| party.kind.sends() && party.sent)
    }

    /// The session is gone: whom to tell, in the order of asking, and whether anything was sent for them.
    pub fn clear(&mut self) -> Vec<(T, Kind, bool)> {
        self.tags.clear();
        self.pending.clear();
        self.pending_bytes = 0;
        self.prompt.clear();
        self.cancelled.clear();
        self.orphans.clear();
        let mut all: Vec<_> = self.calls.drain().collect();
        all.sort_unstable_by_key(|(call, _)| *call);
        all.into_iter().map(|(_, party)| (party.token, party.kind, party.sent)).collect()
    }

    fn push(&mut self, purpose: Purpose, request: &Request<'_>) -> Option<Tag> {
        let tag = self.free_tag()?;
        let mut frame = Vec::with_capacity(room(request));
        request.emit(Dialect::Own, tag, &mut frame);
        self.places += 1;
        let asked = Asked {
            purpose,
            number: frame[4],
            receives: matches!(request, Request::Recv { .. }),
            fid: request.fid(),
            newfid: request.newfid(),
            most: most(request),
            flushed: false,
            orphan: false,
            pending: Some(self.places),
        };
        self.tags.insert(tag, asked);
        self.pending_bytes += frame.len();
        self.pending.push_back((self.places, tag, Bytes::from(frame)));
        Some(tag)
    }

    /// The next tag in turn, so that none is used again soon.
    fn free_tag(&mut self) -> Option<Tag> {
        if self.tags.len() >= usize::from(NO_TAG.0) {
            return None;
        }
        loop {
            let tag = Tag(self.next_tag);
            self.next_tag = if self.next_tag == NO_TAG.0 - 1 { 0 } else { self.next_tag + 1 };
            if !self.tags.contains_key(&tag) {
                return Some(tag);
            }
        }
    }

    fn withdraw(&mut self, tags: impl IntoIterator<Item = Tag>) -> Vec<Asked> {
        let mut withdrawn = Vec::new();
        for tag in tags {
            let Some(place) = self.tags.get(&tag).and_then(|asked| asked.pending) else { continue };
            let at = self.pending.binary_search_by_key(&place, |(place, ..)| *place);
            if let Some((_, _, frame)) = at.ok().and_then(|at| self.pending.remove(at)) {
                self.pending_bytes -= frame.len();
            }
            withdrawn.extend(self.tags.remove(&tag));
        }
        withdrawn
    }
}

/// Bytes to make ready for a frame.
fn room(request: &Request<'_>) -> usize {
    match request {
        Request::Send { data, .. } | Request::Write { data, .. } => data.len() + 32,
        _ => 64,
    }
}

/// The most that a reply may have of what is to be checked.
fn most(request: &Request<'_>) -> u32 {
    match *request {
        Request::Recv { count, .. } | Request::Read { count, .. } | Request::Readdir { count, .. } => count,
        Request::Walk { names, .. } => names.len() as u32,
        _ => 0,
    }
}
