//! An end on its way to another process.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::capability::{Capability, Inner, Refusal};
use crate::process::link::Link;
use crate::process::passport::Passport;

/// An end that is being handed over. Dropped before it is complete, the end is back.
pub(super) struct Departure<'a> {
    capability: &'a Capability,
    pub passport: Passport,
    holder: Option<OwnedFd>,
    complete: bool,
}

impl<'a> Departure<'a> {
    pub fn of(capability: &'a Capability, over: &Arc<Link>) -> Result<Self, Refusal> {
        let (passport, holder) = match &capability.0 {
            Inner::Arrived(luggage) => {
                // A claim that failed may have introduced this process.
                luggage.tell_moving();
                (luggage.passport, None)
            }
            Inner::Remote(_) => return Err(Refusal::Remote),
            Inner::Here(held) => {
                let link = held.link()?;
                if link.is_of_channel(over) {
                    return Err(Refusal::Itself);
                }
                let holder = link.depart()?;
                (link.passport(held.kind(), holder.is_some()), holder)
            }
        };
        Ok(Departure { capability, passport, holder, complete: false })
    }

    fn link(&self) -> Option<&'a Arc<Link>> {
        match &self.capability.0 {
            Inner::Here(held) => held.link().ok(),
            Inner::Arrived(_) | Inner::Remote(_) => None,
        }
    }

    /// In the order in which [`Luggage::collect`] expects them.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match (&self.capability.0, self.link()) {
            (_, Some(link)) => {
                let both = link.descriptors();
                both.into_iter().chain(self.holder.as_ref().map(AsFd::as_fd)).collect()
            }
            (Inner::Arrived(luggage), None) => luggage.descriptors(),
            (Inner::Here(_) | Inner::Remote(_), None) => Vec::new(),
        }
    }

    pub fn complete(mut self) {
        self.complete = true;
    }
}

impl Drop for Departure<'_> {
    fn drop(&mut self) {
        if let Some(link) = self.link()
            && !self.complete
        {
            link.come_back();
        }
    }
}
