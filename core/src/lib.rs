//! Daywise's pure core: what a reading, a day, a feature, a model and a prediction are.
//!
//! Nothing here does I/O, reads a clock, draws a random number or logs; time comes in as an
//! argument. The agent, the server and the batch commands all call this one code, so a
//! sensor-day gives the same features and the same prediction wherever it is computed.
//! Transcendental functions come from `libm` and sums run in a fixed order, so results are
//! bit-identical on every architecture.
#![no_std]

extern crate alloc;

pub mod baseline;
pub mod block;
pub mod board;
pub mod chunk;
pub mod clock_trust;
pub mod collect;
pub mod day;
pub mod decode;
pub mod device_clock;
pub mod duration;
pub mod features;
pub mod model;
pub mod predict;
pub mod quantity;
pub mod rate;
pub mod reading;
pub mod silence;
pub mod time;
pub mod units;
pub mod update;
pub mod wire;
