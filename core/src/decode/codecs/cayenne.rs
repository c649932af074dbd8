//! Cayenne's Low Power Payload, which many makers' sensors send: items of a channel, a type and
//! numbers with their high byte first, as some makers' own formats are.
//!
//! It is not read here, as its channels have no names; it is what a payload may be just as well.

/// How many bytes are behind each type.
const LENGTHS: &[(u8, usize)] = &[
    (0x00, 1),
    (0x01, 1),
    (0x02, 2),
    (0x03, 2),
    (0x64, 4),
    (0x65, 2),
    (0x66, 1),
    (0x67, 2),
    (0x68, 1),
    (0x71, 6),
    (0x73, 2),
    (0x74, 2),
    (0x75, 2),
    (0x76, 4),
    (0x78, 1),
    (0x79, 2),
    (0x7d, 2),
    (0x80, 2),
    (0x82, 4),
    (0x83, 4),
    (0x84, 2),
    (0x85, 4),
    (0x86, 6),
    (0x87, 3),
    (0x88, 9),
    (0x8e, 1),
];

/// Whether it can be one to its last byte.
pub(super) fn fits(payload: &[u8]) -> bool {
    let mut rest = payload;
    while let Some((&[_, kind], behind)) = rest.split_first_chunk() {
        let known = LENGTHS.iter().find(|(of, _)| *of == kind);
        match known.and_then(|(_, length)| behind.get(*length..)) {
            Some(behind) => rest = behind,
            None => return false,
        }
    }
    rest.is_empty()
}
