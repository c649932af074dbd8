"""Influx line protocol, as influxdb-client writes it."""

import datetime

from influxdb_client import Point, WritePrecision
from sent import Publisher, Sent

NS_PER_MS = 1_000_000


def series(sent, publisher):
    """Several series in one message, as a collector sends them, in nanoseconds."""
    for number in range(5):
        at_ms = sent.now_ms()
        inside, outside = 20.1 + number, 1.7 - number
        lines = [
            Point("climate")
            .tag("site", "plant 7")
            .tag("hall", "a,b=c")
            .field("temperature", inside)
            .field("humidity", 40 + number)
            .field("occupied", number % 2 == 0)
            .field("note", 'said "warm", left=2')
            .time(at_ms * NS_PER_MS + 999_999),
            Point("outside air").field("temp, in °C", outside).time(at_ms * NS_PER_MS),
        ]
        publisher.publish("collector/lines", "\n".join(map(str, lines)))
        # Tags are in the order of their keys.
        sent.reading("climate/a,b=c/plant 7/temperature", inside, at_ms)
        sent.reading("climate/a,b=c/plant 7/humidity", 40 + number, at_ms)
        sent.reading("outside air/temp, in °C", outside, at_ms)


def numbers(sent, publisher):
    """Numbers in all the ways that they are written."""
    at_ms = sent.now_ms()
    fields = {"tiny": 5e-07, "large": 1.5e17, "whole": -3.0, "signed": -(2**40), "unsigned": 2**40}
    point = Point.from_dict(
        {"measurement": "numbers", "fields": fields, "time": at_ms * NS_PER_MS},
        field_types={"unsigned": "uint"},
    )
    assert f"unsigned={2**40}u" in str(point), point
    publisher.publish("collector/lines", str(point))
    for name, value in fields.items():
        sent.reading(f"numbers/{name}", value, at_ms)


def precisions(sent, publisher):
    """Times in each unit, and none, which is that of arrival."""
    now = datetime.datetime.now(datetime.timezone.utc)
    whole_s = int(now.timestamp())
    for number, (precision, ms) in enumerate(
        [
            (WritePrecision.S, 1_000 * whole_s),
            (WritePrecision.MS, 1_000 * whole_s + now.microsecond // 1_000),
            (WritePrecision.US, 1_000 * whole_s + now.microsecond // 1_000),
        ]
    ):
        point = Point("clocks").tag("of", precision).field("value", number)
        publisher.publish("collector/clocks", str(point.time(now, precision)))
        sent.reading(f"clocks/{precision}/value", number, ms)
    publisher.publish("collector/clocks", str(Point("clocks").tag("of", "none").field("value", 9)))
    sent.reading("clocks/none/value", 9, sent.clock_ms)


def units(sent, publisher):
    """A unit among the tags."""
    at_ms = sent.now_ms()
    for unit, value in [("°F", 68.9), ("K", 300.15)]:
        point = Point("temperature").tag("unit", unit).tag("tank", unit[-1]).field("value", value)
        publisher.publish("collector/tanks", str(point.time(at_ms * NS_PER_MS)))
        sent.reading(f"temperature/{unit[-1]}/value", value, at_ms, unit)


def main():
    sent = Sent()
    publisher = Publisher(sent)
    for part in (series, numbers, precisions, units):
        part(sent, publisher)
    publisher.close()
    sent.print()


main()
