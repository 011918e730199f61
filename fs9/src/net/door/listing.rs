//! What is in a directory: entries of 9P2000.L, records of 9P2000.

use fs9_proto::entry::Entry;
use fs9_proto::stat::Stat;
use fs9_proto::{Dialect, Fid, Qid, Reply};
use rustix::io::Errno;

use super::super::spot::{Open, Place, Spot, qid};
use super::attributes::record;
use super::{Door, Replied};
use crate::tree::{File, NODES};

impl Door<'_> {
    pub(super) fn readdir(&self, fid: Fid, offset: u64, count: u32) -> Replied {
        let (spot, open) = self.opened(fid)?;
        let room = self.room(count);
        let from = usize::try_from(offset).map_err(|_| Errno::INVAL)?;
        let mut data = Vec::new();
        let mut server = self.server();
        let sight = server.view_of(spot.file, &spot.who)?;
        for (place, entry) in server.list(open.handle, offset == 0)?.iter().enumerate().skip(from) {
            let is_hidden = entry.file == File::of(NODES) && !self.house.export_nodes;
            if is_hidden || !sight.has(&entry.name) {
                continue;
            }
            let (kind, of) = if entry.directory { (Entry::DIR, Qid::DIR) } else { (Entry::FILE, Qid::FILE) };
            let qid = Qid { kind: of, version: 0, path: entry.file.ino() };
            let entry = Entry { qid, offset: place as u64 + 1, kind, name: &entry.name };
            if !entry.list(room, &mut data) {
                break;
            }
        }
        drop(server);
        self.reply(&Reply::Readdir { data: &data });
        Ok(())
    }

    /// A read of a directory: from its beginning, or where the one before has ended (read(5)).
    pub(super) fn read_directory(&self, fid: Fid, spot: &Spot, open: Open, offset: u64, count: u32) -> Replied {
        if self.client.state().talk.dialect() != Dialect::Old {
            return Err(Errno::ISDIR);
        }
        let (at, mut from) = if offset == 0 { (0, 0) } else { open.next };
        if offset != at {
            return Err(Errno::INVAL);
        }
        let room = self.room(count);
        let mut data = Vec::new();
        let mut server = self.server();
        let sight = server.view_of(spot.file, &spot.who)?;
        let entries = server.list(open.handle, offset == 0)?.iter().skip(from);
        let entries: Vec<_> = entries.take(room / Stat::KEEP.size() + 2).cloned().collect();
        for entry in entries {
            // 9P2000 has no dots. What has been removed since is not listed, nor are other nodes unless that was asked
            // for.
            let is_hidden = entry.file == File::of(NODES) && !self.house.export_nodes;
            let is_seen = !matches!(&*entry.name, "." | "..") && !is_hidden && sight.has(&entry.name);
            let stat = server.stat(entry.file).ok().filter(|_| is_seen);
            let fits = stat.is_none_or(|stat| {
                let qid = qid(entry.file, &stat, entry.file.ino());
                record(&entry.name, qid, &stat, |record| record.list(room, &mut data))
            });
            if !fits {
                break;
            }
            from += 1;
        }
        drop(server);
        let next = Some(Open { next: (offset + data.len() as u64, from), ..open });
        self.bind(fid, Place::Here(Spot { open: next, ..spot.clone() }));
        self.reply(&Reply::Read { data: &data });
        Ok(())
    }
}
