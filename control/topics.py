"""What the telemetry says, topic by topic.

state      on change, and once a second as a heartbeat
engine     engine, level, latency, load, counters; twice a second
gate       the gate's mode and scores, five times a second while they change
governor   mode, level and why; on change
meters     opt-in, 25 a second, the newest only
spectrum   opt-in, 10 a second, the newest only
events     sentences, as they happen
log        lines of the program's log, as they happen
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from pse_stream.control.contract import DenoiserLike
from pse_stream.control.messages import encode
from pse_stream.control.spectrum import BANDS, FLOOR_DB, Tap, bands_db
from pse_stream.streaming.snapshot import Meters, Snapshot

TOPICS = ("state", "engine", "gate", "governor", "meters", "spectrum", "events", "log")
OPT_IN = ("meters", "spectrum")  # nothing is computed for these unless somebody listens

#: Seconds between looks at the snapshot for each topic.
PERIOD_S = {
    "state": 0.1,
    "engine": 0.5,
    "gate": 0.2,
    "governor": 0.2,
    "meters": 0.04,
    "spectrum": 0.1,
    "events": 0.2,
    "log": 0.2,
}
_EVENTS_KEPT, _LOG_KEPT = 20, 50


class Content:
    """Finds out what there is to say; meters and spectrum, which are asked often, do without a whole snapshot."""

    def __init__(self, denoiser: DenoiserLike, tap: Tap | None) -> None:
        self._denoiser, self._tap = denoiser, tap
        self._snapshot: Snapshot | None = None  # one for all topics of a look
        self._events: deque[str] = deque(maxlen=_EVENTS_KEPT)
        self._seen_events: tuple[str, ...] = ()
        self.log = LogTail()

    def forget(self) -> None:
        """A new look begins."""
        self._snapshot = None

    def of(self, topic: str) -> tuple[float, Any]:
        """When (seconds since the denoiser began), and what there is to say; None is nothing."""
        if topic == "meters":
            meters = self._denoiser.meters
            return meters.uptime_s, _levels(meters)
        if topic == "spectrum":
            return self._denoiser.meters.uptime_s, self._spectrum()
        if self._snapshot is None:
            self._snapshot = self._denoiser.snapshot
        now = self._snapshot
        if topic == "log":
            return now.uptime_s, {"lines": self.log.lines()}
        return now.uptime_s, self._new_events(now) if topic == "events" else _OF_SNAPSHOT[topic](now)

    def _spectrum(self) -> dict[str, Any] | None:
        frames = self._tap() if self._tap is not None else None
        if frames is None:
            return None
        return {"in_db": bands_db(frames[0]), "out_db": bands_db(frames[1])}

    def _new_events(self, snapshot: Snapshot) -> dict[str, Any]:
        fresh = snapshot.events[_overlap(self._seen_events, snapshot.events) :]
        self._seen_events = snapshot.events
        self._events.extend(fresh)
        return {"recent": list(self._events)}


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


def sample(topic: str) -> dict[str, Any]:
    """The data of a topic as it is for a denoiser that has not begun; for the documentation."""
    if topic == "spectrum":
        return {"in_db": [FLOOR_DB] * BANDS, "out_db": [FLOOR_DB] * BANDS}
    if topic == "events":
        return {"recent": ["the oldest of the last few", "the newest"]}
    if topic == "log":
        return {"lines": [{"time": "12:31:07", "level": "info", "text": "…"}]}
    content = _levels(Meters()) if topic == "meters" else _OF_SNAPSHOT[topic](Snapshot())
    plain: dict[str, Any] = msgspec.json.decode(encode(content))
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
    return {
        "engine": snapshot.engine,
        "latency": snapshot.latency,
        "load": snapshot.load,
        "counters": snapshot.counters,
        "drift_ppm": round(snapshot.drift_ppm, 1),
    }


def _gate(snapshot: Snapshot) -> dict[str, Any]:
    gate = snapshot.gate
    return {"mode": snapshot.settings.gate, "active": gate.active, "scores": gate.scores}


def _governor(snapshot: Snapshot) -> dict[str, Any]:
    engine, governor = snapshot.engine, snapshot.governor
    return {
        "mode": snapshot.settings.governor,
        "level": engine.level,
        "level_name": engine.level_name,
        "level_count": governor.levels or engine.level_count,
        "pinned": engine.level_pinned,
        "rung": governor.rung,
        "rung_index": governor.index,
        "rung_count": governor.count,
        "rung_top": governor.top,
        "cause": governor.cause,
        "reason": governor.reason,
        "changes": governor.changes,
        "calibrated": governor.calibrated,
        "origin": snapshot.origins.get("level", "default"),
    }


def _levels(now: Meters) -> dict[str, Any]:
    return {"in": now.meter_in, "out": now.meter_out, "removed_db": round(now.removed_db, 1)}


#: What is made of a snapshot.
_OF_SNAPSHOT: dict[str, Callable[[Snapshot], dict[str, Any]]] = {
    "state": _state,
    "engine": _engine,
    "gate": _gate,
    "governor": _governor,
}
