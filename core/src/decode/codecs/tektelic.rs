//! Tektelic's tables. The published decoders do not agree on every item; those that they read
//! differently, or in no known unit, are passed over or left out.

use super::{
    cayenne,
    models::{
        Coding::{Cell, I16, State, Thermistor, U8, U16, U32},
        Family, Item, Maker, Part, family, is, named, skip,
    },
};
use crate::quantity::Quantity::{CountTotal, Generic};

pub(super) const TEKTELIC: Maker = Maker {
    prefix: "647fda",
    name: "tektelic",
    port: 10,
    is_high_first: true,
    // One alone is easily met by chance.
    least_items: 2,
    system: &[],
    families: FAMILIES,
};

impl Maker {
    /// Whether the payload may be of a format that any maker uses.
    pub(super) fn may_be_cayenne(&self, payload: &[u8]) -> bool {
        self.is_high_first && cayenne::fits(payload)
    }
}

/// One byte that stands for a word.
const WORD: Part = skip(1);
const STATE: Part = Part { coding: State, ..WORD };
const AMBIENT: Part = named("ambient_temperature", I16, 10.0);
const HUMIDITY: Part = named("relative_humidity", U8, 2.0);
/// The decoders differ in which axis is which.
const ACCELERATION: Part = skip(6);
const MCU: Part = named("mcu_temperature", I16, 10.0);

const FAMILIES: &[Family] = &[
    family(&["COMFORT", "VIVID"], ROOM),
    family(&["KIWI", "CLOVER"], SOIL),
    Family { mark: Some([0x00, 0xfe]), ..family(&["AURA", "FLUX"], METER) },
];

const ROOM: &[Item] = &[
    (0x00, 0xba, &[named("battery_voltage", U16, 1_000.0).within(1.0, 5.0)]),
    (0x01, 0x00, &[STATE]),
    (0x02, 0x00, &[STATE]),
    (0x03, 0x67, &[AMBIENT]),
    (0x04, 0x68, &[HUMIDITY]),
    (0x05, 0x02, &[named("impact_magnitude", U16, 1_000.0).within(0.0, 20.0)]),
    (0x07, 0x71, &[ACCELERATION]),
    (0x08, 0x04, &[is("hall_effect_count", U16, 1.0, CountTotal)]),
    (0x0a, 0x00, &[STATE]),
    (0x0b, 0x67, &[MCU]),
    (0x0c, 0x00, &[STATE]),
    (0x0d, 0x04, &[is("motion_event_count", U16, 1.0, CountTotal)]),
    (0x0e, 0x00, &[STATE]),
    (0x0f, 0x04, &[is("extconnector_count", U16, 1.0, CountTotal)]),
    (0x10, 0x02, &[is("light_intensity", U8, 1.0, Generic)]),
    (0x11, 0x02, &[named("extconnector_analog", U16, 1_000.0).within(0.0, 5.0)]),
    (0x12, 0x04, &[is("extconnector_total_count", U32, 1.0, CountTotal)]),
];

const SOIL: &[Item] = &[
    // Its highest bit says that the battery's end is near.
    (0x00, 0xba, &[named("battery_voltage", Cell, 100.0)]),
    (0x00, 0xbd, &[named("rem_batt_days", U16, 1.0).within(0.0, 7_300.0)]),
    (0x00, 0xd3, &[named("rem_batt_capacity", U8, 1.0).within(0.0, 100.0)]),
    // Some 1.4 MHz in dry soil, less in wet one.
    (0x01, 0x04, &[named("input1_frequency", U16, 1.0).within(1_200.0, 1_500.0)]),
    (
        0x02,
        0x02,
        &[
            named("input2_voltage_to_temp", Thermistor, 10.0),
            named("input2_voltage", U16, 1_000.0).within(0.0, 3.6),
        ],
    ),
    (0x03, 0x67, &[named("input3_temperature", I16, 10.0)]),
    (0x04, 0x67, &[named("input4_temperature", I16, 10.0)]),
    (0x09, 0x00, &[STATE]),
    (0x09, 0x65, &[named("light_intensity", U16, 1.0)]),
    (0x0a, 0x00, &[STATE]),
    (0x0a, 0x71, &[ACCELERATION]),
    (0x0b, 0x67, &[AMBIENT]),
    (0x0b, 0x68, &[HUMIDITY]),
    (0x0c, 0x67, &[MCU]),
];

/// In seconds and in a unit that no decoder names.
const METER: &[Item] = &[
    (
        0x00,
        0xfe,
        &[
            is("energy_consumption_meter_elapsed", U32, 1.0, Generic),
            is("energy_consumption_meter_consumed", U32, 1.0, Generic),
        ],
    ),
    (0x00, 0x00, &[is("energy_consumption_meter_status", U8, 1.0, Generic).within(0.0, 1.0)]),
];
