//! Fuzzes the decoder of `edgex`.
#![no_main]
daywise_fuzz::fuzz_format!(EdgeX);
