//! Fuzzes the decoder of `influx`.
#![no_main]
daywise_fuzz::fuzz_format!(Influx);
