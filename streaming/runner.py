"""The worker: from the microphone's ring through the pipeline to the virtual microphone's ring, one hop at a time.

Callbacks copy (`inlet`, `outlet`); everything else happens in `step`, in one thread. Between two hops the worker does
what was posted to it; after a hop it swaps in a `Report` that anybody may read. It never waits for anybody but the
microphone, and every sound that is thrown away is counted. When sound may pass, how much waits and what is dropped is
the business of `pace`; the thread itself is in `worker.py`, and simulated devices call `step` themselves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from msgspec import Struct, field

from pse_stream.dsp.levels import LevelMeter, Levels
from pse_stream.dsp.resample import VariableRate
from pse_stream.dsp.spec import Float32s
from pse_stream.engines.bypass import BypassEngine
from pse_stream.engines.contract import Engine
from pse_stream.engines.gate.gated import gate_status
from pse_stream.streaming.channels import ChannelPick, Channels
from pse_stream.streaming.inlet import Inlet
from pse_stream.streaming.load import LoadMeter
from pse_stream.streaming.outlet import Outlet
from pse_stream.streaming.pace import HOP_S, Pace
from pse_stream.streaming.pipeline import Pipeline
from pse_stream.streaming.snapshot import Counters, EngineStatus, Gate, GovernorStatus, Load, Meter
from pse_stream.streaming.splice import Splice
from pse_stream.streaming.steering import Clocks, Steering

REPORT_HOPS = 5  # 25 reports a second
AUDIBLE_DB = -90.0  # dBFS RMS; of less than this nothing can be removed that anybody would miss
REMOVED_SHARE = 0.15  # per report: a figure that can be read, not a flicker

#: Runs between two hops: (pipeline, index of the next hop).
Change = Callable[[Pipeline, int], None]
#: Looks at each hop: (its index, as heard, as given); must neither wait nor raise.
Tap = Callable[[int, Float32s, Float32s, "Report"], None]


class Report(Struct, frozen=True, kw_only=True):
    """What the worker knows, as of one hop."""

    time: float = 0.0
    hop_index: int = 0
    counters: Counters = field(default_factory=Counters)
    engine: EngineStatus = field(default_factory=EngineStatus)
    gate: Gate = field(default_factory=Gate)
    governor: GovernorStatus = field(default_factory=GovernorStatus)
    load: Load = field(default_factory=Load)
    meter_in: Meter = field(default_factory=Meter)
    meter_out: Meter = field(default_factory=Meter)
    removed_db: float = 0.0
    lookahead_ms: float = 0.0
    buffer_ms: float = 0.0
    drift_ppm: float = 0.0
    zero_s: float = 0.0  # how long the microphone has given exact zeros
    flowing: bool = False  # sound passes from callback to callback
    engine_error: str = ""  # why the engine was taken out, if it was
    stand_in: str = ""  # why another engine runs than the one that was chosen, if one does


class Runner:
    """One stream of sound through one pipeline.

    Parameters
    ----------
    pipeline : Pipeline
        Used by the worker alone from now on; change it with `post`.
    now : callable
        The device's clock.
    settle_hops, slack_s
        Of the device (`Pace`).
    wake : callable
        Called whenever there may be work; must not wait.
    steering : Steering or None
        The governor's; None: one that moves nothing.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        now: Callable[[], float],
        settle_hops: int,
        slack_s: float,
        wake: Callable[[], None] = lambda: None,
        steering: Steering | None = None,
    ) -> None:
        self.pipeline, self.hop = pipeline, pipeline.hop
        self.rate = pipeline.spec.sample_rate
        self.wake = wake
        self.report = Report()
        self.inlet = Inlet(self.rate, 1, now, wake)
        self.outlet = Outlet(self.rate, self.hop, 1, now)
        self.pace = Pace(self.rate, settle_hops, slack_s, now)
        self.tap: Tap | None = None  # set between two hops only
        self._now = now
        self._changes: deque[tuple[Change, bool]] = deque()
        self._load = LoadMeter()
        self._pick = ChannelPick(self.hop)
        self._splice, self._stretch = Splice(self.rate), VariableRate()
        self._meter_in, self._meter_out = LevelMeter(pipeline.spec), LevelMeter(pipeline.spec)
        self._raw = np.zeros(self.hop, np.float32)  # (hop,) or (hop, channels) as recorded
        self._block = np.zeros(self.hop, np.float32)  # (hop,) one voice
        self._out = np.zeros(self.hop, np.float32)  # (hop,) clean
        self._silence = np.zeros(self.hop, np.float32)  # (hop,) zeros
        self._flowing = False
        self._hops = self._late = self._zeros = 0
        self._dropped = self._overrun = 0  # samples
        self._removed_db = 0.0
        self._engine_error = ""
        self.steering = steering or Steering(pipeline, mode="off")
        self.clocks = Clocks.real()  # where simulated time rules: set before it begins

    # --- from other threads -------------------------------------------------------------------------------------

    def post(self, change: Change, *, reported: bool = True) -> None:
        """Have something done between two hops; returns at once. `reported`: the report says something else then."""
        self._changes.append((change, reported))
        self.wake()

    def connect_input(self, channels: int, mode: Channels = "auto") -> Inlet:
        """A fresh inlet for a stream about to be opened; the old stream must be closed."""
        inlet = Inlet(self.rate, channels, self._now, self.wake)

        def swap(_pipeline: Pipeline, _hop: int) -> None:
            self._overrun += self.inlet.ring.overrun_samples
            self.inlet, self._pick = inlet, ChannelPick(self.hop, mode)
            self._raw = np.zeros(self.hop if channels == 1 else (self.hop, channels), np.float32)
            self._restart()

        self.post(swap)
        return inlet

    def connect_output(self, channels: int) -> Outlet:
        """A fresh outlet for a stream about to be opened; the old stream must be closed."""
        outlet = Outlet(self.rate, self.hop, channels, self._now)
        outlet.shut = self.outlet.shut

        def swap(_pipeline: Pipeline, _hop: int) -> None:
            outlet.underruns += self.outlet.underruns
            self.outlet = outlet
            self._restart()

        self.post(swap)
        return outlet

    def restart(self, *, forget: bool) -> None:
        """Align the streams anew: after a pause, a stall, another device. `forget` resets the engine too."""

        def again(pipeline: Pipeline, _hop: int) -> None:
            if forget:
                pipeline.reset()
            self._restart()

        self.post(again)

    def spectrum(self) -> tuple[Float32s, Float32s] | None:
        """Magnitudes of the newest frames, noisy and clean, two (257,) float32; None while no sound flows."""
        return self.pipeline.spectrum() if self._flowing else None

    @property
    def relieved(self) -> bool:
        """True while the engine that was asked for is taken out: it failed, or is too much for this computer."""
        return bool(self._engine_error) or self.steering.standing_in

    # --- the worker's own ---------------------------------------------------------------------------------------

    def step(self) -> bool:
        """Do what was posted, then one hop if a whole one waits; False if there was none."""
        changed = self._apply_changes()
        if not self.inlet.ring.read(self._raw):
            if changed:
                self._publish()
            return False
        began, cpu, came = self._now(), self.clocks.cpu_s(), self.inlet.mark[1]
        self._pick.process(self._raw, out=self._block)
        self._zeros = 0 if self._block.any() else self._zeros + 1
        self._meter_in.process(self._block)
        self._enhance()
        self._meter_out.process(self._out)
        if self.tap is not None:
            self.tap(self._hops, self._block, self._out, self.report)
        self._hops += 1
        self._deliver(self._out)
        changed |= self._govern(came, began, self.clocks.cpu_s() - cpu)
        if changed or self._hops % REPORT_HOPS == 0:
            self._publish()
        return True

    def use_engine(self, engine: Engine, level: int | None, *, pinned: bool = False) -> None:
        """Change to another engine, between two hops."""
        self.steering.use_engine(engine, level, pinned, self._now())
        self._engine_error = ""

    def use_level(self, level: int | None, *, pinned: bool = False) -> None:
        """Change the level, between two hops.

        Raises
        ------
        EngineError
            If the engine has no such level.
        """
        self.steering.use_level(level, pinned, self._now())

    def _apply_changes(self) -> bool:
        changed = False
        while self._changes:
            change, reported = self._changes.popleft()
            change(self.pipeline, self._hops)
            changed |= reported
        return changed

    def _enhance(self) -> None:
        """One hop through the pipeline; an engine that raises is taken out and the dry voice goes on."""
        try:
            self.pipeline.process(self._block, out=self._out)
        except Exception as error:
            failed = self.pipeline.engine.info.id
            self._engine_error = f'the engine "{failed}" failed ({type(error).__name__}: {error})'
            self.pipeline.replace_engine(BypassEngine())
            self.steering.rest()
            self.pipeline.process(self._block, out=self._out)
        if not np.isfinite(np.dot(self._out, self._out)):
            self._out.fill(0.0)  # as a fixed-point reader NaN is a full-scale click

    def _govern(self, came: float, began: float, cpu_s: float) -> bool:
        """Account for the hop that is done; True if the governor has changed something."""
        ended = self._now()
        self._late += ended - began > HOP_S
        self._load.hop(cpu_s)
        if not self._flowing:
            self.steering.restart()
            return False
        return self.steering.hop(
            came=came,
            began=began,
            ended=ended,
            cpu_s=cpu_s,
            waited_s=self.clocks.waited_s(),
            holes=self.outlet.underruns,
            silent=self._zeros > 0,
        )

    def _deliver(self, block: Float32s) -> None:
        """Hand a clean hop to the outlet, less what is to be dropped, at the pace of the outlet's clock."""
        if not self._flowing:
            self._begin(block)
            return
        drop = self.pace.excess(self.inlet, self.outlet)
        if drop.seconds > 0.0 and not self._splice.active:
            self._drop(round(drop.seconds * self.rate), block, forget=drop.reset)
        block = self._splice.process(block)
        self.outlet.ring.write(self._stretch.process(block, self.pace.ratio(self.inlet, self.outlet)))

    def _drop(self, samples: int, block: Float32s, *, forget: bool) -> None:
        """Leave out this much, from this hop on: what still waits as recorded is not even computed."""
        self._dropped += samples
        ring = self.inlet.ring
        whole = min(max(0, samples - self.hop), ring.available) // self.hop
        self._splice.begin(samples - ring.skip(whole * self.hop), block)
        if forget:
            self.pipeline.reset()

    def _begin(self, block: Float32s) -> None:
        """Let sound through as soon as the pace is known, with as much silence before it as is wanted."""
        wanted = self.pace.settle(self.inlet, self.outlet)
        if wanted is None:
            return
        pad = wanted - self.inlet.ring.available - self.outlet.ring.available - self.hop
        if pad < -self.hop:  # whole hops too much wait: let them go first
            self._dropped += self.inlet.ring.skip(-pad // self.hop * self.hop)
            return
        for at in range(0, pad, self.hop):
            self.outlet.ring.write(self._silence[: min(pad - at, self.hop)])
        self.outlet.ring.write(block[max(0, -pad) :])
        self._flowing = self.outlet.expecting = True

    def _restart(self) -> None:
        self._flowing, self.outlet.expecting = False, False
        self._splice.reset()
        self.pace.restart(self.inlet, self.outlet)

    def _publish(self) -> None:
        heard, given = self._meter_in.read(), self._meter_out.read()
        removed = max(0.0, heard.rms_db - given.rms_db) if heard.rms_db > AUDIBLE_DB else 0.0
        self._removed_db += REMOVED_SHARE * (removed - self._removed_db)
        self.report = Report(
            time=self._now(),
            hop_index=self._hops,
            counters=self._counters(),
            engine=_status(self.pipeline),
            gate=_gate(self.pipeline.engine),
            governor=self.steering.status,
            load=self._load.load,
            meter_in=_meter(heard),
            meter_out=_meter(given),
            removed_db=self._removed_db,
            lookahead_ms=self.pipeline.lookahead_hops * HOP_S * 1000.0,
            buffer_ms=self.pace.level_s * 1000.0,
            drift_ppm=self.pace.drift_ppm,
            zero_s=self._zeros * HOP_S,
            flowing=self._flowing,
            engine_error=self._engine_error,
            stand_in=self.steering.trouble,
        )

    def _counters(self) -> Counters:
        pipeline = self.pipeline
        return Counters(
            hops=self._hops,
            dropped_hops=-(-self._dropped // self.hop),
            underruns=self.outlet.underruns,
            overruns=-(-(self._overrun + self.inlet.ring.overrun_samples) // self.hop),
            late_hops=self._late,
            bad_blocks=pipeline.bad_blocks,
            bad_frames=pipeline.bad_frames,
            limited_hops=pipeline.limited_hops,
        )


def _status(pipeline: Pipeline) -> EngineStatus:
    info = pipeline.engine.info
    return EngineStatus(
        id=info.id,
        title=info.title,
        level=pipeline.level,
        level_name=info.levels[pipeline.level].name,
        level_count=len(info.levels),
        switching=pipeline.switching,
    )


def _meter(levels: Levels) -> Meter:
    return Meter(peak_db=levels.peak_db, rms_db=levels.rms_db, max_db=levels.max_db, clips=levels.clips)


def _gate(engine: Engine) -> Gate:
    status = gate_status(engine)
    return Gate(active=status.active, scores=dict(status.scores))
