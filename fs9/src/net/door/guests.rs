//! Those who come with a key: they are let in by what they were granted, what is decided about them is written down
//! before they are answered, and what they have open by what has ended is closed.

use std::sync::Arc;

use fs9_grants::Key;
use fs9_proto::{Fid, NO_FID, Qid, Reply, Request};
use fs9_tiers::error::Reason;
use rustix::io::Errno;

use super::{Door, Replied};
use crate::allotment::{Exhausted, Good, Share};
use crate::grants::{Refused, Shown};
use crate::net::spot::{self, Place};
use crate::server::access::Who;
use crate::ticket::Effects;

/// So much may be shown at once that is not attached with yet.
const SHOWN: usize = 4;

/// So often a client may attach at once: each has what was granted to it and what it has shown.
const ATTACHED: usize = 256;

impl Door<'_> {
    /// Serves somebody who came with a key. It is not answered before what was decided is written down.
    pub(super) fn serve_guest(&self, request: &Request<'_>, fx: &mut Effects) -> Replied {
        let was_corked = self.client.state().cork();
        self.sweep(fx);
        let served = self.introduce(request).unwrap_or_else(|| self.serve_anybody(request, fx));
        self.write_down(fx);
        if !was_corked {
            self.client.state().uncork();
        }
        served
    }

    /// Serves what comes before Tattach: Tauth, and what is written to its file, which are the chains of grants by
    /// which somebody comes (attach(5)). None for everything else.
    fn introduce(&self, request: &Request<'_>) -> Option<Replied> {
        let mut state = self.client.state();
        let reply = match *request {
            Request::Auth { afid, .. } => {
                let is_free = state.talk.admit(afid).is_ok() && !state.shown.contains_key(&afid);
                if !is_free || state.shown.len() >= SHOWN {
                    return Some(Err(Errno::BADF));
                }
                state.shown.insert(afid, Vec::new());
                Reply::Auth { aqid: Qid { kind: Qid::AUTH, version: 0, path: spot::fresh() } }
            }
            Request::Write { fid, data, .. } => {
                let before: usize = state.shown.values().map(Vec::len).sum();
                let chains = state.shown.get_mut(&fid)?;
                if before + data.len() > Shown::LONGEST {
                    return Some(Err(Errno::MSGSIZE));
                }
                chains.extend_from_slice(data);
                Reply::Write { count: data.len() as u32 }
            }
            Request::Clunk { fid } => {
                state.shown.remove(&fid)?;
                Reply::Clunk
            }
            _ => return None,
        };
        drop(state);
        self.reply(&reply);
        Some(Ok(()))
    }

    /// The chains of grants that were written to the file of Tauth; None where nothing is to be shown. It serves once.
    pub(super) fn shown(&self, afid: Fid) -> Result<Option<Vec<u8>>, Errno> {
        match afid {
            NO_FID => Ok(None),
            afid => self.client.state().shown.remove(&afid).map(Some).ok_or(Errno::BADF),
        }
    }

    /// Lets somebody in who has proved `key`, by the chains of grants that were shown. None, and why not was answered,
    /// if that allows nothing.
    pub(super) fn admit(&self, key: &Key, shown: Option<&[u8]>, fx: &mut Effects) -> Option<Arc<Who>> {
        let grants = self.house.grants.as_deref()?;
        let share = self.share().map_err(|exhausted| grants.turn_away(*key, exhausted));
        match share.and_then(|share| Ok((share, grants.admit(*key, shown)?))) {
            Ok((share, (guest, record))) => {
                self.server().tell_decision(&record, fx);
                self.client.state().receive(guest.clone(), share);
                Some(Arc::new(Who { guest: Some(guest), ..self.house.owner.clone() }))
            }
            Err(refused) => {
                self.refuse(&refused);
                self.server().turn_off(&self.client.origin.node, Some(key), refused.reason, fx);
                None
            }
        }
    }

    /// Answers why not.
    pub(super) fn refuse(&self, Refused { errno, reason }: &Refused) {
        self.reply(&Reply::Error { errno: errno.raw_os_error() as u32, reason });
    }

    /// A share of the connections that its key may have; None for one that has it already, which may not attach for
    /// ever.
    fn share(&self) -> Result<Option<Share>, Exhausted> {
        if self.client.state().guests().iter().filter(|guest| Arc::strong_count(guest) > 1).count() >= ATTACHED {
            let reason = format!("this client has attached {ATTACHED} times, as often as a client may");
            return Err(Exhausted { errno: Errno::MFILE, reason });
        }
        let allotment = self.client.origin.allotment.as_ref().filter(|_| self.client.state().guests().is_empty());
        allotment.map(|allotment| allotment.take(Good::Connections)).transpose()
    }

    /// Before a guest is served: what it had and has no more is closed.
    pub fn sweep(&self, fx: &mut Effects) {
        let guests = self.client.state().guests().to_vec();
        if guests.iter().filter(|guest| guest.has_lost()).count() > 0 {
            let fids: Vec<_> = self.client.state().talk.fids().map(|(fid, place)| (fid, place.clone())).collect();
            for (fid, place) in fids {
                if self.is_lost(&place) {
                    self.release(&place, Reason::Revoked, fx);
                    self.bind(fid, place.closed());
                }
            }
            self.write_down(fx);
        }
    }

    /// Whether what is open could not be opened any more.
    fn is_lost(&self, place: &Place) -> bool {
        let (who, wish) = match place {
            Place::Here(spot) => (&spot.who, spot.open.map(|open| self.server().wish(spot.file, open.flags))),
            Place::There(there) => (&there.who, self.wish_there(there)),
        };
        let (Some(guest), Some(wish)) = (&who.guest, wish) else { return false };
        // What was removed is nobody's.
        wish.is_ok_and(|wish| guest.may(&wish).is_err())
    }

    /// Writes down what was decided about the client. One about whom that cannot be done is told nothing more.
    pub fn write_down(&self, fx: &mut Effects) {
        let Some(grants) = self.house.grants.as_deref() else { return };
        let guests = self.client.state().guests().to_vec();
        for guest in guests {
            match grants.record(&guest) {
                Ok(records) => records.iter().for_each(|record| self.server().tell_decision(record, fx)),
                Err(_) => self.client.state().give_up(),
            }
        }
    }
}

/// What is answered at a descriptor that is not open: it may have been closed.
pub(super) fn closed(who: &Who) -> Errno {
    let has_less = who.guest.as_ref().is_some_and(|guest| guest.has_less());
    if has_less { Errno::KEYREVOKED } else { Errno::BADF }
}
