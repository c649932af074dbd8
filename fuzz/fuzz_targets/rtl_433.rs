//! Fuzzes the decoder of `rtl_433`.
#![no_main]
daywise_fuzz::fuzz_format!(Rtl433);
