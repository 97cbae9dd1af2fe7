"""The worker: from the microphone's ring through the pipeline to the virtual microphone's ring, one hop at a time.

Callbacks copy (inlet, outlet); everything else happens in `step`, in one thread. Between two hops the worker does what
was posted to it; after a hop it swaps in a `Report` that anybody may read. It never waits for anybody but the
microphone, and every sound that is thrown away is counted. The thread itself is in `worker.py`; simulated devices call
`step` themselves.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from pse_stream.dsp.levels import LevelMeter, Levels
from pse_stream.dsp.resample import VariableRate
from pse_stream.dsp.spec import HOPS_PER_SECOND, Float32s
from pse_stream.engines.bypass import BypassEngine
from pse_stream.streaming.backlog import Backlog, Drop
from pse_stream.streaming.channels import ChannelPick, Channels
from pse_stream.streaming.cushion import Cushion
from pse_stream.streaming.drift import Drift
from pse_stream.streaming.inlet import Inlet
from pse_stream.streaming.load import LoadMeter
from pse_stream.streaming.outlet import Outlet
from pse_stream.streaming.pipeline import Pipeline
from pse_stream.streaming.snapshot import Counters, EngineStatus, Load, Meter

REPORT_HOPS = 5  # 25 reports a second
SPLICE_S = 0.004  # cross-fade over what was dropped
HOP_S = 1.0 / HOPS_PER_SECOND
UNSTEADY_S = 0.4  # callbacks that still come in bursts after this long always will
STALE_S = 5 * HOP_S  # a side that has not called for this long tells nothing about its clock
AUDIBLE_DB = -90.0  # dBFS RMS; of less than this nothing can be removed that anybody would miss
REMOVED_SHARE = 0.15  # per report: a figure that can be read, not a flicker

#: Runs between two hops: (pipeline, index of the next hop).
Change = Callable[[Pipeline, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the worker knows, as of one hop."""

    time: float = 0.0
    hop_index: int = 0
    counters: Counters = field(default_factory=Counters)
    engine: EngineStatus = field(default_factory=EngineStatus)
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


class Runner:
    """One stream of sound through one pipeline.

    Parameters
    ----------
    pipeline : Pipeline
        Used by the worker alone from now on; change it with `post`.
    now : callable
        The device's clock.
    settle_hops : int
        Callbacks to watch at the start before sound is let through, so that their phase is known.
    slack_s : float
        How late a hop may come (`Cushion`).
    wake : callable
        Called whenever there may be work; must not wait.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        now: Callable[[], float],
        settle_hops: int,
        slack_s: float,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self.pipeline, self.hop = pipeline, pipeline.hop
        self.rate = pipeline.spec.sample_rate
        self.wake = wake
        self.report = Report()
        self._now, self._settle = now, settle_hops
        self._changes: deque[Change] = deque()
        self.inlet = Inlet(self.rate, 1, now, wake)
        self.outlet = Outlet(self.rate, self.hop, 1, now)
        self._cushion = Cushion(HOP_S, slack_s)
        self._backlog = Backlog(HOP_S, self._cushion.rotating_level)
        self._drift = Drift(HOP_S, self._cushion.rotating_level)
        self._stretch = VariableRate()
        self._load = LoadMeter()
        self._pick = ChannelPick(self.hop)
        self._meter_in, self._meter_out = LevelMeter(pipeline.spec), LevelMeter(pipeline.spec)
        self._raw = np.zeros(self.hop, np.float32)  # (hop,) or (hop, channels) as recorded
        self._block = np.zeros(self.hop, np.float32)  # (hop,) one voice
        self._out = np.zeros(self.hop, np.float32)  # (hop,) clean
        self._held = np.zeros(self.hop, np.float32)  # (hop,) first of the hops that are being dropped
        self._silence = np.zeros(self.hop, np.float32)  # (hop,) zeros
        rise = np.arange(1, int(SPLICE_S * self.rate) + 1, dtype=np.float32)
        self._rise = rise / np.float32(len(rise) + 1)  # (splice,)
        self._flows: deque[float] = deque(maxlen=max(1, settle_hops))  # see _align
        self._aligned = self._splicing = False
        self._watched = (0, 0)  # callbacks at the last restart
        self._to_drop = 0
        self._hops = self._dropped = self._late = self._zeros = 0
        self._lost_overruns = 0
        self._level_s = 0.0
        self._phase_s = 0.0  # from a record to the next ask, modulo a hop
        self._engine_error = ""
        self._removed_db = 0.0
        self._underruns_seen = 0
        self._flowing_since = 0.0

    # --- from other threads -------------------------------------------------------------------------------------

    def post(self, change: Change) -> None:
        """Have something done between two hops; returns at once."""
        self._changes.append(change)
        self.wake()

    def connect_input(self, channels: int, mode: Channels = "auto") -> Inlet:
        """A fresh inlet for a stream about to be opened; the old stream must be closed."""
        inlet = Inlet(self.rate, channels, self._now, self.wake)

        def swap(_pipeline: Pipeline, _hop: int) -> None:
            self._lost_overruns += self.inlet.ring.overrun_samples
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
        return self.pipeline.spectrum() if self._aligned else None

    # --- the worker's own ---------------------------------------------------------------------------------------

    def step(self) -> bool:
        """Do what was posted, then one hop if a whole one waits; False if there was none."""
        changed = self._apply_changes()
        if not self.inlet.ring.read(self._raw):
            if changed:
                self._publish()
            return False
        began, cpu = self._now(), time.thread_time()
        self._pick.process(self._raw, out=self._block)
        self._zeros = 0 if self._block.any() else self._zeros + 1
        self._meter_in.process(self._block)
        self._enhance()
        self._meter_out.process(self._out)
        self._hops += 1
        self._deliver(self._out)
        self._load.hop(time.thread_time() - cpu)
        if self._now() - began > HOP_S:
            self._late += 1
        if changed or self._hops % REPORT_HOPS == 0:
            self._publish()
        return True

    def _apply_changes(self) -> bool:
        changed = False
        while self._changes:
            self._changes.popleft()(self.pipeline, self._hops)
            changed = True
        return changed

    def _enhance(self) -> None:
        """One hop through the pipeline; an engine that raises is taken out and the dry voice goes on."""
        try:
            self.pipeline.process(self._block, out=self._out)
        except Exception as error:
            failed = self.pipeline.engine.info.id
            self._engine_error = f'the engine "{failed}" failed ({type(error).__name__}: {error})'
            self.pipeline.replace_engine(BypassEngine())
            self.pipeline.process(self._block, out=self._out)
        if not np.isfinite(np.dot(self._out, self._out)):
            self._out.fill(0.0)

    def _deliver(self, block: Float32s) -> None:
        """Hand a clean hop to the outlet, unless it is to be dropped."""
        if not self._aligned:
            self._align(block)
            return
        if self._to_drop == 0:
            self._begin_drop(self._backlog.look(self._held_back() + HOP_S, self._now()), block)
        if self._to_drop > 0:
            self._to_drop -= 1
            self._splicing = True
            return
        if self._splicing:
            self._splicing = False
            n = len(self._rise)
            block[:n] *= self._rise
            block[:n] += self._held[:n] * self._rise[::-1]
        self.outlet.ring.write(self._stretch.process(block, self._clock_ratio()))

    def _begin_drop(self, drop: Drop, block: Float32s) -> None:
        if drop.hops == 0:
            return
        if not self._splicing:
            self._held[:] = block
        self._dropped += drop.hops
        self._drift.freeze()
        self._to_drop = drop.hops
        ring = self.inlet.ring
        self._to_drop -= ring.skip(min(drop.hops - 1, ring.available // self.hop) * self.hop) // self.hop
        if drop.reset:
            self.pipeline.reset()

    def _waiting(self) -> tuple[int, float, float]:
        """Samples between the callbacks, and when each side called last; each side's pair is of one moment."""
        written, came = self.inlet.mark
        _, read, went = self.outlet.mark
        return (written - self.inlet.ring.read_count) + (self.outlet.ring.written - read), came, went

    def _held_back(self) -> float:
        """Seconds of sound between the callbacks; a side that does not call is taken to flow for a hop at most."""
        waiting, came, went = self._waiting()
        now = self._now()
        return waiting / self.rate + min(now - came, HOP_S) - min(now - went, HOP_S)

    def _clock_ratio(self) -> float:
        """Output samples per input sample, from the time stamps of both sides."""
        waiting, came, went = self._waiting()
        now = self._now()
        level = waiting / self.rate + HOP_S + went - came
        self._level_s += 0.02 * (level - self._level_s)
        holes = self.outlet.underruns - self._underruns_seen
        self._underruns_seen += holes
        rotating = self._drift.needed
        if now - min(came, went) > STALE_S or holes:
            self._drift.freeze()
        ratio = self._drift.look(level)
        if self._cushion.look(holes, now) or rotating != self._drift.needed:
            self._aim()
        return ratio

    def _aim(self) -> None:
        """Tell everybody what level is wanted."""
        level = self._cushion.rotating_level if self._drift.needed else self._cushion.level(self._phase_s)
        self._backlog.target_s = self._drift.target_s = level

    def _restart(self) -> None:
        self._aligned, self.outlet.expecting = False, False
        self._to_drop, self._splicing = 0, False
        self._watched = (self.inlet.blocks, self.outlet.blocks)
        self._flows.clear()
        self._drift.freeze()
        self._backlog.restart(self._now())

    def _align(self, block: Float32s) -> None:
        """Let sound through once the phase of the callbacks is known, with as much silence before it as is wanted.

        With W samples recorded and R asked for, the flow (W - R) / rate + (time of the last ask - time of the last
        record) is the same at every look but for jitter; from its median follows how much must wait now.
        """
        recorded, came = self.inlet.mark
        asked, read, went = self.outlet.mark
        if self.outlet.blocks == self._watched[1] and self._settle == 0:
            went = came - HOP_S  # a device that asks right after it recorded: as if it had asked one hop ago
        if not self._flows:
            self._flowing_since = self._now()
        self._flows.append((recorded - asked) / self.rate + went - came)
        if not self._settled():
            return
        flow = median(self._flows)
        self._phase_s = flow % HOP_S  # whole hops recorded and asked for do not count
        self._aim()
        wanted = recorded - asked + round((self._backlog.target_s - flow) * self.rate)
        waiting = (recorded - self.inlet.ring.read_count) + (self.outlet.ring.written - read)
        pad = wanted - waiting - self.hop
        if pad < -self.hop:  # whole hops too much wait: let them go first
            skipped = self.inlet.ring.skip(-pad // self.hop * self.hop)
            self._dropped += skipped // self.hop
            return
        for at in range(0, pad, self.hop):
            self.outlet.ring.write(self._silence[: min(pad - at, self.hop)])
        self.outlet.ring.write(block[max(0, -pad) :])
        self._aligned = self.outlet.expecting = True
        self._level_s = self._backlog.target_s
        self._backlog.restart(self._now())

    def _settled(self) -> bool:
        """True once both sides have called often enough, and steadily or for long enough."""
        seen = min(self.inlet.blocks - self._watched[0], self.outlet.blocks - self._watched[1])
        if seen < self._settle or len(self._flows) < max(1, self._settle):
            return False
        return max(self._flows) - min(self._flows) < HOP_S or self._now() - self._flowing_since > UNSTEADY_S

    def _publish(self) -> None:
        pipeline, engine = self.pipeline, self.pipeline.engine.info
        heard, given = self._meter_in.read(), self._meter_out.read()
        removed = max(0.0, heard.rms_db - given.rms_db) if heard.rms_db > AUDIBLE_DB else 0.0
        self._removed_db += REMOVED_SHARE * (removed - self._removed_db)
        self.report = Report(
            time=self._now(),
            hop_index=self._hops,
            counters=Counters(
                hops=self._hops,
                dropped_hops=self._dropped,
                underruns=self.outlet.underruns,
                overruns=(self._lost_overruns + self.inlet.ring.overrun_samples) // self.hop,
                late_hops=self._late,
                bad_blocks=pipeline.bad_blocks,
                bad_frames=pipeline.bad_frames,
                limited_hops=pipeline.limited_hops,
            ),
            engine=EngineStatus(
                id=engine.id,
                title=engine.title,
                level=pipeline.level,
                level_name=engine.levels[pipeline.level].name,
                level_count=len(engine.levels),
                switching=pipeline.switching,
            ),
            load=self._load.load,
            meter_in=_meter(heard),
            meter_out=_meter(given),
            removed_db=self._removed_db,
            lookahead_ms=pipeline.lookahead_hops * HOP_S * 1000.0,
            buffer_ms=self._level_s * 1000.0,
            drift_ppm=self._drift.ppm,
            zero_s=self._zeros * HOP_S,
            flowing=self._aligned,
            engine_error=self._engine_error,
        )


def _meter(levels: Levels) -> Meter:
    return Meter(peak_db=levels.peak_db, rms_db=levels.rms_db, max_db=levels.max_db, clips=levels.clips)
