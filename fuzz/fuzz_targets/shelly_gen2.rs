//! Fuzzes the decoder of `shelly_gen2`.
#![no_main]
daywise_fuzz::fuzz_format!(ShellyGen2);
