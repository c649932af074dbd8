//! Logs: to stderr, one line each, filtered by `DAYWISE_LOG`, and never without bound.
//!
//! A place in the code that has much to say, say about a broker that comes and goes all night, is
//! cut short (`limit.rs`); its next line says how many it left out.

mod limit;

use std::{
    fmt as std_fmt,
    io::{IsTerminal, stderr},
    sync::Arc,
};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    filter::Targets,
    fmt::{
        self, FmtContext, FormatEvent, FormatFields,
        format::{JsonFields, Writer},
    },
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use self::limit::Limiter;
pub use self::limit::suppressed;

/// What says more at `info` than anybody wants to read.
const QUIETER: [&str; 2] = ["rumqttc", "sled"];

/// Starts logging. `DAYWISE_LOG` takes filters such as `debug` or `daywise_agent=trace`;
/// `DAYWISE_LOG_FORMAT=json` makes each line a JSON object.
pub fn start() {
    let wanted = std::env::var("DAYWISE_LOG").ok().and_then(|wanted| wanted.parse().ok());
    let filter: Targets = wanted.unwrap_or_else(|| {
        Targets::new().with_default(Level::INFO).with_targets(QUIETER.map(|of| (of, Level::WARN)))
    });
    let limiter = Arc::new(Limiter::default());
    let logs = tracing_subscriber::registry().with(filter).with(limit::Limit(limiter.clone()));
    let lines = fmt::layer().with_writer(stderr).with_ansi(stderr().is_terminal());
    let format = fmt::format().with_target(false);
    let json = std::env::var("DAYWISE_LOG_FORMAT").is_ok_and(|format| format == "json");
    // Fails only if logging was started before, and then there is nothing to do.
    let started = if json {
        let format = Telling { format: format.json(), limiter, suffix: in_json };
        logs.with(lines.fmt_fields(JsonFields::new()).event_format(format)).try_init()
    } else {
        let format = Telling { format: format.compact(), limiter, suffix: in_text };
        logs.with(lines.event_format(format)).try_init()
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}

/// A format that adds how many lines of the same place were left out before.
struct Telling<F> {
    format: F,
    limiter: Arc<Limiter>,
    suffix: fn(&mut String, u64),
}

impl<S, N, F> FormatEvent<S, N> for Telling<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std_fmt::Result {
        let left_out = self.limiter.take_left_out(event.metadata());
        if left_out == 0 {
            return self.format.format_event(context, writer, event);
        }
        let mut line = String::new();
        self.format.format_event(context, Writer::new(&mut line), event)?;
        (self.suffix)(&mut line, left_out);
        writer.write_str(&line)
    }
}

fn in_text(line: &mut String, left_out: u64) {
    line.truncate(line.trim_end().len());
    line.push_str(&format!(" suppressed_before={left_out}\n"));
}

fn in_json(line: &mut String, left_out: u64) {
    let members = line.trim_end().strip_suffix('}').map_or(0, str::len);
    line.truncate(members);
    line.push_str(&format!(",\"suppressed_before\":{left_out}}}\n"));
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Mutex};

    use tracing::{info, subscriber::with_default};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Shared {
        fn lines(&self) -> Vec<String> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            text.lines().map(str::to_owned).collect()
        }
    }

    /// The same place speaks 25 times, and once more when it may again; another place speaks once.
    fn speak(limiter: &Limiter) {
        for number in 0..26 {
            if number == 25 {
                limiter.let_time_pass();
            }
            info!(number, "chatter");
        }
        info!("something else");
    }

    #[test]
    fn a_place_that_is_cut_short_says_how_much_it_left_out() {
        let (limiter, out) = (Arc::new(Limiter::default()), Shared::default());
        let writer = out.clone();
        let format = Telling {
            format: fmt::format().with_target(false).compact(),
            limiter: limiter.clone(),
            suffix: in_text,
        };
        let lines = fmt::layer().with_writer(move || writer.clone()).with_ansi(false);
        let logs = tracing_subscriber::registry()
            .with(limit::Limit(limiter.clone()))
            .with(lines.event_format(format));
        with_default(logs, || speak(&limiter));
        let lines = out.lines();
        assert_eq!(lines.len(), 22, "{lines:#?}");
        assert!(lines[19].ends_with("chatter number=19"), "{}", lines[19]);
        assert!(lines[20].ends_with("chatter number=25 suppressed_before=5"), "{}", lines[20]);
        assert!(lines[21].ends_with("something else"), "{}", lines[21]);
    }

    #[test]
    fn in_json_it_says_so_too() {
        let (limiter, out) = (Arc::new(Limiter::default()), Shared::default());
        let writer = out.clone();
        let format =
            Telling { format: fmt::format().json(), limiter: limiter.clone(), suffix: in_json };
        let lines = fmt::layer().with_writer(move || writer.clone());
        let logs = tracing_subscriber::registry()
            .with(limit::Limit(limiter.clone()))
            .with(lines.fmt_fields(JsonFields::new()).event_format(format));
        with_default(logs, || speak(&limiter));
        let lines = out.lines();
        let last: serde_json::Value = serde_json::from_str(&lines[20]).unwrap();
        assert_eq!(last["suppressed_before"], 5, "{last:#}");
        assert_eq!(last["fields"]["number"], 25, "{last:#}");
    }
}
