"""What the screen knows: the last telemetry of each topic, held peaks, remembered loads, and whether it still holds.

Pure: messages and the time come in, figures come out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

HOLD_S = 1.5  # the peak mark stays (users.md §8; IEC 60268-18 asks for 1.0 +-0.5)
FALL_DB_PER_S = 20.0  # then falls
SILENCE_DB = -120.0
HOP_MS = 8.0
LOADS_KEPT = 120  # a minute at two a second
DECISIONS_KEPT = 20
EVENTS_KEPT = 200


@dataclass(slots=True)
class Signal:
    """One meter, with the mark of its highest peak and the clip lamp."""

    peak_db: float = SILENCE_DB
    rms_db: float = SILENCE_DB
    max_db: float = SILENCE_DB
    clips: int = 0  # since the lamp was cleared
    mark_db: float = SILENCE_DB
    _marked_at: float = 0.0
    _clips_seen: int = 0
    _clips_cleared: int = 0

    def hear(self, meter: Mapping[str, Any], now: float) -> None:
        """Take a message of the meters topic; `now` in monotonic seconds."""
        self.peak_db = _number(meter.get("peak_db"), SILENCE_DB)
        self.rms_db = _number(meter.get("rms_db"), SILENCE_DB)
        self.max_db = _number(meter.get("max_db"), SILENCE_DB)
        self._clips_seen = int(meter.get("clips") or 0)
        if self._clips_seen < self._clips_cleared:  # the denoiser was restarted
            self._clips_cleared = 0
        self.clips = self._clips_seen - self._clips_cleared
        fallen = self.mark_db - FALL_DB_PER_S * max(0.0, now - self._marked_at - HOLD_S)
        if self.peak_db >= fallen:
            self.mark_db, self._marked_at = self.peak_db, now
        elif fallen < self.mark_db:
            self.mark_db, self._marked_at = fallen, now - HOLD_S

    def clear_clips(self) -> None:
        """Put the clip lamp out until it clips again."""
        self._clips_cleared = self._clips_seen
        self.clips = 0


@dataclass(slots=True)
class Model:
    """Everything the widgets show."""

    state: dict[str, Any] = field(default_factory=dict)
    engine: dict[str, Any] = field(default_factory=dict)
    gate: dict[str, Any] = field(default_factory=dict)
    governor: dict[str, Any] = field(default_factory=dict)
    spectrum: dict[str, Any] = field(default_factory=dict)
    signal_in: Signal = field(default_factory=Signal)
    signal_out: Signal = field(default_factory=Signal)
    removed_db: float = 0.0
    loads: deque[float] = field(default_factory=lambda: deque(maxlen=LOADS_KEPT))  # ms per hop
    decisions: deque[str] = field(default_factory=lambda: deque(maxlen=DECISIONS_KEPT))
    events: deque[str] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))
    server: str = ""  # who answered
    role: str = ""
    uptime_s: float = 0.0
    lost_reason: str = "connecting"  # empty while connected
    retry_at: float = 0.0  # monotonic
    heard_at: float = 0.0
    _recent: list[str] = field(default_factory=list)

    @property
    def connected(self) -> bool:
        """True while what is shown is true now."""
        return not self.lost_reason

    @property
    def settings(self) -> dict[str, Any]:
        """What is set."""
        found: dict[str, Any] = self.state.get("settings", {})
        return found

    def hear(self, topic: str, data: dict[str, Any], now: float, uptime_s: float = 0.0) -> None:
        """Take one telemetry message."""
        self.heard_at = now
        self.uptime_s = uptime_s or self.uptime_s
        match topic:
            case "state":
                self.state = data
            case "engine":
                self.engine = data
                self.loads.append(_number(data.get("load", {}).get("hop_ms_mean"), 0.0))
            case "gate":
                self.gate = data
            case "governor":
                self._decide(data)
            case "meters":
                self.signal_in.hear(data.get("in", {}), now)
                self.signal_out.hear(data.get("out", {}), now)
                self.removed_db = _number(data.get("removed_db"), 0.0)
            case "spectrum":
                self.spectrum = data
            case "events":
                self._take_events(data.get("recent", []))
            case _:
                pass  # of a newer server

    def connect(self, server: str, role: str) -> None:
        """The denoiser answers."""
        self.server, self.role, self.lost_reason = server, role, ""

    def lose(self, reason: str, retry_at: float) -> None:
        """The denoiser does not answer; what is shown gets old."""
        self.lost_reason, self.retry_at = reason or "no answer", retry_at

    def retry_in(self, now: float) -> int:
        """Whole seconds until the next attempt."""
        return max(0, round(self.retry_at - now))

    def age(self, now: float) -> int:
        """Whole seconds since anything was heard."""
        return round(now - self.heard_at) if self.heard_at else 0

    def note(self, text: str) -> None:
        """An event of this screen's own."""
        self.events.append(text)

    def _decide(self, data: dict[str, Any]) -> None:
        before, self.governor = self.governor, data
        if before and data.get("reason") and before.get("changes") != data.get("changes"):
            self.decisions.append(str(data["reason"]))
        elif before and before.get("level") != data.get("level"):
            self.decisions.append(f"level {before.get('level')} -> {data.get('level')} ({data.get('origin', '')})")
        if before and before.get("mode") != data.get("mode"):
            self.decisions.append(f"governor {data.get('mode')}")

    def _take_events(self, recent: list[str]) -> None:
        """Add what is new; `recent` is a window that slides."""
        known = 0
        for size in range(min(len(self._recent), len(recent)), 0, -1):
            if self._recent[-size:] == recent[:size]:
                known = size
                break
        self.events.extend(recent[known:])
        self._recent = list(recent)


def _number(value: object, missing: float) -> float:
    """A figure of a message; null (not a number inside the denoiser) is missing."""
    return float(value) if isinstance(value, int | float) else missing
