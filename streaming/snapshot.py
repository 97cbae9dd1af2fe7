"""What is true now: one immutable record, swapped in by the worker, read by everybody else without a lock.

Structs, not dataclasses: the worker makes them 25 times a second and the control channel at every question, mostly with
cold caches, where a frozen dataclass of this size takes 25 us and a struct 10 (measured).
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from pse_stream.streaming.settings import Origin, Settings

#: paused: nobody listens, the microphone is closed. stalled: no sound for a reason that may pass by itself.
State = Literal["starting", "running", "bypassed", "degraded", "paused", "stalled", "failed", "stopped"]


class Latency(Struct, frozen=True, kw_only=True, gc=False):
    """Where the delay comes from, in ms."""

    algorithm_ms: float = 16.0  # window: one hop to fill, one of overlap
    lookahead_ms: float = 0.0  # the engine's
    buffer_ms: float = 0.0  # rings between callbacks and worker
    device_ms: float = 0.0  # as the devices report
    total_ms: float = 0.0  # microphone to virtual microphone: the sum, whatever is given here

    def __post_init__(self) -> None:
        total_ms = self.algorithm_ms + self.lookahead_ms + self.buffer_ms + self.device_ms
        msgspec.structs.force_setattr(self, "total_ms", total_ms)


class Meter(Struct, frozen=True, kw_only=True, gc=False):
    """One tap on the signal; levels in dBFS, -120 for silence."""

    peak_db: float = -120.0  # highest since the last snapshot, with the decay of a peak meter
    rms_db: float = -120.0  # over 300 ms
    max_db: float = -120.0  # highest since the meter was reset
    clips: int = 0  # runs of three or more samples at full scale


class Meters(Struct, frozen=True, kw_only=True):
    """The part of a snapshot that displays ask for 25 times a second."""

    uptime_s: float = 0.0
    meter_in: Meter = field(default_factory=Meter)
    meter_out: Meter = field(default_factory=Meter)
    removed_db: float = 0.0


class Counters(Struct, frozen=True, kw_only=True, gc=False):
    """What went wrong, since start; nothing is ever dropped without being counted here."""

    hops: int = 0
    dropped_hops: int = 0  # oldest input thrown away because the worker was late
    underruns: int = 0  # the output found no hop and got a faded silence
    overruns: int = 0  # the input ring was full
    late_hops: int = 0  # hops that took longer than 8 ms
    bad_blocks: int = 0  # input with NaN or Inf, taken as silence
    bad_frames: int = 0  # engine output with NaN or Inf, replaced by the dry frame
    limited_hops: int = 0  # the limiter had to hold
    reopened: int = 0  # devices opened again by the supervisor


class Load(Struct, frozen=True, kw_only=True, gc=False):
    """What a hop of 8 ms costs."""

    hop_ms_mean: float = 0.0  # CPU time of the worker's thread
    hop_ms_p99: float = 0.0
    run_queue_ms: float = 0.0  # waiting for a core, per hop; high: another program wants the CPU
    cpu_percent: float = 0.0  # of one core, whole process


class EngineStatus(Struct, frozen=True, kw_only=True, gc=False):
    """The engine that runs."""

    id: str = ""
    title: str = ""
    level: int = 0
    level_name: str = ""
    level_count: int = 1
    level_pinned: bool = False
    switching: bool = False


class GovernorStatus(Struct, frozen=True, kw_only=True, gc=False):
    """Where the governor stands, and its last decision."""

    rung: str = ""  # what runs, in words
    index: int = 0  # of it on the ladder; 0 is the cheapest
    count: int = 0  # of rungs
    top: int = 0  # index of what was asked for
    levels: int = 0  # of the engine that was chosen, which may not be the one that runs; 0: not begun
    cause: str = ""  # of the last decision: too big, busy, held up, room, power, wish
    reason: str = ""  # of it, in words: "gru-256 -> no noise removal: other programs hold the processor (...)"
    decided: float = 0.0  # when, on the device's clock; 0: never
    changes: int = 0  # since start
    calibrated: bool = False  # it knows what the rungs cost on this machine


class Gate(Struct, frozen=True, kw_only=True):
    """Who is heard, where the engine has specialists."""

    active: str = ""  # a specialist, or "generalist"; empty: the engine has none
    scores: dict[str, float] = {}  # shares by specialist; zeros while the gate does not choose


class Snapshot(Struct, frozen=True, kw_only=True):
    """One moment of a denoiser."""

    state: State = "starting"
    reason: str = ""  # why, in words, when the state is not plain running
    revision: int = 0
    hop_index: int = 0
    uptime_s: float = 0.0
    sample_rate: int = 0
    input_device: str = ""
    output_device: str = ""
    virtual_mic: str = ""  # the name to choose in other programs; empty if there is none
    readers: int | None = None  # programs that listen to the virtual microphone; None: unknown
    settings: Settings = field(default_factory=Settings)
    origins: dict[str, Origin] = field(default_factory=dict)
    engine: EngineStatus = field(default_factory=EngineStatus)
    gate: Gate = field(default_factory=Gate)
    governor: GovernorStatus = field(default_factory=GovernorStatus)
    latency: Latency = field(default_factory=Latency)
    meter_in: Meter = field(default_factory=Meter)
    meter_out: Meter = field(default_factory=Meter)
    removed_db: float = 0.0  # how much quieter the output is than the input, smoothed
    counters: Counters = field(default_factory=Counters)
    load: Load = field(default_factory=Load)
    drift_ppm: float = 0.0
    recording: bool = False
    recorded_s: float = 0.0  # of this recording
    events: tuple[str, ...] = ()  # the last few, newest last, as sentences

    def as_dict(self) -> dict[str, Any]:
        """Plain types only, for JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        plain["events"] = list(self.events)
        return plain
