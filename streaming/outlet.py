"""The virtual microphone's callback: give a block from a ring, or a short fade when there is none.

An underrun never clicks and never repeats: what is left of the sound fades out within 2 ms, silence follows, and the
next sound fades in. Short or missing blocks would end the stream, so full length is given whatever happens.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pse_stream.dsp.ring import Ring

CAPACITY_S = 2.0
FADE_S = 0.002  # no click, and shorter than what is heard as a hole


class Outlet:
    """From the worker to the callback.

    Parameters
    ----------
    sample_rate, block : int
        Hz; samples per callback.
    channels : int
        Of the stream; all of them get the one voice.
    now : callable
        The device's clock.
    """

    def __init__(self, sample_rate: int, block: int, channels: int, now: Callable[[], float]) -> None:
        self.ring = Ring(int(CAPACITY_S * sample_rate))
        self.mark = (0, 0, now())  # (samples asked for, samples read from the ring, when); swapped as one
        self.blocks = 0  # callbacks so far
        self.flagged = 0
        self.underruns = 0
        self.expecting = False  # set while sound should be there: a hole is an underrun
        self.shut = False  # set to give silence at once, whatever the ring holds
        self.error: Exception | None = None
        self.channels = channels
        self._now = now
        self._asked = 0
        self._gap = False  # silence was given last, in place of sound
        self._last = np.float32(0.0)  # the sample that was given last
        fade = int(FADE_S * sample_rate)
        self._rise = np.arange(1, fade + 1, dtype=np.float32) / np.float32(fade + 1)  # (fade,)
        self._fall = self._rise[::-1].copy()  # (fade,)
        self._block = np.zeros(block, np.float32)  # (block,) what is given
        self._wide = np.zeros((block, channels), np.float32)  # (block, channels) the same for every channel
        self._silence = self._wide.tobytes()

    def give(self, frames: int, flags: int) -> bytes:
        """One block for the device; (frames * channels) float32 as bytes, always all of them. Never raises."""
        try:
            if flags:
                self.flagged += 1
            self.blocks += 1
            self._fill()
            self._asked += len(self._block)
            self.mark = (self._asked, self.ring.read_count, self._now())
            if frames != len(self._block):  # no device of ours does this
                return bytes(4 * frames * self.channels)
            if self.channels == 1:
                return self._block.tobytes()
            self._wide[:] = self._block[:, None]
            return self._wide.tobytes()
        except Exception as error:
            self.error = error
            return self._silence if frames == len(self._block) else bytes(4 * frames * self.channels)

    def _fill(self) -> None:
        block, fade = self._block, len(self._rise)
        if self.ring.read(block):
            if self.shut:
                self._fade_out(0)
                return
            if self._gap:
                block[:fade] *= self._rise
                self._gap = False
            self._last = block[-1]
            return
        left = self.ring.available
        self.ring.read(block[:left])
        if self.expecting and not self.shut:
            self.underruns += 1
        self._fade_out(0 if self.shut else left)

    def _fade_out(self, left: int) -> None:
        """Fade the first `left` samples of the block, or the memory of the last one, into silence."""
        block, fade = self._block, len(self._fall)
        block[left:] = 0.0
        if self._gap:
            block[:left] = 0.0
        elif left >= fade:
            block[left - fade : left] *= self._fall
        else:
            end = float(block[left - 1]) if left else float(self._last)
            block[left : left + fade] = self._fall * np.float32(end)
        self._gap = True
        self._last = np.float32(0.0)
