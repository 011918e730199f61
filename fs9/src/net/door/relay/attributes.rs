//! What stat(2) shows of files at other nodes, in both dialects, and what of it can be changed.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use fs9_proto::attr::{Attr, BASIC, SetAttr, SetTime, Time};
use fs9_proto::client::ROOT;
use fs9_proto::stat;
use fs9_proto::{Reply, Request};

use super::super::super::spot::There;
use super::super::attributes::{Changed, record};
use super::super::{Door, Replied};
use super::Owed;
use crate::ticket::Effects;
use crate::tree;

impl Door<'_> {
    /// Serves what is asked of attributes. What no node need be asked for is answered here.
    pub(super) fn relay_attributes(&self, there: &Arc<There>, request: &Request<'_>, fx: &mut Effects) -> Replied {
        match *request {
            Request::Getattr { .. } => self.show_there(there, |owed, attr, _| owed.reply(&Reply::Getattr { attr })),
            Request::Stat { .. } => self.show_there(there, |owed, attr, there| {
                record(there.path.name(), attr.qid, &stat_of(&attr), |stat| owed.reply(&Reply::Stat { stat }));
            }),
            Request::Setattr { attr, .. } => {
                let at = (&there.path, there.open.map(|open| open.fid));
                there.link.attr(self.is_done(Reply::Setattr), at, Some(attr));
            }
            Request::Wstat { ref stat, .. } => self.wstat_there(there, stat)?,
            Request::Statfs { .. } => {
                let asker = self.asker(|owed, reply| {
                    if let Reply::Statfs { statfs } = *reply {
                        owed.reply(&Reply::Statfs { statfs });
                    }
                });
                there.link.ask(asker, &[Request::Statfs { fid: ROOT }]);
            }
            _ => return self.dispatch(request, fx),
        }
        Ok(())
    }

    /// Asks for the attributes, as they are shown here.
    fn show_there(&self, there: &Arc<There>, show: fn(Owed, Attr, &There)) {
        let (walked, dialect) = (there.clone(), self.dialect());
        let asker = self.asker(move |owed, reply| {
            let Reply::Getattr { attr } = *reply else { return };
            let (uid, gid) = walked.link.owner(attr.uid, attr.gid);
            show(owed, Attr { uid, gid, qid: walked.qid(attr.qid, dialect), ..attr }, &walked);
        });
        there.link.attr(asker, (&there.path, there.open.map(|open| open.fid)), None);
    }

    fn wstat_there(&self, there: &There, to: &stat::Stat<'_>) -> Replied {
        let Changed { mode, gid, mtime } = Changed::of(to)?;
        let mtime = mtime.map(|secs| SetTime::At(Time { secs: secs.into(), nsecs: 0 }));
        let attr = SetAttr { mode, gid, mtime, ..SetAttr::default() };
        let (dir, name) = (there.path.parent(), there.path.name());
        let moves = !to.name.is_empty() && to.name != name;
        let asker = match moves {
            true => self.has_moved(there, (there.path.clone(), dir.below(to.name)?), Reply::Wstat),
            false => self.is_done(Reply::Wstat),
        };
        there.link.walk(asker, &[&there.path, &dir], |fids| {
            let mut requests = vec![Request::Getattr { fid: fids[0], mask: BASIC }];
            if attr != SetAttr::default() {
                requests.push(Request::Setattr { fid: fids[0], attr });
            }
            if moves {
                let (olddfid, newdfid) = (fids[1], fids[1]);
                requests.push(Request::Renameat { olddfid, oldname: name, newdfid, newname: to.name });
            }
            requests
        });
        Ok(())
    }
}

/// The same attributes as the tree has them.
fn stat_of(attr: &Attr) -> tree::Stat {
    let time = |time: Time| {
        let since = Duration::new(u64::try_from(time.secs).unwrap_or(0).min(1 << 40), time.nsecs);
        UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
    };
    let [atime, mtime, ctime] = [attr.atime, attr.mtime, attr.ctime].map(time);
    tree::Stat {
        ino: attr.qid.path,
        directory: attr.qid.is_dir(),
        nlink: attr.nlink as u32,
        attr: tree::Attr { mode: attr.mode & 0o7777, uid: attr.uid, gid: attr.gid, atime, mtime, ctime },
    }
}
