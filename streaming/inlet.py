"""The microphone's callback: copy a block into a ring, note the time, wake the worker.

It runs in a thread of the audio library, between two blocks, with everything else of the program waiting for the same
interpreter: so it copies and counts, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pse_stream.dsp.ring import Ring
from pse_stream.dsp.spec import Float32s

CAPACITY_S = 2.0  # what a sound server hands over in one burst after it was frozen


class Inlet:
    """From the callback to the worker.

    Parameters
    ----------
    sample_rate : int
        Hz.
    channels : int
        Of the stream; blocks come interleaved.
    now : callable
        The device's clock.
    wake : callable
        Called after each block; must not wait.
    """

    def __init__(self, sample_rate: int, channels: int, now: Callable[[], float], wake: Callable[[], None]) -> None:
        self.channels = channels
        self.ring = Ring(int(CAPACITY_S * sample_rate), channels)
        self.mark = (0, now())  # (samples written, when); swapped as one
        self.blocks = 0  # callbacks so far
        self.flagged = 0  # callbacks with status flags
        self.error: Exception | None = None  # what went wrong inside the callback, if anything ever did
        self._now, self._wake = now, wake

    def receive(self, data: bytes, frames: int, flags: int) -> None:
        """Take one block; (frames * channels) float32 as bytes. Never raises."""
        try:
            samples: Float32s = np.frombuffer(data, np.float32)
            self.ring.write(samples if self.channels == 1 else samples.reshape(-1, self.channels))
            self.mark = (self.ring.written, self._now())
            self.blocks += 1
            if flags:
                self.flagged += 1
            self._wake()
        except Exception as error:  # it would surface in whatever thread opened the stream
            self.error = error
