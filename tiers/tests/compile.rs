//! What the compiler says of what cannot be sent: our sentence and what to do, not serde's.
//!
//! After a change of the wording: `TRYBUILD=overwrite cargo test -p fs9-tiers --test compile`, and read the difference.

#[test]
fn what_cannot_be_sent_is_explained() {
    trybuild::TestCases::new().compile_fail("tests/compile/*.rs");
}
