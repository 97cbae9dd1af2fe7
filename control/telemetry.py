"""Telling everybody what is true: XPUB, one message per topic, the last value again for whoever comes late.

A message is two frames: the topic, and `{"topic", "seq", "uptime_s", "data"}`. `seq` counts per topic: a gap means
that this reader was too slow and lost some, a repeat means that somebody else came late. What each topic says is in
`topics.py`; nothing is asked, made or sent for a topic to which nobody listens.

A reader that does not read loses messages (`_QUEUE`); it costs nobody else anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import zmq

from pse_stream.control.contract import DenoiserLike
from pse_stream.control.messages import encode
from pse_stream.control.sockets import Socket, readable, receive, send
from pse_stream.control.spectrum import Tap
from pse_stream.control.topics import OPT_IN, PERIOD_S, TOPICS, Content

_HEARTBEAT_S = 1.0  # state is sent this often even if nothing changed
_REPEAT_S = 0.05  # late subscribers are served together: many at once cost one message
_QUEUE = 64  # messages kept for a slow reader, then dropped; 2.5 s of meters
_SUBSCRIPTION_BYTES = 1024  # of one; a CURVE handshake needs about 300


@dataclass(slots=True)
class _Topic:
    """One topic's last value."""

    name: bytes  # as it is sent
    due: float = 0.0  # monotonic
    seq: int = 0
    body: bytes = b""  # of the data, to see whether it changed
    message: bytes = b""  # the last value, for late subscribers
    sent: float = 0.0
    wanted: bool = False  # a late subscriber waits for the last value
    sockets: list[Socket] = field(default_factory=list)  # those with a subscriber


class Telemetry:
    """Publishes snapshots; lives in the server's thread and is told the time."""

    def __init__(self, denoiser: DenoiserLike, tap: Tap | None = None) -> None:
        self._content = Content(denoiser, tap)
        self._topics = {name: _Topic(name.encode()) for name in TOPICS}
        self._subscribed: dict[Socket, set[bytes]] = {}
        self._listened: list[tuple[str, _Topic]] = []
        self.log = self._content.log

    def socket(self, context: zmq.Context[Socket]) -> Socket:
        """A publishing socket, not bound yet."""
        socket = context.socket(zmq.XPUB)
        socket.setsockopt(zmq.XPUB_VERBOSE, 1)  # tell of every subscriber, not only of the first
        socket.setsockopt(zmq.SNDHWM, _QUEUE)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.MAXMSGSIZE, _SUBSCRIPTION_BYTES)
        self._subscribed[socket] = set()
        return socket

    def forget(self, socket: Socket) -> None:
        """The socket is closed; its subscribers are gone."""
        self._subscribed.pop(socket, None)
        self._listen()

    def subscribed(self, topic: str) -> bool:
        """Does anybody listen to this topic?"""
        return bool(self._topics[topic].sockets)

    def hear(self, socket: Socket) -> None:
        """Take note of who came and who left."""
        for _ in range(_QUEUE):
            if not readable(socket):
                break
            notice = receive(socket)[0].bytes
            prefix = notice[1:]
            if not any(topic.name.startswith(prefix) for topic in self._topics.values()):
                continue  # nothing of that name is ever sent
            if notice[:1] == b"\x01":
                self._subscribed[socket].add(prefix)
                self._serve_latecomer(prefix)
            elif notice[:1] == b"\x00":
                self._subscribed[socket].discard(prefix)
        self._listen()

    def _listen(self) -> None:
        """Remember which topics anybody listens to: asked at every look."""
        for topic in self._topics.values():
            topic.sockets = [
                socket
                for socket, prefixes in self._subscribed.items()
                if any(topic.name.startswith(prefix) for prefix in prefixes)
            ]
        self._listened = [(name, topic) for name, topic in self._topics.items() if topic.sockets]

    def _serve_latecomer(self, prefix: bytes) -> None:
        for topic in self._topics.values():
            if topic.name.startswith(prefix):
                topic.wanted = True

    def poke(self) -> None:
        """Something was changed: look at once."""
        for name in ("state", "engine", "governor", "gate"):
            self._topics[name].due = 0.0

    def tick(self, now: float) -> float:
        """Send what is due.

        Returns
        -------
        float
            When to be called again (monotonic seconds); infinity while nobody listens.
        """
        if not self._listened:
            return math.inf
        self._content.forget()
        again = math.inf
        for name, topic in self._listened:
            repeat = topic.wanted and now - topic.sent >= _REPEAT_S
            if repeat or now >= topic.due:
                fresh = self._look(name, topic, now)
                if repeat and not fresh and topic.message:
                    self._send(topic, now)
            again = min(again, topic.due)
            if topic.wanted:
                again = min(again, topic.sent + _REPEAT_S)
        return again

    def _look(self, name: str, topic: _Topic, now: float) -> bool:
        """Send the topic if there is something new to say; True if there was."""
        period = PERIOD_S[name]
        topic.due = topic.due + period if 0.0 <= now - topic.due < period else now + period
        uptime_s, data = self._content.of(name)
        if data is None:
            topic.wanted = False
            return False
        body = encode(data)
        beat = name == "state" and now - topic.sent >= _HEARTBEAT_S
        if body == topic.body and not beat and name not in OPT_IN:
            return False
        topic.seq += 1
        topic.body = body
        head = f'{{"topic":"{name}","seq":{topic.seq},"uptime_s":{uptime_s:.3f},"data":'
        topic.message = head.encode() + body + b"}"
        self._send(topic, now)
        return True

    def _send(self, topic: _Topic, now: float) -> None:
        topic.sent = now
        topic.wanted = False
        for socket in topic.sockets:
            send(socket, (topic.name, topic.message))
