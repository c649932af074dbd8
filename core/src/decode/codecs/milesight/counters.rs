//! Counters of people.

use super::{
    super::models::{
        Coding::{U8, U16, U32},
        Family, History, Part, family, is, named, skip,
    },
    WORD,
};
use crate::quantity::Quantity::{Count, CountTotal};

const TOTAL_IN: Part = is("total_in", U16, 1.0, CountTotal);
const TOTAL_OUT: Part = is("total_out", U16, 1.0, CountTotal);
const PERIOD_IN: Part = is("period_in", U16, 1.0, Count);
const PERIOD_OUT: Part = is("period_out", U16, 1.0, Count);

pub(super) const VS121: Family = family(
    &["VS121"],
    &[
        (0x05, 0xcc, &[is("in", U16, 1.0, Count), is("out", U16, 1.0, Count)]),
        (0x07, 0xd5, REGIONS_1_TO_8),
        (0x08, 0xd5, REGIONS_9_TO_16),
    ],
);

/// It counts across one line. So may one with up to four: it says the same under other names.
pub(super) const VS132: Family = family(
    &["VS132"],
    &[
        (0x03, 0xd2, &[is("total_counter_in", U32, 1.0, CountTotal)]),
        (0x04, 0xd2, &[is("total_counter_out", U32, 1.0, CountTotal)]),
        (
            0x05,
            0xcc,
            &[
                is("periodic_counter_in", U16, 1.0, Count),
                is("periodic_counter_out", U16, 1.0, Count),
            ],
        ),
    ],
);

/// With up to four lines; known by the second one. The names are the published converter's, which
/// divides to get a line's number.
pub(super) const VS133: Family = Family {
    mark: Some([0x06, 0xd2]),
    ..family(
        &["VS133", "VS135"],
        &[
            (0x03, 0xd2, &[is("line_1.0_total_in", U32, 1.0, CountTotal)]),
            (0x04, 0xd2, &[is("line_1.0_total_out", U32, 1.0, CountTotal)]),
            (
                0x05,
                0xcc,
                &[
                    is("line_1.0_period_in", U16, 1.0, Count),
                    is("line_1.0_period_out", U16, 1.0, Count),
                ],
            ),
            (0x06, 0xd2, &[is("line_2.0_total_in", U32, 1.0, CountTotal)]),
            (0x07, 0xd2, &[is("line_2.0_total_out", U32, 1.0, CountTotal)]),
            (
                0x08,
                0xcc,
                &[
                    is("line_2.0_period_in", U16, 1.0, Count),
                    is("line_2.0_period_out", U16, 1.0, Count),
                ],
            ),
            (0x09, 0xd2, &[is("line_3.0_total_in", U32, 1.0, CountTotal)]),
            (0x0a, 0xd2, &[is("line_3.0_total_out", U32, 1.0, CountTotal)]),
            (
                0x0b,
                0xcc,
                &[
                    is("line_3.0_period_in", U16, 1.0, Count),
                    is("line_3.0_period_out", U16, 1.0, Count),
                ],
            ),
            (0x0c, 0xd2, &[is("line_4.0_total_in", U32, 1.0, CountTotal)]),
            (0x0d, 0xd2, &[is("line_4.0_total_out", U32, 1.0, CountTotal)]),
            (
                0x0e,
                0xcc,
                &[
                    is("line_4.0_period_in", U16, 1.0, Count),
                    is("line_4.0_period_out", U16, 1.0, Count),
                ],
            ),
            (
                0x0f,
                0xe3,
                &[
                    is("region_1_count", U8, 1.0, Count),
                    is("region_2_count", U8, 1.0, Count),
                    is("region_3_count", U8, 1.0, Count),
                    is("region_4_count", U8, 1.0, Count),
                ],
            ),
        ],
    )
};

pub(super) const VS350: Family = Family {
    history: History::Kind(&[PERIOD_IN, PERIOD_OUT], &[PERIOD_IN, PERIOD_OUT, TOTAL_IN, TOTAL_OUT]),
    ..family(
        &["VS350", "VS351", "VS360"],
        &[
            (0x02, 0x75, &[named("battery_node", U8, 1.0)]),
            (0x03, 0xf4, &[skip(2)]),
            (0x04, 0xcc, &[TOTAL_IN, TOTAL_OUT]),
            (0x05, 0xcc, &[PERIOD_IN, PERIOD_OUT]),
            (0x84, 0xcc, &[TOTAL_IN, TOTAL_OUT, WORD]),
            (0x85, 0xcc, &[PERIOD_IN, PERIOD_OUT, WORD]),
        ],
    )
};

const REGIONS_1_TO_8: &[Part] = &[
    is("region_1_count", U8, 1.0, Count),
    is("region_2_count", U8, 1.0, Count),
    is("region_3_count", U8, 1.0, Count),
    is("region_4_count", U8, 1.0, Count),
    is("region_5_count", U8, 1.0, Count),
    is("region_6_count", U8, 1.0, Count),
    is("region_7_count", U8, 1.0, Count),
    is("region_8_count", U8, 1.0, Count),
];
const REGIONS_9_TO_16: &[Part] = &[
    is("region_9_count", U8, 1.0, Count),
    is("region_10_count", U8, 1.0, Count),
    is("region_11_count", U8, 1.0, Count),
    is("region_12_count", U8, 1.0, Count),
    is("region_13_count", U8, 1.0, Count),
    is("region_14_count", U8, 1.0, Count),
    is("region_15_count", U8, 1.0, Count),
    is("region_16_count", U8, 1.0, Count),
];
