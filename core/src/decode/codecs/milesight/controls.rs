//! What is set rather than read: a thermostat, a display.

use super::{
    super::models::{
        Coding::{Bit, I16, Place, Text, U7, U8, Upper11, UpperPlace},
        Family, History, Part, What, family, named, part, skip,
    },
    HUMIDITY, TEMPERATURE, WORD,
};

/// What a room can have: by it its records are told from other models', of which none has more
/// than a few degrees in these bits.
const ROOM: (f64, f64) = (-20.0, 60.0);
const TARGET: &str = "temperature_target";

/// It answers commands, and reports all that a command has changed.
pub(super) const WT201: Family = Family {
    repeats_with: Some([0x05, 0xe7]),
    history: History::Ranged(&[
        named("temperature", Upper11, 10.0).within(ROOM.0, ROOM.1),
        part(TARGET, Upper11, 10.0, What::Setting).within(ROOM.0, ROOM.1),
    ]),
    ..family(
        &["WT201"],
        &[
            (0x03, 0x67, &[TEMPERATURE]),
            (0x04, 0x67, &[part(TARGET, I16, 10.0, What::Setting)]),
            (0x05, 0xe7, &[WORD]),
            (0x06, 0xe8, &[WORD]),
            (0x07, 0xbc, &[WORD]),
            (0x08, 0x8e, &[WORD]),
            (0x09, 0x68, &[HUMIDITY]),
            (0x0a, 0x6e, RELAYS),
            (0x83, 0x67, &[TEMPERATURE, WORD]),
            (0xb3, 0x67, &[WORD]),
            (0xb9, 0x68, &[WORD]),
            (0xff, 0xc8, PLAN),
            (
                0xff,
                0xc9,
                &[skip(1), part("plan_schedule/*/index", Place, 1.0, What::Setting), skip(4)],
            ),
            (0xff, 0xca, &[skip(3)]),
            (0xff, 0xcb, &[skip(3)]),
            (0xff, 0xf6, &[WORD]),
        ],
    )
};

const RELAYS: &[Part] = &[
    named("wires_relay/y1", Bit(0), 1.0),
    named("wires_relay/y2_gl", Bit(1), 1.0),
    named("wires_relay/w1", Bit(2), 1.0),
    named("wires_relay/w2_aux", Bit(3), 1.0),
    named("wires_relay/e", Bit(4), 1.0),
    named("wires_relay/g", Bit(5), 1.0),
    named("wires_relay/ob", Bit(6), 1.0),
    skip(1),
];
const PLAN: &[Part] = &[
    skip(3),
    part("plan_settings/*/temperature_target", U7, 1.0, What::Setting),
    part("plan_settings/*/temperature_error", U8, 10.0, What::Setting),
];

/// The rest of its byte is the text's place.
const TEMPLATE: Part = part("template", UpperPlace, 1.0, What::Setting);
const TEXT: Part = part("", Text, 1.0, What::Setting);

/// Of texts, in one of two templates.
pub(super) const DS3604: Family = Family {
    repeats_with: Some([0xfb, 0x01]),
    ..family(
        &["DS3604"],
        &[
            (0xfb, 0x01, &[TEMPLATE, TEXT]),
            (0xff, 0x73, &[part("template", Place, 1.0, What::Setting)]),
        ],
    )
};
