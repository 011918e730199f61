//! Where a file of another node is: the names that lead to it from the root of that node's tree.

use std::sync::Arc;

use fs9_proto::client::ROOT;
use fs9_proto::message::{Fid, MAX_WALK, Names, Request};
use rustix::io::Errno;

use crate::view::View;

/// Bytes of a name with its view.
const NAME_MAX: usize = 255 + ":whole".len();

/// The directory of the nodes that a node has attached, and so many of them a path may lead through one after the
/// other. Who walks through everything comes to an end, also where nodes have attached each other.
const NODES: &str = "n";
const DEEPEST: usize = 8;

/// See the [module](self).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Path(Arc<[Box<str>]>);

impl Path {
    /// The root.
    pub fn root() -> Path {
        Path([].into())
    }

    /// Whether it is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The file `name` in this directory; for `.` and `..` what they mean, but that nothing is above the root.
    ///
    /// # Errors
    /// ENAMETOOLONG; ELOOP when it leads through too many nodes.
    pub fn below(&self, name: &str) -> Result<Path, Errno> {
        match name {
            "." => return Ok(self.clone()),
            ".." => return Ok(self.parent()),
            _ if name.len() > NAME_MAX => return Err(Errno::NAMETOOLONG),
            _ => {}
        }
        let path = Path(self.0.iter().cloned().chain([name.into()]).collect());
        let nodes = path.0.chunks(2).take_while(|pair| &*pair[0] == NODES && pair.len() == 2).count();
        if nodes < DEEPEST { Ok(path) } else { Err(Errno::LOOP) }
    }

    /// The directory that it is in.
    pub fn parent(&self) -> Path {
        Path(self.0[..self.0.len().saturating_sub(1)].into())
    }

    /// Where it is when `from` has become `to`. None for what is not `from`, nor below it.
    pub fn moved(&self, from: &Path, to: &Path) -> Option<Path> {
        let rest = self.0.strip_prefix(&*from.0)?;
        Some(Path(to.0.iter().chain(rest).cloned().collect()))
    }

    /// Its name; empty for the root.
    pub fn name(&self) -> &str {
        self.0.last().map_or("", |name| name)
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }

    /// How bytes become messages there.
    pub fn view(&self) -> View {
        View::split(self.name()).1
    }

    /// The walk to it from the root, which makes it `fid`.
    pub fn way(&self, fid: Fid) -> Vec<Request<'_>> {
        let mut requests = Vec::new();
        let mut from = ROOT;
        let mut rest = &self.0[..];
        loop {
            let (some, more) = rest.split_at(rest.len().min(MAX_WALK));
            let names = Names::new(some.iter().map(|name| &**name)).unwrap_or_default();
            requests.push(Request::Walk { fid: from, newfid: fid, names });
            (from, rest) = (fid, more);
            if rest.is_empty() {
                return requests;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Result<Path, Errno> {
        text.split('/').filter(|name| !name.is_empty()).try_fold(Path::root(), |path, name| path.below(name))
    }

    #[test]
    fn a_path_is_made_of_names() {
        let there = path("d/jobs:line").expect("a path");
        assert_eq!((there.name(), there.view()), ("jobs:line", View::Line));
        assert_eq!(path("d/./x/../jobs:line"), Ok(there.clone()));
        assert_eq!((there.parent().name(), there.parent().parent().is_root()), ("d", true));
        assert_eq!(path("../.."), Ok(Path::root()), "nothing is above the root");
        assert_eq!(path(&"x".repeat(NAME_MAX + 1)), Err(Errno::NAMETOOLONG));
    }

    #[test]
    fn what_is_moved_takes_all_below_it_along() {
        let [from, to] = ["d/old", "new"].map(|text| path(text).expect("a path"));
        let moved = |text| path(text).expect("a path").moved(&from, &to);
        assert_eq!(moved("d/old"), Some(to.clone()));
        assert_eq!(moved("d/old/e/jobs").as_ref(), path("new/e/jobs").as_ref().ok());
        for other in ["d", "d/older", "old", "new"] {
            assert_eq!(moved(other), None, "{other}");
        }
    }

    #[test]
    fn a_long_way_is_walked_in_several_steps() {
        assert_eq!(Path::root().way(Fid(7)), [Request::Walk { fid: ROOT, newfid: Fid(7), names: Names::default() }]);
        let long = path(&"d/".repeat(2 * MAX_WALK + 1)).expect("a path");
        let froms: Vec<_> = long.way(Fid(7)).iter().map(|request| request.fid()).collect();
        assert_eq!(froms, [Some(ROOT), Some(Fid(7)), Some(Fid(7))]);
    }

    #[test]
    fn a_path_leads_through_so_many_nodes_and_no_more() {
        assert!(path(&"n/x/".repeat(DEEPEST - 1)).is_ok());
        assert_eq!(path(&"n/x/".repeat(DEEPEST)), Err(Errno::LOOP));
        assert!(path(&format!("d/{}", "n/x/".repeat(DEEPEST))).is_ok(), "elsewhere it is a name like all others");
    }
}
