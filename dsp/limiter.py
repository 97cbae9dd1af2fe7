"""The last stage: never a sample above the ceiling, and no delay for it.

A hop that would pass the ceiling is turned down as a whole. The gain falls in a straight line from where it was and is
down when the first sample arrives that needs it; a peak within the first millisecond comes too early for that, and
what passes the ceiling on the way down is held at the ceiling, for less than a millisecond. The gain then recovers
slowly, in straight lines from hop to hop, so that nothing buzzes (zipper noise) and a steady tone stays a tone.
Quiet sound passes bit for bit. Inter-sample peaks are left to the 1 dB between ceiling and full scale.
"""

from __future__ import annotations

import math

import numpy as np

from pse_stream.dsp.spec import HOP_MS, HOPS_PER_SECOND, Float32s

CEILING_DB = -1.0
RELEASE_S = 0.2  # time constant of the recovery
FALL_MS = 1.0  # shortest fall of the gain: faster is heard as a click
RECOVERED = 0.9999  # within 0.001 dB of 1 the limiter lets go


class Limiter:
    """Hold the peak below `CEILING_DB`; exact identity while nothing is loud."""

    latency_samples = 0

    def __init__(self, hop: int) -> None:
        # One float32 step below, so that rounding of gain times peak cannot pass it.
        self._ceiling = float(np.nextafter(np.float32(10.0 ** (CEILING_DB / 20.0)), np.float32(0.0)))
        self._surely_quiet = 0.99 * self._ceiling**2  # energy of a hop; 1 % for rounding
        self._release = 1.0 - math.exp(-1.0 / (RELEASE_S * HOPS_PER_SECOND))
        self._fall = math.ceil(hop * FALL_MS / HOP_MS)  # samples
        self._gain = 1.0
        self._count = np.arange(1, hop + 1, dtype=np.float32)  # (hop,)
        self._gains = np.ones(hop, np.float32)  # (hop,) scratch
        self._over = np.zeros(hop, np.bool_)  # (hop,) scratch: samples that would pass the ceiling
        self.limited_hops = 0

    def process(self, samples: Float32s) -> None:
        """Limit one hop in place; (hop,) float32. A hop with NaN or Inf becomes silence."""
        # No sample is louder than all together: one cheap product tells most hops, and is false for NaN and Inf.
        if self._gain == 1.0 and float(np.vdot(samples, samples)) <= self._surely_quiet:
            return
        peak = float(max(samples.max(), -samples.min()))
        if peak <= self._ceiling and self._gain == 1.0:
            return
        if not math.isfinite(peak):
            samples.fill(0.0)
            return
        self.limited_hops += 1
        wanted = min(1.0, self._ceiling / max(peak, self._ceiling))
        if wanted < self._gain:
            self._turn_down(samples, wanted)
        else:
            self._recover(samples, wanted)

    def _turn_down(self, samples: Float32s, wanted: float) -> None:
        np.abs(samples, out=self._gains)
        np.greater(self._gains, np.float32(self._ceiling / self._gain), out=self._over)
        fall = max(self._fall, int(self._over.argmax()))
        np.multiply(self._count, np.float32((wanted - self._gain) / fall), out=self._gains)
        self._gains += np.float32(self._gain)
        np.maximum(self._gains, np.float32(wanted), out=self._gains)
        samples *= self._gains
        np.clip(samples, -self._ceiling, self._ceiling, out=samples)
        self._gain = wanted

    def _recover(self, samples: Float32s, wanted: float) -> None:
        after = self._gain + (wanted - self._gain) * self._release
        if after > RECOVERED:
            after = 1.0 if wanted == 1.0 else wanted
        np.multiply(self._count, np.float32((after - self._gain) / len(samples)), out=self._gains)
        self._gains += np.float32(self._gain)
        samples *= self._gains
        np.clip(samples, -self._ceiling, self._ceiling, out=samples)  # rounding only: the gain stays below `wanted`
        self._gain = after

    def reset(self) -> None:
        """Forget the past; the next hop is the first."""
        self._gain = 1.0
