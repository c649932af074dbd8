//! What is remembered of edge nodes: the names that their births gave, and the last number.

use alloc::{boxed::Box, collections::BTreeMap, string::String, vec::Vec};

use super::payload::Datatype;
use crate::{decode::names::Named, time::UtcMillis, units::Unit};

/// The most nodes that are remembered.
const MAX_NODES: usize = 1_024;
/// The most metrics of a node, its devices' included.
const MAX_METRICS: usize = 4_096;
/// The longest name that is remembered, in bytes; no sensor's id is as long.
const MAX_NAME: usize = 256;
/// The most bytes of names of all nodes. One node with all it may have fits in.
const MAX_BYTES: usize = 2 * 1024 * 1024;
/// How long a node has to answer before it is asked again.
const PATIENCE_MS: i64 = 60_000;
/// How long a node that did answer is left alone.
const REST_MS: i64 = 5_000;
/// The most requests to all nodes within that time.
const MAX_ASKS: u32 = 256;

/// What a birth says of a metric.
#[derive(Debug)]
pub(super) struct Born {
    /// Empty if it is never a reading.
    pub(super) name: Box<str>,
    pub(super) alias: Option<u64>,
    /// `Err` if it holds no number.
    pub(super) datatype: Result<Option<Datatype>, ()>,
    /// What its name says.
    pub(super) named: Named,
    /// In what it is measured, if its properties say so.
    pub(super) unit: Option<Unit>,
}

/// The metrics of a node itself or of one of its devices.
#[derive(Debug, Default)]
struct Births {
    /// By name.
    metrics: Vec<Born>,
    /// By alias: the place among the metrics.
    aliases: Vec<(u64, usize)>,
}

impl Births {
    fn new(mut metrics: Vec<Born>) -> Self {
        metrics.sort_by(|a, b| a.name.cmp(&b.name));
        metrics.shrink_to_fit();
        let aliased = metrics.iter().enumerate();
        let mut aliases: Vec<_> =
            aliased.filter_map(|(place, born)| Some((born.alias?, place))).collect();
        aliases.sort_unstable();
        Self { metrics, aliases }
    }

    fn by_alias(&self, alias: u64) -> Option<&Born> {
        let found = self.aliases.binary_search_by_key(&alias, |(alias, _)| *alias).ok()?;
        let (_, place) = self.aliases.get(found)?;
        self.metrics.get(*place)
    }

    fn by_name(&self, name: &str) -> Option<&Born> {
        let found = self.metrics.binary_search_by(|born| (*born.name).cmp(name)).ok()?;
        self.metrics.get(found)
    }

    fn bytes(&self) -> usize {
        self.metrics.iter().map(|born| born.name.len()).sum()
    }
}

/// An edge node.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// By device; the node's own are under the empty name.
    births: BTreeMap<Box<str>, Births>,
    /// The last message's number.
    seq: Option<u8>,
    /// The number of its life, which its death repeats.
    bd_seq: Option<u64>,
    /// It has more metrics than are remembered.
    is_cut: bool,
    /// How often it was asked to be born again since it was, and when last.
    asks: u32,
    asked_at: Option<UtcMillis>,
    /// The place of its last message among all.
    heard: u64,
}

impl Node {
    /// Takes a message's number; `false` if there is one missing before it.
    pub(super) fn count(&mut self, seq: Option<u64>) -> bool {
        let Some(seq) = seq.and_then(|seq| u8::try_from(seq).ok()) else {
            return true;
        };
        let last = self.seq.replace(seq);
        // The same number again is the same message again.
        last.is_none_or(|last| seq == last || seq == last.wrapping_add(1))
    }

    /// Whether the node, or that device of it, was born.
    pub(super) fn is_born(&self, device: &str) -> bool {
        self.births.contains_key("") && self.births.contains_key(device)
    }

    /// Whether it was asked to be born again and was not.
    pub(super) fn is_deaf(&self) -> bool {
        self.asks > 1
    }

    pub(super) fn by_alias(&self, device: &str, alias: u64) -> Option<&Born> {
        self.births.get(device)?.by_alias(alias)
    }

    pub(super) fn by_name(&self, device: &str, name: &str) -> Option<&Born> {
        self.births.get(device)?.by_name(name)
    }

    fn metrics(&self) -> usize {
        self.births.values().map(|births| births.metrics.len() + 1).sum()
    }

    fn bytes(&self) -> usize {
        self.births.iter().map(|(device, births)| device.len() + births.bytes()).sum()
    }
}

/// All edge nodes that were heard. When there is no place for another one, one that was never born
/// is forgotten, or else the one that was heard longest ago: it is asked to be born again when it
/// speaks.
#[derive(Debug, Default)]
pub(in crate::decode) struct Nodes {
    nodes: BTreeMap<String, Node>,
    /// Bytes of the names that are held.
    bytes: usize,
    /// Messages heard.
    heard: u64,
    /// Since when requests are counted, and how many there were.
    asks: Option<(UtcMillis, u32)>,
}

impl Nodes {
    /// The node of that name, which has just spoken.
    pub(super) fn hear(&mut self, name: &str) -> &mut Node {
        self.heard += 1;
        if !self.nodes.contains_key(name) && self.nodes.len() >= MAX_NODES {
            self.forget_oldest(name);
        }
        let node = self.nodes.entry(name.into()).or_default();
        node.heard = self.heard;
        node
    }

    /// Takes the birth of a node. Its devices have to be born anew too.
    pub(super) fn bear_node(
        &mut self,
        name: &str,
        metrics: Vec<Born>,
        seq: Option<u64>,
        bd_seq: Option<u64>,
    ) {
        let asked_at = self.nodes.get(name).and_then(|node| node.asked_at);
        self.forget(name);
        let node = self.hear(name);
        node.count(seq);
        node.bd_seq = bd_seq;
        node.asked_at = asked_at;
        self.hold(name, "", metrics);
    }

    /// Takes the birth of a device.
    pub(super) fn bear_device(&mut self, name: &str, device: &str, metrics: Vec<Born>) {
        self.bury_device(name, device);
        self.hold(name, device, metrics);
    }

    fn hold(&mut self, name: &str, device: &str, mut metrics: Vec<Born>) {
        let node = self.hear(name);
        let room = MAX_METRICS.saturating_sub(node.metrics() + 1);
        node.is_cut |= metrics.len() > room;
        metrics.truncate(room);
        metrics.retain(|born| born.name.len() <= MAX_NAME);
        let births = Births::new(metrics);
        if device.len() > MAX_NAME || node.metrics() >= MAX_METRICS {
            node.is_cut = true;
            return;
        }
        let bytes = device.len() + births.bytes();
        node.births.insert(device.into(), births);
        self.bytes += bytes;
        while self.bytes > MAX_BYTES && self.nodes.len() > 1 {
            self.forget_oldest(name);
        }
    }

    /// Takes the death of a node; that of an earlier life of it does not count.
    pub(super) fn bury_node(&mut self, name: &str, bd_seq: Option<u64>) {
        let lives = self.nodes.get(name).and_then(|node| node.bd_seq);
        if lives.is_none() || bd_seq.is_none() || lives == bd_seq {
            self.forget(name);
        }
    }

    /// Takes the death of a device.
    pub(super) fn bury_device(&mut self, name: &str, device: &str) {
        let births = self.nodes.get_mut(name).and_then(|node| node.births.remove(device));
        if let Some(births) = births {
            self.bytes -= device.len() + births.bytes();
        }
    }

    /// Whether to ask the node now to be born again: not while an earlier request may yet be
    /// answered, not one whose births do not fit in, and not too many nodes at a time.
    pub(super) fn ask(&mut self, name: &str, now: UtcMillis) -> bool {
        let (since, asks) = match self.asks {
            Some((since, asks)) if is_within(PATIENCE_MS, since, now) => (since, asks),
            _ => (now, 0),
        };
        let Some(node) = self.nodes.get_mut(name) else {
            return false;
        };
        let rest = if node.asks == 0 { REST_MS } else { PATIENCE_MS };
        let is_early = node.asked_at.is_some_and(|asked| is_within(rest, asked, now));
        if node.is_cut || asks >= MAX_ASKS || is_early {
            return false;
        }
        node.asked_at = Some(now);
        node.asks = node.asks.saturating_add(1);
        self.asks = Some((since, asks + 1));
        true
    }

    fn forget(&mut self, name: &str) {
        if let Some(node) = self.nodes.remove(name) {
            self.bytes -= node.bytes();
        }
    }

    fn forget_oldest(&mut self, except: &str) {
        let others = self.nodes.iter().filter(|(name, _)| *name != except);
        let oldest = others.min_by_key(|(_, node)| (node.is_born(""), node.heard));
        if let Some(name) = oldest.map(|(name, _)| name.clone()) {
            self.forget(&name);
        }
    }
}

/// Whether less than that time has gone by; a clock that was set back counts as enough.
fn is_within(span_ms: i64, since: UtcMillis, now: UtcMillis) -> bool {
    (0..span_ms).contains(&now.0.saturating_sub(since.0))
}

#[cfg(test)]
mod tests {
    use alloc::{format, vec};

    use super::*;

    fn born(name: &str, alias: u64) -> Born {
        Born {
            name: name.into(),
            alias: Some(alias),
            datatype: Ok(None),
            named: Named::default(),
            unit: None,
        }
    }

    fn name_of(nodes: &mut Nodes, node: &str, device: &str, alias: u64) -> Option<String> {
        nodes.hear(node).by_alias(device, alias).map(|born| born.name.as_ref().into())
    }

    #[test]
    fn the_count_wraps_and_a_missing_message_is_noticed() {
        let mut node = Node::default();
        for (seq, follows) in [(0, true), (1, true), (1, true), (3, false), (4, true)] {
            assert_eq!(node.count(Some(seq)), follows, "{seq}");
        }
        node.seq = Some(255);
        assert!(node.count(Some(0)));
        assert!(node.count(None));
        assert!(!node.count(Some(2)), "what has no number does not count");
    }

    #[test]
    fn when_there_are_too_many_the_one_not_heard_for_longest_is_forgotten() {
        let mut nodes = Nodes::default();
        for number in 0..MAX_NODES {
            nodes.bear_node(&format!("g/n{number}"), vec![born("t", 1)], Some(0), None);
        }
        nodes.hear("g/n0");
        nodes.bear_node("g/new", vec![born("t", 1)], Some(0), None);
        assert_eq!(nodes.nodes.len(), MAX_NODES);
        assert_eq!(name_of(&mut nodes, "g/n0", "", 1).as_deref(), Some("t"));
        assert!(!nodes.nodes.contains_key("g/n1"));
        // Names that were never born do not drive out those that were.
        nodes.hear("g/unborn");
        for number in 0..50 {
            nodes.hear(&format!("g/stranger{number}"));
        }
        assert!(nodes.nodes.contains_key("g/n3"), "only one had to go for all of them");
        assert_eq!(nodes.nodes.len(), MAX_NODES);
    }

    #[test]
    fn names_are_held_within_a_budget() {
        let mut nodes = Nodes::default();
        let metrics = || (0..3_000).map(|number| born(&format!("{number:0>200}"), number));
        for number in 0..8 {
            nodes.bear_node(&format!("g/n{number}"), metrics().collect(), Some(0), None);
        }
        assert!(nodes.bytes <= MAX_BYTES && nodes.bytes > MAX_BYTES / 2, "{}", nodes.bytes);
        assert!(nodes.nodes.contains_key("g/n7") && !nodes.nodes.contains_key("g/n0"));
        let held: usize = nodes.nodes.values().map(Node::bytes).sum();
        assert_eq!(held, nodes.bytes);
        for number in 0..8 {
            nodes.bury_node(&format!("g/n{number}"), None);
        }
        assert_eq!(nodes.bytes, 0);
    }

    #[test]
    fn a_node_has_a_bounded_number_of_metrics_and_is_not_asked_for_more() {
        let mut nodes = Nodes::default();
        nodes.bear_node("g/n", (0..10).map(|n| born("t", n)).collect(), Some(0), None);
        assert!(nodes.ask("g/n", UtcMillis(0)));
        for device in 0..40 {
            let metrics = (0..1_000).map(|n| born(&format!("m{n}"), n));
            nodes.bear_device("g/n", &format!("d{device}"), metrics.collect());
        }
        assert!(nodes.hear("g/n").metrics() <= MAX_METRICS);
        assert!(nodes.hear("g/n").is_cut);
        assert!(!nodes.ask("g/n", UtcMillis(PATIENCE_MS)));
    }

    #[test]
    fn requests_are_bounded_per_node_and_altogether() {
        let mut nodes = Nodes::default();
        let at = |seconds: i64| UtcMillis(seconds * 1_000);
        nodes.hear("g/n");
        assert!(nodes.ask("g/n", at(100)));
        assert!(!nodes.ask("g/n", at(159)));
        assert!(!nodes.hear("g/n").is_deaf());
        assert!(nodes.ask("g/n", at(160)));
        assert!(nodes.hear("g/n").is_deaf());
        assert!(nodes.ask("g/n", at(50)), "the clock was set back");
        nodes.bear_node("g/n", Vec::new(), Some(0), None);
        assert!(!nodes.ask("g/n", at(54)), "it has just answered");
        assert!(nodes.ask("g/n", at(55)));
        assert!(!nodes.ask("g/n", at(114)));
        let asked = |nodes: &mut Nodes, at| {
            (0..500)
                .filter(|number| {
                    let name = format!("g/{number}");
                    nodes.hear(&name);
                    nodes.ask(&name, at)
                })
                .count()
        };
        assert_eq!(asked(&mut nodes, at(1_000)), 256);
        assert_eq!(asked(&mut nodes, at(1_001)), 0);
        assert_eq!(asked(&mut nodes, at(1_060)), 256);
    }
}
