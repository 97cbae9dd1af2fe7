"""A ring of samples between two threads: one writes, one reads, neither ever waits.

The writer is never refused: when the reader is too slow the oldest samples are overwritten, and the reader finds out
and counts them at its next look. The only thing shared is two growing counts, each stored by one side in one step;
a block is smaller than the ring by far, so the two sides do not touch the same samples. There is no lock, no clock
and no signal here: whoever waits for samples brings their own (`streaming.runner`).
"""

from __future__ import annotations

import numpy as np

from pse_stream.dsp.spec import Float32s
from pse_stream.errors import SpecError


class Ring:
    """Preallocated, single producer, single consumer; counts are in samples of one channel.

    Parameters
    ----------
    capacity : int
        Samples that fit.
    channels : int
        Blocks are (n,) for one channel and (n, channels) for more.
    """

    def __init__(self, capacity: int, channels: int = 1) -> None:
        if capacity < 1 or channels < 1:
            raise SpecError(f"a ring of {capacity} samples x {channels} channels makes no sense; both must be above 0")
        shape = (capacity,) if channels == 1 else (capacity, channels)
        self.capacity = capacity
        self._memory = np.zeros(shape, np.float32)  # (capacity,) or (capacity, channels)
        self._written = 0  # stored by the writer alone
        self._read = 0  # stored by the reader alone
        self._overrun = 0

    @property
    def written(self) -> int:
        """Samples written since the beginning."""
        return self._written

    @property
    def read_count(self) -> int:
        """Samples read, skipped or lost since the beginning."""
        return self._read

    @property
    def available(self) -> int:
        """Samples that can be read now; any thread may ask."""
        return min(self._written - self._read, self.capacity)

    @property
    def overrun_samples(self) -> int:
        """Samples overwritten before they were read, as far as the reader has noticed."""
        return self._overrun

    def write(self, block: Float32s) -> None:
        """Store a block, over the oldest samples if there is no room (writer only).

        Parameters
        ----------
        block : (n,) or (n, channels) float32
            Copied; of a block longer than the ring the end is kept.
        """
        count = len(block)
        kept = block[-self.capacity :]
        at = (self._written + count - len(kept)) % self.capacity
        first = min(len(kept), self.capacity - at)
        self._memory[at : at + first] = kept[:first]
        self._memory[: len(kept) - first] = kept[first:]
        self._written += count  # last: only now may the reader look

    def read(self, out: Float32s) -> bool:
        """Fill `out` with the oldest samples, or leave it alone and say False: an underrun (reader only).

        Parameters
        ----------
        out : (n,) or (n, channels) float32
        """
        self._catch_up()
        count = len(out)
        if self._written - self._read < count:
            return False
        at = self._read % self.capacity
        first = min(count, self.capacity - at)
        out[:first] = self._memory[at : at + first]
        out[first:] = self._memory[: count - first]
        self._read += count
        return True

    def skip(self, count: int) -> int:
        """Drop the oldest samples and say how many there were to drop (reader only)."""
        self._catch_up()
        dropped = max(0, min(count, self._written - self._read))
        self._read += dropped
        return dropped

    def _catch_up(self) -> None:
        """Step over what the writer has overwritten."""
        lost = self._written - self._read - self.capacity
        if lost > 0:
            self._read += lost
            self._overrun += lost
