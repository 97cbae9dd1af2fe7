"""One voice from one or two microphones (the setting `channels`).

Many stereo devices carry the voice on one side only; a mix would make it 6 dB quieter and add the other side's hiss.
`auto` leaves out a side that is 20 dB quieter and mixes otherwise. Changes of mind fade over a hop.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from pse_stream.dsp.spec import HOPS_PER_SECOND, Float32s

Channels = Literal["auto", "left", "right", "mix"]

QUIETER = 0.01  # -20 dB, as power
MEMORY_HOPS = 2 * HOPS_PER_SECOND  # time constant of the level of a side
AUDIBLE = 1e-10  # -100 dBFS, as power: below this there is nothing to judge by

_SHARES: dict[str, tuple[float, float]] = {"left": (1.0, 0.0), "right": (0.0, 1.0), "mix": (0.5, 0.5)}


class ChannelPick:
    """Turn a hop of (hop, 2) samples into (hop,)."""

    def __init__(self, hop: int, mode: Channels = "auto") -> None:
        self.mode: Channels = mode
        self._power = np.zeros(2)  # (2,) mean square of each side
        self._shares = np.array(_SHARES["mix"], np.float32)  # (2,) how much of each side is heard
        self._rise = (np.arange(1, hop + 1, dtype=np.float32) / np.float32(hop))[:, None]  # (hop, 1)

    def process(self, block: Float32s, *, out: Float32s) -> None:
        """Write one voice.

        Parameters
        ----------
        block : (hop,) or (hop, channels) float32
            Of more than two channels the first two count.
        out : (hop,) float32
        """
        if block.ndim == 1:
            out[:] = block
            return
        sides = block[:, :2]
        wanted = np.array(self._wanted(sides), np.float32)
        if np.array_equal(wanted, self._shares):
            np.dot(sides, wanted, out=out)
            return
        gains = self._shares + self._rise * (wanted - self._shares)
        np.sum(sides * gains, axis=1, out=out)
        self._shares[:] = wanted

    def _wanted(self, sides: Float32s) -> tuple[float, float]:
        if self.mode != "auto":
            return _SHARES[self.mode]
        now = np.mean(np.square(sides, dtype=np.float64), axis=0)
        if not np.all(np.isfinite(now)):
            now = self._power
        self._power += (now - self._power) / MEMORY_HOPS
        left, right = self._power
        if max(left, right) < AUDIBLE:
            return float(self._shares[0]), float(self._shares[1])
        if right < QUIETER * left:
            return _SHARES["left"]
        return _SHARES["right"] if left < QUIETER * right else _SHARES["mix"]
