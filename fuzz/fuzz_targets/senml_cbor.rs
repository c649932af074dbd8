//! Fuzzes the decoder of `senml_cbor`.
#![no_main]
daywise_fuzz::fuzz_format!(SenmlCbor);
