//! Base64 as JSON carries bytes: both alphabets, padded or not.

use alloc::vec::Vec;

/// The bytes that `text` stands for; `None` if it is no base64.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    // One sign alone has six bits, which are no byte.
    if text.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut bits = 0_u32;
        for sign in group {
            bits = bits << 6 | u32::from(value(*sign)?);
        }
        let missing = 4_usize.saturating_sub(group.len());
        let [_, whole @ ..] = (bits << (6 * missing)).to_be_bytes();
        bytes.extend(whole.iter().take(3_usize.saturating_sub(missing)));
    }
    Some(bytes)
}

fn value(sign: u8) -> Option<u8> {
    match sign {
        b'A'..=b'Z' => Some(sign - b'A'),
        b'a'..=b'z' => Some(sign - b'a' + 26),
        b'0'..=b'9' => Some(sign - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_read_with_and_without_padding() {
        for (text, bytes) in [
            ("", &[][..]),
            ("qg==", &[0xaa]),
            ("vu8=", &[0xbe, 0xef]),
            ("vu8", &[0xbe, 0xef]),
            ("gkHe", &[0x82, 0x41, 0xde]),
            ("AXVkA2cYAQRobQ==", &[1, 0x75, 0x64, 3, 0x67, 0x18, 1, 4, 0x68, 0x6d]),
            ("__8=", &[0xff, 0xff]),
        ] {
            assert_eq!(decode(text).as_deref(), Some(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_base64_gives_nothing() {
        for text in ["A", "AAAAA", "A A=", "25.0", "ä", "=A=="] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
