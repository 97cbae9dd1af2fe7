"""Simulated rooms: impulse responses of boxes by the image-source method.

A reflection is a copy of the source behind a wall; its delay is its distance, its strength 1 / distance times what the
walls on its way leave. Source: Allen and Berkley 1979. Air absorption and diffraction are absent; a gentle low-pass
on late images stands for walls that swallow high frequencies first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pse_stream.training.corpus import SAMPLE_RATE

_SPEED = 343.0  # m/s
_WALL_DISTANCE_M = 0.4  # closest that a mouth or a microphone comes to a wall
_LEAD = 40  # samples before the direct sound, as in the packs


def shoebox(
    size_m: NDArray[np.floating],
    source_m: NDArray[np.floating],
    microphone_m: NDArray[np.floating],
    *,
    rt60_s: float,
    seconds: float = 0.6,
) -> NDArray[np.float32]:
    """Impulse response of an empty box, direct sound at sample 40, peak 0.9.

    Parameters
    ----------
    size_m, source_m, microphone_m : (3,) metres
    rt60_s : float
        Time to fall by 60 dB; the walls' reflection follows from Eyring's formula.
    seconds : float
        Length; images that arrive later are left out.

    Returns
    -------
    (40 + seconds * 16000,) float32
    """
    volume, surface = np.prod(size_m), 2 * (size_m[0] * size_m[1] + size_m[0] * size_m[2] + size_m[1] * size_m[2])
    reflection = np.sqrt(np.exp(-0.161 * volume / (surface * rt60_s)))  # amplitude; Eyring
    orders = [np.arange(-n, n + 1) for n in np.ceil(seconds * _SPEED / (2 * size_m)).astype(int) + 1]
    axes = []
    for k in range(3):  # images along one axis: positions, and walls passed on the way
        straight, mirrored = 2 * orders[k] * size_m[k] + source_m[k], 2 * orders[k] * size_m[k] - source_m[k]
        walls = np.concatenate([2 * np.abs(orders[k]), np.abs(orders[k]) + np.abs(orders[k] - 1)])
        axes.append((np.concatenate([straight, mirrored]) - microphone_m[k], walls))
    squared = sum(np.meshgrid(*(a[0] ** 2 for a in axes), indexing="ij", sparse=True))
    walls = sum(np.meshgrid(*(a[1] for a in axes), indexing="ij", sparse=True))
    distance = np.sqrt(squared)
    first = float(np.linalg.norm(source_m - microphone_m))
    delay = np.maximum(distance - first, 0.0) / _SPEED * SAMPLE_RATE
    audible = delay < seconds * SAMPLE_RATE - 2
    delay, strength = delay[audible], (reflection**walls / np.maximum(distance, 0.1))[audible]
    place, part = np.divmod(delay, 1.0)
    out = np.zeros(_LEAD + int(seconds * SAMPLE_RATE))
    np.add.at(out, _LEAD + place.astype(int), strength * (1 - part))
    np.add.at(out, _LEAD + place.astype(int) + 1, strength * part)
    late = np.convolve(out, [0.25, 0.5, 0.25], mode="same")
    fade = np.clip((np.arange(len(out)) - _LEAD) / (0.05 * SAMPLE_RATE), 0.0, 1.0)
    out = out * (1 - fade) + late * fade
    return (0.9 * out / np.abs(out).max()).astype(np.float32)


def random_room(rng: np.random.Generator) -> NDArray[np.float32]:
    """A room as people have them: 2 to 10 m wide, 0.1 to 0.8 s, the microphone 0.3 to 4 m from the mouth."""
    size = np.array([rng.uniform(2.2, 10.0), rng.uniform(2.2, 8.0), rng.uniform(2.2, 4.0)])
    microphone = rng.uniform(_WALL_DISTANCE_M, size - _WALL_DISTANCE_M)
    direction = rng.standard_normal(3) * np.array([1.0, 1.0, 0.3])
    distance = np.exp(rng.uniform(np.log(0.3), np.log(4.0)))
    source = microphone + distance * direction / np.linalg.norm(direction)
    source = np.clip(source, _WALL_DISTANCE_M, size - _WALL_DISTANCE_M)
    if np.linalg.norm(source - microphone) < 0.2:
        source = size / 2 + 0.1
    rt60 = float(np.exp(rng.uniform(np.log(0.1), np.log(0.8))))
    return shoebox(size, source, microphone, rt60_s=rt60, seconds=min(0.6, 1.2 * rt60))
