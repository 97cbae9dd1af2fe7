"""What `engines/contract.py` promises, as functions that raise AssertionError when an engine breaks a promise.

Each takes a maker of fresh engines and a level. test_contract.py holds every engine to all of them, and holds all of
them to the deliberately broken engines of broken_engines.py: a check that lets its broken engine pass is broken itself.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from functools import cache

import numpy as np

from pse_stream.dsp.spec import ENGINE_BINS, ENGINE_RATE, Complex64s, STFTSpec
from pse_stream.dsp.stft import transform
from pse_stream.engines.contract import Engine, EngineInfo
from pse_stream.engines.onnx import OnnxEngine

Make = Callable[[], Engine]
Check = Callable[[Make, int], None]


@cache
def voice(seconds: float = 2.0, *, snr_db: float = 10.0, seed: int = 0) -> tuple[Complex64s, Complex64s]:
    """Frames of something like speech in white noise at -26 dBFS, and of the same without the noise: (n, 257) each.

    Harmonics of a gliding pitch under two resonances, in syllables of 4 Hz: no denoiser takes it for noise.
    """
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * ENGINE_RATE)) / ENGINE_RATE
    pitch = 130 + 25 * np.sin(2 * np.pi * 0.7 * t + seed)
    phase = 2 * np.pi * np.cumsum(pitch) / ENGINE_RATE
    wave = np.zeros_like(t)
    for k in range(1, 28):
        f = k * 130
        gain = 1 / (1 + ((f - 600) / 250) ** 2) + 0.4 / (1 + ((f - 1800) / 300) ** 2) + 0.02
        wave += gain * np.sin(k * phase + rng.uniform(0, 2 * np.pi))
    wave *= np.clip(0.6 + np.sin(2 * np.pi * 4 * t), 0.0, None)
    wave *= 10 ** (-26 / 20) / np.sqrt(np.mean(wave**2))
    noise = rng.standard_normal(len(t)) * 10 ** ((-26 - snr_db) / 20)
    spec = STFTSpec(ENGINE_RATE)
    return transform((wave + noise).astype(np.float32), spec), transform(wave.astype(np.float32), spec)


def play(engine: Engine, frames: Complex64s, level: int) -> Complex64s:
    """All frames through an engine, each into its own row."""
    out = np.full_like(frames, np.nan)
    for frame, row in zip(frames, out, strict=True):
        engine.step(frame, row, level)
    return out


def si_sdr_db(estimate: Complex64s, target: Complex64s) -> float:
    """Scale-invariant signal-to-distortion ratio, on frames."""
    scale = np.vdot(target, estimate).real / np.vdot(target, target).real
    error = estimate - scale * target
    return float(10 * np.log10(scale**2 * np.vdot(target, target).real / np.vdot(error, error).real))


def energy_db(frames: Complex64s) -> float:
    """Total energy in dB; -200 for silence."""
    return float(10 * np.log10(max(np.vdot(frames, frames).real, 1e-20)))


def describes_itself(make: Make, level: int) -> None:
    """`info` is complete, and its levels stand cheapest first."""
    info = make().info
    assert isinstance(info, EngineInfo)
    assert info.id and info.title and info.licence
    assert 0 <= level <= info.best_level
    assert info.lookahead_hops >= 0
    costs = [step.macs_per_second for step in info.levels]
    assert costs == sorted(costs)
    assert len({step.name for step in info.levels}) == len(costs)


def writes_out_in_full(make: Make, level: int) -> None:
    """Every bin of `out` is written; `frame` stays as it is."""
    noisy, _ = voice(0.4)
    given = noisy.copy()
    clean = play(make(), given, level)
    assert np.isfinite(clean.view(np.float32)).all()
    np.testing.assert_array_equal(given, noisy)


def works_in_place(make: Make, level: int) -> None:
    """`out` may be `frame`."""
    noisy, _ = voice(0.5)
    expected = play(make(), noisy, level)
    engine, given = make(), noisy.copy()
    for frame in given:
        engine.step(frame, frame, level)
    np.testing.assert_array_equal(given, expected)


def reset_is_fresh(make: Make, level: int) -> None:
    """After `reset` nothing is remembered."""
    noisy, _ = voice(0.5)
    other, _ = voice(0.6, seed=1)
    engine = make()
    play(engine, other, level)
    engine.reset()
    np.testing.assert_array_equal(play(engine, noisy, level), play(make(), noisy, level))


def leaves_the_past_alone(make: Make, level: int) -> None:
    """What follows changes nothing that was given before, and engines run alike twice."""
    noisy, _ = voice(0.5)
    engine, half = make(), len(noisy) // 2
    early = play(engine, noisy[:half], level)
    kept = early.copy()
    play(engine, -3 * noisy[half:], level)
    np.testing.assert_array_equal(early, kept)
    np.testing.assert_array_equal(play(make(), noisy, level)[:half], kept)


def survives_abuse(make: Make, level: int) -> None:
    """NaN and Inf are counted and taken as silence; nothing unpleasant comes out or stays inside."""
    noisy, _ = voice(1.0)
    engine = make()
    play(engine, noisy[:60], level)
    bad = np.full((4, ENGINE_BINS), np.nan, np.complex64)
    bad[1], bad[2, 7], bad[3, 200] = np.inf, np.nan, -np.inf
    # White noise at full scale has about 16 in every bin, a sine at full scale 128 in one.
    extremes = np.array([32.0, 1e-30, 0.0, 1e-40, -32.0, 1e-8], np.complex64)[:, None]
    before = engine.bad_frames
    assert np.isfinite(play(engine, bad, level).view(np.float32)).all()
    assert engine.bad_frames == before + len(bad)
    loud = np.tile(extremes, (10, ENGINE_BINS))
    assert np.isfinite(play(engine, loud, level).view(np.float32)).all()
    assert engine.bad_frames == before + len(bad)
    # Afterwards it hears a voice again, nearly as well as a fresh one.
    longer, _ = voice(5.0, seed=2)
    after = play(engine, longer, level)[-125:]
    assert np.isfinite(after.view(np.float32)).all()
    assert energy_db(after) > energy_db(play(make(), longer, level)[-125:]) - 6.0


def ignores_loudness(make: Make, level: int) -> None:
    """30 dB more or less in is 30 dB more or less out: SI-SDR within 0.3 dB, level within 0.5 dB."""
    noisy, clean = voice(3.0)
    n, delay = len(noisy), make().info.lookahead_hops
    target, heard = clean[20 : n - delay], slice(20 + delay, n)
    plain = play(make(), noisy, level)[heard]
    for gain_db in (-30.0, 30.0):
        gain = np.float32(10 ** (gain_db / 20))
        scaled = play(make(), noisy * gain, level)[heard]
        assert abs(si_sdr_db(scaled, target) - si_sdr_db(plain, target)) < 0.3, f"at {gain_db:+g} dB"
        assert abs(energy_db(scaled) - energy_db(plain) - gain_db) < 0.5, f"at {gain_db:+g} dB"


def keeps_its_size(make: Make, level: int) -> None:
    """No growth in memory."""
    noisy, _ = voice(2.0)
    engine, out = make(), np.empty(ENGINE_BINS, np.complex64)

    def run() -> None:
        for frame in noisy:
            engine.step(frame, out, level)

    run()
    tracemalloc.start()
    try:
        run()
        before, _ = tracemalloc.get_traced_memory()
        run()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A float that is replaced, a list that is turned over: yes. One small object per hop (250 here): no.
    assert after - before < 2048, f"{after - before} bytes in {len(noisy)} hops"


def changes_level_smoothly(make: Make, level: int) -> None:
    """Going to another level and back at odd moments leaves no hole and no bang: 6 dB about what the levels give."""
    engine = make()
    n_levels = len(engine.info.levels)
    if n_levels == 1:
        return
    noisy, _ = voice(3.0)
    steady = np.stack([_smooth_db(play(make(), noisy, k)) for k in range(n_levels)])
    rng = np.random.default_rng(level)
    changing, at = np.empty_like(noisy), level
    for t, (frame, row) in enumerate(zip(noisy, changing, strict=True)):
        if t > 60 and rng.random() < 0.1:
            at = int(rng.integers(n_levels))
        engine.step(frame, row, at)
    heard = _smooth_db(changing)
    loud = steady.max(axis=0) > steady.max() - 30.0  # where there is something to interrupt
    assert (heard < steady.max(axis=0) + 6.0)[loud].all()
    assert (heard > steady.min(axis=0) - 6.0)[loud].all()


def _smooth_db(frames: Complex64s) -> np.ndarray:
    """Loudness over two frames, (n - 1,), dB: a hole of 16 ms is heard."""
    power = np.sum(np.abs(frames) ** 2, axis=1)
    return np.asarray(10 * np.log10(power[1:] + power[:-1] + 1e-12))


def keeps_silence(make: Make, level: int) -> None:
    """Silence in, silence out: at the start, and soon after a voice."""
    silence = np.zeros((125, ENGINE_BINS), np.complex64)
    engine = make()
    assert not play(engine, silence, level).any()
    noisy, _ = voice(0.8)
    loud = play(engine, noisy, level)
    after = play(engine, silence, level)[-50:]
    assert energy_db(after) < energy_db(loud) - 100.0


def forks_apart(make: Make, level: int) -> None:
    """A fork is fresh, and neither hears the other."""
    noisy, _ = voice(0.6)
    other, _ = voice(0.6, seed=1)
    expected, expected_other = play(make(), noisy, level), play(make(), other, level)
    engine, half = make(), len(noisy) // 2
    first = play(engine, noisy[:half], level)
    fork = engine.fork()
    rows, rest = np.empty_like(other), np.empty_like(noisy[half:])
    for t, frame in enumerate(other):
        fork.step(frame, rows[t], level)
        if t < len(rest):
            engine.step(noisy[half + t], rest[t], level)
    np.testing.assert_array_equal(rows, expected_other)
    np.testing.assert_array_equal(np.concatenate([first, rest]), expected)


def tells_its_delay(make: Make, level: int) -> None:
    """What comes out is what went in `lookahead_hops` ago, within a hop."""
    _, clean = voice(2.0)
    out = play(make(), clean, level)
    n, lags = len(clean), 25
    fits = [abs(np.vdot(clean[50 : n - lags], out[50 + k : n - lags + k])) for k in range(lags)]
    assert abs(int(np.argmax(fits)) - make().info.lookahead_hops) <= 1


def plays_its_golden_frames(make: Make, level: int) -> None:
    """A package gives what it gave where it was made."""
    engine = make()
    if not isinstance(engine, OnnxEngine):
        return
    noisy, golden = engine.package.golden(level)
    error = np.linalg.norm(play(engine, noisy, level) - golden) / np.linalg.norm(golden)
    assert error <= engine.package.description.golden_tolerance


CHECKS: tuple[Check, ...] = (
    describes_itself,
    writes_out_in_full,
    works_in_place,
    reset_is_fresh,
    leaves_the_past_alone,
    survives_abuse,
    ignores_loudness,
    keeps_its_size,
    changes_level_smoothly,
    keeps_silence,
    forks_apart,
    tells_its_delay,
    plays_its_golden_frames,
)
