//! Taking in a batch of a gateway's outbox.

use daywise_core::{
    time::UtcMillis,
    wire::{Ack, Item, Up},
};

use super::{Doing as _, Storage, StorageError, gateways, sensor_days, silences, streams};

/// What an up message came to, all of it committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The acknowledgement that is now true.
    pub ack: Ack,
    /// Whether the gateway was unknown before.
    pub is_new_gateway: bool,
    /// What became of the sensor-days.
    pub days: Tally,
    /// What became of the silences.
    pub silences: Tally,
}

/// What became of entries of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// New, or telling more than what was there: a higher revision, the end of a silence.
    pub changed: u64,
    /// There already.
    pub unchanged: u64,
    /// Not to be kept: without a sensor or with impossible numbers.
    pub refused: u64,
}

impl Tally {
    fn count(&mut self, changed: bool) {
        if changed {
            self.changed += 1;
        } else {
            self.unchanged += 1;
        }
    }
}

impl Storage {
    /// Takes in one batch of a gateway's outbox: all in one transaction, or nothing.
    ///
    /// # Errors
    /// The database cannot be written; then nothing of the batch was kept.
    pub async fn apply_up(
        &self,
        gateway: &str,
        up: &Up,
        now: UtcMillis,
    ) -> Result<Applied, StorageError> {
        let mut tx = self.begin().await?;
        let is_new_gateway = gateways::saw(&mut tx, gateway, now).await?;
        let mut arrival = sensor_days::newest_arrival(&mut tx).await?;
        let (mut days, mut silences) = (Tally::default(), Tally::default());
        for entry in &up.entries {
            // What is impossible keeps its place in the sequence: refusing the whole batch would
            // stop the gateway's outbox for good.
            match &entry.item {
                Item::Day(day) if sensor_days::is_possible(day) => {
                    let changed = sensor_days::upsert(&mut tx, gateway, day, arrival + 1).await?;
                    arrival += i64::from(changed);
                    days.count(changed);
                }
                Item::Silence(silence) if silences::is_possible(silence) => {
                    silences.count(silences::upsert(&mut tx, gateway, silence).await?);
                }
                Item::Day(_) => days.refused += 1,
                Item::Silence(_) => silences.refused += 1,
            }
        }
        if silences.changed > 0 {
            silences::prune(&mut tx, gateway).await?;
        }
        let received = streams::advance(&mut tx, gateway, up, now).await?;
        tx.commit().await.doing("commit a batch")?;
        let ack = Ack {
            stream: up.stream,
            up_to: received.up_to,
            answers: up.number,
            received: received.beyond,
        };
        Ok(Applied { ack, is_new_gateway, days, silences })
    }
}
