//! Fuzzes the decoder of `senml_json`.
#![no_main]
daywise_fuzz::fuzz_format!(SenmlJson);
