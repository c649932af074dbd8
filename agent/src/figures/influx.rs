//! Influx line protocol: <https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/>.

use super::{Figure, LastDay};

const NS_PER_MS: i64 = 1_000_000;

/// Two lines at most for each sensor: `daywise_live` at the newest reading's time, `daywise_day` at
/// the last day's beginning.
pub(super) fn write(gateway: &str, figures: &[Figure]) -> String {
    let mut text = String::new();
    for figure in figures {
        let tags = tags(gateway, figure);
        if let Some(last) = figure.last {
            let mut fields = format!("value={}", last.value);
            if let Some(score) = figure.score {
                put(&mut fields, "score", score);
            }
            put(&mut fields, "silent", figure.silent_since.is_some());
            let at = last.at.0.saturating_mul(NS_PER_MS);
            text.push_str(&format!("daywise_live,{tags} {fields} {at}\n"));
        }
        if let Some(day) = &figure.day {
            let at = day.start.0.saturating_mul(NS_PER_MS);
            text.push_str(&format!("daywise_day,{tags} {} {at}\n", fields_of(day)));
        }
    }
    text
}

fn fields_of(day: &LastDay) -> String {
    let mut fields = format!("day=\"{}\"", day.date);
    put(&mut fields, "revision", format_args!("{}i", day.revision));
    put(&mut fields, "samples", format_args!("{}i", day.samples));
    if let Some(said) = day.prediction {
        put(&mut fields, "cluster", format_args!("{}i", said.cluster));
        put(&mut fields, "novelty", said.novelty);
        put(&mut fields, "model_version", format_args!("{}i", said.model_version));
    }
    if let Some(deviation) = day.deviation {
        put(&mut fields, "deviation", deviation);
    }
    if let Some(score) = day.score {
        put(&mut fields, "score", score);
    }
    if let Some(drift) = day.drift {
        put(&mut fields, "drift", drift.drift);
    }
    fields
}

fn put(fields: &mut String, name: &str, value: impl std::fmt::Display) {
    fields.push_str(&format!(",{name}={value}"));
}

fn tags(gateway: &str, figure: &Figure) -> String {
    let tags = [
        ("gateway", gateway),
        ("sensor", figure.id.as_str()),
        ("quantity", figure.quantity.name()),
        ("unit", figure.quantity.unit()),
    ];
    // A tag may not be empty.
    let tags = tags.into_iter().filter(|(_, value)| !value.is_empty());
    tags.map(|(name, value)| format!("{name}={}", escaped(value))).collect::<Vec<_>>().join(",")
}

/// Comma, equals sign and space are escaped by a backslash. A backslash itself cannot be: it stands
/// for itself unless one of these follows, also the one that ends the tag. There it becomes `_`.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            ',' | '=' | ' ' => escaped.extend(['\\', c]),
            '\\' if rest.peek().is_none_or(|next| ",= \\".contains(*next)) => escaped.push('_'),
            c if c.is_control() => escaped.push('_'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use daywise_core::{
        decode::{Devices, Format, Message},
        time::{LocalDate, UtcMillis},
    };

    use super::{
        super::tests::{day, figure},
        *,
    };

    #[test]
    fn the_same_figures_are_two_lines() {
        let tags = "gateway=gw-1,sensor=kitchen/temperature,quantity=temperature,unit=Cel";
        let live =
            format!("daywise_live,{tags} value=21.5,score=0.3,silent=false 1715335200500000000");
        let closed = format!(
            "daywise_day,{tags} day=\"2024-05-10\",revision=1i,samples=2i,cluster=4i,novelty=0.5,\
             model_version=7i,deviation=1.5,score=0.4,drift=0.7 1715299200000000000"
        );
        let text = write("gw-1", &[figure("kitchen/temperature")]);
        assert_eq!(text.lines().collect::<Vec<_>>(), [live, closed]);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let mut unknown = figure("a");
        (unknown.last, unknown.quantity) = (None, daywise_core::quantity::Quantity::Generic);
        let mut thin = day(LocalDate(0), None);
        (thin.deviation, thin.score, thin.drift) = (None, None, None);
        unknown.day = Some(thin);
        let line = "daywise_day,gateway=gw,sensor=a,quantity=generic \
                    day=\"1970-01-01\",revision=1i,samples=2i 0\n";
        assert_eq!(write("gw", &[unknown]), line);
    }

    #[test]
    fn tags_are_escaped() {
        for (id, expected) in [
            ("a b,c=d", "a\\ b\\,c\\=d"),
            ("a\\b", "a\\b"),
            ("a\\", "a_"),
            ("a\\,b", "a_\\,b"),
            ("a\\\\ b", "a__\\ b"),
            ("a\nb", "a_b"),
        ] {
            assert_eq!(escaped(id), expected, "{id:?}");
        }
    }

    #[test]
    fn a_decoder_of_the_format_reads_back_what_was_written() {
        let (text, mut found) = (write("gw", &[figure("a b,c=d\\")]), Vec::new());
        let message = Message {
            topic: "telegraf",
            payload: text.as_bytes(),
            device: None,
            now: UtcMillis(1_715_335_300_000),
        };
        let decoded = Devices::default().decode(Format::Influx, &message, &mut |one| {
            found.push((one.device.to_owned(), one.field.to_owned(), one.value));
        });
        decoded.unwrap();
        let value = found.iter().find(|(_, field, _)| field.ends_with("value"));
        assert_eq!(value.map(|(_, _, value)| *value), Some(Ok(21.5)), "{found:?}");
        assert!(found.iter().any(|(_, field, _)| field.ends_with("novelty")), "{found:?}");
    }
}
