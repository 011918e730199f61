//! Who is to be woken when nothing is locked any more.
#![forbid(unsafe_code)]

use std::sync::{Arc, Mutex, PoisonError};

use super::channel::Channel;
use crate::slot::{Ring, Role};

/// Tasks that are to be woken.
#[derive(Default)]
pub(super) struct Bells(Mutex<Vec<(Arc<Channel>, Role)>>);

/// The bell of one channel.
pub(super) struct Bell<'a> {
    pub bells: &'a Bells,
    pub channel: &'a Arc<Channel>,
}

impl Bells {
    pub fn ring(self) {
        for (channel, role) in self.0.into_inner().unwrap_or_else(PoisonError::into_inner) {
            channel.end(role).wake_tasks();
        }
    }
}

impl Ring for Bell<'_> {
    fn ring(&self, role: Role) {
        let mut bells = self.bells.0.lock().unwrap_or_else(PoisonError::into_inner);
        bells.push((Arc::clone(self.channel), role));
    }
}
