//! Fuzzes the decoder of `esphome`.
#![no_main]
daywise_fuzz::fuzz_format!(EspHome);
