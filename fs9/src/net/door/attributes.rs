//! What stat(2) shows, in both dialects, and what of it can be changed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fs9_proto::attr::{self, BASIC, SetAttr, SetTime, Time};
use fs9_proto::stat::{self, DMDIR};
use fs9_proto::{Fid, Qid, Reply};
use rustix::fs::FileType;
use rustix::io::Errno;

use super::super::spot::{Place, Spot};
use super::{Door, Replied};
use crate::server::Flags;
use crate::server::access::Change;
use crate::tree::{Attr, File, ROOT, Stat};

/// The unit in which stdio and others read and write, as of the FUSE door.
const BLOCK: u32 = 65_536;

impl Door<'_> {
    /// A file of which this node knows the attributes: its own, and the roots of others.
    fn known_spot(&self, fid: Fid) -> Result<Spot, Errno> {
        match self.place(fid)? {
            Place::There(there) if there.is_known_here() => self.spot_of_root(&there),
            _ => self.spot(fid),
        }
    }

    pub(super) fn getattr(&self, fid: Fid) -> Replied {
        let spot = self.known_spot(fid)?;
        let Stat { directory, nlink, attr, .. } = self.stat_of(&spot)?;
        let kind = if directory { FileType::Directory } else { FileType::RegularFile };
        let attr = attr::Attr {
            valid: BASIC,
            qid: spot.qid,
            mode: kind.as_raw_mode() | attr.mode,
            uid: attr.uid,
            gid: attr.gid,
            nlink: nlink.into(),
            blksize: BLOCK.into(),
            atime: time(attr.atime),
            mtime: time(attr.mtime),
            ctime: time(attr.ctime),
            ..attr::Attr::default()
        };
        self.reply(&Reply::Getattr { attr });
        Ok(())
    }

    /// What is to be known of a file that was walked to, as long as it may be.
    fn stat_of(&self, spot: &Spot) -> Result<Stat, Errno> {
        let server = self.server();
        server.check_seen(spot.file, &spot.who)?;
        server.stat(spot.file)
    }

    pub(super) fn setattr(&self, fid: Fid, to: &SetAttr) -> Replied {
        let spot = self.known_spot(fid)?;
        let mut server = self.server();
        // Truncation changes nothing: a peer has no length. Shells ask for it with every `>`, and for the time with it.
        if to.size.is_some() {
            if !spot.open.is_some_and(|open| open.flags.write) {
                server.check_open(spot.file, &spot.who, Flags { write: true, ..Flags::default() })?;
            }
        } else {
            let times = [to.atime, to.mtime];
            let change = Change {
                mode: to.mode,
                uid: to.uid,
                gid: to.gid,
                times: times.iter().any(|time| matches!(time, Some(SetTime::At(_)))),
                touch: times.contains(&Some(SetTime::Now)),
            };
            let mode = server.check_change(spot.file, &spot.who, change)?;
            let is_owned = change.mode.is_some() || change.uid.is_some() || change.gid.is_some();
            if is_owned || change.times || change.touch {
                server.set_attr(spot.file, |attr| {
                    attr.mode = mode.unwrap_or(attr.mode);
                    attr.uid = to.uid.unwrap_or(attr.uid);
                    attr.gid = to.gid.unwrap_or(attr.gid);
                    attr.atime = to.atime.map_or(attr.atime, time_of);
                    attr.mtime = to.mtime.map_or(attr.mtime, time_of);
                })?;
            }
        }
        drop(server);
        self.reply(&Reply::Setattr);
        Ok(())
    }

    pub(super) fn stat(&self, fid: Fid) -> Replied {
        let spot = self.known_spot(fid)?;
        let (stat, (_, name)) = (self.stat_of(&spot)?, self.server().place(spot.file)?);
        let name = if spot.file == File::of(ROOT) { "/" } else { &name };
        record(name, spot.qid, &stat, |stat| self.reply(&Reply::Stat { stat }));
        Ok(())
    }

    pub(super) fn wstat(&self, fid: Fid, to: &stat::Stat<'_>) -> Replied {
        let spot = self.known_spot(fid)?;
        let mut server = self.server();
        let (is, (dir, name)) = (server.stat(spot.file)?, server.place(spot.file)?);
        let Changed { mode, gid, mtime } = Changed::of(to)?;
        if mode.is_some() && (to.mode & DMDIR != 0) != is.directory {
            return Err(Errno::PERM);
        }
        let change = Change { mode, gid, times: mtime.is_some(), ..Change::default() };
        let mode = server.check_change(spot.file, &spot.who, change)?;
        if !to.name.is_empty() && to.name != name {
            server.check_rename((dir, name.as_bytes()), (dir, to.name.as_bytes()), &spot.who)?;
            server.rename(dir, name.as_bytes(), dir, to.name.as_bytes())?;
        }
        if mode.is_some() || gid.is_some() || mtime.is_some() {
            server.set_attr(spot.file, |attr| {
                attr.mode = mode.unwrap_or(attr.mode);
                attr.gid = gid.unwrap_or(attr.gid);
                attr.mtime = mtime.map_or(attr.mtime, |secs| UNIX_EPOCH + Duration::from_secs(secs.into()));
            })?;
        }
        drop(server);
        self.reply(&Reply::Wstat);
        Ok(())
    }

    pub(super) fn statfs(&self) {
        /// V9FS_MAGIC.
        const KIND: u32 = 0x0102_1997;
        let (used, limit) = self.server().room();
        let statfs = attr::Statfs {
            kind: KIND,
            bsize: BLOCK,
            files: limit as u64,
            ffree: limit.saturating_sub(used) as u64,
            namelen: 255,
            ..attr::Statfs::default()
        };
        self.reply(&Reply::Statfs { statfs });
    }
}

/// What a Twstat changes beside the name.
pub(super) struct Changed {
    pub mode: Option<u32>,
    pub gid: Option<u32>,
    pub mtime: Option<u32>,
}

impl Changed {
    /// As the record says it.
    ///
    /// # Errors
    /// EPERM for what cannot be changed, EINVAL for a group that is no number.
    pub(super) fn of(to: &stat::Stat<'_>) -> Result<Changed, Errno> {
        let keep = stat::Stat::KEEP;
        let fixed = (to.uid, to.muid) == ("", "") && (to.kind, to.dev, to.qid) == (keep.kind, keep.dev, keep.qid);
        // A length cannot be but 0. That somebody changes the time of reading is not foreseen (stat(5)).
        let kept = [keep.length, 0].contains(&to.length) && to.atime == keep.atime;
        if !fixed || !kept {
            return Err(Errno::PERM);
        }
        let gid = match to.gid {
            "" => None,
            group => Some(group.parse().map_err(|_| Errno::INVAL)?),
        };
        let mode = (to.mode != keep.mode).then_some(to.mode & 0o777);
        Ok(Changed { mode, gid, mtime: (to.mtime != keep.mtime).then_some(to.mtime) })
    }
}

/// A record of stat(5). Users and groups are told by their numbers: their names are of this machine.
pub(super) fn record<T>(name: &str, qid: Qid, stat: &Stat, with: impl FnOnce(stat::Stat<'_>) -> T) -> T {
    let Attr { mode, uid, gid, atime, mtime, .. } = stat.attr;
    let (uid, gid) = (uid.to_string(), gid.to_string());
    with(stat::Stat {
        kind: 0,
        dev: 0,
        qid,
        mode: mode & 0o777 | if stat.directory { DMDIR } else { 0 },
        atime: seconds(atime),
        mtime: seconds(mtime),
        length: 0,
        name,
        uid: &uid,
        gid: &gid,
        muid: &uid,
    })
}

fn since(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn seconds(time: SystemTime) -> u32 {
    u32::try_from(since(time).as_secs()).unwrap_or(u32::MAX)
}

fn time(time: SystemTime) -> Time {
    let since = since(time);
    Time { secs: since.as_secs() as i64, nsecs: since.subsec_nanos() }
}

/// A time that is to be set. Before 1970 and beyond what the clock can hold, the nearest that it can.
fn time_of(time: SetTime) -> SystemTime {
    let SetTime::At(Time { secs, nsecs }) = time else { return SystemTime::now() };
    let secs = u64::try_from(secs).unwrap_or_default().min(1 << 40);
    UNIX_EPOCH.checked_add(Duration::new(secs, nsecs)).unwrap_or(UNIX_EPOCH)
}
