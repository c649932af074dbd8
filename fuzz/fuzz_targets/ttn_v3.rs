//! Fuzzes the decoder of `ttn_v3`.
#![no_main]
daywise_fuzz::fuzz_format!(TheThingsStack);
