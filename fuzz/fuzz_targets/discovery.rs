//! Fuzzes the reader of Home Assistant's discovery messages.
#![no_main]
daywise_fuzz::fuzz_with!(announced);
