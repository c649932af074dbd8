"""A Sparkplug B edge node that is put together of pysparkplug's messages, one by one."""

import dataclasses
import itertools
import socket
import threading
import time

import pysparkplug as spb
from pysparkplug._protobuf import PropertySet, PropertyValue
from sent import PATIENCE_S, wait_for

GROUP = "Packaging"
REBIRTH = "Node Control/Rebirth"
NO_READINGS = (spb.DataType.BOOLEAN, spb.DataType.STRING)


@dataclasses.dataclass(frozen=True)
class Metric(spb.Metric):
    """A metric with its unit, which the library's own has no place for."""

    unit: str = None

    def to_pb(self, include_dtype):
        metric = super().to_pb(include_dtype)
        if self.unit is not None:
            value = PropertyValue(type=spb.DataType.STRING, string_value=self.unit)
            metric.properties.CopyFrom(PropertySet(keys=["engUnit"], values=[value]))
        return metric


class Connection(spb.Client):
    """A connection that can be lost."""

    def __init__(self):
        super().__init__(client_options=spb.ClientOptions(reconnect_on_failure=False))

    def lose(self):
        """Without a goodbye, as when the power goes: the broker carries out the last will."""
        while self._client.want_write():
            time.sleep(0.001)
        self._client.socket().shutdown(socket.SHUT_WR)
        self._client.loop_stop()


class Watcher(spb.Client):
    """Another host that listens: what it has heard, the broker has given to the agent too. Of data
    it hears one node's, whose metrics go by their names; it keeps no others' aliases."""

    def __init__(self, sent, named):
        super().__init__()
        self._heard, self._changed = {}, threading.Condition()
        any_level, subscribed = spb.SINGLE_LEVEL_WILDCARD, threading.Semaphore(0)
        self._client.on_subscribe = lambda *_: subscribed.release()
        topics = [
            spb.Topic(GROUP, spb.MessageType.NDEATH, any_level),
            spb.Topic(GROUP, spb.MessageType.DBIRTH, any_level, any_level),
            spb.Topic(GROUP, spb.MessageType.NDATA, named),
            spb.Topic(GROUP, spb.MessageType.DDATA, named, any_level),
        ]
        for topic in topics:
            self.subscribe(topic, spb.QoS.AT_LEAST_ONCE, self._take)
        self.connect(sent.host, port=sent.port)
        for _ in topics:
            assert subscribed.acquire(timeout=PATIENCE_S), "the broker does not answer"

    def _take(self, _client, message):
        with self._changed:
            key = (message.topic.message_type, message.topic.edge_node_id)
            self._heard[key] = self._heard.get(key, 0) + 1
            self._changed.notify_all()

    def wait_for(self, kind, node, times=1):
        """Waits until so many were heard."""
        heard = lambda: self._heard.get((kind, node), 0) >= times
        with self._changed:
            done = self._changed.wait_for(heard, PATIENCE_S)
        assert done, f"waited {PATIENCE_S} s in vain for {kind} number {times} of {node}"


class Node:
    """An edge node with its devices. `metrics` has type and unit by device and name; the node's
    own are those of no device."""

    def __init__(self, sent, name, metrics):
        self.name, self.commands = name, []
        self._sent, self._metrics = sent, metrics
        self._aliases, self._last = {}, {}
        self._bd_seq, self._asked = -1, threading.Event()

    def connect(self, first_alias):
        """Begins a life: its number is in its will, and other numbers stand for its metrics."""
        self._bd_seq += 1
        names = [(device, name) for device, metrics in self._metrics.items() for name in metrics]
        self._aliases = {key: first_alias + place for place, key in enumerate(names)}
        self._seq = itertools.cycle(range(256))
        self._client = Connection()
        self._client.set_will(self._message("DEATH", None, self._death()))
        topic = spb.Topic(GROUP, spb.MessageType.NCMD, self.name)
        self._client.subscribe(topic, spb.QoS.AT_LEAST_ONCE, self._take)
        subscribed = threading.Event()
        self._client._client.on_subscribe = lambda *_: subscribed.set()
        self._client.connect(self._sent.host, port=self._sent.port)
        wait_for(subscribed, f"the broker takes {self.name}")

    def lose_connection(self):
        self._client.lose()

    def die(self):
        """Ends its life with a goodbye."""
        self._client.publish(self._message("DEATH", None, self._death()))
        self._client.disconnect()

    def bear(self):
        """Is born, or born again, with the values that it has."""
        self._seq = itertools.cycle(range(256))
        for device, metrics in self._metrics.items():
            born = [self._born(device, name) for name in metrics]
            if device is None:
                at_ms = self._sent.now_ms()
                born.append(self._life())
                born.append(spb.Metric(at_ms, REBIRTH, spb.DataType.BOOLEAN, value=False))
                born.append(spb.Metric(at_ms, "Node Info/Uptime", spb.DataType.INT64, value=77))
            self._send("BIRTH", device, born)

    def measure(self, device, values):
        """Measures now, and says nothing yet."""
        for name, value in values.items():
            self._last[device, name] = (value, self._sent.now_ms())

    def data(self, device, values):
        """Measures now, and sends it by alias: the birth has told names, types and units."""
        self.measure(device, values)
        self._send("DATA", device, [self._valued(device, name) for name in values])

    def history(self, device, name, value, ago_ms):
        """Sends what was measured while nobody listened."""
        at_ms = self._sent.now_ms() - ago_ms
        metric = self._valued(device, name, value, at_ms)
        self._send("DATA", device, [dataclasses.replace(metric, is_historical=True)])

    def nothing(self, device, name):
        """Says that there is no value."""
        metric = self._valued(device, name, None, self._sent.now_ms(), is_noted=False)
        self._send("DATA", device, [metric])

    def unborn(self, device, name, value):
        """Sends a value though the birth that would give it a name has not been."""
        metric = self._valued(device, name, value, self._sent.now_ms(), is_noted=False)
        self._send("DATA", device, [metric])
        self._sent.leaves_out("unknown_alias")

    def lose_message(self):
        """One that is counted and does not arrive."""
        next(self._seq)

    def wait_until_asked(self):
        """Waits for the command to be born again, as the library reads it."""
        wait_for(self._asked, f"{self.name} is asked to be born again")
        self._asked.clear()

    def _take(self, _client, message):
        (metric,) = message.payload.metrics
        assert metric.datatype == spb.DataType.BOOLEAN and metric.value is True, metric
        self.commands.append(metric.name)
        self._asked.set()

    def _born(self, device, name):
        _, unit = self._metrics[device][name]
        return dataclasses.replace(self._valued(device, name), name=name, unit=unit)

    def _valued(self, device, name, value=None, at_ms=None, is_noted=True):
        datatype, unit = self._metrics[device][name]
        if at_ms is None:
            value, at_ms = self._last[device, name]
        if is_noted and datatype not in NO_READINGS:
            levels = [GROUP, self.name, *filter(None, [device]), name]
            self._sent.reading("/".join(levels), value, at_ms, unit)
        alias = self._aliases[device, name]
        return Metric(at_ms, None, datatype, value=value, alias=alias)

    def _life(self):
        return spb.Metric(self._sent.now_ms(), "bdSeq", spb.DataType.INT64, value=self._bd_seq)

    def _death(self):
        return spb.NDeath(self._sent.now_ms(), self._life())

    def _message(self, kind, device, payload):
        kind = spb.MessageType[("D" if device else "N") + kind]
        topic = spb.Topic(GROUP, kind, self.name, device)
        # As the specification asks for.
        return spb.Message(topic, payload, spb.QoS.AT_MOST_ONCE, retain=False)

    def _send(self, kind, device, metrics):
        make = {"BIRTH": (spb.NBirth, spb.DBirth), "DATA": (spb.NData, spb.DData)}[kind]
        payload = make[device is not None](self._sent.now_ms(), next(self._seq), tuple(metrics))
        self._client.publish(self._message(kind, device, payload))
