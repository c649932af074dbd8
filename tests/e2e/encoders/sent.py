"""What the encoders share: where the broker is, a connection to it, and a list of what was sent."""

import json
import sys
import threading
import time

from paho.mqtt import client as mqtt

# How long the broker or the agent may take to answer.
PATIENCE_S = 30


class Sent:
    """All that was sent: the agent must hold these readings, and nothing else."""

    def __init__(self):
        self.host, self.port, self.clock_ms = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
        self.readings = {}
        self.repeats = 0
        self.left_out = {}
        self._last_ms = 0

    def now_ms(self):
        """The time, and never the same one twice."""
        self._last_ms = max(time.time_ns() // 1_000_000, self._last_ms + 1)
        return self._last_ms

    def reading(self, sensor, value, at_ms, unit=None):
        """Notes a reading. The same one again is a repeat, and must not count."""
        at = (sensor, at_ms)
        self.repeats += at in self.readings
        assert self.readings.setdefault(at, (value, unit)) == (value, unit), at

    def leaves_out(self, reason, times=1):
        """Notes values that the agent must not hold, and what it is to say of them."""
        self.left_out[reason] = self.left_out.get(reason, 0) + times

    def print(self):
        """Tells the test."""
        readings = [
            {"sensor": sensor, "at_ms": at_ms, "value": value, "unit": unit}
            for (sensor, at_ms), (value, unit) in self.readings.items()
        ]
        told = {"readings": readings, "repeats": self.repeats, "left_out": self.left_out}
        print(json.dumps(told))


class Publisher:
    """A plain connection, for encoders that bring none."""

    def __init__(self, sent):
        self._client = mqtt.Client()
        self._client.connect(sent.host, sent.port)
        self._client.loop_start()

    def publish(self, topic, payload):
        """Returns once the broker has it."""
        message = self._client.publish(topic, payload, qos=1)
        message.wait_for_publish(PATIENCE_S)
        assert message.is_published(), "the broker does not answer"

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


def wait_for(event: threading.Event, what):
    """Ends the program if it does not happen."""
    if not event.wait(PATIENCE_S):
        sys.exit(f"waited {PATIENCE_S} s in vain until {what}")
