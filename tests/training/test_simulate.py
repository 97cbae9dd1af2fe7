"""training/simulate.py and synthetic.py: mixtures are repeatable, finite, and what the spec says."""

from __future__ import annotations

import numpy as np
import pytest

from pse_stream.training.corpus import CorpusError, Store
from pse_stream.training.simulate import Mixer, MixSpec
from pse_stream.training.synthetic import GENERATORS

N = 16000


def test_same_seed_and_index_give_the_same_mixture(store):
    mixer = Mixer(store, MixSpec())
    first, again = mixer.mix(3, 5, N), Mixer(store, MixSpec()).mix(3, 5, N)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], mixer.mix(3, 6, N)[0])


def test_mixtures_are_finite_float32_of_the_length_asked_for(store):
    mixer = Mixer(store, MixSpec(p_clip=0.5, p_codec=0.5, p_dc=0.5, p_band_limit=0.5, p_second_noise=0.6, p_babble=0.3))
    for index in range(40):
        for audio in mixer.mix(1, index, N):
            assert audio.shape == (N,) and audio.dtype == np.float32 and np.isfinite(audio).all()


def plain(**changes) -> MixSpec:
    quiet = {
        "p_room": 0,
        "p_level_jump": 0,
        "p_clip": 0,
        "p_codec": 0,
        "p_dc": 0,
        "p_high_snr": 0,
        "p_clean": 0,
        "p_noise_only": 0,
    }
    return MixSpec(**(quiet | changes))


def test_noise_only_has_a_silent_target_and_clean_has_no_noise(store):
    noisy, target = Mixer(store, plain(p_noise_only=1.0)).mix(0, 0, N)
    assert not target.any() and noisy.any()
    noisy, target = Mixer(store, plain(p_clean=1.0)).mix(0, 0, N)
    assert np.abs(noisy - target).max() < 1e-3


@pytest.mark.parametrize("snr_db", [-5.0, 10.0])
def test_snr_over_the_active_parts_is_the_one_drawn(store, snr_db):
    mixer = Mixer(store, plain(snr_db=(snr_db, snr_db)))
    found = []
    for index in range(20):
        noisy, target = mixer.mix(2, index, N)
        found.append(10 * np.log10(np.sum(target**2) / np.sum((noisy - target) ** 2)))
    assert np.mean(found) == pytest.approx(snr_db, abs=3.0)  # pauses lower the mean over the whole clip


def test_target_of_a_room_keeps_early_reflections_only(store):
    dry_tail = plain(p_room=1.0, p_clean=1.0, early_ms=50.0)
    keeps = plain(p_room=1.0, p_clean=1.0, keep_room=True)
    noisy, early = Mixer(store, dry_tail).mix(0, 1, N)
    heard, room = Mixer(store, keeps).mix(0, 1, N)
    assert np.array_equal(noisy, heard)
    assert np.abs(room - heard).max() < 1e-3 < np.abs(early - heard).max()


def test_levels_lie_in_the_range(store):
    mixer = Mixer(store, plain(level_dbfs=(-30.0, -30.0)))
    for index in range(5):
        noisy, _ = mixer.mix(4, index, N)
        assert 20 * np.log10(np.sqrt(np.mean(noisy**2))) < -29.0
        assert np.abs(noisy).max() <= 1.0


def test_a_store_without_speech_or_noise_is_refused():
    with pytest.raises(CorpusError, match="0 speakers"):
        Mixer(Store([]), MixSpec())


@pytest.mark.parametrize("generator", GENERATORS)
def test_computed_noises_have_unit_level(generator):
    noise = generator(np.random.default_rng(1), N)
    assert noise.shape == (N,) and noise.dtype == np.float32
    assert np.sqrt(np.mean(noise**2)) == pytest.approx(1.0, rel=0.01)
