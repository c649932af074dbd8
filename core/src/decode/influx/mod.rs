//! Influx line protocol: `measurement,tag=a,tag=b field=1,field=2 time`, a point a line.
//!
//! The measurement and the tags' values in the order of their keys name the device, the field's
//! key is the field: `cpu,host=h1 idle=93.1` is `cpu/h1/idle`. The tag `unit` gives the unit. The
//! time is in seconds, milliseconds, microseconds or nanoseconds, as its size tells.
//!
//! A line that is not understood costs that line only.

mod point;

use alloc::{borrow::Cow, string::String};

use point::{Point, unescape};

use super::{
    Detected, Format, Found, Message, Sink, Stamp,
    names::{self, Named},
    timestamp,
};
use crate::{
    reading::Refusal,
    units::{self, Unit},
};

/// Keys of fields that say nothing, so that the measurement's name tells what is measured.
const VALUE_NAMES: [&str; 3] = ["value", "v", "val"];
const UNIT_TAG: &str = "unit";

/// Whether it is this format's. Asked when nothing else was found.
pub(super) fn detect(message: &Message<'_>) -> Option<Detected> {
    let mut lines = lines(message.text().ok()?);
    lines.any(|line| Point::parse(line).is_some()).then_some(Detected::Format(Format::Influx))
}

/// Decodes a message.
///
/// # Errors
/// `Malformed` if no line is understood, `NoValue` if none has a number, or as
/// [`Message::text`].
pub(super) fn decode(message: &Message<'_>, sink: &mut Sink<'_>) -> Result<(), Refusal> {
    let (mut points, mut readings, mut bad) = (0_usize, 0_usize, 0_usize);
    for line in lines(message.text()?) {
        match Point::parse(line) {
            Some(point) => {
                points += 1;
                readings += give(&point, message, sink);
            }
            None => bad += 1,
        }
    }
    if points == 0 {
        return Err(if bad == 0 { Refusal::NoValue } else { Refusal::Malformed });
    }
    for _ in 0..bad {
        sink(Found::named(message.device_or(message.topic), "", None, Err(Refusal::Malformed)));
    }
    if readings + bad == 0 { Err(Refusal::NoValue) } else { Ok(()) }
}

/// The lines that are neither empty nor comments.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Gives the point's numbers to `sink`; how many there were.
fn give(point: &Point<'_>, message: &Message<'_>, sink: &mut Sink<'_>) -> usize {
    let measurement = unescape(point.measurement);
    let series = series(point, &measurement);
    let unit = point.tags.iter().find(|(key, _)| *key == UNIT_TAG);
    let unit = unit.and_then(|(_, written)| units::find(&unescape(written)));
    let at = point.time.map(timestamp::from_text).transpose();
    let mut readings = 0;
    for (key, value) in point.fields() {
        let Some(value) = value else {
            continue;
        };
        readings += 1;
        let key = unescape(key);
        let value = value.and_then(|value| at.map(|_| value));
        let found = measured(&measurement, &key, unit, value);
        let found = found.at(at.ok().flatten().map(Stamp::Utc));
        match message.device {
            // The device is told from outside, and may send several series.
            Some(device) => {
                let field = alloc::format!("{series}/{}", level(&key));
                sink(Found { device, field: &field, ..found });
            }
            None => sink(Found { device: &series, field: &level(&key), ..found }),
        }
    }
    readings
}

/// The name of the device that the point is of.
fn series(point: &Point<'_>, measurement: &str) -> String {
    let mut series = level(measurement).into_owned();
    for (_, value) in point.tags.iter().filter(|(key, _)| *key != UNIT_TAG) {
        series.push('/');
        series.push_str(&level(&unescape(value)));
    }
    series
}

/// The value by what its field's name says, or else its measurement's.
fn measured(
    measurement: &str,
    key: &str,
    unit: Option<Unit>,
    value: Result<f64, Refusal>,
) -> Found<'static> {
    let named: Named = if VALUE_NAMES.contains(&key) {
        names::classify(measurement)
    } else {
        names::classify(&alloc::format!("{measurement}/{key}"))
    };
    Found::measured(named, unit, value)
}

/// A name as one level of a sensor's id: `/` on its own is a mount point, and levels are not empty.
fn level(name: &str) -> Cow<'_, str> {
    let is_bad = |c: char| matches!(c, '/' | '+' | '#') || c.is_control();
    if name.trim().is_empty() {
        "_".into()
    } else if name.contains(is_bad) {
        name.replace(is_bad, "_").into()
    } else {
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec, vec::Vec};

    use proptest::prelude::*;

    use super::*;
    use crate::{quantity::Quantity, time::UtcMillis};

    type Read = (String, Result<f64, Refusal>, Option<i64>);

    fn message<'a>(payload: &'a str, device: Option<&'a str>) -> Message<'a> {
        let payload = payload.as_bytes();
        Message { topic: "telegraf/h1", payload, device, now: UtcMillis(1_750_000_000_000) }
    }

    fn all(payload: &str) -> (Result<(), Refusal>, Vec<(Read, Quantity)>) {
        let mut found = Vec::new();
        let told = decode(&message(payload, None), &mut |value| {
            let at = value.at.map(|at| match at {
                Stamp::Utc(at) => at.0,
                Stamp::Local(_) => panic!("an epoch number is an instant"),
            });
            let id = [value.device, value.field].join("/");
            found.push(((id, value.value, at), value.quantity));
        });
        (told, found)
    }

    fn read(payload: &str) -> Vec<Read> {
        all(payload).1.into_iter().map(|(read, _)| read).collect()
    }

    fn ids(payload: &str) -> Vec<String> {
        read(payload).into_iter().map(|(id, ..)| id).collect()
    }

    fn detected(payload: &str) -> bool {
        detect(&message(payload, None)) == Some(Detected::Format(Format::Influx))
    }

    #[test]
    fn a_point_gives_each_of_its_numbers() {
        let line = "weather,location=us-midwest temperature=82.5,humidity=71i,dry=true,sky=\"clear, \
                    cold\",gusts=3u 1465839830100400200";
        let at = Some(1_465_839_830_100);
        let id = |field: &str| ["weather/us-midwest/", field].concat();
        assert_eq!(
            read(line),
            [
                (id("temperature"), Ok(82.5), at),
                (id("humidity"), Ok(71.0), at),
                (id("gusts"), Ok(3.0), at),
            ]
        );
        assert!(detected(line));
    }

    #[test]
    fn tags_are_levels_in_the_order_of_their_keys() {
        assert_eq!(ids("cpu,zone=b,host=h1 idle=93.1"), ["cpu/h1/b/idle"]);
        assert_eq!(ids("cpu,host=h1,zone=b idle=93.1"), ["cpu/h1/b/idle"]);
        assert_eq!(ids("disk,device=sda1,path=/ free=5i"), ["disk/sda1/_/free"]);
        assert_eq!(ids("disk,path=/var/log free=5i"), ["disk/_var_log/free"]);
        assert_eq!(ids("cpu idle=1"), ["cpu/idle"]);
    }

    #[test]
    fn what_is_escaped_belongs_to_the_name() {
        assert_eq!(ids(r"my\ room,a\ b=c\,d\=e temp\ in=1"), ["my room/c,d=e/temp in"]);
        assert_eq!(ids(r"m,path=C:\dir v=1"), [r"m/C:\dir/v"]);
        let quoted = r#"m,t=x note="a \"b\", c=1 \\",v=2 1556813561098"#;
        assert_eq!(read(quoted), [("m/x/v".to_string(), Ok(2.0), Some(1_556_813_561_098))]);
        assert_eq!(read("m t=\"\",v=1"), [("m/v".to_string(), Ok(1.0), None)]);
    }

    #[test]
    fn the_unit_of_time_is_told_by_its_size() {
        for time in ["1556813561", "1556813561000", "1556813561000000", "1556813561000000000"] {
            let at = read(&["m v=1 ", time].concat())[0].2;
            assert_eq!(at, Some(1_556_813_561_000), "{time}");
        }
        assert_eq!(read("m v=1")[0].2, None);
        assert_eq!(read("m v=1 12")[0], ("m/v".to_string(), Err(Refusal::BadTimestamp), None));
    }

    #[test]
    fn the_measurement_tells_where_the_field_does_not() {
        let quantity = |line: &str| all(line).1[0].1;
        assert_eq!(quantity("temperature,room=a value=21.5"), Quantity::Temperature);
        assert_eq!(quantity("climate,room=a humidity=21.5"), Quantity::Humidity);
        assert_eq!(quantity("m,room=a value=21.5"), Quantity::Generic);
        let fahrenheit = &all("temperature,room=a,unit=°F value=68.9").1[0];
        let expected = ("temperature/a/value".to_string(), Ok(20.5), None);
        assert_eq!(*fahrenheit, (expected, Quantity::Temperature));
        assert_eq!(all("meter,id=1,unit=kWh reading=2").1[0].0.1, Ok(2_000.0));
    }

    #[test]
    fn a_bad_line_costs_that_line_only() {
        let text =
            "# by hand\nm v=1 1556813561\nm v=\n\nm v=2,w=x 1556813562\r\nm v=3 1556813563\n";
        let (told, found) = all(text);
        let values: Vec<_> = found.iter().map(|((_, value, _), _)| *value).collect();
        let malformed = Err(Refusal::Malformed);
        assert_eq!((told, values), (Ok(()), vec![Ok(1.0), Ok(3.0), malformed, malformed]));
        assert_eq!(found[2].0.0, "telegraf/h1/");
    }

    #[test]
    fn each_fault_has_its_own_reason() {
        assert_eq!(all("# nothing").0, Err(Refusal::NoValue));
        assert_eq!(all("m s=\"a\",b=T").0, Err(Refusal::NoValue));
        assert_eq!(read("m v=nan")[0].1, Err(Refusal::NotFinite));
        assert_eq!(read("m v=1e999")[0].1, Err(Refusal::NotFinite));
        for line in [
            "Online",
            "m",
            "m v",
            "m =1",
            "m v=1 x",
            "m v=1 1556813561 2",
            ",a=b v=1",
            "m,a v=1",
            "m,a= v=1",
            "m, v=1",
            "m v=1,",
            "m v=1.5i",
            "m v=-1u",
            "m v=\"a",
            r#"m v="a\""#,
            r#"m v="a"b"#,
            "m v=99999999999999999999i",
            "temp=21 hum=40",
            "state changed to on=1",
            &["m".repeat(600).as_str(), " v=1"].concat(),
        ] {
            assert_eq!(all(line).0, Err(Refusal::Malformed), "{line}");
            assert!(!detected(line), "{line}");
        }
    }

    #[test]
    fn a_device_that_is_told_from_outside_keeps_its_series_apart() {
        let mut fields = Vec::new();
        let text = "cpu,core=0 idle=1\ncpu,core=1 idle=2";
        let told = decode(&message(text, Some("h1")), &mut |found| {
            fields.push([found.device, found.field].join("|"));
        });
        assert_eq!((told, fields), (Ok(()), vec!["h1|cpu/0/idle".into(), "h1|cpu/1/idle".into()]));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in r#"[a-c,= \\"\n#0-9iutTé.\-]{0,80}|.{0,40}"#) {
            for (_, value, _) in read(&text) {
                prop_assert!(value.is_err() || value.is_ok_and(f64::is_finite));
            }
        }
    }
}
