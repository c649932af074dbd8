//! Fuzzes the decoder of `chirpstack_v4`.
#![no_main]
daywise_fuzz::fuzz_format!(ChirpStackV4);
