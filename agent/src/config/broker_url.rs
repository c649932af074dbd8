//! Where a broker is.

use std::fmt;

use serde::Deserialize;

/// `mqtt://host:port`; the port is 1883 if left out.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct BrokerUrl {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// The text is not a broker's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a broker's address such as mqtt://localhost:1883")]
pub struct NotABroker(String);

impl TryFrom<String> for BrokerUrl {
    type Error = NotABroker;

    fn try_from(text: String) -> Result<Self, NotABroker> {
        let wrong = || NotABroker(text.clone());
        let rest = text.strip_prefix("mqtt://").ok_or_else(wrong)?.trim_end_matches('/');
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
            None => (rest, 1883),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:[]".contains(c);
        if host.is_empty() || !host.chars().all(plain) || port == 0 {
            return Err(wrong());
        }
        Ok(Self { host: host.into(), port })
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mqtt://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broker_addresses_are_checked() {
        let parse = |text: &str| BrokerUrl::try_from(text.to_owned()).map(|url| url.to_string());
        assert_eq!(parse("mqtt://broker.lan"), Ok("mqtt://broker.lan:1883".into()));
        assert_eq!(parse("mqtt://127.0.0.1:1884"), Ok("mqtt://127.0.0.1:1884".into()));
        for wrong in ["broker", "mqtt://", "mqtt://host:port", "mqtt://a b", "mqtt://h:0"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
