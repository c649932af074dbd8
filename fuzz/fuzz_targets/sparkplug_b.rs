//! Fuzzes the decoder of `sparkplug_b`.
#![no_main]
daywise_fuzz::fuzz_format!(SparkplugB);
