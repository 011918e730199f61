//! What /dev/fuse yields, were it hostile: parsing must not panic, and a request is shown on one line.
#![no_main]

use fs9::fuse::abi::Request;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    parse(bytes);
    // Once more with the length it should state, or chance seldom gets beyond the header.
    let mut bytes = bytes.to_vec();
    let len = bytes.len() as u32;
    if let Some(stated) = bytes.first_chunk_mut() {
        *stated = len.to_ne_bytes();
    }
    parse(&bytes);
});

fn parse(bytes: &[u8]) {
    match Request::parse(bytes) {
        Ok(request) => assert!(!request.to_string().contains('\n')),
        Err(error) => assert_eq!(error.unique.is_some(), bytes.len() >= 40),
    }
}
