"""Engines and signals for tests of the live path."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pse_stream.dsp.spec import Complex64s, Float32s
from pse_stream.engines.bypass import BypassEngine
from pse_stream.engines.contract import Engine, EngineInfo, Level
from pse_stream.errors import EngineError
from pse_stream.streaming.devices.fake import FakeDevice

RATE, HOP = 48_000, 384


class Slow(BypassEngine):
    """Takes `cost(step)` simulated seconds for each frame."""

    info = EngineInfo(id="slow", title="Slow")

    def __init__(self, device: FakeDevice, cost: Callable[[int], float]) -> None:
        super().__init__()
        self.steps = 0
        self._device, self._cost = device, cost

    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        self.steps += 1
        self._device.spend(self._cost(self.steps))
        super().step(frame, out, level)


class Failing(BypassEngine):
    """Raises at one step and ever after."""

    info = EngineInfo(id="failing", title="Failing")

    def __init__(self, at: int) -> None:
        super().__init__()
        self.steps, self._at = 0, at

    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        self.steps += 1
        if self.steps >= self._at:
            raise RuntimeError("the model broke")
        super().step(frame, out, level)


class Levels(BypassEngine):
    """Three levels; the level is a gain, so that it can be heard."""

    info = EngineInfo(id="levels", title="Levels", levels=(Level(name="low"), Level(name="middle"), Level(name="high")))

    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        out[:] = frame * np.float32((level + 1) / 3)


class Silencer(BypassEngine):
    """Removes everything."""

    info = EngineInfo(id="silencer", title="Silencer")

    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        out.fill(0.0)


def shelf(**engines: Callable[[], Engine]) -> Callable[[str], Engine]:
    """An opener of engines by id; "auto" and "bypass" are always there."""
    known: dict[str, Callable[[], Engine]] = {
        "auto": BypassEngine, "bypass": BypassEngine, "levels": Levels, "silencer": Silencer, **engines
    }  # fmt: skip

    def open_engine(id: str) -> Engine:
        if id not in known:
            raise EngineError(f"there is no engine {id!r}", name="unknown_engine")
        return known[id]()

    return open_engine


def noise(seconds: float, *, seed: int = 0, level: float = 0.1) -> Float32s:
    """(n,) float32, white; no sample is zero."""
    made = np.random.default_rng(seed).standard_normal(round(seconds * RATE)).astype(np.float32) * np.float32(level)
    made[made == 0.0] = np.float32(level)
    return made


def tone(hz: float = 1000.0, level: float = 0.3) -> Callable[[int, int], Float32s]:
    """An endless sine."""

    def play(first: int, count: int) -> Float32s:
        return (level * np.sin(2 * np.pi * hz / RATE * (first + np.arange(count)))).astype(np.float32)

    return play


def clickiness(heard: Float32s, hz: float = 1000.0) -> float:
    """How far a recording is from obeying the recurrence of a sine of this frequency: 0 without clicks."""
    x = heard.astype(np.float64)
    return float(np.abs(x[2:] - 2 * np.cos(2 * np.pi * hz / RATE) * x[1:-1] + x[:-2]).max())


def offset(heard: Float32s, sent: Float32s, at: int) -> int:
    """Where sample `at` of what was sent stands in what was heard, less `at`; fails if it is not there."""
    found = np.flatnonzero(heard == sent[at])
    assert len(found), "what was sent was not heard, bit for bit"
    return int(found[0]) - at
