//! What the fuzz targets share. Each of them is one line.

pub mod check;

pub use daywise_core::decode::Format;
pub use libfuzzer_sys;

/// A fuzz target that feeds its input to one format's decoder.
#[macro_export]
macro_rules! fuzz_format {
    ($format:ident) => {
        $crate::libfuzzer_sys::fuzz_target!(|input: &[u8]| {
            $crate::check::decode($crate::Format::$format, input);
        });
    };
}

/// A fuzz target that feeds its input to a function of [`check`].
#[macro_export]
macro_rules! fuzz_with {
    ($check:ident) => {
        $crate::libfuzzer_sys::fuzz_target!(|input: &[u8]| {
            $crate::check::$check(input);
        });
    };
}
