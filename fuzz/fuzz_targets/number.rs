//! Fuzzes the decoder of `number`.
#![no_main]
daywise_fuzz::fuzz_format!(Number);
