//! Fuzzes the decoder of `zwavejs`.
#![no_main]
daywise_fuzz::fuzz_format!(ZwaveJs);
