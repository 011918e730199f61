//! Transcripts: what is asked of a server without a door, and what it says, in order. No request ever waits here: one
//! that says nothing is in line.
#![allow(clippy::unwrap_used, reason = "a failed test")]

mod access;
mod attach;
mod events;
mod give_back;
mod holders;
mod interleavings;
mod limits;
mod pair;
mod poll;
mod queue;
mod random;
mod script;
mod service;
mod session;
mod stop;
mod timer;
mod topic;
mod views;

use script::*;

use super::*;
