//! The memory of what was announced.

use alloc::{boxed::Box, collections::BTreeMap, string::String, sync::Arc, vec::Vec};

use super::{Hint, MAX_TOPIC, Told};

/// The most values that are known. What is announced when there are as many is left out.
const MAX_HINTS: usize = 4_096;

/// What is known of a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// The topic that announced it.
    config: Arc<str>,
    path: Box<str>,
    /// What it measures.
    pub told: Told,
    /// Its name for people.
    pub name: Option<String>,
    /// Its device's name for people.
    pub device: Option<String>,
}

/// What devices have announced of their values, by topic and place in the payload.
#[derive(Debug, Default)]
pub struct Hints {
    values: BTreeMap<Arc<str>, Vec<Known>>,
    /// By the topic of the announcement: the topics of the values.
    configs: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    count: usize,
}

impl Hints {
    /// Takes what `config`, a discovery topic, announces now, in place of what it did before. Gives
    /// how many of the hints there was no room for.
    pub fn learn(&mut self, config: &str, hints: Vec<Hint>) -> usize {
        self.forget(config);
        if config.len() > MAX_TOPIC {
            return hints.len();
        }
        let config: Arc<str> = config.into();
        let (mut left_out, mut topics) = (0, Vec::new());
        for hint in hints {
            if self.count >= MAX_HINTS {
                left_out += 1;
                continue;
            }
            let told = hint.told();
            let Hint { state_topic, path, name, device, .. } = hint;
            let topic = self.values.get_key_value(state_topic.as_str());
            let topic = topic.map_or_else(|| state_topic.into(), |(topic, _)| Arc::clone(topic));
            let known =
                Known { config: Arc::clone(&config), path: path.into(), told, name, device };
            self.values.entry(Arc::clone(&topic)).or_default().push(known);
            self.count += 1;
            topics.push(topic);
        }
        if !topics.is_empty() {
            self.configs.insert(config, topics);
        }
        left_out
    }

    /// What is known of the value at `path` in the payloads of `topic`; the levels of the path have
    /// `/` between them, and none is the payload itself. Of several announcements the first counts.
    #[must_use]
    pub fn find(&self, topic: &str, path: &str) -> Option<&Known> {
        self.values.get(topic)?.iter().find(|known| &*known.path == path)
    }

    /// How many values are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn forget(&mut self, config: &str) {
        let topics = self.configs.remove(config).unwrap_or_default();
        for topic in topics {
            let Some(known) = self.values.get_mut(&topic) else {
                continue;
            };
            let before = known.len();
            known.retain(|known| &*known.config != config);
            self.count -= before - known.len();
            if known.is_empty() {
                self.values.remove(&topic);
            }
        }
    }
}
