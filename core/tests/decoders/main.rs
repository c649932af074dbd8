//! What every decoder owes to whatever it is fed: a value that is one or a reason, within bounded
//! memory and time, and never a panic. The messages are the seeds of the fuzz targets, and what
//! must hold is what the fuzz targets check, so that there is one of each.

#![expect(clippy::unwrap_used, reason = "helpers of tests; a failure is the test's")]

#[path = "../../../fuzz/src/check.rs"]
#[expect(unreachable_pub, reason = "the fuzz targets use it as a crate's")]
mod check;
mod costs;
mod mutations;
mod seeds;
mod worst;
