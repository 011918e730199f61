//! What a write to `ctl` does.

use fs9_tiers::error::Reason;
use rustix::io::Errno;

use super::{Answered, Caller, Server};
use crate::channel::Kind;
use crate::ctl::Verb;
use crate::events::Event;
use crate::grants::Decision;
use crate::ticket::Effects;
use crate::timer;
use crate::tree::{Body, File, ROOT};

impl Server {
    /// Does what one write to `ctl` says, or returns what is left to decide.
    pub(super) fn obey(
        &mut self,
        ctl: File,
        text: &[u8],
        caller: Caller,
        fx: &mut Effects,
    ) -> Answered<Option<Decision>> {
        let result = Verb::parse(text).and_then(|verb| match verb {
            Verb::Decide(_) if ctl.node != ROOT => Err(Errno::INVAL),
            // Who comes in is said at this machine: who has come in cannot let others in.
            Verb::Decide(_) if caller.session != 0 => Err(Errno::PERM),
            Verb::Decide(decision) => Ok(Some(decision)),
            verb => self.carry_out(ctl, verb, caller, fx).map(|()| None),
        });
        if let Err(errno) = result {
            let said = String::from_utf8_lossy(&text[..text.len().min(200)]).trim_end().to_owned();
            let reason = Some(format!("ctl: {said}: {errno}"));
            let event = Event { event: "refused", reason, uid: Some(caller.uid), ..Event::default() };
            self.report(event, File::of(ROOT), fx);
        }
        result
    }

    pub(super) fn carry_out(&mut self, ctl: File, verb: Verb, caller: Caller, fx: &mut Effects) -> Answered<()> {
        match verb {
            Verb::HangUp(None) if ctl.node != ROOT => self.hang_up(ctl, fx),
            // The ctl of a pair or a service speaks of that only: who may use it need not be allowed the rest.
            _ if ctl.node != ROOT => Err(Errno::INVAL),
            Verb::New { spec, name } => {
                let (dir, name) = name.rsplit_once('/').unwrap_or(("", &name));
                let dir = self.tree.find(dir)?;
                self.make(dir, name.as_bytes(), 0o600, spec, caller, fx).map(drop)
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
            Verb::Attach { name, how } => self.attach(&name, how, caller, fx),
            Verb::Detach(name) => self.detach(&name, fx),
            Verb::Decide(_) => Err(Errno::INVAL),
            Verb::Stop => {
                self.stopping = true;
                fx.stop();
                Ok(())
            }
        }
    }

    pub(super) fn hang_up(&mut self, file: File, fx: &mut Effects) -> Answered<()> {
        if timer::period(file.node).is_some() {
            return Err(Errno::INVAL);
        }
        let talks = match &self.tree.node(file.node)?.body {
            Body::Service(service) => !service.connections.is_empty(),
            Body::Channel(channel) if channel.kind() == Kind::Pair => channel.is_held(),
            // Anybody may come to a queue or a topic at any time: there is no conversation to end.
            _ => return Err(Errno::INVAL),
        };
        // If nobody talks, whoever comes next should be able to.
        if talks {
            self.report(Event { event: "hungup", ..Event::default() }, File::of(file.node), fx);
            self.hang_up_channel(file.node, Reason::HungUp, fx);
            self.end_service(file.node, Reason::HungUp, false, fx);
        }
        Ok(())
    }
}
