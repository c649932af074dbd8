//! Fuzzes the decoder of `chirpstack_v3`.
#![no_main]
daywise_fuzz::fuzz_format!(ChirpStackV3);
