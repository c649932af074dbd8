//! Fuzzes the decoder of `json`.
#![no_main]
daywise_fuzz::fuzz_format!(Json);
