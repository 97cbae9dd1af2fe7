"""Engines with several levels: quality rises with the level, and changes at random moments are not heard."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from pse_stream.dsp.spec import ENGINE_RATE, Complex64s, STFTSpec
from pse_stream.dsp.stft import inverse
from pse_stream.engines.contract import Engine, EngineInfo
from pse_stream.engines.registry import available, open_engine

from .contract_checks import play, voice

SCALABLE = [e.info for e in available() if e.origin == "package" and e.info is not None and len(e.info.levels) > 1]
BLAME_HOPS = 18  # 0.14 s after a wish: a change takes 12 hops, the transform overlaps by one


@pytest.mark.parametrize("info", SCALABLE, ids=lambda info: info.id)
@pytest.mark.parametrize("metric", ["si_sdr_i", "pesq", "estoi"])
def test_measured_quality_rises_with_the_level(info: EngineInfo, metric: str) -> None:
    means = [info.quality[f"{metric}_{k}"] for k in range(len(info.levels))]
    widths = [info.quality[f"{metric}_{k}_ci"] for k in range(len(info.levels))]
    for k in range(1, len(means)):  # neighbours may overlap, levels further apart may not change places
        assert means[k] > means[k - 1] - widths[k - 1] - widths[k]
        assert k < 2 or means[k] > means[k - 2]


@functools.cache
def switched(id: str, changes: int = 150) -> tuple[list[tuple[int, int, int]], Complex64s, list[Complex64s]]:
    """(hop, from, to) of every change, the frames of the switched engine, and those of every level alone."""
    engine, rng = open_engine(id), np.random.default_rng(3)
    n_levels, marks, plan, at = len(engine.info.levels), [], [], 0
    for _ in range(changes):
        plan += [at] * int(rng.integers(19, 26))
        to = int((at + 1 + rng.integers(n_levels - 1)) % n_levels)
        marks.append((len(plan), at, to))
        at = to
    plan += [at] * (BLAME_HOPS + 1)
    noise = rng.standard_normal((len(plan), 257, 2)).view(np.complex128)[..., 0].astype(np.complex64)
    sound = np.resize(voice(4.0)[0], noise.shape) + 0.1 * noise
    return marks, _switching(engine.fork(), sound, plan), [play(engine.fork(), sound, k) for k in range(n_levels)]


def _switching(engine: Engine, sound: Complex64s, plan: list[int]) -> Complex64s:
    out = np.empty_like(sound)
    for frame, row, level in zip(sound, out, plan, strict=True):
        engine.step(frame, row, level)
    return out


@pytest.mark.parametrize("info", SCALABLE, ids=lambda info: info.id)
def test_no_change_of_level_clicks(info: EngineInfo) -> None:
    marks, frames, alone = switched(info.id)
    grid = STFTSpec(ENGINE_RATE)
    steps = [np.abs(np.diff(inverse(x, grid, (len(x) - 1) * grid.hop))) for x in (frames, *alone)]
    for at, a, b in marks:
        part = slice(at * grid.hop, (at + BLAME_HOPS) * grid.hop)
        assert steps[0][part].max() < 1.25 * max(steps[1 + a][part].max(), steps[1 + b][part].max())


@pytest.mark.parametrize("info", SCALABLE, ids=lambda info: info.id)
def test_no_change_of_level_steps_in_loudness(info: EngineInfo) -> None:
    marks, frames, alone = switched(info.id)
    loud = [_loudness_db(x) for x in (frames, *alone)]
    steps = [np.abs(np.diff(x)) for x in loud]
    found = []
    for at, a, b in marks:
        part = slice(at, at + BLAME_HOPS)
        found.append(float((steps[0][part] - np.maximum(steps[1 + a][part], steps[1 + b][part])).max()))
    # Levels may be several dB apart in noise, and a fade of 48 ms from one to the other then moves by 1.6 dB in a hop.
    assert np.percentile(found, 95) < 1.0 and max(found) < 2.0


def _loudness_db(frames: Complex64s) -> np.ndarray:
    """Over 48 ms that end with each frame."""
    power = np.convolve(np.sum(np.abs(frames) ** 2, axis=1), np.ones(6))[: len(frames)]
    return np.asarray(10 * np.log10(power + 1e-9))
