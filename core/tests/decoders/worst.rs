//! Messages that are made to cost: much of what a format has, as long as one likes.

use daywise_core::decode::Format;

/// Makes a message of about so many bytes.
type Make = fn(usize) -> Vec<u8>;

/// A kind of message.
#[derive(Clone, Copy)]
pub(crate) struct Worst {
    pub(crate) name: &'static str,
    pub(crate) format: Format,
    /// Its topic, with `*` for a name.
    pub(crate) topic: &'static str,
    pub(crate) make: Make,
}

const fn worst(name: &'static str, format: Format, topic: &'static str, make: Make) -> Worst {
    Worst { name, format, topic, make }
}

/// `item` as often as there is room for it, with commas between.
fn list(start: &str, item: impl Fn(usize) -> String, end: &str, size: usize) -> Vec<u8> {
    let room = size.saturating_sub(start.len() + end.len());
    let mut text = String::from(start);
    for number in 0.. {
        let item = item(number);
        if text.len() + item.len() > start.len() + room {
            break;
        }
        text += &item;
        text.push(',');
    }
    text.truncate(text.trim_end_matches(',').len());
    (text + end).into_bytes()
}

/// `inside` as often as there is room for it, between `start` and `end`.
fn long(start: &str, inside: &str, end: &str, size: usize) -> Vec<u8> {
    let times = size.saturating_sub(start.len() + end.len()) / inside.len();
    [start, &inside.repeat(times), end].concat().into_bytes()
}

/// One half a name, the other values that are all under it.
fn under_one_name(start: &str, middle: &str, item: &str, end: &str, size: usize) -> Vec<u8> {
    let start = [start, &"n ".repeat(size / 4), middle].concat();
    list(&start, |_| item.into(), end, size)
}

fn members(size: usize) -> Vec<u8> {
    list("{\"linkquality\":1,", |n| format!("\"t{n}\":{n}.5"), "}", size)
}

/// JSON of any format.
const JSON: &[(&str, Make)] = &[
    ("members", members),
    ("numbers", |size| list("[", |_| "1".into(), "]", size)),
    ("lists of nothing", |size| list("[", |_| "[]".into(), "]", size)),
    ("objects of one member", |size| list("[", |_| "{\"\":0}".into(), "]", size)),
    ("objects with names", |size| list("[", |_| "{\"n\":\"a\",\"v\":0}".into(), "]", size)),
    ("nesting", |size| long("", "[", "", size)),
    ("nesting of objects", |size| long("", "{\"a\":", "", size)),
    ("nesting that just passes", |size| {
        list("[", |_| ["[".repeat(100), "]".repeat(100)].concat(), "]", size)
    }),
    ("what is not finite", |size| {
        list("{\"linkquality\":NaN,\"a\":[", |_| "NaN".into(), "]}", size)
    }),
    ("escapes", |size| long("{\"value\":\"", "\\u00e9\\n", "\"}", size)),
    ("a long key", |size| long("{\"", "temperature_", "\":21.5}", size)),
    ("a long number", |size| long("{\"value\":0.", "123456789", "}", size)),
    ("a long number as text", |size| long("{\"value\":\"", "1,", "5\"}", size)),
    ("spaces", |size| long("", " ", "{\"value\":1}", size)),
    ("the same key", |size| list("{", |_| "\"value\":1".into(), "}", size)),
];

/// A topic under which each format of JSON is read.
const OF_JSON: &[(Format, &str)] = &[
    (Format::Json, "a/*"),
    (Format::Zigbee2Mqtt, "zigbee2mqtt/*"),
    (Format::Tasmota, "tele/*/SENSOR"),
    (Format::ShellyGen1, "shellies/shelly1-*/info"),
    (Format::ShellyGen2, "shelly-*/status/switch:0"),
    (Format::ChirpStackV4, "application/*/device/0011223344556677/event/up"),
    (Format::TheThingsStack, "v3/a/devices/*/up"),
    (Format::SenmlJson, "*/senml"),
    (Format::OpenMqttGateway, "home/*/BTtoMQTT/112233445566"),
    (Format::Rtl433, "rtl_433/*/events"),
    (Format::ZwaveJs, "zwave/*/49/0/b"),
    (Format::EdgeX, "edgex/events/*"),
    (Format::ThinEdge, "te/device/*///m/a"),
];

/// JSON of whatever shape, in every format that has JSON.
pub(crate) fn json() -> impl Iterator<Item = Worst> {
    OF_JSON.iter().flat_map(|&(format, topic)| {
        JSON.iter().map(move |&(name, make)| worst(name, format, topic, make))
    })
}

/// What is in one format only.
pub(crate) const OWN: &[Worst] = &[
    worst("digits", Format::Number, "*", |size| long("", "7", "", size)),
    worst("digits and commas", Format::Number, "*", |size| long("", "1,", "5", size)),
    worst("sensors of two values", Format::Tasmota, "tele/*/SENSOR", |size| {
        list(
            "{",
            |n| format!("\"S{n}\":{{\"Temperature\":1,\"Pressure\":2}}"),
            ",\"TempUnit\":\"F\"}",
            size,
        )
    }),
    worst("components", Format::ShellyGen2, "shelly-*/events/rpc", |size| {
        let start = "{\"method\":\"NotifyStatus\",\"params\":{";
        list(start, |n| format!("\"em:{n}\":{{\"voltage\":1,\"current\":[1]}}"), "}}", size)
    }),
    worst("history", Format::ChirpStackV4, "application/a/device/*/event/up", |size| {
        let start =
            "{\"fPort\":2,\"time\":\"2025-01-01T00:00:00Z\",\"object\":{\"a\":1,\"history\":[";
        list(start, |n| format!("{{\"ts\":{},\"a\":{n}}}", 1_735_689_600 + n), "]}}", size)
    }),
    worst("gateways", Format::ChirpStackV4, "application/a/device/*/event/up", |size| {
        let start = "{\"fPort\":2,\"object\":{\"a\":1},\"rxInfo\":[";
        list(start, |n| format!("{{\"rssi\":-{n},\"snr\":1,\"time\":null}}"), "]}", size)
    }),
    worst("an object in text", Format::ChirpStackV3, "application/a/device/*/event/up", |size| {
        let start = "{\"fPort\":2,\"objectJSON\":\"{\\\"a\\\":[";
        list(start, |n| format!("{{\\\"a\\\":{n}}}"), "]}\"}", size)
    }),
    worst("data", Format::ChirpStackV4, "application/*/device/24e124136c000001/event/up", |size| {
        long("{\"fPort\":85,\"data\":\"", "IM4Ahnln", "\",\"object\":{\"a\":1}}", size)
    }),
    worst("history", Format::TheThingsStack, "v3/a/devices/*/up", |size| {
        let start = "{\"uplink_message\":{\"f_port\":2,\"decoded_payload\":{\"a\":1,\"records\":[";
        list(start, |n| format!("{{\"time\":{},\"a\":{n}}}", 1_735_689_600 + n), "]}}}", size)
    }),
    worst("records", Format::SenmlJson, "*", |size| {
        list("[", |n| format!("{{\"n\":\"a{n}\",\"u\":\"Cel\",\"v\":{n}}}"), "]", size)
    }),
    worst("a long base name", Format::SenmlJson, "*", |size| {
        under_one_name("[{\"bn\":\"urn:dev:ow:", "\"},", "{\"v\":1,\"s\":2}", "]", size)
    }),
    worst("a long base unit", Format::SenmlJson, "*", |size| {
        under_one_name("[{\"n\":\"a\",\"bu\":\"", "\"},", "{\"n\":\"a\",\"v\":1}", "]", size)
    }),
    worst("a long base name", Format::SenmlCbor, "*", |size| {
        let name = size / 2;
        let head = [&[0x9f, 0xa1, 0x21, 0x79][..], &u16::try_from(name).unwrap().to_be_bytes()];
        [head.concat(), vec![b'n'; name], [0xa1, 0x02, 0x01].repeat(size / 6 - 3), vec![0xff]]
            .concat()
    }),
    worst("records", Format::SenmlCbor, "*", |size| {
        [&[0x9f][..], &[0xa2, 0x00, 0x61, b'n', 0x02, 0x01].repeat(size / 6 - 1), &[0xff]].concat()
    }),
    worst("nesting", Format::SenmlCbor, "*", |size| {
        [&[0x9f, 0xa1, 0x08][..], &[0x9f].repeat(size / 2 - 2), &[0xff].repeat(size / 2 - 2)]
            .concat()
    }),
    worst("empty metrics", Format::SparkplugB, "spBv1.0/*/NDATA/n", |size| {
        [0x12, 0].repeat(size / 2)
    }),
    worst("metrics without a name", Format::SparkplugB, "spBv1.0/*/NDATA/n", |size| {
        [&[0x12, 7][..], &[0x10, 1, 0x65, 0, 0, 0x80, 0x3f]].concat().repeat(size / 9)
    }),
    worst("metrics", Format::SparkplugB, "spBv1.0/*/NBIRTH/n", births),
    worst("properties", Format::SparkplugB, "spBv1.0/*/NBIRTH/n", |size| {
        let properties = [0x0a, 0, 0x12, 0].repeat(size / 4 - 5);
        nested(2, &[&[0x0a, 1, b't'][..], &nested(9, &properties), &[0x50, 1]].concat())
    }),
    worst("groups", Format::SparkplugB, "spBv1.0/*/NDATA/n", |size| {
        [[0x0b].repeat(size / 2), [0x0c].repeat(size / 2)].concat()
    }),
    worst("fields", Format::Influx, "*", |size| list("m ", |_| "a=1".into(), "", size)),
    worst("fields of a long series", Format::Influx, "*", |size| {
        let start = ["m,t=", &"ab_".repeat(160), " "].concat();
        list(&start, |_| "a=1".into(), "", size)
    }),
    worst("fields of a long measurement", Format::Influx, "*", |size| {
        list(&[&"a_".repeat(250), " "].concat(), |_| "a=1".into(), "", size)
    }),
    worst("lines", Format::Influx, "*", |size| long("", "m v=1\n", "", size)),
    worst("lines with tags", Format::Influx, "*", |size| {
        long("", "m,z=1,y=2,x=3,unit=°F v=1,w=2 1735689600\n", "", size)
    }),
    worst("bad lines", Format::Influx, "*", |size| long("m v=1\n", "x\n", "", size)),
    worst("quotes", Format::Influx, "*", |size| list("m ", |_| "a=\"\\\"\"".into(), ",v=1", size)),
    worst("one long quote", Format::Influx, "*", |size| long("m v=1,a=\"", "\\\",", "\"", size)),
    worst("escapes", Format::Influx, "*", |size| long("m v", "\\=", "=1", size)),
    worst(
        "a long text",
        Format::HaStatestream,
        "homeassistant/sensor/*/unit_of_measurement",
        |size| long("\"", "\\u00b0", "\"", size),
    ),
    worst("digits", Format::EspHome, "*/sensor/b/state", |size| long("", "7", "", size)),
    worst("a long model", Format::Rtl433, "rtl_433/*/events", |size| {
        let middle = "\",\"time\":\"@1s\",\"mic\":\"CRC\",\"rows\":[";
        under_one_name("{\"model\":\"", middle, "1", "]}", size)
    }),
    worst("readings", Format::EdgeX, "edgex/events/*", |size| {
        let item = "{\"resourceName\":\"a\",\"valueType\":\"Int8\",\"value\":\"1\"}";
        list(
            "{\"deviceName\":\"a\",\"origin\":1735689600123456789,\"readings\":[",
            |_| item.into(),
            "]}",
            size,
        )
    }),
    worst("a long origin", Format::EdgeX, "edgex/events/*", |size| {
        let item = "{\"name\":\"a\",\"value\":\"1\"}";
        under_one_name("{\"device\":\"a\",\"origin\":\"", "\",\"readings\":[", item, "]}", size)
    }),
    worst("an envelope", Format::EdgeX, "edgex/events/*", |size| {
        long("{\"payload\":\"", "W1tb", "\"}", size)
    }),
    worst("groups", Format::ThinEdge, "te/device/*///m/a", |size| {
        list("{", |n| format!("\"a{n}\":{{\"b\":1,\"c\":2}}"), "}", size)
    }),
];

/// A length-delimited field of protobuf.
fn nested(tag: u8, inside: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag << 3 | 2];
    let mut length = inside.len();
    while length > 0x7f {
        bytes.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    bytes.push(u8::try_from(length).unwrap());
    [&bytes, inside].concat()
}

fn births(size: usize) -> Vec<u8> {
    let metric = |number: usize| {
        let value = [0x20, 10, 0x69, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f];
        nested(2, &[&nested(1, format!("m/{number}").as_bytes()), &value[..]].concat())
    };
    let mut bytes = Vec::new();
    for number in 0.. {
        let metric = metric(number);
        if bytes.len() + metric.len() > size {
            break;
        }
        bytes.extend(metric);
    }
    bytes
}
