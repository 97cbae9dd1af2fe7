"""The pure pipeline: identity, delay, mix, mute, broken input, broken engines, changes while running."""

from __future__ import annotations

import numpy as np
import pytest

from pse_stream.dsp.spec import GRID_RATES, Complex64s, Float32s
from pse_stream.engines.bypass import BypassEngine
from pse_stream.engines.contract import EngineInfo
from pse_stream.errors import EngineError
from pse_stream.streaming.pipeline import Pipeline


class Silencer(BypassEngine):
    """Removes everything: the loudest possible difference between dry and wet."""

    info = EngineInfo(id="silencer", title="Silencer")

    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        out.fill(0.0)


class Delayed(BypassEngine):
    """Bypass with a lookahead of three hops."""

    info = EngineInfo(id="delayed", title="Delayed", lookahead_hops=3)

    def __init__(self) -> None:
        super().__init__()
        self._past = [np.zeros(257, np.complex64) for _ in range(3)]

    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        self._past.append(frame.copy())
        out[:] = self._past.pop(0)


class Poisoned(BypassEngine):
    """Gives NaN every tenth frame."""

    info = EngineInfo(id="poisoned", title="Poisoned")

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        self.steps += 1
        out[:] = frame if self.steps % 10 else np.nan


def run(pipeline: Pipeline, samples: Float32s) -> Float32s:
    out = np.empty_like(samples)
    h = pipeline.hop
    for at in range(0, len(samples) - h + 1, h):
        pipeline.process(samples[at : at + h], out=out[at : at + h])
    return out


def noise(pipeline: Pipeline, hops: int = 100, level: float = 0.1, seed: int = 0) -> Float32s:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(hops * pipeline.hop) * level).astype(np.float32)


@pytest.mark.parametrize("rate", GRID_RATES)
def test_bypass_engine_gives_back_the_input_one_overlap_later(rate: int) -> None:
    pipeline = Pipeline(rate, BypassEngine())
    x = noise(pipeline)
    y = run(pipeline, x)
    d = pipeline.latency_samples
    assert d == pipeline.hop
    np.testing.assert_allclose(y[d:], x[:-d], atol=1e-6)


def test_lookahead_of_the_engine_is_in_the_latency_and_in_the_dry_path() -> None:
    pipeline = Pipeline(48_000, Delayed())
    x = noise(pipeline)
    y = run(pipeline, x)
    d = pipeline.latency_samples
    assert d == 4 * pipeline.hop
    np.testing.assert_allclose(y[d:], x[:-d], atol=1e-6)
    dry = Pipeline(48_000, Delayed(), bypass=True)
    assert np.array_equal(run(dry, x)[d:], x[:-d])


@pytest.mark.parametrize("settings", [{"bypass": True}, {"attenuation_db": 0.0}])
def test_full_dry_is_the_input_bit_for_bit(settings: dict[str, float]) -> None:
    pipeline = Pipeline(48_000, Silencer(), **settings)  # type: ignore[arg-type]
    x = noise(pipeline)
    assert np.array_equal(run(pipeline, x)[pipeline.hop :], x[: -pipeline.hop])


def test_s03_attenuation_limit_of_12_db_lowers_what_the_engine_removes_by_12_db() -> None:
    pipeline = Pipeline(16_000, Silencer(), attenuation_db=12.0)
    x = noise(pipeline, 200)
    y = run(pipeline, x)
    fall = 10 * np.log10(np.mean(x**2) / np.mean(y[pipeline.hop :] ** 2))
    assert fall == pytest.approx(12.0, abs=0.5)


def test_mute_is_digital_silence_within_two_hops_and_without_a_step() -> None:
    pipeline = Pipeline(48_000, BypassEngine())
    t = np.arange(200 * pipeline.hop) / 48_000
    x = (0.5 * np.sin(2 * np.pi * 100 * t)).astype(np.float32)
    half = 100 * pipeline.hop
    first = run(pipeline, x[:half])
    pipeline.set_mix(attenuation_db=100.0, bypass=False, mute=True)
    second = run(pipeline, x[half:])
    assert not second[2 * pipeline.hop :].any()
    steps = np.abs(np.diff(np.concatenate([first, second])))
    assert steps[pipeline.hop * 4 :].max() < 0.5 * 2 * np.pi * 100 / 48_000 * 1.2


def test_blocks_with_nan_or_inf_are_silence_and_counted() -> None:
    pipeline = Pipeline(48_000, BypassEngine())
    x = noise(pipeline, 20)
    x[5 * pipeline.hop + 3] = np.nan
    x[9 * pipeline.hop] = np.inf
    y = run(pipeline, x)
    assert np.isfinite(y).all()
    assert pipeline.bad_blocks == 2


def test_frames_that_an_engine_spoils_are_replaced_by_the_noisy_frame_and_counted() -> None:
    pipeline = Pipeline(16_000, Poisoned())
    x = noise(pipeline, 100)
    y = run(pipeline, x)
    np.testing.assert_allclose(y[pipeline.hop :], x[: -pipeline.hop], atol=1e-6)
    assert pipeline.bad_frames == 10


def test_s12_engine_change_is_complete_within_100_ms_and_does_not_jump() -> None:
    pipeline = Pipeline(48_000, BypassEngine())
    t = np.arange(250 * pipeline.hop) / 48_000
    x = (0.5 * np.sin(2 * np.pi * 100 * t)).astype(np.float32)
    half = 100 * pipeline.hop
    first = run(pipeline, x[:half])
    pipeline.set_engine(Silencer())
    assert pipeline.switching
    second = run(pipeline, x[half:])
    assert not pipeline.switching
    assert np.abs(second[13 * pipeline.hop :]).max() < 1e-6
    steps = np.abs(np.diff(np.concatenate([first, second])[4 * pipeline.hop :]))
    assert steps.max() < 0.5 * 2 * np.pi * 100 / 48_000 * 1.2


@pytest.mark.parametrize("settings", [{"bypass": True}, {"attenuation_db": 3.0}, {}], ids=["dry", "half", "wet"])
def test_a_change_to_an_engine_that_looks_ahead_does_not_jump(settings: dict[str, float]) -> None:
    pipeline = Pipeline(16_000, BypassEngine(), **settings)
    t = np.arange(120 * pipeline.hop) / 16_000
    x = (0.3 * np.sin(2 * np.pi * 330 * t)).astype(np.float32)  # its phase differs by 0.92 of a turn after three hops
    parts = []
    for k, engine in enumerate([Delayed(), BypassEngine(), Delayed(), BypassEngine()]):
        parts.append(run(pipeline, x[k * 30 * pipeline.hop : (k + 1) * 30 * pipeline.hop]))
        pipeline.set_engine(engine)
    y = np.concatenate(parts)
    assert np.abs(np.diff(y)).max() < 1.1 * np.abs(np.diff(x)).max()


def test_reset_makes_the_next_hop_the_first() -> None:
    pipeline = Pipeline(48_000, BypassEngine(), attenuation_db=20.0)
    x = noise(pipeline)
    fresh = run(pipeline, x)
    pipeline.reset()
    assert np.array_equal(run(pipeline, x), fresh)


def test_engines_that_look_too_far_ahead_and_levels_that_are_not_there_are_refused() -> None:
    class Farseer(BypassEngine):
        info = EngineInfo(id="farseer", title="Farseer", lookahead_hops=99)

    with pytest.raises(EngineError, match="looks 99 hops ahead; at most 15"):
        Pipeline(16_000, Farseer())
    with pytest.raises(EngineError, match="has no level 3; expected 0"):
        Pipeline(16_000, BypassEngine(), level=3)
