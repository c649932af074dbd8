//! Fuzzes the decoder of `openmqttgateway`.
#![no_main]
daywise_fuzz::fuzz_format!(OpenMqttGateway);
