"""Engines that break one promise each: what the checks of contract_checks.py must catch."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Self

import numpy as np

from pse_stream.dsp.spec import ENGINE_BINS, Complex64s
from pse_stream.engines.contract import EngineInfo, Level, silence_if_broken
from pse_stream.engines.handover import FADE_HOPS


class SoundEngine:
    """Keeps every promise: a gain per level that moves slowly, over a memory of one frame. The others break it."""

    info = EngineInfo(
        id="sound",
        title="Sound",
        levels=(Level(name="low", macs_per_second=1.0), Level(name="high", macs_per_second=2.0)),
    )

    def __init__(self) -> None:
        self.bad_frames = 0
        self.last = np.zeros(ENGINE_BINS, np.complex64)
        self.gain = -1.0

    def reset(self) -> None:
        self.last.fill(0.0)
        self.gain = -1.0

    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        newest = np.empty_like(frame)
        self.bad_frames += silence_if_broken(frame, newest)
        wanted = (0.25, 0.75)[level]
        self.gain = wanted if self.gain < 0 else self.gain + (wanted - self.gain) / FADE_HOPS
        out[:] = self.gain * (newest + 0.25 * self.last)
        self.last[:] = newest

    def fork(self) -> Self:
        return type(self)()


class LevelsUpsideDown(SoundEngine):
    info = replace(SoundEngine.info, levels=SoundEngine.info.levels[::-1])


class LeavesTheTopBin(SoundEngine):
    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        top = out[-1]
        super().step(frame, out, level)
        out[-1] = top


class ChangesItsInput(SoundEngine):
    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        super().step(frame, out, level)
        if out is not frame and not np.shares_memory(out, frame):
            frame[0] = 0.0


class WritesBeforeItReads(SoundEngine):
    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        out.fill(0.0)
        super().step(frame, out, level)


class RemembersThroughReset(SoundEngine):
    def reset(self) -> None:
        self.gain = -1.0


class RewritesThePast(SoundEngine):
    def __init__(self) -> None:
        super().__init__()
        self.previous = np.zeros(ENGINE_BINS, np.complex64)

    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        super().step(frame, out, level)
        self.previous *= np.float32(0.5)
        self.previous = out


class LetsNanIn(SoundEngine):
    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        self.last *= np.float32(0.5)
        self.last += frame
        out[:] = 0.5 * self.last


class CountsNothing(SoundEngine):
    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        super().step(frame, out, level)
        self.bad_frames = 0


class DiesOfAbuse(SoundEngine):
    """Gives silence for ever after the first broken frame."""

    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        super().step(frame, out, level)
        if self.bad_frames:
            out.fill(0.0)


class GatesAtAFixedLevel(SoundEngine):
    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        super().step(frame, out, level)
        out[np.abs(out) < 0.05] = 0.0


class Compresses(SoundEngine):
    """Right in shape, wrong in loudness."""

    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        super().step(frame, out, level)
        out *= np.float32(0.5) if np.abs(frame).max() > 50.0 else np.float32(1.0)


class Grows(SoundEngine):
    def __init__(self) -> None:
        super().__init__()
        self.log: list[float] = []

    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        super().step(frame, out, level)
        self.log.append(float(out[0].real))


class DropsOutOnChange(SoundEngine):
    """The newcomer starts with two frames of silence."""

    def __init__(self) -> None:
        super().__init__()
        self.level, self.wait = -1, 0

    def reset(self) -> None:
        super().reset()
        self.level, self.wait = -1, 0

    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        super().step(frame, out, level)
        if self.level not in (-1, level):
            self.wait = 2
        self.level = level
        if self.wait:
            self.wait -= 1
            out.fill(0.0)


class Hums(SoundEngine):
    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        super().step(frame, out, level)
        out[4] += 1e-3


class RingsOn(SoundEngine):
    """Digital silence at the start, and a tone that never ends after a voice."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0.0

    def reset(self) -> None:
        super().reset()
        self.peak = 0.0

    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        super().step(frame, out, level)
        loudest = float(np.abs(out).max())
        self.peak = max(self.peak, loudest) if math.isfinite(loudest) else self.peak
        out[4] += 1e-2 * self.peak


class SharesItsMemory(SoundEngine):
    def fork(self) -> Self:
        other = type(self)()
        other.last = self.last
        return other


class HidesItsDelay(SoundEngine):
    def __init__(self) -> None:
        super().__init__()
        self.line = np.zeros((4, ENGINE_BINS), np.complex64)

    def reset(self) -> None:
        super().reset()
        self.line.fill(0.0)

    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        super().step(frame, out, level)
        self.line[:-1] = self.line[1:]
        self.line[-1] = out
        out[:] = self.line[0]
