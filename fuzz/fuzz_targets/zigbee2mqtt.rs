//! Fuzzes the decoder of `zigbee2mqtt`.
#![no_main]
daywise_fuzz::fuzz_format!(Zigbee2Mqtt);
