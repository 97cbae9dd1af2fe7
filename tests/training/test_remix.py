"""Mixtures are what they say: the person's noise on known speech, at the SNRs of their life."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pse_stream.training.material import Material, Take, prepare
from pse_stream.training.remix import Remixer, Shares

from .student import hiss, talk


@pytest.fixture(scope="module")
def learn() -> Material:
    rng = np.random.default_rng(4)
    takes = []
    for _ in range(3):
        speech = talk(rng, 12.0)
        takes.append(Take("a", speech + hiss(rng, len(speech)), speech))
    return prepare(takes)[0]


@pytest.fixture(scope="module")
def voices() -> list[np.ndarray]:
    return [talk(np.random.default_rng(k), 4.0, pause_s=0.0) for k in range(3)]


def only(kind: str) -> Shares:
    return Shares(**{name: float(name == kind) for name in ("heard", "own", "generic", "anywhere")})


def snr_db(noisy: torch.Tensor, target: torch.Tensor) -> np.ndarray:
    power = target.square().sum((1, 2, 3)) / (noisy - target).square().sum((1, 2, 3))
    return 10 * np.log10(power.numpy())


@pytest.mark.parametrize("kind", ["own", "generic"])
def test_new_mixtures_have_the_snrs_of_the_recordings(learn: Material, voices: list[np.ndarray], kind: str) -> None:
    source = Remixer(learn, voices, only(kind), batch=16)
    low, high = learn.snr_range_db()
    found = snr_db(*source.at(0))
    assert (found > low - 0.1).all() and (found < high + 0.1).all()


def test_a_heard_segment_is_taught_as_the_teacher_hears_it(learn: Material, voices: list[np.ndarray]) -> None:
    noisy, target = Remixer(learn, voices, only("heard"), batch=4).at(3)
    assert noisy.shape == target.shape == (4, 375, 257, 2)
    assert (snr_db(noisy, target) > 0).all()


def test_an_update_is_a_pure_function_of_its_number(learn: Material, voices: list[np.ndarray]) -> None:
    one, other = Remixer(learn, voices, Shares(), batch=4, seed=7), Remixer(learn, voices, Shares(), batch=4, seed=7)
    other.at(0)
    assert all(torch.equal(a, b) for a, b in zip(one.at(5), other.at(5), strict=True))
    assert not torch.equal(one.at(5)[0], one.at(6)[0])
