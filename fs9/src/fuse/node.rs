//! Node ids: how the kernel names a file to us. The id says everything by itself: node, part, view, and a serial number
//! that makes one inode of a file different from another (see `inode`).

use crate::tree::{File, Part, ROOT, Tree};
use crate::view::View;

const NODE_BITS: u32 = 34;
const PART_BITS: u32 = 4;
const VIEW_BITS: u32 = 2;
const SERIAL_SHIFT: u32 = NODE_BITS + PART_BITS + VIEW_BITS;

/// How many serial numbers there are. When they begin again an inode of that many fresh ids ago may be given twice, if
/// it is still open.
pub const SERIALS: u64 = 1 << (64 - SERIAL_SHIFT);

/// In the place of a view: what the id names is another node's.
const FAR: u64 = (1 << VIEW_BITS) - 1;

const VIEWS: [View; 3] = [View::Plain, View::Line, View::Whole];

/// Timers have as many numbers as nodes that have a name.
const _: () = assert!(Tree::LAST < 1 << (NODE_BITS - 1) && Part::ALL.len() <= 1 << PART_BITS && ROOT == 1);

/// The id of a file under a view.
pub fn node_id(file: File, view: View, serial: u64) -> u64 {
    let view = VIEWS.iter().position(|v| *v == view).unwrap_or(0) as u64;
    file.node | file.part.index() << NODE_BITS | view << (NODE_BITS + PART_BITS) | serial << SERIAL_SHIFT
}

/// The file and the view that an id names; None for one that was never given.
pub fn file_of(id: u64) -> Option<(File, View)> {
    let part = Part::ALL.get((id >> NODE_BITS) as usize & ((1 << PART_BITS) - 1))?;
    let view = VIEWS.get((id >> (NODE_BITS + PART_BITS)) as usize & ((1 << VIEW_BITS) - 1))?;
    Some((File { node: id & ((1 << NODE_BITS) - 1), part: *part }, *view))
}

/// The id of another node's file: a number of its own, and a view that is none.
pub fn far_id(number: u64) -> u64 {
    let low = NODE_BITS + PART_BITS;
    (number & ((1 << low) - 1)) | FAR << low | number >> low << SERIAL_SHIFT
}

/// Whether an id is that of another node's file.
pub fn is_far(id: u64) -> bool {
    id >> (NODE_BITS + PART_BITS) & FAR == FAR
}

/// An id without its serial number, and that.
pub fn serial_of(id: u64) -> (u64, u64) {
    (id & ((1 << SERIAL_SHIFT) - 1), id >> SERIAL_SHIFT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timer;

    #[test]
    fn an_id_names_its_file() {
        for part in Part::ALL {
            for view in VIEWS {
                let second = timer::parse("1s").expect("a duration");
                for (node, serial) in [(1, 0), (77, 1), (second, 2), (Tree::LAST, SERIALS - 1)] {
                    let file = File { node, part };
                    assert_eq!(file_of(node_id(file, view, serial)), Some((file, view)));
                    assert_eq!(serial_of(node_id(file, view, serial)), (node_id(file, view, 0), serial));
                }
            }
        }
        assert_eq!(node_id(File::of(ROOT), View::Plain, 0), super::super::abi::FUSE_ROOT_ID);
        assert_eq!(file_of(u64::MAX), None);
    }

    #[test]
    fn a_far_id_is_none_of_ours() {
        let numbers = [1, 2, 1 << 36, 1 << 37, (1 << 37) + 1, 1 << 61];
        for number in numbers {
            assert!(is_far(far_id(number)) && file_of(far_id(number)).is_none());
        }
        let ids: std::collections::BTreeSet<u64> = numbers.map(far_id).into();
        assert_eq!(ids.len(), numbers.len());
        assert!(!is_far(node_id(File::of(Tree::LAST), View::Whole, SERIALS - 1)));
    }
}
