"""SenML, as micropython-senml writes it in JSON and in CBOR; it runs under any Python."""

from senml import SenmlPack, SenmlRecord, SenmlUnits
from sent import Publisher, Sent

OFTEN = 4


def packs(sent, form, encode):
    """A device's values, with base fields and times that count from the base's."""
    device = f"urn:dev:ow:10e2073a-{form}"
    base_ms = sent.now_ms()
    pack = SenmlPack(f"{device}:")
    pack.base_time = base_ms / 1_000
    pack.base_unit = SenmlUnits.SENML_UNIT_AMPERE
    # What is no number is no reading.
    for name, value in [("running", True), ("mode", "auto"), ("raw", bytearray(b"\x00\xff"))]:
        pack.add(SenmlRecord(name, value=value, time=base_ms / 1_000))
    for number in range(OFTEN):
        # From now backwards, as a device writes what it has gathered.
        at_ms, current = base_ms - 250 * number, 1.7 - number / 10
        pack.add(SenmlRecord("current", value=current, time=at_ms / 1_000))
        sent.reading(f"{device}/current", current, at_ms)
    pack.add(SenmlRecord("supply", value=120.1, unit=SenmlUnits.SENML_UNIT_VOLT))
    sent.reading(f"{device}/supply", 120.1, base_ms)
    at_ms, used = base_ms - 60_000, 7_200
    pack.add(SenmlRecord("load", sum=used, unit=SenmlUnits.SENML_UNIT_WATT, time=at_ms / 1_000))
    sent.reading(f"{device}/load/sum", used, at_ms, "J")
    battery = SenmlUnits.SENML_UNIT_PERCENTAGE_REMAINING_BATTERY_LEVEL
    pack.add(SenmlRecord("cell", value=88, unit=battery))
    sent.leaves_out("device_health")
    return encode(pack)


def base_values(sent, form, encode):
    """Values that count from the base's, in another unit, and without any name of their own."""
    device = f"line-{form}/tank"
    at_ms = sent.now_ms()
    pack = SenmlPack(f"{device}/")
    pack.base_time = at_ms / 1_000
    pack.base_value = 300
    pack.base_unit = SenmlUnits.SENML_UNIT_KELVIN
    for name, value in [("top", 301.4), ("bottom", 299.15), ("middle", 300)]:
        pack.add(SenmlRecord(name, value=value))
        sent.reading(f"{device}/{name}", value, at_ms, "K")
    return encode(pack)


def relative_times(sent, form, encode):
    """A device without a clock: seconds before now, and now."""
    pack = SenmlPack(f"clockless-{form}:")
    for name, seconds in [("past", -5), ("fraction", -2.5), ("present", 0)]:
        value = 10 - seconds
        pack.add(SenmlRecord(name, value=value, time=seconds))
        sent.reading(f"clockless-{form}/{name}", value, sent.clock_ms + int(1_000 * seconds))
    return encode(pack)


def gateway(sent, form, encode):
    """Several devices in one pack: each base holds until the next one."""
    pack = SenmlPack(f"gateway-{form}/own/")
    pack.base_time = sent.now_ms() / 1_000
    humidity = SenmlUnits.SENML_UNIT_RELATIVE_HUMIDITY
    pack.add(SenmlRecord("humidity", value=41.5, unit=humidity))
    sent.reading(f"gateway-{form}/own/humidity", 41.5, round(1_000 * pack.base_time))
    for name in ["attic", "cellar"]:
        child = SenmlPack(f"gateway-{form}/{name}/")
        at_ms = sent.now_ms()
        child.base_time = at_ms / 1_000
        child.base_unit = SenmlUnits.SENML_UNIT_DEGREES_CELSIUS
        for number in range(OFTEN):
            value, ago_ms = 18.3 + number, 1_000 * number
            child.add(SenmlRecord("air", value=value, time=(at_ms - ago_ms) / 1_000))
            sent.reading(f"gateway-{form}/{name}/air", value, at_ms - ago_ms)
        pack.add(child)
    return encode(pack)


def main():
    sent = Sent()
    publisher = Publisher(sent)
    for form, encode in [("json", SenmlPack.to_json), ("cbor", SenmlPack.to_cbor)]:
        for part in (packs, base_values, relative_times, gateway):
            publisher.publish(f"packs/{form}", part(sent, form, encode))
    publisher.close()
    sent.print()


main()
