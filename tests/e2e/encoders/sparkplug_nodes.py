"""Sparkplug B, as pysparkplug encodes it: one node message by message, one by its ready-made class."""

import pysparkplug as spb
from sent import Sent
from sparkplug_node import GROUP, REBIRTH, Node, Watcher

ROUNDS = 5
NAMED = "Line2"
MINUTE_MS = 60_000
Type = spb.DataType

LINE = {
    None: {
        "Supply Pressure": (Type.DOUBLE, "kPa"),
        "Level": (Type.INT16, None),
        "Balance": (Type.INT64, None),
        "Mode": (Type.STRING, None),
        "Running": (Type.BOOLEAN, None),
    },
    "Oven": {
        "Chamber": (Type.DOUBLE, "°F"),
        "Gas Flow": (Type.FLOAT, "m3/h"),
        "Parts": (Type.UINT32, None),
        "Door Open": (Type.BOOLEAN, None),
        "Recipe": (Type.STRING, None),
    },
}


def of_line(number):
    return {
        "Supply Pressure": 101.3 + number,
        "Level": -300 + number,
        "Balance": -(2**40) - number,
        "Mode": "auto",
        "Running": number % 2 == 0,
    }


def of_oven(number):
    return {
        "Chamber": 392.5 + number,
        "Gas Flow": 21.7,
        "Parts": 4_000_000_000 + number,
        "Door Open": False,
        "Recipe": "bread",
    }


def by_its_parts(sent, watcher):
    """A node that loses a message, then its power, and is asked each time to be born again."""
    node = Node(sent, "Line1", LINE)
    node.connect(first_alias=1)
    node.measure(None, of_line(0))
    node.measure("Oven", of_oven(0))
    node.bear()
    for number in range(1, ROUNDS):
        node.data(None, of_line(number))
        node.data("Oven", of_oven(number))
    # Shorter than a day stays open after its end, so that any time of day will do for the test.
    node.history("Oven", "Chamber", 351.25, 45 * MINUTE_MS)
    node.nothing(None, "Level")

    # What comes after a gap is good, and so is what came before the birth that it leads to.
    node.lose_message()
    node.data("Oven", {"Chamber": 410.5})
    node.wait_until_asked()
    node.bear()
    node.data("Oven", {"Chamber": 411.5})

    node.lose_connection()
    watcher.wait_for(spb.MessageType.NDEATH, node.name)

    # The numbers of the last life would lead to wrong names.
    node.connect(first_alias=4)
    node.unborn(None, "Supply Pressure", 99.9)
    node.unborn("Oven", "Chamber", 99.9)
    node.wait_until_asked()
    node.bear()
    node.data(None, of_line(ROUNDS))
    node.data("Oven", of_oven(ROUNDS))
    node.die()
    watcher.wait_for(spb.MessageType.NDEATH, node.name, times=2)
    assert node.commands == [REBIRTH] * 2, node.commands


def by_the_ready_made_class(sent, watcher):
    """A node as the library runs it: names with every value."""
    name, device, commands = NAMED, "Cooler", []

    def metric(of, name, datatype, value):
        at_ms = sent.now_ms()
        sent.reading("/".join([GROUP, NAMED, *of, name]), value, at_ms)
        return spb.Metric(at_ms, name, datatype, value=value)

    def speed(number):
        return [metric([], "Belt Speed", Type.FLOAT, 0.35 + number)]

    def air(number):
        return [
            metric([device], "Air Temperature", Type.DOUBLE, 3.25 + number),
            metric([device], "Valve", Type.INT8, -100 + number),
        ]

    node = spb.EdgeNode(GROUP, name, speed(0), cmd_callback=lambda *told: commands.append(told))
    node.register(spb.Device(device, air(0)))
    node.connect(sent.host, port=sent.port)
    watcher.wait_for(spb.MessageType.DBIRTH, name)
    for number in range(1, ROUNDS):
        node.update(speed(number))
        node.update_device(device, air(number))
    # The library lets go of what it has not sent when it disconnects, and the will is heard all
    # the same.
    watcher.wait_for(spb.MessageType.NDATA, name, times=ROUNDS - 1)
    watcher.wait_for(spb.MessageType.DDATA, name, times=ROUNDS - 1)
    node.disconnect()
    watcher.wait_for(spb.MessageType.NDEATH, name)
    assert not commands, "nothing was missing"


def main():
    sent = Sent()
    watcher = Watcher(sent, NAMED)
    by_its_parts(sent, watcher)
    by_the_ready_made_class(sent, watcher)
    watcher.disconnect()
    sent.print()


main()
