//! Fuzzes what tells the format of a message.
#![no_main]
daywise_fuzz::fuzz_with!(detected);
