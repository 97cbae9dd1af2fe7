"""Segments where somebody speaks, stretches where nobody does, and a last part that is not learnt from."""

from __future__ import annotations

import numpy as np
import pytest

from pse_stream.errors import AudioFileError
from pse_stream.training.material import SEGMENT, Take, joined, prepare

from .student import RATE, hiss, talk


def take(seed: int, seconds: float = 12.0, noise: float = 0.02, name: str = "a") -> Take:
    """Speech in hiss, and a teacher that is always right."""
    rng = np.random.default_rng(seed)
    speech = talk(rng, seconds)
    return Take(name, speech + hiss(rng, len(speech), noise), speech)


def test_segments_know_their_snr() -> None:
    learn, _ = prepare([take(k) for k in range(3)])
    inner = [s for s in learn.segments if np.all(s.speech.reshape(-1, 1600).std(axis=1) > 0.01)]
    assert inner
    for segment in inner:
        true_db = 10 * np.log10(np.sum(segment.speech**2) / np.sum((segment.noisy - segment.speech) ** 2))
        assert segment.snr_db == pytest.approx(true_db, abs=0.1)
        assert len(segment.noisy) == len(segment.speech) == SEGMENT


def test_stretches_hold_noise_alone() -> None:
    takes = [take(k) for k in range(3)]
    learn, check = prepare(takes)
    assert learn.stretches
    for stretch in (*learn.stretches, *check.stretches):
        assert len(stretch) >= RATE // 2
        assert stretch.std() == pytest.approx(0.02, rel=0.1)  # the hiss, and nothing of the voice


def test_the_last_part_of_the_time_is_held_out() -> None:
    takes = [take(k, name=str(k)) for k in range(5)]
    learn, check = prepare(takes, held_out=0.2)
    assert {id(s.speech.base) for s in learn.segments}.isdisjoint({id(takes[-1].speech)})
    assert all(s.speech.base is takes[-1].speech for s in check.segments)


def test_clean_moments_are_the_best_ones() -> None:
    takes = [take(1, noise=0.1), take(2, noise=0.003), take(3)]
    learn, _ = prepare(takes, held_out=0.3)
    best = max(learn.segments, key=lambda s: s.snr_db)
    assert learn.clean()[0] is best.speech


def test_purity_follows_the_snr() -> None:
    learn, _ = prepare([take(1, noise=0.1), take(2, noise=0.003), take(3)])
    ordered = sorted(learn.segments, key=lambda s: s.snr_db)
    assert [s.purity for s in ordered] == sorted(s.purity for s in ordered)
    assert 0 < ordered[0].purity < ordered[-1].purity < 1


@pytest.mark.parametrize("kind", ["noise only", "too short", "silence"])
def test_recordings_without_enough_speech_are_refused(kind: str) -> None:
    rng = np.random.default_rng(1)
    if kind == "too short":
        takes = [take(1, seconds=6.0)]
    else:
        noisy = hiss(rng, 60 * RATE) if kind == "noise only" else np.zeros(60 * RATE, np.float32)
        takes = [Take("n", noisy, np.zeros_like(noisy))]
    with pytest.raises(AudioFileError, match="usable speech") as caught:
        prepare(takes)
    assert caught.value.name == "no_speech"


def test_joined_pieces_keep_their_power_at_the_seam() -> None:
    rng = np.random.default_rng(0)
    whole = joined([hiss(rng, RATE), hiss(rng, RATE)])
    assert len(whole) == 2 * RATE - 160
    assert whole[RATE - 160 : RATE].std() == pytest.approx(0.02, rel=0.25)
