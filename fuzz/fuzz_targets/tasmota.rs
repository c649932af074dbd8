//! Fuzzes the decoder of `tasmota`.
#![no_main]
daywise_fuzz::fuzz_format!(Tasmota);
