//! Every counter of the agent, in one place; read by `/metrics`, `/status` and the server.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use daywise_core::reading::Refusal;

macro_rules! counters {
    ($( $(#[$doc:meta])* $variant:ident = $name:literal, $help:literal; )*) => {
        /// A figure that is counted. Those ending in `_total` only go up.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter { $( $(#[$doc])* $variant, )* }

        const NAMES: &[(&str, &str)] = &[$(($name, $help)),*];
    };
}

counters! {
    /// Messages from the sensor broker.
    Messages = "mqtt_messages_total", "Messages received from the sensor broker";
    /// Messages dropped because the pipeline was behind; QoS 0 only.
    Overrun = "mqtt_overrun_total", "QoS 0 messages dropped while the pipeline was behind";
    /// Times the connection to the sensor broker was lost.
    Disconnects = "mqtt_disconnects_total", "Lost connections to the sensor broker";
    /// 1 while there is one.
    Connected = "mqtt_connected", "1 while connected to the sensor broker";
    /// Local messages that could not be handed to the client.
    OutputsDropped = "mqtt_outputs_dropped_total", "Local output messages dropped";
    /// Readings kept.
    Accepted = "readings_accepted_total", "Readings kept";
    /// Readings for a day that had closed.
    Late = "readings_late_total", "Accepted readings whose day had closed";
    /// Readings that had to wait for the clock to be set.
    Quarantined = "readings_quarantined_total", "Readings held back until the clock was set";
    /// Group commits made durable.
    Commits = "store_commits_total", "Group commits made durable";
    /// Failed writes, each tried again.
    StoreFailures = "store_failures_total", "Failed store operations";
    /// Sensor-days computed, revisions included.
    SensorDays = "days_computed_total", "Sensor-days computed, revisions included";
    /// Sensor-days with a prediction, revisions included.
    Predictions = "days_predicted_total", "Sensor-days predicted, revisions included";
    /// Outbox entries sent, repeats included.
    Sent = "sync_entries_sent_total", "Outbox entries sent, repeats included";
    /// Artifacts that were not taken over.
    ArtifactsRefused = "sync_artifacts_refused_total", "Model artifacts refused";
    /// Messages from the server that could not be read.
    SyncMalformed = "sync_malformed_total", "Messages from the server that could not be read";
    /// Log lines left out because their place in the code had said enough.
    LogSuppressed = "log_lines_suppressed_total", "Log lines left out";
    /// Sensors known.
    Sensors = "sensors_known", "Sensors known";
    /// Days open.
    OpenDays = "days_open", "Days open";
    /// Entries that wait for the server.
    Outbox = "outbox_entries", "Outbox entries waiting for the server";
    /// What they take.
    OutboxBytes = "outbox_bytes", "Bytes of outbox entries waiting for the server";
    /// Entries that were given up, over all runs.
    OutboxEvicted = "outbox_evicted_total", "Outbox entries given up for lack of room or damage";
    /// What the store's files take.
    StoreBytes = "store_bytes", "Bytes that the store's files take";
    /// What they hold.
    StoreLiveBytes = "store_live_bytes", "Bytes of what the store holds, keys and all";
    /// Days whose samples were given up, over all runs.
    EvictedChunkDays = "store_evicted_days_total", "Closed days whose samples were given up for lack of room";
    /// Sensor-days whose features were given up, over all runs.
    EvictedSensorDays = "store_evicted_sensor_days_total", "Sensor-days whose features and predictions were given up for lack of room";
    /// Damaged records met since the start.
    DamagedRecords = "store_damaged_records", "Distinct damaged records met since the start";
    /// What this process has written to flash.
    FlashWritten = "flash_written_bytes_total", "Bytes written to flash since the start, by the block";
    /// What that would be in a day.
    FlashPerDay = "flash_bytes_per_day", "Bytes written to flash in a day, from the last hours; 0 before the first";
    /// What it may be in a day.
    FlashBudget = "flash_budget_bytes_per_day", "Bytes that may be written to flash in a day";
    /// How often is committed.
    CommitEvery = "store_commit_every_ms", "The longest time between commits, milliseconds";
    /// Readings that wait for the clock to be set.
    Waiting = "readings_waiting", "Readings waiting for the clock to be set";
    /// Steps of the system's clock.
    ClockSteps = "clock_steps_total", "Steps of the system's clock noticed";
    /// Device clocks that are off.
    DeviceClocks = "device_clocks_off", "Devices whose clock is known to be off";
    /// Sensors that have fallen silent.
    Silent = "sensors_silent", "Sensors that have fallen silent";
    /// The agent's time in epoch milliseconds.
    Now = "clock_now_ms", "The agent's time, epoch milliseconds";
}

/// All counters; shared by every task.
#[derive(Debug)]
pub struct Metrics {
    counters: [AtomicU64; NAMES.len()],
    refused: [AtomicU64; Refusal::ALL.len()],
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            counters: [const { AtomicU64::new(0) }; NAMES.len()],
            refused: [const { AtomicU64::new(0) }; Refusal::ALL.len()],
        }
    }
}

impl Metrics {
    /// Adds to a counter.
    pub fn add(&self, counter: Counter, count: u64) {
        if let Some(cell) = self.counters.get(counter as usize) {
            cell.fetch_add(count, Relaxed);
        }
    }

    /// Sets a figure that goes up and down.
    pub fn set(&self, counter: Counter, value: u64) {
        if let Some(cell) = self.counters.get(counter as usize) {
            cell.store(value, Relaxed);
        }
    }

    /// A figure as it is now.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.counters.get(counter as usize).map_or(0, |cell| cell.load(Relaxed))
    }

    /// Counts a refused message or reading.
    pub fn refuse(&self, reason: Refusal) {
        if let Some(cell) = self.refused.get(reason as usize) {
            cell.fetch_add(1, Relaxed);
        }
    }

    /// Refusals by reason, without those that never happened.
    #[must_use]
    pub fn refused(&self) -> BTreeMap<&'static str, u64> {
        let counts = Refusal::ALL.iter().zip(&self.refused);
        counts
            .map(|(reason, cell)| (reason.name(), cell.load(Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// All figures in the Prometheus text format, version 0.0.4.
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        let mut text = String::new();
        for ((name, help), cell) in NAMES.iter().zip(&self.counters) {
            let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
            let value = cell.load(Relaxed);
            text.push_str(&format!("# HELP daywise_{name} {help}\n# TYPE daywise_{name} {kind}\n"));
            text.push_str(&format!("daywise_{name} {value}\n"));
        }
        text.push_str("# HELP daywise_readings_refused_total Messages and readings left out\n");
        text.push_str("# TYPE daywise_readings_refused_total counter\n");
        for (reason, cell) in Refusal::ALL.iter().zip(&self.refused) {
            let value = cell.load(Relaxed);
            let reason = reason.name();
            let line = format!("daywise_readings_refused_total{{reason=\"{reason}\"}} {value}\n");
            text.push_str(&line);
        }
        text
    }
}

/// The process's resident memory in KiB; 0 where the system does not say.
#[must_use]
pub fn rss_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()).and_then(|n| n.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_show_up_under_their_names() {
        let metrics = Metrics::default();
        metrics.add(Counter::Accepted, 3);
        metrics.refuse(Refusal::OutOfRange);
        metrics.set(Counter::Now, 7);
        let text = metrics.to_prometheus();
        assert!(text.contains("\ndaywise_readings_accepted_total 3\n"), "{text}");
        assert!(text.contains("daywise_readings_refused_total{reason=\"out_of_range\"} 1\n"));
        assert!(text.contains("\ndaywise_clock_now_ms 7\n"));
        assert_eq!(metrics.refused(), BTreeMap::from([("out_of_range", 1)]));
    }
}
