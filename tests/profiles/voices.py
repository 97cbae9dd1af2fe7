"""Sounds that stand in for people in tests: a voice that glides and pauses, and what is none."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from pse_stream.dsp.spec import Float32s

RATE = 16_000


def voice(seconds: float, *, pitch_hz: float = 130.0, seed: int = 0, level: float = 0.2) -> Float32s:
    """Syllables of a gliding pulse train through moving resonances, with hissed consonants and pauses between words."""
    random = np.random.default_rng(seed)
    pieces: list[np.ndarray] = []
    while sum(map(len, pieces)) < seconds * RATE:
        pieces.append(np.zeros(int(RATE * random.uniform(0.2, 0.5))))
        for _ in range(random.integers(2, 6)):
            pieces.append(0.15 * random.standard_normal(int(RATE * random.uniform(0.03, 0.06))))
            pieces.append(_syllable(random, pitch_hz))
    sound = np.concatenate(pieces)[: round(seconds * RATE)]
    return (level * sound / np.abs(sound).max() + 1e-4 * random.standard_normal(len(sound))).astype(np.float32)


def _syllable(random: np.random.Generator, pitch_hz: float) -> np.ndarray:
    count = int(RATE * random.uniform(0.12, 0.3))
    start, way = random.uniform(0.9, 1.15), random.uniform(1.1, 1.2) ** random.choice((-1, 1))  # never a held note
    glide = pitch_hz * np.linspace(start, start * way, count)
    phase = np.cumsum(glide) / RATE
    pulses = np.diff(np.floor(phase), prepend=0.0)
    for formant, width in ((random.uniform(300, 800), 90.0), (random.uniform(900, 2200), 120.0), (2600.0, 160.0)):
        radius, angle = np.exp(-np.pi * width / RATE), 2 * np.pi * formant / RATE
        pulses = lfilter([1.0], [1.0, -2 * radius * np.cos(angle), radius**2], pulses)
    return pulses / np.abs(pulses).max() * np.hanning(count) ** 0.3


def organ(seconds: float) -> Float32s:
    """Notes of half a second with pauses: music."""
    random, parts = np.random.default_rng(1), []
    for _ in range(int(seconds / 0.6) + 1):
        t = np.arange(RATE // 2) / RATE
        note = 110.0 * 2 ** (random.integers(0, 18) / 12)
        sound = sum(np.sin(2 * np.pi * k * note * t) / k for k in range(1, 9))
        parts += [0.1 * sound, np.zeros(RATE // 10)]
    return np.concatenate(parts)[: round(seconds * RATE)].astype(np.float32)


def knocks(seconds: float) -> Float32s:
    """Bursts of noise with pauses: somebody types."""
    random = np.random.default_rng(2)
    sound = random.standard_normal(round(seconds * RATE)) * 1e-4
    for at in range(0, len(sound) - 2000, 3200):
        sound[at : at + 2000] += 0.3 * random.standard_normal(2000) * np.exp(-np.arange(2000) / 300.0)
    return sound.astype(np.float32)


def fake_vectors(samples: Float32s) -> Float32s:
    """(n, 2) unit vectors, one per 256 ms: the side on which the pitch lies; stands in for a voice network."""
    found = []
    for at in range(0, len(samples) - 4096 + 1, 4096):
        block = samples[at : at + 4096].astype(np.float64)
        if np.sqrt(np.mean(block**2)) < 0.01:
            continue
        likeness = np.fft.irfft(np.abs(np.fft.rfft(block, 8192)) ** 2)[60:230]
        high = 60 + likeness.argmax() < 100  # above 160 Hz
        found.append([1.0, 0.1] if high else [0.1, 1.0])
    vectors = np.array(found, np.float32).reshape(-1, 2)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
