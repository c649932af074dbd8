//! The payload formats, by name.

use core::fmt;

use serde::{Deserialize, Serialize};

macro_rules! formats {
    ($( $(#[$doc:meta])* $variant:ident = $name:literal; )*) => {
        /// A payload format. The closed list of what this build decodes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Format { $( $(#[$doc])* $variant, )* }

        impl Format {
            /// Every format.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name in configs, reports and files.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

formats! {
    /// A plain number, perhaps with a unit behind it.
    Number = "number";
    /// Any JSON: a value with a time, or an object whose numbers are each a sensor.
    Json = "json";
    /// Zigbee2MQTT's device states.
    Zigbee2Mqtt = "zigbee2mqtt";
    /// Tasmota's `SENSOR` and `STATE` telemetry.
    Tasmota = "tasmota";
    /// Shelly, first generation: a plain number per topic.
    ShellyGen1 = "shelly_gen1";
    /// Shelly, second generation and later: RPC notifications and status topics.
    ShellyGen2 = "shelly_gen2";
    /// `ChirpStack` 3 uplinks.
    ChirpStackV3 = "chirpstack_v3";
    /// `ChirpStack` 4 uplinks.
    ChirpStackV4 = "chirpstack_v4";
    /// The Things Stack 3 uplinks.
    TheThingsStack = "ttn_v3";
    /// `SenML` in JSON.
    SenmlJson = "senml_json";
    /// `SenML` in CBOR.
    SenmlCbor = "senml_cbor";
    /// Sparkplug B.
    SparkplugB = "sparkplug_b";
    /// Influx line protocol.
    Influx = "influx";
    /// Home Assistant's MQTT statestream.
    HaStatestream = "ha_statestream";
    /// ESPHome's state topics.
    EspHome = "esphome";
    /// `OpenMQTTGateway`.
    OpenMqttGateway = "openmqttgateway";
    /// `rtl_433` events.
    Rtl433 = "rtl_433";
    /// Z-Wave JS UI.
    ZwaveJs = "zwavejs";
    /// `EdgeX` Foundry events.
    EdgeX = "edgex";
    /// thin-edge.io measurements.
    ThinEdge = "thin_edge";
}

impl Format {
    /// The format of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|format| format.name() == name)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Format {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let name = alloc::string::String::deserialize(deserializer)?;
        Self::from_name(&name)
            .ok_or_else(|| D::Error::custom(format_args!("unknown payload format `{name}`")))
    }
}
