"""training/rooms.py: what a box must do."""

from __future__ import annotations

import numpy as np
import pytest

from pse_stream.training.rooms import random_room, shoebox

SIZE = np.array([5.0, 4.0, 3.0])


def test_direct_sound_comes_first_and_the_floor_where_geometry_says():
    source, microphone = np.array([1.5, 1.8, 1.2]), np.array([3.5, 1.8, 1.2])
    rir = shoebox(SIZE, source, microphone, rt60_s=0.15)
    assert not rir[:40].any() and rir[40] == pytest.approx(0.9)
    floor = (np.hypot(2.0, 2.4) - 2.0) / 343.0 * 16000  # the image 1.2 m below the floor
    assert rir[40 + int(floor) : 42 + int(floor)].sum() > 0.1 > 3 * rir[42 : 40 + int(floor)].max()


def test_energy_falls_by_about_the_reverberation_time():
    found = []
    for rt60 in (0.2, 0.4):
        rir = shoebox(SIZE, np.array([1.0, 1.2, 1.4]), np.array([3.7, 2.9, 1.6]), rt60_s=rt60)
        fallen = 10 * np.log10(np.cumsum(rir[::-1] ** 2)[::-1][40:] + 1e-20)
        fallen -= fallen[0]
        times = [np.argmax(fallen < level) / 16000 for level in (-5, -25)]
        found.append(3 * (times[1] - times[0]))
        # An empty box is no diffuse field: grazing images live longer than Eyring says, up to twice as long.
        assert 0.6 * rt60 < found[-1] < 2 * rt60
    assert found[0] < found[1]


def test_random_rooms_are_finite_and_repeatable():
    for seed in range(5):
        first, again = (random_room(np.random.default_rng(seed)) for _ in range(2))
        assert np.isfinite(first).all() and np.array_equal(first, again) and len(first) > 1000
