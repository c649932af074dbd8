//! Fuzzes the decoder of `ha_statestream`.
#![no_main]
daywise_fuzz::fuzz_format!(HaStatestream);
