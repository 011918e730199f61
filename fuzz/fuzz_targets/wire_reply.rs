//! What a server answers, were it hostile, in each dialect, and the listings in its answers.
#![no_main]

use fs9_fuzz::{framed, quietly};
use fs9_proto::Reply;
use fs9_proto::entry::Entry;
use fs9_proto::stat::Stat;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((dialect, frame)) = framed(bytes) else { return };
    let _ = Reply::parse(dialect, bytes);
    let Ok((tag, reply)) = quietly(|| Reply::parse(dialect, &frame)) else { return };
    let mut emitted = Vec::new();
    reply.emit(dialect, tag, &mut emitted);
    assert_eq!(Reply::parse(dialect, &emitted), Ok((tag, reply)));
    assert!(!reply.to_string().contains('\n'));
    if let Reply::Readdir { data } | Reply::Read { data } = reply {
        quietly(|| Entry::listed(data).for_each(drop));
        quietly(|| Stat::listed(data).for_each(drop));
    }
});
