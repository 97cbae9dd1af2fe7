"""What a frame tells: ratios only, minima that follow the noise, and what is usual in noise and in a voice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pse_stream.dsp.clues import BANDS, KEPT, LEAST_KEPT, LOW_BANDS, N_CLUES, QUIETEST, WIDE_BANDS, Clues
from pse_stream.dsp.spec import ENGINE_BINS, STFTSpec

GRID = STFTSpec(48_000)
USUAL = slice(2 * BANDS + LOW_BANDS, 2 * BANDS + LOW_BANDS + 2 * WIDE_BANDS)


def _noise(hops: int, seed: int = 0, rate: int = 48_000) -> np.ndarray:
    rng = np.random.default_rng(seed)
    n = STFTSpec(rate).n_bins
    return (rng.normal(size=(hops, n)) + 1j * rng.normal(size=(hops, n))).astype(np.complex64)


class _Reader:
    """Clues with the array that they are written to."""

    def __init__(self, spec: STFTSpec = GRID) -> None:
        self.newest = np.zeros(N_CLUES, np.float32)
        self.clues = Clues(spec, out=self.newest)


def _read(noisy: np.ndarray, share: np.ndarray | float, reader: _Reader | None = None) -> np.ndarray:
    """Clues of every hop, when the engine leaves this share of the power."""
    reader, told = reader or _Reader(), np.zeros((len(noisy), N_CLUES), np.float32)
    shares = np.broadcast_to(np.asarray(share, np.float32), len(noisy))
    for frame, left, row in zip(noisy, shares, told, strict=True):
        assert reader.clues.process(frame, frame[:ENGINE_BINS] * np.sqrt(left))
        row[:] = reader.newest
    return told


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), louder_db=st.floats(-80.0, 80.0), share=st.floats(0.001, 1.0))
def test_the_level_does_not_matter(seed: int, louder_db: float, share: float):
    noisy = _noise(30, seed)
    factor = np.float32(10 ** (louder_db / 20))
    np.testing.assert_allclose(_read(noisy * factor, share), _read(noisy, share), atol=2e-3)


def test_white_noise_has_equal_levels_and_minima_below_them():
    told = _read(_noise(300), 0.01)[150:]
    levels, minima = told[:, :BANDS].mean(0), told[:, BANDS : 2 * BANDS].mean(0)
    np.testing.assert_allclose(levels, np.log(1 / 48), atol=0.15)  # 48 bands share the power
    assert (minima < levels - 0.1).all()
    assert (minima > levels - 1.5).all()


@pytest.mark.parametrize("share", [0.01, 0.3, 1.0])
def test_what_the_engine_left_is_told(share: float):
    told = _read(_noise(3), share)
    np.testing.assert_allclose(told[:, 2 * BANDS : 2 * BANDS + LOW_BANDS], np.log(share + LEAST_KEPT), atol=1e-2)
    np.testing.assert_allclose(told[:, KEPT], share, rtol=1e-4)


def test_untouched_is_exactly_one():
    assert (_read(_noise(20), 1.0)[:, KEPT] == 1.0).all()


def test_an_engine_that_amplifies_keeps_all():
    assert (_read(_noise(5), 4.0)[:, KEPT] == 1.0).all()


def test_usual_levels_part_where_the_voice_has_treble_and_the_noise_has_none():
    noisy = _noise(400)
    voice = np.arange(400) % 50 >= 25
    noisy[~voice, ENGINE_BINS:] *= np.float32(0.01)  # 40 dB down
    told = _read(noisy, np.where(voice, 0.9, 0.005))
    in_noise, in_voice = told[-1, USUAL].reshape(2, WIDE_BANDS)
    np.testing.assert_allclose((in_voice - in_noise) * 10 / np.log(10), 40.0, atol=4.0)
    assert told[-1, KEPT + 1 : KEPT + 3] == pytest.approx([1.0, 1.0])
    assert told[10, KEPT + 2] == 0.0  # no voice yet


def test_bands_beyond_half_the_rate_are_empty():
    told = _read(_noise(1, rate=24_000), 1.0, _Reader(STFTSpec(24_000)))[0]
    np.testing.assert_allclose(told[24:BANDS], np.log(QUIETEST), rtol=1e-5)
    assert (told[:24] > -8.0).all()


def test_silence_tells_nothing_and_is_forgotten():
    noisy = _noise(50)
    reader = _Reader()
    silent = _read(np.zeros((20, GRID.n_bins), np.complex64), 1.0, reader)
    np.testing.assert_allclose(silent[:, : 2 * BANDS], np.log(QUIETEST), rtol=1e-5)
    after = _read(noisy, 0.1, reader)[:, :BANDS]
    np.testing.assert_allclose(after, _read(noisy, 0.1)[:, :BANDS], atol=1e-4)


def test_a_frame_too_loud_for_squares_changes_nothing():
    noisy = _noise(40)
    reader = _Reader()
    before = _read(noisy[:20], 0.1, reader)
    loud = np.full(GRID.n_bins, 1e30, np.complex64)
    assert not reader.clues.process(loud, loud[:ENGINE_BINS])
    np.testing.assert_array_equal(np.concatenate([before, _read(noisy[20:], 0.1, reader)]), _read(noisy, 0.1))


def test_reset_is_like_new():
    noisy, reader = _noise(60), _Reader()
    first = _read(noisy, 0.02, reader)
    reader.clues.reset()
    np.testing.assert_array_equal(_read(noisy, 0.02, reader), first)
