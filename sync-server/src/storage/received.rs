//! What of an outbox has arrived: everything up to a number, and ranges beyond it.
//!
//! A gateway that comes back sends its newest days first, so for a while there is a hole below
//! what has arrived. What lies beyond the hole is remembered, so that the last batch to fill it
//! moves the count over all of it, and so that the gateway can be told not to send it again.

use daywise_core::wire::{MAX_RANGES, SeqRange};

/// What of a stream is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// All up to and including this number has arrived or was given up by its gateway.
    pub up_to: u64,
    /// What else has arrived: in rising order, apart from each other and from `up_to`, at most
    /// [`MAX_RANGES`].
    pub beyond: Vec<SeqRange>,
}

impl Received {
    /// Adds what arrived together, in any order. `floor` is the lowest number that the gateway
    /// still holds or will hold.
    #[must_use]
    pub fn with(self, floor: u64, arrived: impl IntoIterator<Item = u64>) -> Self {
        let mut ranges = self.beyond;
        ranges.extend(arrived.into_iter().map(|seq| SeqRange { first: seq, last: seq }));
        ranges.sort_unstable_by_key(|range| range.first);
        let mut up_to = self.up_to.max(floor.saturating_sub(1));
        let mut beyond: Vec<SeqRange> = Vec::new();
        for range in ranges {
            if range.first <= up_to.saturating_add(1) {
                // Only while `beyond` is empty, because they come in rising order.
                up_to = up_to.max(range.last);
                continue;
            }
            match beyond.last_mut() {
                Some(before) if range.first <= before.last.saturating_add(1) => {
                    before.last = before.last.max(range.last);
                }
                _ => beyond.push(range),
            }
        }
        forget_surplus(&mut beyond);
        Self { up_to, beyond }
    }
}

/// Forgets the smallest ranges beyond the bound: their gateway sends them again, which changes
/// nothing but the traffic. Never the newest, which a gateway that sends its newest first is just
/// adding to: it would be sent for ever.
fn forget_surplus(ranges: &mut Vec<SeqRange>) {
    while ranges.len() > MAX_RANGES {
        let older = ranges.iter().take(ranges.len() - 1).enumerate();
        let smallest = older.min_by_key(|(_, range)| range.last.saturating_sub(range.first));
        let Some((index, _)) = smallest else { return };
        ranges.remove(index);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(first: u64, last: u64) -> SeqRange {
        SeqRange { first, last }
    }

    fn received(up_to: u64, beyond: &[(u64, u64)]) -> Received {
        let beyond = beyond.iter().map(|&(first, last)| range(first, last)).collect();
        Received { up_to, beyond }
    }

    #[test]
    fn filling_the_last_hole_moves_the_count_over_all_that_is_beyond() {
        let newest_first = Received::default().with(1, [8, 9]).with(1, 5..=7).with(1, [1, 2]);
        assert_eq!(newest_first, received(2, &[(5, 9)]));
        assert_eq!(newest_first.with(1, [4, 3]), received(9, &[]));
    }

    #[test]
    fn the_floor_closes_holes_that_were_given_up() {
        assert_eq!(received(2, &[(6, 9)]).with(6, []), received(9, &[]));
        assert_eq!(received(2, &[(6, 9)]).with(5, []), received(4, &[(6, 9)]));
        assert_eq!(received(7, &[]).with(1, [1, 2]), received(7, &[]), "never goes back");
        assert_eq!(Received::default().with(0, []), Received::default());
        let end = received(u64::MAX, &[]);
        assert_eq!(end.clone().with(u64::MAX, [u64::MAX, 0]), end);
    }

    #[test]
    fn of_too_many_ranges_the_smallest_is_forgotten_but_not_the_newest() {
        let most = MAX_RANGES as u64;
        let every_third = (1..=most).flat_map(|n| [n * 3, n * 3 + 1]);
        let full = Received::default().with(1, every_third);
        assert_eq!(full.beyond.len(), MAX_RANGES);
        let newest = range(most * 3 + 5, most * 3 + 5);
        let more = full.with(1, [newest.first]);
        assert_eq!(more.beyond.len(), MAX_RANGES);
        assert_eq!((more.beyond[0], more.beyond.last()), (range(6, 7), Some(&newest)));
    }

    /// Numbers in the order in which they arrive, and the same with repeats in another order.
    fn arrivals() -> impl Strategy<Value = (Vec<u64>, Vec<u64>)> {
        prop::collection::vec(1_u64..16, 0..20).prop_flat_map(|sent| {
            let twice = [sent.clone(), sent.clone()].concat();
            (Just(sent), Just(twice).prop_shuffle())
        })
    }

    proptest! {
        /// Whatever is sent again, however it is batched and in whatever order: what counts is
        /// the set that arrived.
        #[test]
        fn what_is_received_does_not_depend_on_order_batches_or_repeats(
            known in 0_u64..5, floor in 0_u64..6, (sent, again) in arrivals(), size in 1_usize..5
        ) {
            let at_once = received(known, &[]).with(floor, sent.clone());
            let mut bit_by_bit = received(known, &[]);
            for batch in again.chunks(size) {
                bit_by_bit = bit_by_bit.with(floor, batch.iter().copied());
            }
            bit_by_bit = bit_by_bit.with(floor, []);
            prop_assert_eq!(&bit_by_bit, &at_once);
            let start = known.max(floor.saturating_sub(1));
            for seq in start + 1..=20 {
                let is_in = seq <= at_once.up_to || at_once.beyond.iter().any(|r| r.contains(seq));
                prop_assert_eq!(is_in, sent.contains(&seq) || seq <= start, "{}", seq);
            }
            prop_assert!(!sent.contains(&(at_once.up_to + 1)), "stopped too early");
        }

        /// However scattered the arrivals, the ranges stay few, and sending the rest completes it.
        #[test]
        fn ranges_stay_few_and_nothing_forgotten_is_counted(
            sent in prop::collection::vec(1_u64..400, 0..300), size in 1_usize..40
        ) {
            let mut state = Received::default();
            for batch in sent.chunks(size) {
                state = state.with(1, batch.iter().copied());
                prop_assert!(state.beyond.len() <= MAX_RANGES);
                let arrived = |seq| sent.contains(&seq);
                prop_assert!((1..=state.up_to).all(arrived));
                prop_assert!(state.beyond.iter().all(|r| (r.first..=r.last).all(arrived)));
            }
            prop_assert_eq!(state.with(1, 1..400), received(399, &[]));
        }
    }
}
