"""Two clocks: the loop alone over hours, and the whole live path over minutes."""

from __future__ import annotations

import numpy as np
import pytest

from pse_stream.dsp.spec import Float32s
from pse_stream.streaming.denoiser import Denoiser
from pse_stream.streaming.devices.fake import FakeDevice
from pse_stream.streaming.drift import MAX_CLOCK, Drift
from pse_stream.streaming.settings import Settings

HOP_S = 0.008
TARGET_S = 0.0116


def levels(
    ppm: list[float], *, jitter_ms: float = 1.0, seed: int = 0, drift: Drift | None = None
) -> tuple[list[float], Drift]:
    """The level after each hop for an input clock that is off by `ppm` (one value per hop), and the loop."""
    loop = Drift(HOP_S, TARGET_S) if drift is None else drift
    noise = np.random.default_rng(seed).uniform(-jitter_ms / 2000, jitter_ms / 2000, len(ppm))
    level, seen = TARGET_S, []
    for off, late in zip(ppm, noise, strict=True):
        ratio = loop.look(level + late)
        level += HOP_S * ((1.0 + off * 1e-6) * ratio - 1.0)
        seen.append(level)
    return seen, loop


@pytest.mark.parametrize(("ppm", "minutes"), [(200.0, 60), (-200.0, 10)])
def test_s22_an_hour_of_drift_stays_within_a_hop_of_the_target(ppm: float, minutes: int) -> None:
    seen, loop = levels([ppm] * round(minutes * 60 / HOP_S))
    assert max(abs(level - TARGET_S) for level in seen) < HOP_S
    settled = seen[len(seen) // 2 :]
    assert max(abs(level - TARGET_S) for level in settled) < 0.001
    assert loop.ppm == pytest.approx(ppm, abs=20.0)


def test_a_step_from_one_clock_to_another_is_followed() -> None:
    minutes = round(300 / HOP_S)
    seen, loop = levels([100.0] * minutes + [-100.0] * minutes)
    assert max(abs(level - TARGET_S) for level in seen) < HOP_S
    assert loop.ppm == pytest.approx(-100.0, abs=20.0)


def test_one_clock_is_never_corrected_so_that_sound_stays_bit_for_bit() -> None:
    seen, loop = levels([0.4] * round(1200 / HOP_S))
    assert not loop.needed
    assert seen[-1] == pytest.approx(TARGET_S + 1200 * 0.4e-6, abs=1e-5)


def test_a_computer_that_becomes_busy_moves_the_level_in_steps_and_is_no_clock() -> None:
    random, loop = np.random.default_rng(0), Drift(HOP_S, TARGET_S)
    for minute in range(20):
        late = (0.0, 0.004, 0.001, 0.006)[minute % 4]
        for _ in range(round(60 / HOP_S)):
            loop.look(TARGET_S + late + random.uniform(-0.002, 0.002))
    assert not loop.needed


def test_a_clock_beyond_every_crystal_is_not_believed() -> None:
    _, loop = levels([3000.0] * round(120 / HOP_S))
    assert abs(loop.ppm) <= MAX_CLOCK * 1e6 + 1e-9


def test_freezing_keeps_the_clocks_and_forgets_the_level() -> None:
    _, loop = levels([150.0] * round(300 / HOP_S))
    before = loop.ppm
    loop.freeze()
    ratios = [loop.look(TARGET_S + 0.5) for _ in range(20)]  # a stall: the level says nonsense
    assert loop.ppm == before
    assert ratios == [pytest.approx(1.0 / (1.0 + before * 1e-6), abs=1e-12)] * 20


@pytest.mark.parametrize("ppm", [200.0, -200.0])
def test_s22_drift_through_the_live_path_adds_no_click(ppm: float) -> None:
    step = 2 * np.pi * 1000 / 48_000

    def tone(first: int, count: int) -> Float32s:
        return (0.3 * np.sin(step * (first + np.arange(count)))).astype(np.float32)

    device = FakeDevice(source=tone, input_ppm=ppm, jitter_ms=1.0)
    with Denoiser(Settings(engine="bypass", bypass=True), device=device) as denoiser:
        buffers = []
        for _ in range(25):
            device.advance(1.0)
            buffers.append(denoiser.snapshot.latency.buffer_ms)
        snapshot = denoiser.snapshot
    heard = device.output[9600:].astype(np.float64)
    # A sine obeys x[n+1] = 2 cos(w) x[n] - x[n-1]; a click does not.
    residual = np.abs(heard[2:] - 2 * np.cos(step) * heard[1:-1] + heard[:-2])
    assert residual.max() < 2e-4
    assert max(buffers) - min(buffers) < 8.0
    assert snapshot.counters.underruns == snapshot.counters.dropped_hops == 0
    assert snapshot.drift_ppm == pytest.approx(ppm, abs=60.0)
