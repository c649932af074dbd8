//! The physics of the simulated site, kept to what shapes a day: heat that stays for hours,
//! air that people use up, daylight, lamps and the power behind them.

use jiff::{Zoned, civil::Date};

use super::random::Random;

/// Number of office rooms.
const ROOMS: usize = 10;

/// What a sensor of the site measures, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Air temperature of a room.
    Room(usize),
    /// Air temperature in the server room, cooled to a set value.
    ServerRoom,
    /// Air temperature outdoors.
    Outdoor,
    /// Relative humidity of a room.
    Humidity(usize),
    /// Carbon dioxide in a room.
    Co2(usize),
    /// Illuminance on a desk.
    Light(usize),
    /// Power of lamps and sockets of a floor.
    Floor(usize),
    /// Power of the servers.
    Servers,
    /// Air pressure, and by how much the sensor stands higher, in hPa.
    Pressure(u8),
}

/// A sensor of the site.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sensor {
    /// Its id; the last part names the quantity.
    pub(super) id: &'static str,
    kind: Kind,
}

const fn s(id: &'static str, kind: Kind) -> Sensor {
    Sensor { id, kind }
}

/// All sensors.
pub(super) const SENSORS: [Sensor; 36] = [
    s("office-1/temperature", Kind::Room(0)),
    s("office-2/temperature", Kind::Room(1)),
    s("office-3/temperature", Kind::Room(2)),
    s("office-4/temperature", Kind::Room(3)),
    s("office-5/temperature", Kind::Room(4)),
    s("office-6/temperature", Kind::Room(5)),
    s("office-7/temperature", Kind::Room(6)),
    s("office-8/temperature", Kind::Room(7)),
    s("office-9/temperature", Kind::Room(8)),
    s("office-10/temperature", Kind::Room(9)),
    s("server-room/temperature", Kind::ServerRoom),
    s("outdoor/temperature", Kind::Outdoor),
    s("office-1/humidity", Kind::Humidity(0)),
    s("office-2/humidity", Kind::Humidity(1)),
    s("office-3/humidity", Kind::Humidity(2)),
    s("office-4/humidity", Kind::Humidity(3)),
    s("office-5/humidity", Kind::Humidity(4)),
    s("office-6/humidity", Kind::Humidity(5)),
    s("office-1/co2", Kind::Co2(0)),
    s("office-2/co2", Kind::Co2(1)),
    s("office-3/co2", Kind::Co2(2)),
    s("office-4/co2", Kind::Co2(3)),
    s("office-5/co2", Kind::Co2(4)),
    s("office-6/co2", Kind::Co2(5)),
    s("office-1/illuminance", Kind::Light(0)),
    s("office-2/illuminance", Kind::Light(1)),
    s("office-3/illuminance", Kind::Light(2)),
    s("office-4/illuminance", Kind::Light(3)),
    s("office-5/illuminance", Kind::Light(4)),
    s("office-6/illuminance", Kind::Light(5)),
    s("floor-1/power", Kind::Floor(0)),
    s("floor-2/power", Kind::Floor(1)),
    s("floor-3/power", Kind::Floor(2)),
    s("server-room/power", Kind::Servers),
    s("roof/pressure", Kind::Pressure(3)),
    s("cellar/pressure", Kind::Pressure(0)),
];

impl Sensor {
    /// The value as the sensor writes it: rounded to what such sensors resolve.
    pub(super) fn rounded(&self, value: f64) -> f64 {
        let steps = match self.kind {
            Kind::Room(_) | Kind::ServerRoom | Kind::Outdoor => 50.0,
            Kind::Humidity(_) | Kind::Pressure(_) => 20.0,
            Kind::Co2(_) | Kind::Light(_) | Kind::Floor(_) | Kind::Servers => 1.0,
        };
        (value * steps).round() / steps
    }

    /// What such a sensor says when it does not work for a moment.
    pub(super) fn nonsense(&self, random: &mut Random) -> f64 {
        match self.kind {
            Kind::Room(_) | Kind::ServerRoom | Kind::Outdoor if random.chance(0.7) => -127.0,
            Kind::Room(_) | Kind::ServerRoom | Kind::Outdoor => 3_276.7,
            Kind::Humidity(_) => 255.0,
            Kind::Pressure(_) => 0.0,
            Kind::Co2(_) | Kind::Light(_) | Kind::Floor(_) | Kind::Servers => -9_999.0,
        }
    }
}

/// A moment on the site's wall clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Moment {
    /// Days since the first.
    pub(super) day: u16,
    /// Hours since midnight, with their fraction.
    pub(super) hour: f64,
    /// Saturday or Sunday.
    pub(super) is_weekend: bool,
}

impl Moment {
    /// What the wall clock shows.
    pub(super) fn new(at: &Zoned, first_day: Date) -> Self {
        let days = first_day.until(at.date()).map_or(0, |span| span.get_days());
        Self {
            day: u16::try_from(days).unwrap_or(0),
            hour: f64::from(at.hour()) + f64::from(at.minute()) / 60.0,
            is_weekend: matches!(
                at.weekday(),
                jiff::civil::Weekday::Saturday | jiff::civil::Weekday::Sunday
            ),
        }
    }
}

/// What the whole building shares on one day.
#[derive(Clone, Copy, Debug)]
struct Weather {
    cloud: f64,
    mean_temperature: f64,
    pressure: f64,
}

/// What is felt at this moment.
#[derive(Clone, Copy, Debug, Default)]
struct Air {
    sun: f64,
    outdoor: f64,
    pressure: f64,
}

#[derive(Clone, Copy, Debug)]
struct Room {
    temperature: f64,
    co2: f64,
    people: f64,
    /// How much of the sun comes in: windows and their direction.
    window: f64,
}

/// The building's state; steps forward by five minutes.
#[derive(Debug)]
pub(super) struct Building {
    weather: Vec<Weather>,
    /// Share of people who come in, by day and room.
    attendance: Vec<[f64; ROOMS]>,
    rooms: [Room; ROOMS],
    air: Air,
    random: Random,
}

impl Building {
    /// A building and its weather; two days beyond the last, so that weather can blend over.
    pub(super) fn new(seed: u64, days: u16) -> Self {
        let mut random = Random::new(seed, "building");
        let (mut cloud, mut warmth, mut high) = (0.5, 0.0, 0.0);
        let weather = (0..days + 2).map(|day| {
            cloud = (0.55 * cloud + 0.45 * random.unit() + random.noise(0.1)).clamp(0.0, 1.0);
            warmth = 0.75 * warmth + random.noise(1.8);
            high = 0.8 * high + random.noise(5.0);
            Weather {
                cloud,
                mean_temperature: 6.0 + 0.12 * f64::from(day) + warmth,
                pressure: 1_014.0 + high,
            }
        });
        let weather: Vec<Weather> = weather.collect();
        let attendance = weather.iter().map(|_| [(); ROOMS].map(|()| random.between(0.65, 1.0)));
        let attendance = attendance.collect();
        let rooms = [(); ROOMS].map(|()| Room {
            temperature: 19.0,
            co2: 430.0,
            people: 0.0,
            window: random.between(0.4, 1.0),
        });
        Self { weather, attendance, rooms, air: Air::default(), random }
    }

    /// Moves five minutes on.
    pub(super) fn step(&mut self, moment: &Moment) {
        self.air = self.air_at(moment);
        let Some(attendance) = self.attendance.get(usize::from(moment.day)) else { return };
        for (room, share) in self.rooms.iter_mut().zip(attendance) {
            room.people = share * presence(moment) + 0.02 * self.random.unit();
            let setpoint =
                if !moment.is_weekend && (5.5..18.0).contains(&moment.hour) { 21.5 } else { 17.5 };
            // Five minutes of a heater with three hours to its set value, walls with thirty.
            let heat = (setpoint - room.temperature).max(0.0) / 36.0;
            let loss = (self.air.outdoor - room.temperature) / 900.0;
            let gain = 0.035 * room.people + 0.06 * self.air.sun * room.window;
            room.temperature += heat + loss + gain + self.random.noise(0.01);
            let fresh = if room.people > 0.1 { 0.09 } else { 0.03 };
            room.co2 += 45.0 * room.people - fresh * (room.co2 - 425.0) + self.random.noise(2.0);
        }
    }

    fn air_at(&self, moment: &Moment) -> Air {
        // From noon to noon one day's weather turns into the next one's.
        let place = f64::from(moment.day) + moment.hour / 24.0 + 0.5;
        let share = place.fract();
        let later = if moment.hour < 12.0 { 0 } else { 1 };
        let day = |offset: usize| {
            let index = (usize::from(moment.day) + offset).saturating_sub(1);
            self.weather.get(index).or_else(|| self.weather.last()).copied()
        };
        let (Some(from), Some(to)) = (day(later), day(later + 1)) else { return Air::default() };
        let blend = |pick: fn(Weather) -> f64| pick(from) * (1.0 - share) + pick(to) * share;
        let cloud = blend(|w| w.cloud);
        let height = (std::f64::consts::PI * (moment.hour - 6.0) / 12.5).sin().max(0.0);
        let sun = height * (1.0 - 0.8 * cloud);
        let swing = (std::f64::consts::TAU * (moment.hour - 9.0) / 24.0).sin();
        let outdoor = blend(|w| w.mean_temperature) + (2.0 + 3.5 * (1.0 - cloud)) * swing;
        Air { sun, outdoor, pressure: blend(|w| w.pressure) }
    }

    /// What `sensor` measures now.
    pub(super) fn measure(&self, sensor: &Sensor, moment: &Moment, random: &mut Random) -> f64 {
        let room = |index: usize| {
            self.rooms.get(index).copied().unwrap_or(Room {
                temperature: 20.0,
                co2: 425.0,
                people: 0.0,
                window: 0.5,
            })
        };
        match sensor.kind {
            Kind::Room(index) => room(index).temperature + random.noise(0.05),
            Kind::ServerRoom => {
                let cycle = (std::f64::consts::TAU * moment.hour * 1.5).sin();
                22.0 + 0.5 * cycle + 0.02 * self.air.outdoor + random.noise(0.08)
            }
            Kind::Outdoor => self.air.outdoor + random.noise(0.12),
            Kind::Humidity(index) => {
                let room = room(index);
                let dry = 42.0 + 0.7 * (self.air.outdoor - 6.0) - 1.8 * (room.temperature - 19.0);
                (dry + 5.0 * room.people + random.noise(0.3)).clamp(5.0, 95.0)
            }
            Kind::Co2(index) => (room(index).co2 + random.noise(4.0)).max(380.0),
            Kind::Light(index) => {
                let room = room(index);
                let lamp = if room.people > 0.15 { 380.0 } else { 0.0 };
                (lamp + 900.0 * self.air.sun * room.window + random.noise(4.0)).max(0.0)
            }
            Kind::Floor(floor) => {
                let people: f64 = self.rooms.iter().skip(floor * 3).take(3).map(|r| r.people).sum();
                let lunch =
                    if (11.5..13.5).contains(&moment.hour) { 350.0 * people / 3.0 } else { 0.0 };
                160.0 + 520.0 * people + lunch + random.noise(18.0)
            }
            Kind::Servers => {
                let nightly = if (1.0..3.0).contains(&moment.hour) { 240.0 } else { 0.0 };
                1_450.0 + nightly + 6.0 * self.air.outdoor + random.noise(22.0)
            }
            Kind::Pressure(lower) => self.air.pressure - f64::from(lower) + random.noise(0.08),
        }
    }
}

/// How many of those who come in are there: a working day with a lunch break.
fn presence(moment: &Moment) -> f64 {
    if moment.is_weekend {
        return 0.0;
    }
    let ramp = |from: f64, to: f64| ((moment.hour - from) / (to - from)).clamp(0.0, 1.0);
    let lunch = 0.35 * (ramp(11.5, 12.0) - ramp(12.75, 13.25));
    (ramp(7.5, 9.25) - ramp(16.0, 18.5) - lunch).max(0.0)
}
