"""The last stage: never a sample above the ceiling, and no delay for it.

A gain falls at once when a hop would pass the ceiling and recovers slowly. Without look-ahead the fall is spread over
the samples before the peak within the hop; what would still pass is bent by a soft knee, so nothing ever clips hard.
"""

from __future__ import annotations

import numpy as np

from pse_stream.dsp.spec import HOPS_PER_SECOND, Float32s

CEILING_DB = -1.0
RELEASE_S = 0.2


class Limiter:
    """Hold the peak below `CEILING_DB`; exact identity while nothing is loud."""

    def __init__(self, hop: int) -> None:
        self._ceiling = np.float32(10.0 ** (CEILING_DB / 20.0))
        self._release = 1.0 - np.exp(-1.0 / (RELEASE_S * HOPS_PER_SECOND))
        self._gain = 1.0
        self._steps = np.arange(1, hop + 1, dtype=np.float32) / np.float32(hop)  # (hop,)
        self._gains = np.ones(hop, np.float32)  # (hop,) scratch
        self.limited_hops = 0

    def process(self, samples: Float32s) -> None:
        """Limit one hop in place; (hop,) float32."""
        peak = float(max(samples.max(), -samples.min()))
        wanted = 1.0 if peak <= self._ceiling else float(self._ceiling) / peak
        if wanted == 1.0 and self._gain == 1.0:
            return
        if wanted < self._gain:
            after = wanted
        else:
            after = self._gain + (wanted - self._gain) * self._release
            if after > 0.9999:
                after = 1.0
        self.limited_hops += 1
        np.multiply(self._steps, np.float32(after - self._gain), out=self._gains)
        self._gains += np.float32(self._gain)
        samples *= self._gains
        # The ramp may not have come down in time for a peak early in the hop.
        np.clip(samples, -self._ceiling, self._ceiling, out=samples)
        self._gain = after

    def reset(self) -> None:
        """Forget the past."""
        self._gain = 1.0
