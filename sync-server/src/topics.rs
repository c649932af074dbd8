//! The sync contract's topics, and the names of gateways in them.

use std::{fmt, str::FromStr};

/// A gateway's name; longer ones are a fault.
const MAX_GATEWAY_BYTES: usize = 64;

/// A checked gateway name: one topic level, printable, bounded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GatewayName(String);

/// The text is no gateway name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a gateway name: 1 to {MAX_GATEWAY_BYTES} letters, digits or any of `-_.:`")]
pub struct NotAGateway;

impl FromStr for GatewayName {
    type Err = NotAGateway;
    fn from_str(text: &str) -> Result<Self, NotAGateway> {
        let allowed = |c: char| c.is_alphanumeric() || "-_.:".contains(c);
        let fits = !text.is_empty() && text.len() <= MAX_GATEWAY_BYTES;
        if fits && text.chars().all(allowed) { Ok(Self(text.to_owned())) } else { Err(NotAGateway) }
    }
}

impl GatewayName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GatewayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What arrived on a topic that the server listens to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A batch of a gateway's outbox.
    Up(GatewayName),
    /// A gateway's report.
    Reported(GatewayName),
}

/// The topics under one prefix.
#[derive(Clone, Debug)]
pub struct Topics {
    prefix: String,
}

impl Topics {
    /// The topics under `prefix`, which has no wildcards and no slash at its ends.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// What the server subscribes to.
    #[must_use]
    pub fn filters(&self) -> [String; 2] {
        // With several servers at one broker, `up` becomes a shared subscription here.
        [format!("{}/gw/+/up", self.prefix), format!("{}/gw/+/reported", self.prefix)]
    }

    /// Everything under the prefix.
    #[must_use]
    pub fn all(&self) -> String {
        format!("{}/#", self.prefix)
    }

    /// What a topic means; `None` if it is none of ours or its gateway has no proper name.
    #[must_use]
    pub fn parse(&self, topic: &str) -> Option<Incoming> {
        let rest = topic.strip_prefix(&self.prefix)?.strip_prefix("/gw/")?;
        let (gateway, kind) = rest.split_once('/')?;
        let gateway = gateway.parse().ok()?;
        match kind {
            "up" => Some(Incoming::Up(gateway)),
            "reported" => Some(Incoming::Reported(gateway)),
            _ => None,
        }
    }

    /// Where a gateway hears what is durable.
    #[must_use]
    pub fn ack(&self, gateway: &GatewayName) -> String {
        format!("{}/gw/{gateway}/ack", self.prefix)
    }

    /// Where a gateway finds what it is to be.
    #[must_use]
    pub fn desired(&self, gateway: &str) -> String {
        format!("{}/gw/{gateway}/desired", self.prefix)
    }

    /// Where the artifact with that digest lies.
    #[must_use]
    pub fn model(&self, digest: impl fmt::Display) -> String {
        format!("{}/model/{digest}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_read_off_the_topic() {
        let topics = Topics::new("daywise/v1");
        let name: GatewayName = "gw-1.site:a".parse().unwrap();
        assert_eq!(topics.parse("daywise/v1/gw/gw-1.site:a/up"), Some(Incoming::Up(name.clone())));
        assert_eq!(
            topics.parse("daywise/v1/gw/gw-1.site:a/reported"),
            Some(Incoming::Reported(name.clone()))
        );
        for other in ["daywise/v1/gw/a/b/up", "daywise/v1/gw//up", "daywise/v1/gw/a/ack", "x"] {
            assert_eq!(topics.parse(other), None, "{other}");
        }
        assert_eq!(topics.ack(&name), "daywise/v1/gw/gw-1.site:a/ack");
    }

    #[test]
    fn a_name_that_could_widen_a_topic_is_refused() {
        let long = "x".repeat(65);
        for wrong in ["", "a/b", "a+", "#", "a b", "a\0", "a\n", &long] {
            assert_eq!(wrong.parse::<GatewayName>(), Err(NotAGateway), "{wrong:?}");
        }
    }
}
