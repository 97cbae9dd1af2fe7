"""Follow a running denoiser: telemetry as an iterator of messages.

    with TelemetryReader(client, ["state", "meters"]) as reader:
        for message in reader.messages(timeout_s=3.0):
            print(message.topic, message.data)

Reconnects by itself when the denoiser is restarted. Imports pyzmq and the standard library only.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import zmq

from pse_stream.control.client import ControlClient
from pse_stream.control.link import Closing, secure

_QUEUE = 256  # messages kept for a slow reader, then lost
_MAX_BYTES = 256 * 1024
_RECONNECT_MS, _RECONNECT_MAX_MS = 100, 2_000


@dataclass(frozen=True, slots=True)
class TelemetryMessage:
    """One topic's value at one moment."""

    topic: str
    seq: int
    uptime_s: float
    data: dict[str, Any]


class TelemetryReader(Closing):
    """A subscription to topics of one denoiser; for one thread.

    Parameters
    ----------
    client : ControlClient
        Says where the telemetry is; must be reachable when this is made.
    topics : iterable of str
        Out of docs/protocol.md; all but meters and spectrum if empty.

    Attributes
    ----------
    lost : int
        Messages that this reader was too slow for.
    """

    def __init__(self, client: ControlClient, topics: Iterable[str] = ()) -> None:
        greeting = client.connect()
        self.lost = 0
        self._seq: dict[str, int] = {}
        self._heard = time.monotonic()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.linger = 0
        self._socket.rcvhwm = _QUEUE
        self._socket.setsockopt(zmq.MAXMSGSIZE, _MAX_BYTES)
        self._socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, _RECONNECT_MAX_MS)
        secure(self._socket, client.address.keys)
        for topic in topics or ("state", "engine", "gate", "governor", "events", "log"):
            self._socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
        self._socket.connect(client.address.telemetry(greeting.telemetry_port))

    @property
    def silent_s(self) -> float:
        """Seconds since anything was heard; above 3 the denoiser is gone or unreachable."""
        return time.monotonic() - self._heard

    def subscribe(self, topic: str) -> None:
        """Listen to one more topic."""
        self._socket.setsockopt(zmq.SUBSCRIBE, topic.encode())

    def unsubscribe(self, topic: str) -> None:
        """Listen to one topic less."""
        self._socket.setsockopt(zmq.UNSUBSCRIBE, topic.encode())

    def receive(self, timeout_s: float) -> TelemetryMessage | None:
        """The next message; None if none came in time. Repeats meant for others are left out."""
        until = time.monotonic() + timeout_s
        while self._socket.poll(math.ceil(max(0.0, until - time.monotonic()) * 1000.0)):
            message = self._read()
            if message is not None:
                return message
        return None

    def newest(self, timeout_s: float) -> dict[str, TelemetryMessage]:
        """The newest message of each topic: wait for one, then take all that are there."""
        found: dict[str, TelemetryMessage] = {}
        message = self.receive(timeout_s)
        while message is not None:
            found[message.topic] = message
            message = self.receive(0.0)
        return found

    def messages(self, timeout_s: float) -> Iterator[TelemetryMessage]:
        """Messages as they come; ends after `timeout_s` of silence."""
        while (message := self.receive(timeout_s)) is not None:
            yield message

    def _read(self) -> TelemetryMessage | None:
        frames = self._socket.recv_multipart(zmq.NOBLOCK)
        try:
            body = json.loads(frames[-1])
            message = TelemetryMessage(body["topic"], body["seq"], body["uptime_s"], body["data"])
        except (ValueError, KeyError, TypeError):
            return None  # not ours; a server never sends such a thing
        self._heard = time.monotonic()
        last = self._seq.get(message.topic)
        self._seq[message.topic] = message.seq
        if last == message.seq:
            return None
        if last is not None and message.seq > last + 1:
            self.lost += message.seq - last - 1
        return message

    def close(self) -> None:
        """Leave."""
        self._socket.close(linger=0)
        self._context.term()
