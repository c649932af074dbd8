//! Fuzzes the decoder of `shelly_gen1`.
#![no_main]
daywise_fuzz::fuzz_format!(ShellyGen1);
