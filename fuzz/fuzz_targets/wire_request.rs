//! What a client sends, were it hostile, in each dialect: parsing must neither panic nor allocate, and what is parsed
//! means what it emits.
#![no_main]

use fs9_fuzz::{framed, quietly};
use fs9_proto::Request;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((dialect, frame)) = framed(bytes) else { return };
    let _ = Request::parse(dialect, bytes);
    let Ok((tag, request)) = quietly(|| Request::parse(dialect, &frame)) else { return };
    let mut emitted = Vec::new();
    request.emit(dialect, tag, &mut emitted);
    assert_eq!(Request::parse(dialect, &emitted), Ok((tag, request)));
    assert!(!request.to_string().contains('\n'));
});
