"""Cut a piece out of a stream of hops so that nobody hears the cut.

What was to come fades out while what comes after the cut fades in, over 4 ms; nothing is repeated. The blocks that
come out have any length, the sum is what was asked for, to the sample.
"""

from __future__ import annotations

import numpy as np

from pse_stream.dsp.spec import Float32s

FADE_S = 0.004


class Splice:
    """Let blocks pass; leave a number of samples out when told.

    Parameters
    ----------
    sample_rate : int
        Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        rise = np.arange(1, int(FADE_S * sample_rate) + 1, dtype=np.float32)
        self._rise = rise / np.float32(len(rise) + 1)  # (fade,)
        self._before = np.zeros(len(rise), np.float32)  # (fade,) what would have come
        self._kept = np.zeros(0, np.float32)  # less than a fade of what comes after the cut
        self._skip = 0  # samples still to leave out
        self.active = False

    def begin(self, samples: int, block: Float32s) -> None:
        """Leave out `samples` from the beginning of `block` on; pass `block` itself to `process` next."""
        if not self.active:
            self._before[:] = block[: len(self._rise)]
            self._kept = block[:0]
        self._skip += samples
        self.active = True

    def process(self, block: Float32s) -> Float32s:
        """What is left of the stream, (m,) float32: `block` itself without a cut, nothing while one is made."""
        if not self.active:
            return block
        left_out = min(self._skip, len(block))
        self._skip -= left_out
        after = np.concatenate([self._kept, block[left_out:]])
        fade = len(self._rise)
        if self._skip or len(after) < fade:
            self._kept = after
            return block[:0]
        after[:fade] = after[:fade] * self._rise + self._before * self._rise[::-1]
        self.active = False
        return after

    def reset(self) -> None:
        """Forget a cut under way."""
        self.active, self._skip = False, 0
        self._kept = self._kept[:0]
