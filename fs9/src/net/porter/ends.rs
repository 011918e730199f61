//! What was granted ends: by its time, or because it was revoked.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use fs9_proto::NO_TAG;

use super::{Alarm, House, Porter};
use crate::net::door::Door;

/// What was granted is looked at so soon and so late when the time has come that it ends.
const SOON: Duration = Duration::from_millis(50);
const LOOK: Duration = Duration::from_secs(60);

impl Porter {
    /// What guests have open by what has ended is closed.
    pub(super) fn sweep(&mut self) {
        let attached = self.connections.iter().filter_map(|(_, connection)| connection.client());
        let kept = self.sessions.values().map(|kept| &kept.client);
        let guests = attached.chain(kept).filter(|client| !client.state().guests().is_empty());
        let clients: Vec<_> = guests.cloned().collect();
        for client in &clients {
            Door { house: &self.house, client, tag: NO_TAG }.sweep(&mut self.fx);
        }
        if self.fx.carry_out() {
            self.house.stopper.stop();
        }
        watch(&self.house, &mut self.alarms);
    }
}

/// Has what was granted be looked at when the next of it ends; and now and then, for clocks do not run alike. (That the
/// machine's is set is told by `wall`.)
pub(super) fn watch(house: &House, alarms: &mut BTreeSet<(Instant, Alarm)>) {
    let Some(rest) = house.grants.as_ref().and_then(|grants| grants.next_end()) else { return };
    alarms.retain(|(_, alarm)| *alarm != Alarm::Ends);
    alarms.insert((Instant::now() + rest.clamp(SOON, LOOK), Alarm::Ends));
}
