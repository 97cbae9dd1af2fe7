"""Loudness over 48 ms, and the limit on what a change may add to its steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pse_stream.engines.loudness import EXTRA_DB, LEAST_GAIN, MORE_DB, MOST_GAIN, WINDOW_HOPS, Loudness, StepLimit


def frame(energy: float) -> np.ndarray:
    made = np.zeros(257, np.complex64)
    made[5] = np.sqrt(energy)
    return made


def heard(outs: list[float], voices: list[list[float]], noisy: float = 1e3, changing: bool = True) -> np.ndarray:
    """Energies after the limit; everything was as in the first hop for long enough before."""
    limit, tracks, found = StepLimit(), [Loudness() for _ in voices], []
    for hop in range(-WINDOW_HOPS - 1, len(outs)):
        now = max(hop, 0)
        for track, energies in zip(tracks, voices, strict=True):
            track.push(energies[now])
        out = frame(outs[now])
        limit.apply(noisy, out, tracks, changing=changing and hop >= 0)
        found.append(float(np.vdot(out, out).real))
    return np.array(found)


def steps_db(energies: np.ndarray) -> np.ndarray:
    window = np.convolve(energies, np.ones(WINDOW_HOPS), "valid")
    return 10 * np.log10(window[1:] / window[:-1])


def test_loudness_is_the_energy_of_48_ms() -> None:
    loudness = Loudness()
    for energy in [9.0] + [1.0] * WINDOW_HOPS:
        loudness.push(energy)
    assert loudness.total == WINDOW_HOPS
    assert loudness.step_db == pytest.approx(10 * np.log10(6 / 14))
    loudness.clear()
    assert (loudness.total, loudness.full, loudness.step_db) == (0.0, False, 0.0)


def test_a_step_that_no_level_makes_is_spread_over_hops() -> None:
    steady = [1.0] * 40
    found = heard([1.0] * 3 + [2.0] * 37, [steady])
    assert steps_db(np.array([1.0] * 6 + [2.0] * 20)).max() > 0.6
    assert steps_db(found).max() < EXTRA_DB + 0.01
    assert found[-1] == pytest.approx(2.0)  # in the end it lets go


def test_a_step_that_a_level_makes_by_itself_stays() -> None:
    rising = [1.0] * 3 + [1.3] * 20
    assert heard(rising, [rising])[-15:] == pytest.approx(rising[-15:], rel=1e-4)


def test_what_a_level_does_by_itself_in_a_steady_noise_is_limited_too() -> None:
    opening = [1.0] * 3 + [4.0] * 20  # its gate opened, and nothing in the noise asked for it
    assert steps_db(np.array([1.0] * 6 + [4.0] * 20)).max() > 1.5
    assert 0.1 < steps_db(heard(opening, [opening])).max() < MORE_DB + EXTRA_DB + 0.1  # as far as the gains reach


def test_without_a_change_nothing_is_touched() -> None:
    wild = [1.0, 30.0, 0.1, 7.0, 200.0, 1e-6, 3.0]
    assert heard(wild, [[1.0] * 7], changing=False)[-7:] == pytest.approx(wild, rel=1e-5)


def test_a_level_that_is_silent_is_faded_as_it_is() -> None:
    fading = [1.0] * 3 + [0.8, 0.4, 0.1] + [0.0] * 10
    assert heard(fading, [[1.0] * 16, [0.0] * 16])[-16:] == pytest.approx(fading, rel=1e-5, abs=1e-9)


def test_no_frame_becomes_louder_than_the_noisy_one() -> None:
    found = heard([1.0] * 3 + [0.1] * 10, [[1.0] * 13], noisy=0.12)
    assert found[-10:].max() <= 0.12 + 1e-6


@given(
    outs=st.lists(st.sampled_from([0.0, 1e-9, 0.01, 1.0, 5.0, 400.0]), min_size=1, max_size=40),
    voice=st.sampled_from([0.0, 1.0, 30.0]),
)
def test_gains_stay_in_their_range_and_silence_stays(outs: list[float], voice: float) -> None:
    found = heard(outs, [[voice] * len(outs)])[-len(outs) :]
    for before, after in zip(outs, found, strict=True):
        assert LEAST_GAIN**2 * before * 0.99 <= after <= MOST_GAIN**2 * before * 1.01


def test_a_broken_frame_passes_for_others_to_find() -> None:
    limit, out = StepLimit(), np.full(257, np.nan, np.complex64)
    limit.apply(1.0, out, [Loudness()], changing=True)
    assert np.isnan(out).all()
