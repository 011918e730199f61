//! What a write to `ctl` does.

use fs9_tiers::error::Reason;
use rustix::io::Errno;

use super::{Answered, Caller, Server};
use crate::channel::{Done, Kind};
use crate::ctl::Verb;
use crate::events::Event;
use crate::ticket::Effects;
use crate::tree::{Attr, File, ROOT};

impl Server {
    /// Does what one write to `ctl` says.
    pub(super) fn obey(&mut self, ctl: File, text: &[u8], caller: Caller, fx: &mut Effects) -> Answered<()> {
        let result = Verb::parse(text).and_then(|verb| self.carry_out(ctl, verb, caller, fx));
        if let Err(errno) = result {
            let said = String::from_utf8_lossy(&text[..text.len().min(200)]).trim_end().to_owned();
            let reason = Some(format!("ctl: {said}: {errno}"));
            self.report(Event { event: "refused", reason, uid: Some(caller.uid), ..Event::default() }, ROOT, None, fx);
        }
        result
    }

    pub(super) fn carry_out(&mut self, ctl: File, verb: Verb, caller: Caller, fx: &mut Effects) -> Answered<()> {
        match verb {
            Verb::HangUp(None) if ctl.node != ROOT => self.hang_up(ctl, fx),
            // A pair's ctl speaks of that pair only: who may use it need not be allowed the rest.
            _ if ctl.node != ROOT => Err(Errno::INVAL),
            Verb::New { pair, ack, name } => {
                let (dir, name) = name.rsplit_once('/').unwrap_or(("", &name));
                let dir = self.tree.find(dir)?;
                let kind = if pair { Kind::Pair } else { Kind::Queue { ack } };
                self.make(dir, name.as_bytes(), Attr::new(0o600, caller.uid, caller.gid), kind, fx).map(drop)
            }
            Verb::Remove(name) => {
                let file = self.tree.find(&name)?;
                self.remove_file(file, fx)
            }
            Verb::HangUp(Some(name)) => {
                let file = self.tree.find(&name)?;
                self.hang_up(file, fx)
            }
            Verb::HangUp(None) => Err(Errno::INVAL),
            Verb::Stop => {
                self.stopping = true;
                fx.stop();
                Ok(())
            }
        }
    }

    pub(super) fn hang_up(&mut self, file: File, fx: &mut Effects) -> Answered<()> {
        let mut done: Vec<Done> = Vec::new();
        let channel = self.tree.channel_mut(file.node)?;
        if channel.kind() != Kind::Pair {
            // Anybody may come to a queue at any time: there is no conversation to end.
            return Err(Errno::INVAL);
        }
        if !channel.is_held() {
            return Ok(()); // nobody talks, and whoever comes next should be able to
        }
        channel.hang_up(Reason::HungUp, &mut done);
        self.report(Event { event: "hungup", ..Event::default() }, file.node, None, fx);
        self.finish(file.node, done, fx);
        Ok(())
    }
}
