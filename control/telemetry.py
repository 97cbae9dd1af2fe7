"""Telling everybody what is true: XPUB, one message per topic, the last value again for whoever comes late.

A message is two frames: the topic, and `{"topic", "seq", "uptime_s", "data"}`. `seq` counts per topic: a gap means
that this reader was too slow and lost some, a repeat means that somebody else came late.

    state      on change, and once a second as a heartbeat
    engine     engine, level, latency, load, counters; twice a second
    gate       the gate's mode and scores, five times a second while they change
    governor   mode, level and why; on change
    meters     opt-in, 25 a second, the newest only
    spectrum   opt-in, 10 a second, the newest only
    events     sentences, as they happen
    log        lines of the program's log, as they happen

A reader that does not read loses messages (`_QUEUE`); it costs nobody else anything.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import zmq

from pse_stream.control.desk import DenoiserLike
from pse_stream.control.spectrum import BANDS, FLOOR_DB, Tap, bands_db
from pse_stream.streaming.snapshot import Snapshot

TOPICS = ("state", "engine", "gate", "governor", "meters", "spectrum", "events", "log")
OPT_IN = ("meters", "spectrum")  # nothing is computed for these unless somebody listens

#: Seconds between looks at the snapshot for each topic.
_PERIOD_S = {
    "state": 0.1,
    "engine": 0.5,
    "gate": 0.2,
    "governor": 0.2,
    "meters": 0.04,
    "spectrum": 0.1,
    "events": 0.2,
    "log": 0.2,
}
_HEARTBEAT_S = 1.0  # state is sent this often even if nothing changed
_REPEAT_S = 0.05  # late subscribers are served together: many at once cost one message
_QUEUE = 64  # messages kept for a slow reader, then dropped; 2.5 s of meters
_SUBSCRIPTION_BYTES = 1024  # of one; a CURVE handshake needs about 300
_EVENTS_KEPT, _LOG_KEPT = 20, 50

Socket = zmq.Socket[bytes]


@dataclass(slots=True)
class _Topic:
    """One topic's last value."""

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
        self._denoiser = denoiser
        self._tap = tap
        self._topics = {name: _Topic() for name in TOPICS}
        self._subscribed: dict[Socket, set[bytes]] = {}
        self._listened: list[tuple[str, _Topic]] = []
        self._events: deque[str] = deque(maxlen=_EVENTS_KEPT)
        self._seen_events: tuple[str, ...] = ()
        self.log = LogTail()
        self._encode = msgspec.json.Encoder(enc_hook=_plain).encode
        self._content: dict[str, Callable[[Snapshot], Any]] = {
            "state": _state,
            "engine": _engine,
            "gate": _gate,
            "governor": _governor,
            "meters": _meters,
            "spectrum": self._spectrum,
            "events": self._new_events,
            "log": lambda _: {"lines": self.log.lines()},
        }

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
            notice = socket.recv(zmq.NOBLOCK)
            prefix = notice[1:]
            if not any(name.encode().startswith(prefix) for name in TOPICS):
                continue  # nothing of that name is ever sent
            if notice[:1] == b"\x01":
                self._subscribed[socket].add(prefix)
                self._serve_latecomer(prefix)
            elif notice[:1] == b"\x00":
                self._subscribed[socket].discard(prefix)
        self._listen()

    def _listen(self) -> None:
        """Remember which topics anybody listens to: asked at every look."""
        for name, topic in self._topics.items():
            wire_name = name.encode()
            topic.sockets = [
                socket
                for socket, prefixes in self._subscribed.items()
                if any(wire_name.startswith(prefix) for prefix in prefixes)
            ]
        self._listened = [(name, topic) for name, topic in self._topics.items() if topic.sockets]

    def _serve_latecomer(self, prefix: bytes) -> None:
        for name, topic in self._topics.items():
            if name.encode().startswith(prefix):
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
        snapshot: Snapshot | None = None
        for name, topic in self._listened:
            repeat = topic.wanted and now - topic.sent >= _REPEAT_S
            if repeat or now >= topic.due:
                snapshot = snapshot or self._denoiser.snapshot
                fresh = self._look(name, topic, snapshot, now)
                if repeat and not fresh and topic.message:
                    self._send(name, topic, now)
        return min(self._next(topic) for _, topic in self._listened)

    @staticmethod
    def _next(topic: _Topic) -> float:
        return min(topic.due, topic.sent + _REPEAT_S) if topic.wanted else topic.due

    def _look(self, name: str, topic: _Topic, snapshot: Snapshot, now: float) -> bool:
        """Send the topic if there is something new to say; True if there was."""
        period = _PERIOD_S[name]
        topic.due = topic.due + period if 0.0 <= now - topic.due < period else now + period
        data = self._content[name](snapshot)
        if data is None:
            topic.wanted = False
            return False
        body = self._encode(data)
        beat = name == "state" and now - topic.sent >= _HEARTBEAT_S
        if body == topic.body and not beat and name not in OPT_IN:
            return False
        topic.seq += 1
        topic.body = body
        head = f'{{"topic":"{name}","seq":{topic.seq},"uptime_s":{snapshot.uptime_s:.3f},"data":'
        topic.message = head.encode() + body + b"}"
        self._send(name, topic, now)
        return True

    def _send(self, name: str, topic: _Topic, now: float) -> None:
        topic.sent = now
        topic.wanted = False
        frames = [name.encode(), topic.message]
        for socket in topic.sockets:
            socket.send_multipart(frames, zmq.NOBLOCK)

    def _spectrum(self, _: Snapshot) -> dict[str, Any] | None:
        frames = self._tap() if self._tap is not None else None
        if frames is None:
            return None
        return {"in_db": bands_db(frames[0]), "out_db": bands_db(frames[1])}

    def _new_events(self, snapshot: Snapshot) -> dict[str, Any]:
        fresh = snapshot.events[_overlap(self._seen_events, snapshot.events) :]
        self._seen_events = snapshot.events
        self._events.extend(fresh)
        return {"recent": list(self._events)}


def readable(socket: Socket) -> bool:
    """Is there a message? Cheaper than trying to receive, which raises an exception when there is none."""
    return bool(int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)


def sample(topic: str) -> dict[str, Any]:
    """The data of a topic as it is for a denoiser that has not begun; for the documentation."""
    if topic == "spectrum":
        return {"in_db": [FLOOR_DB] * BANDS, "out_db": [FLOOR_DB] * BANDS}
    if topic == "events":
        return {"recent": ["the oldest of the last few", "the newest"]}
    if topic == "log":
        return {"lines": [{"time": "12:31:07", "level": "info", "text": "…"}]}
    made = {"state": _state, "engine": _engine, "gate": _gate, "governor": _governor, "meters": _meters}[topic]
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(made(Snapshot())))
    return plain


def _overlap(old: tuple[str, ...], new: tuple[str, ...]) -> int:
    """How many of the first of `new` are the last of `old`: the tuple slides as events come."""
    for size in range(min(len(old), len(new)), 0, -1):
        if old[-size:] == new[:size]:
            return size
    return 0


def _state(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "state": snapshot.state,
        "reason": snapshot.reason,
        "revision": snapshot.revision,
        "settings": snapshot.settings,
        "origins": snapshot.origins,
        "sample_rate": snapshot.sample_rate,
        "input_device": snapshot.input_device,
        "output_device": snapshot.output_device,
        "virtual_mic": snapshot.virtual_mic,
        "readers": snapshot.readers,
        "recording": snapshot.recording,
    }


def _engine(snapshot: Snapshot) -> dict[str, Any]:
    latency = msgspec.to_builtins(snapshot.latency) | {"total_ms": snapshot.latency.total_ms}
    return {
        "engine": snapshot.engine,
        "latency": latency,
        "load": snapshot.load,
        "counters": snapshot.counters,
        "drift_ppm": round(snapshot.drift_ppm, 1),
    }


def _gate(snapshot: Snapshot) -> dict[str, Any]:
    return {"mode": snapshot.settings.gate}


def _governor(snapshot: Snapshot) -> dict[str, Any]:
    engine = snapshot.engine
    return {
        "mode": snapshot.settings.governor,
        "level": engine.level,
        "level_name": engine.level_name,
        "level_count": engine.level_count,
        "pinned": engine.level_pinned,
        "origin": snapshot.origins.get("level", "default"),
    }


def _meters(snapshot: Snapshot) -> dict[str, Any]:
    return {"in": snapshot.meter_in, "out": snapshot.meter_out, "removed_db": round(snapshot.removed_db, 1)}


def _plain(value: object) -> object:
    """NumPy numbers that found their way into a snapshot."""
    item = getattr(value, "item", None)
    if item is None:
        raise NotImplementedError(f"{type(value).__name__} cannot be sent")
    return item()


class LogTail(logging.Handler):
    """The last lines of the program's log; appending never waits and never fails."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._kept: deque[dict[str, object]] = deque(maxlen=_LOG_KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        try:
            text = record.getMessage()[:500]
        except (TypeError, ValueError):  # a wrong format string is the caller's bug, not ours
            text = str(record.msg)[:500]
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        self._kept.append({"time": clock, "level": record.levelname.lower(), "text": text})

    def lines(self) -> list[dict[str, object]]:
        """Oldest first."""
        return list(self._kept)
