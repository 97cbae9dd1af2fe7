"""Engines with several levels: quality rises with the level, and changes at random moments are not heard."""

from __future__ import annotations

import functools
from pathlib import Path

import msgspec
import numpy as np
import pytest

from pse_stream.dsp.spec import ENGINE_RATE, Complex64s, STFTSpec
from pse_stream.dsp.stft import inverse
from pse_stream.engines.contract import Engine, EngineInfo
from pse_stream.engines.graph import Graph
from pse_stream.engines.handover import CHANGE_HOPS, FADE_HOPS, WARM_HOPS
from pse_stream.engines.levels import (
    CATCH_UP,
    GLIDE_HOPS,
    REPLAY_HOPS,
    REPLAY_MACS,
    SNAPSHOT_HOPS,
    Glide,
    LevelPast,
    LevelVoice,
)
from pse_stream.engines.loudness import LEAST_GAIN
from pse_stream.engines.onnx import OnnxEngine
from pse_stream.engines.package import State
from pse_stream.engines.registry import available, open_engine

from .contract_checks import play, voice
from .networks import GAIN_STATES, counting_graph, frames, gain_graph, package

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
def switched(id: str, changes: int = 150) -> tuple[list[tuple[int, set[int]]], Complex64s, list[Complex64s]]:
    """(hop, levels that may be heard then) of every change, the frames as they are, and those of every level alone."""
    engine, rng = open_engine(id), np.random.default_rng(3)
    n_levels, marks, plan, at = len(engine.info.levels), [], [], 0
    for _ in range(changes):
        plan += [at] * int(rng.integers(19, 90))
        to = int((at + 1 + rng.integers(n_levels - 1)) % n_levels)
        marks.append((len(plan), {*plan[-GLIDE_HOPS - CHANGE_HOPS :], to}))  # one glides to the next for so long
        at = to
    plan += [at] * (BLAME_HOPS + 1)
    noise = rng.standard_normal((len(plan), 257, 2)).view(np.complex128)[..., 0].astype(np.complex64)
    sound = np.resize(voice(4.0)[0], noise.shape) + 0.1 * noise
    sound[len(sound) // 2 :] = noise[len(sound) // 2 :]  # the second half is a steady noise
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
    for at, heard in marks:
        part = slice(at * grid.hop, (at + BLAME_HOPS) * grid.hop)
        assert steps[0][part].max() < 1.25 * max(steps[1 + k][part].max() for k in heard)


@pytest.mark.parametrize("info", SCALABLE, ids=lambda info: info.id)
def test_no_change_of_level_steps_in_loudness(info: EngineInfo) -> None:
    marks, frames, alone = switched(info.id)
    steps = [np.abs(np.diff(_loudness_db(x))) for x in (frames, *alone)]
    speech, noise = [], []
    for at, heard in marks:
        part = slice(at, at + BLAME_HOPS)
        found = float((steps[0][part] - np.max([steps[1 + k][part] for k in heard], axis=0)).max())
        (noise if at > len(frames) // 2 + GLIDE_HOPS else speech).append(found)
    assert max(noise) < 1.0
    # Where speech begins or ends loudness moves by 5 dB per hop, and a fade makes 6 of them now and then.
    assert np.percentile(speech, 95) < 1.0 and max(speech) < 1.5


def _loudness_db(frames: Complex64s) -> np.ndarray:
    """Over 48 ms that end with each frame."""
    power = np.convolve(np.sum(np.abs(frames) ** 2, axis=1), np.ones(6))[: len(frames)]
    return np.asarray(10 * np.log10(power + 1e-9))


def _gains(engine: OnnxEngine, levels: list[int]) -> np.ndarray:
    """Gain of every hop on a steady sound; (n,)."""
    frame, out, gains = frames(1)[0], np.empty(257, np.complex64), []
    for level in levels:
        engine.step(frame, out, level)
        gains.append(float(np.linalg.norm(out) / np.linalg.norm(frame)))
    return np.array(gains)


def _gain_levels(folder: Path, *gains: float) -> OnnxEngine:
    return OnnxEngine(package(folder / "p", [(gain_graph(gain), GAIN_STATES) for gain in gains]))


@pytest.mark.parametrize(("before", "after"), [(0.1, 0.3), (0.3, 0.1), (0.05, 0.2)])
def test_levels_that_leave_more_or_less_noise_glide(tmp_path: Path, before: float, after: float) -> None:
    gains = _gains(_gain_levels(tmp_path, before, after), [0] * 20 + [1] * (CHANGE_HOPS + GLIDE_HOPS + 1))
    assert np.abs(np.diff(20 * np.log10(gains))).max() < 1.0  # a fade alone: 3 dB and more
    assert gains[-2] == pytest.approx(after, rel=0.05)
    assert gains[-1] == pytest.approx(after, rel=1e-4)


@pytest.mark.parametrize(("heard", "coming"), [(0.002, 0.1), (0.1, 0.002), (0.05, 0.7)])
def test_a_voice_that_begins_while_a_noise_glides_is_heard(heard: float, coming: float) -> None:
    glide, noisy = Glide(), np.ones(257, np.complex64)
    glide.begin()
    glide.learn(noisy, heard * noisy, coming * noisy)
    for gain, least, most in ((coming, 0.99 * heard, 1.01 * heard), (0.97, 0.7, 1.0), (1.0, 0.999, 1.001)):
        out = gain * noisy
        glide.apply(noisy, out)
        assert least <= np.abs(out).min() and np.abs(out).max() <= most


def test_clear_speech_does_not_glide(tmp_path: Path) -> None:
    letting_go = 40  # hops: 20 dB between two levels on a steady sound are more than a fade may do at once
    gains = _gains(_gain_levels(tmp_path, 0.1, 1.0), [0] * 20 + [1] * (CHANGE_HOPS + letting_go))
    assert gains[-letting_go - 1] >= LEAST_GAIN - 1e-4
    assert gains[-1] == pytest.approx(1.0, abs=1e-4)  # a mask that is open stays open


def test_a_glide_that_is_turned_around_goes_back_without_a_step(tmp_path: Path) -> None:
    engine = _gain_levels(tmp_path, 0.1, 0.5)
    plan = [0] * 20 + [1] * (WARM_HOPS + FADE_HOPS // 2) + [0] * 40 + [1] * 30 + [0] * 200
    gains = _gains(engine, plan)
    assert np.abs(np.diff(20 * np.log10(gains))).max() < 2.0
    assert gains[-1] == pytest.approx(0.1, rel=1e-4)


def test_after_silence_and_after_a_reset_nothing_glides(tmp_path: Path) -> None:
    engine, silence = _gain_levels(tmp_path, 0.1, 0.5), np.zeros(257, np.complex64)
    _gains(engine, [0] * 20 + [1] * CHANGE_HOPS)
    for _ in range(20):
        engine.step(silence, silence, 0)
    assert _gains(engine, [0])[0] == pytest.approx(0.1, rel=1e-4)
    _gains(engine, [1] * CHANGE_HOPS)
    engine.reset()
    assert _gains(engine, [1])[0] == pytest.approx(0.5, rel=1e-4)


def test_a_deeper_part_hears_the_last_moments_again_in_time(tmp_path: Path) -> None:
    assert CATCH_UP * WARM_HOPS >= REPLAY_HOPS + SNAPSHOT_HOPS - 1 + WARM_HOPS
    own = (State("state_0", "state_0_out", (1, 1, 1)),)
    for before in (100, 103, 107):  # whatever lies between the last copy of the shared memory and the wish
        engine = OnnxEngine(package(tmp_path / f"{before}", [(counting_graph(), own), (counting_graph(), own)]))
        gains = _gains(engine, [0] * before + [1] * CHANGE_HOPS)
        heard = round(gains[-1]) - CHANGE_HOPS
        assert REPLAY_HOPS - SNAPSHOT_HOPS < heard < REPLAY_HOPS + SNAPSHOT_HOPS


@pytest.mark.parametrize(("macs_per_hop", "frames_per_hop"), [(1e5, CATCH_UP), (REPLAY_MACS / 3, 3), (1e9, 0), (0, 1)])
def test_dear_networks_replay_less(tmp_path: Path, macs_per_hop: float, frames_per_hop: int) -> None:
    own = (State("state_0", "state_0_out", (1, 1, 1)),)
    made = package(tmp_path / "p", [(counting_graph(), own)])
    level = msgspec.structs.replace(made.description.levels[0], macs_per_second=125 * macs_per_hop)
    past, graph = LevelPast(), Graph(made, level)
    heard, newcomer = LevelVoice(graph, past), LevelVoice(graph, past)
    frame, out = frames(1)[0], np.empty(257, np.complex64)
    for _ in range(50):
        past.keep(heard)
        past.put(frame)
        heard.play(frame, out)
    newcomer.enter(heard)
    counts = [0.0]
    for _ in range(WARM_HOPS):
        past.keep(heard)
        past.put(frame)
        newcomer.play(frame, out)
        counts.append(float(np.linalg.norm(out) / np.linalg.norm(frame)))
    assert np.diff(counts).max() <= max(frames_per_hop, 1) + 1e-3
