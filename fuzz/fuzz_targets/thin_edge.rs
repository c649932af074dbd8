//! Fuzzes the decoder of `thin_edge`.
#![no_main]
daywise_fuzz::fuzz_format!(ThinEdge);
