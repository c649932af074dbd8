//! Milesight's tables.

mod controls;
mod counters;

use super::models::{
    Coding::{self, F32, I8, I15, I16, I32, U8, U16, U32},
    Family, History, Item, Maker, Part, What, family, is, named, part, skip,
};
use crate::quantity::Quantity::{CountTotal, Generic, Illuminance, Noise};

const BATTERY: Part = named("battery", U8, 1.0);
const TEMPERATURE: Part = named("temperature", I16, 10.0);
const HUMIDITY: Part = named("humidity", U8, 2.0);
const CO2: Part = named("co2", U16, 1.0);
const TVOC: Part = is("tvoc", U16, 1.0, Generic);
const PRESSURE: Part = named("pressure", U16, 10.0);
const DISTANCE: Part = named("distance", U16, 1.0);
const CURRENT: Part = named("current", U16, 100.0);
/// A state, an alarm: one byte that stands for a word.
const WORD: Part = skip(1);

pub(super) const MILESIGHT: Maker = Maker {
    prefix: "24e124",
    name: "milesight",
    port: 85,
    is_high_first: false,
    least_items: 1,
    system: SYSTEM,
    families: FAMILIES,
};

/// What every model may tell of itself.
const SYSTEM: &[Item] = &[
    (0xff, 0x01, &[skip(1)]),
    (0xff, 0x08, &[skip(6)]),
    (0xff, 0x09, &[skip(2)]),
    (0xff, 0x0a, &[skip(2)]),
    (0xff, 0x0b, &[skip(1)]),
    (0xff, 0x0f, &[skip(1)]),
    (0xff, 0x16, &[skip(8)]),
    (0xff, 0x1f, &[skip(4)]),
    (0xff, 0xfe, &[skip(1)]),
    (0xff, 0xff, &[skip(2)]),
    (0x01, 0x75, &[BATTERY]),
];

const CLIMATE: &[Item] = &[(0x03, 0x67, &[TEMPERATURE]), (0x04, 0x68, &[HUMIDITY])];

/// Every family that is known.
const FAMILIES: &[Family] = &[
    Family {
        history: History::Fixed(&[TEMPERATURE, HUMIDITY]),
        ..family(&["AM100", "AM102", "EM320TH"], CLIMATE)
    },
    Family {
        history: History::Fixed(&[TEMPERATURE, HUMIDITY, CO2]),
        ..family(
            &["AM100", "AM103"],
            &[(0x03, 0x67, &[TEMPERATURE]), (0x04, 0x68, &[HUMIDITY]), (0x07, 0x7d, &[CO2])],
        )
    },
    family(
        &["AM100", "AM104", "AM107"],
        &[
            (0x03, 0x67, &[TEMPERATURE]),
            (0x04, 0x68, &[HUMIDITY]),
            (0x05, 0x6a, &[named("activity", U16, 1.0)]),
            (
                0x06,
                0x65,
                &[
                    is("illumination", U16, 1.0, Illuminance),
                    named("infrared_and_visible", U16, 1.0),
                    named("infrared", U16, 1.0),
                ],
            ),
            (0x07, 0x7d, &[CO2]),
            (0x08, 0x7d, &[TVOC]),
            (0x09, 0x73, &[PRESSURE]),
        ],
    ),
    AMBIENCE,
    EM300,
    Family {
        models: &["EM300TH", "EM300MCS", "EM300SLD", "EM300ZLD", "EM300MLD", "EM300CL"],
        history: History::Fixed(&[TEMPERATURE, HUMIDITY, WORD]),
        is_by_name_only: true,
        ..EM300
    },
    EM300_DI,
    family(
        &["EM310UDL", "EM400", "EM500UDL", "WS201", "VS330"],
        &[
            (0x03, 0x67, &[TEMPERATURE]),
            (0x02, 0x82, &[DISTANCE]),
            (0x03, 0x82, &[DISTANCE]),
            (0x04, 0x82, &[DISTANCE]),
            (0x04, 0x00, &[WORD]),
            (0x05, 0x00, &[WORD]),
            (0x03, 0x8e, &[WORD]),
            (0x04, 0x8e, &[WORD]),
            (0x04, 0xd6, &[named("remaining", U8, 1.0)]),
            (0x83, 0x67, &[TEMPERATURE, WORD]),
            (0x84, 0x82, &[DISTANCE, WORD]),
        ],
    ),
    family(
        &["EM310TILT"],
        &[(
            0x03,
            0xcf,
            &[
                named("angle_x", I16, 100.0),
                named("angle_y", I16, 100.0),
                named("angle_z", I16, 100.0),
                WORD,
            ],
        )],
    ),
    family(
        &["EM320TILT"],
        &[(
            0x03,
            0xd4,
            &[
                named("angle_x", I15, 100.0),
                named("angle_y", I15, 100.0),
                named("angle_z", I15, 100.0),
            ],
        )],
    ),
    family(
        &["EM500CO2", "EM500LGT", "EM500PP", "EM500PT100", "EM500SWL"],
        &[
            (0x03, 0x67, &[TEMPERATURE]),
            (0x04, 0x68, &[HUMIDITY]),
            (0x05, 0x7d, &[CO2]),
            (0x06, 0x73, &[PRESSURE]),
            (0x03, 0x94, &[is("illumination", U32, 1.0, Illuminance)]),
            // A pipe's, in kilopascal: no pressure of the air.
            (0x03, 0x7b, &[is("pressure", U16, 1.0, Generic)]),
            (0x03, 0x77, &[named("water_level", U16, 1.0)]),
        ],
    ),
    Family {
        is_by_name_only: true,
        ..family(
            &["EM500SMT"],
            &[
                (0x03, 0x67, &[TEMPERATURE]),
                (0x04, 0x68, &[named("moisture", U8, 2.0)]),
                (0x04, 0xca, &[named("moisture", U16, 100.0)]),
                (0x05, 0x7f, &[named("ec", U16, 1.0)]),
            ],
        )
    },
    family(
        &["GS301"],
        &[
            (0x02, 0x67, &[TEMPERATURE]),
            (0x03, 0x68, &[HUMIDITY]),
            (0x04, 0x7d, &[is("nh3", U16, 100.0, Generic)]),
            (0x05, 0x7d, &[is("h2s", U16, 100.0, Generic)]),
        ],
    ),
    family(
        &["WS101", "WS202", "WS301", "WS303", "VS340", "VS341", "VS34X"],
        &[(0x03, 0x00, &[WORD]), (0x04, 0x00, &[WORD]), (0xff, 0x2e, &[WORD])],
    ),
    family(
        &["WS302"],
        &[(
            0x05,
            0x5b,
            &[
                part("", Coding::Weights, 1.0, What::Named),
                is("L?!", U16, 10.0, Noise),
                is("L?eq", U16, 10.0, Noise),
                is("L?!max", U16, 10.0, Noise),
            ],
        )],
    ),
    family(
        &["CT10"],
        &[
            // Ampere hours: no current.
            (0x03, 0x97, &[is("total_current", U32, 100.0, Generic)]),
            (0x04, 0x98, &[CURRENT]),
            (
                0x84,
                0x98,
                &[
                    named("current_max", U16, 100.0),
                    named("current_min", U16, 100.0),
                    CURRENT,
                    WORD,
                ],
            ),
        ],
    ),
    family(
        &["AT101"],
        &[
            (0x03, 0x67, &[TEMPERATURE]),
            (0x05, 0x00, &[WORD]),
            (
                0x04,
                0x88,
                &[named("latitude", I32, 1_000_000.0), named("longitude", I32, 1_000_000.0), WORD],
            ),
            (
                0x06,
                0xd9,
                &[
                    part("wifi/*/group", U8, 1.0, What::Setting),
                    skip(6),
                    part("wifi/*/rssi", I8, 1.0, What::Health),
                    WORD,
                ],
            ),
        ],
    ),
    counters::VS121,
    counters::VS132,
    counters::VS133,
    counters::VS350,
    controls::WT201,
    controls::DS3604,
    Family {
        mark: Some([0x04, 0x67]),
        ..family(
            &["TS301", "TS302", "TS30X"],
            &[
                (0x03, 0x67, &[named("temperature_chn1", I16, 10.0)]),
                (0x04, 0x67, &[named("temperature_chn2", I16, 10.0)]),
                (0x03, 0x00, &[WORD]),
                (0x04, 0x00, &[WORD]),
                (0x83, 0x67, &[named("temperature_chn1", I16, 10.0), WORD]),
                (0x84, 0x67, &[named("temperature_chn2", I16, 10.0), WORD]),
            ],
        )
    },
    Family {
        // What the record is for; any other value says that the probe was not read.
        history: History::Status(&[1, 2, 3], &[WORD, TEMPERATURE]),
        ..family(
            &["TS101", "TS201"],
            &[(0x03, 0x67, &[TEMPERATURE]), (0x83, 0x67, &[TEMPERATURE, WORD])],
        )
    },
];

const AMBIENCE: Family = Family {
    history: History::Upto(
        &[7, 9, 10],
        &[
            TEMPERATURE,
            named("humidity", U16, 2.0),
            WORD,
            is("light_level", U8, 1.0, Generic),
            CO2,
            TVOC,
            PRESSURE,
            named("pm2_5", U16, 1.0),
            named("pm10", U16, 1.0),
            is("hcho", U16, 100.0, Generic),
        ],
    ),
    ..family(
        &["AM300", "AM307", "AM308", "AM319"],
        &[
            (0x03, 0x67, &[TEMPERATURE]),
            (0x04, 0x68, &[HUMIDITY]),
            (0x05, 0x00, &[WORD]),
            // One of six steps: no illuminance.
            (0x06, 0xcb, &[is("light_level", U8, 1.0, Generic)]),
            (0x07, 0x7d, &[CO2]),
            (0x08, 0x7d, &[TVOC]),
            (0x09, 0x73, &[PRESSURE]),
            (0x0a, 0x7d, &[is("hcho", U16, 100.0, Generic)]),
            (0x0b, 0x7d, &[named("pm2_5", U16, 1.0)]),
            (0x0c, 0x7d, &[named("pm10", U16, 1.0)]),
            (0x0d, 0x7d, &[is("o3", U16, 100.0, Generic)]),
            (0x0e, 0x01, &[WORD]),
        ],
    )
};

const EM300: Family = family(
    &["EM300TH", "EM300MCS", "EM300SLD", "EM300ZLD", "EM300MLD", "EM300CL", "EM300DI"],
    &[
        (0x03, 0x67, &[TEMPERATURE]),
        (0x04, 0x68, &[HUMIDITY]),
        (0x05, 0x00, &[WORD]),
        (0x06, 0x00, &[WORD]),
        (0x03, 0xed, &[WORD]),
        (0x05, 0xe1, WATER),
        (0x85, 0xe1, &[WATER_PER, PULSES_PER, WATER_TOTAL, WORD]),
    ],
);

/// Its record's form is known; that it is one, a record does not say.
const EM300_DI: Family = Family {
    history: History::Behind(
        &[TEMPERATURE, HUMIDITY],
        &[(1, &[WORD, skip(4)]), (2, &[skip(1), PULSES])],
    ),
    is_by_name_only: true,
    ..family(
        &["EM300DI"],
        &[
            (0x03, 0x67, &[TEMPERATURE]),
            (0x04, 0x68, &[HUMIDITY]),
            (0x05, 0x00, &[WORD]),
            (0x05, 0xc8, &[PULSES]),
            (0x05, 0xe1, WATER),
            (0x85, 0x00, &[WORD, WORD]),
            (0x85, 0xe1, &[WATER_PER, PULSES_PER, WATER_TOTAL, WORD]),
        ],
    )
};
const PULSES: Part = is("pulse", U32, 1.0, CountTotal);

const WATER: &[Part] = &[WATER_PER, PULSES_PER, WATER_TOTAL];
const WATER_PER: Part = part("water_conv", U16, 10.0, What::Setting);
const PULSES_PER: Part = part("pulse_conv", U16, 10.0, What::Setting);
const WATER_TOTAL: Part = is("water", F32, 1.0, Generic);
