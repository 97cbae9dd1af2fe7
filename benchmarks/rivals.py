"""Denoisers that install from PyPI beside ours, each behind one small adapter.

An adapter takes a whole clip at 16 kHz and gives back a clip of the same length, late by whatever the rival is late;
`peers.py` finds that delay by cross-correlation and takes it off. Every rival gets the level and rate it expects.
Weights that are not part of a wheel are not fetched.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Float32s = NDArray[np.float32]
RATE = 16_000  # Hz


@dataclass(kw_only=True)
class Rival:
    """What a table row needs to know beside the scores."""

    name: str
    version: str
    hop_ms: float  # how often it works
    blocks_ms: list[float] = field(default_factory=list)  # time of every single block, in ms

    def enhance(self, noisy: Float32s) -> Float32s:
        """(samples,) float32 at 16 kHz to the same shape, from a fresh state."""
        raise NotImplementedError


class RNNoise(Rival):
    """RNNoise 0.2 in the wheel pyrnnoise: blocks of 10 ms at 48 kHz."""

    def __init__(self) -> None:
        from importlib.metadata import version

        from pyrnnoise import RNNoise as Network

        super().__init__(name="RNNoise", version=version("pyrnnoise"), hop_ms=10.0)
        self._network = Network

    def enhance(self, noisy: Float32s) -> Float32s:
        """See `Rival.enhance`."""
        import soxr

        fast = np.rint(np.clip(soxr.resample(noisy, RATE, 48_000), -1, 1) * 32767).astype(np.int16)
        network, parts = self._network(sample_rate=48_000), []
        fast = np.concatenate([fast, np.zeros(-len(fast) % 480, np.int16)])
        for k in range(0, len(fast), 480):
            start = time.perf_counter()
            _, block = next(iter(network.denoise_chunk(fast[None, k : k + 480])))
            self.blocks_ms.append((time.perf_counter() - start) * 1e3)
            parts.append(np.asarray(block).reshape(-1))
        slow = soxr.resample(np.concatenate(parts).astype(np.float32) / 32768, 48_000, RATE)
        return np.resize(slow, len(noisy)).astype(np.float32)


class WebRTC(Rival):
    """Noise suppression of WebRTC at its strongest setting: blocks of 10 ms, 16 bit."""

    def __init__(self) -> None:
        from importlib.metadata import version

        from webrtc_noise_gain import AudioProcessor

        super().__init__(name="WebRTC NS", version=version("webrtc-noise-gain"), hop_ms=10.0)
        self._processor = AudioProcessor

    def enhance(self, noisy: Float32s) -> Float32s:
        """See `Rival.enhance`."""
        processor, parts = self._processor(0, 4), []
        pcm = np.rint(np.clip(noisy, -1, 1) * 32767).astype("<i2")
        pcm = np.concatenate([pcm, np.zeros(-len(pcm) % 160, "<i2")])
        for k in range(0, len(pcm), 160):
            start = time.perf_counter()
            parts.append(processor.Process10ms(pcm[k : k + 160].tobytes()).audio)
            self.blocks_ms.append((time.perf_counter() - start) * 1e3)
        return (np.frombuffer(b"".join(parts), "<i2").astype(np.float32) / 32768)[: len(noisy)]


class SpectralGate(Rival):
    """noisereduce in its non-stationary mode: sees the whole clip, so it could not run live."""

    def __init__(self) -> None:
        from importlib.metadata import version

        import noisereduce

        super().__init__(name="noisereduce (offline)", version=version("noisereduce"), hop_ms=float("nan"))
        self._module = noisereduce

    def enhance(self, noisy: Float32s) -> Float32s:
        """See `Rival.enhance`."""
        start = time.perf_counter()
        out = self._module.reduce_noise(y=noisy, sr=RATE, stationary=False)
        self.blocks_ms.append((time.perf_counter() - start) * 1e3)
        return out.astype(np.float32)


def installed() -> list[Rival]:
    """Every rival that this machine has; the others are left out silently, `pse-stream[bench]` adds them."""
    found: list[Rival] = []
    for kind in (RNNoise, WebRTC, SpectralGate):
        try:
            found.append(kind())
        except ImportError:
            continue
    return found
