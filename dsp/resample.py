"""From the rate of a device or file to a rate of the grid and back, block by block.

Two libraries, chosen by what they are asked for (44.1 <-> 48 kHz, blocks of 8 ms, measured):
- files: soxr "HQ", 133 dB; it works in blocks of its own and holds back up to 20 ms, which a file never notices;
- live: libsamplerate "sinc_fastest", 103 to 119 dB; it holds back 0.45 ms, always the same, at 43 us per hop.
Output sample 0 stands for the moment of input sample 0, so delay is only what is still held back, and `flush` gives it.
`VariableRate` follows two clocks that drift apart; the ratio itself is the business of `streaming`.
One channel each. Mixing of channels is not here.
"""

from __future__ import annotations

import math

import numpy as np
import samplerate
import soxr

from pse_stream.dsp.spec import GRID_RATES, Float32s
from pse_stream.errors import SpecError

LIVE_CONVERTER = "sinc_fastest"
LIVE_HELD_BACK = 20  # samples at the lower of the two rates, measured for every ratio of 1/4 to 4
FILE_QUALITY = "HQ"
RATE_RANGE = (1_000, 768_000)  # Hz; what audio devices and files can mean
MAX_RATIO_ERROR = 0.005  # 5000 ppm: far beyond any crystal; more is a mistake of the caller
PRIME_SAMPLES = 128  # history that fills the interpolator when it is first needed; its filter spans 40


def grid_rate(rate: int) -> int:
    """The rate of the grid at which sound of `rate` Hz is worked on: the next one up, 48 kHz at most.

    Raises
    ------
    SpecError
        If no device or file can have that rate.
    """
    _check_rate(rate)
    return next((grid for grid in GRID_RATES if grid >= rate), GRID_RATES[-1])


def resampled_length(samples: int, in_rate: int, out_rate: int) -> int:
    """How many samples `samples` at `in_rate` are at `out_rate`, rounded up so that nothing is lost."""
    return -(-samples * out_rate // in_rate)


class Resampler:
    """A fixed change of rate; blocks of any length in, what is ready out.

    Parameters
    ----------
    in_rate, out_rate : int
        Hz. Equal rates pass through untouched.
    live : bool
        True for the short, constant delay; False for the best quality.
    """

    def __init__(self, in_rate: int, out_rate: int, *, live: bool = False) -> None:
        for rate in (in_rate, out_rate):
            _check_rate(rate)
        self.in_rate, self.out_rate, self.live = in_rate, out_rate, live
        self.bad_blocks = 0  # with NaN or Inf, taken as silence
        self._ratio = out_rate / in_rate
        self._same = in_rate == out_rate
        self._taken = self._given = 0  # samples in and out so far
        self._live: samplerate.Resampler | None = None
        self._file: soxr.ResampleStream | None = None
        self.reset()

    @property
    def latency_samples(self) -> int:
        """Output samples held back after a block: at most (live), or now (file)."""
        if self._same:
            return 0
        if self.live:
            return math.ceil((LIVE_HELD_BACK + 1) * max(self._ratio, 1.0)) + 1
        return max(0, math.floor(self._taken * self._ratio) - self._given)

    @np.errstate(over="ignore")  # a sum of squares that overflows is found below
    def process(self, block: Float32s) -> Float32s:
        """What is ready after this block.

        Parameters
        ----------
        block : (n,) float32
            Any length.

        Returns
        -------
        (m,) float32
            About n * out_rate / in_rate samples, also none; never `block` itself.
        """
        if not np.isfinite(np.dot(block, block)):
            self.bad_blocks += 1
            block = np.zeros_like(block)
        return self._convert(block, last=False)

    def flush(self) -> Float32s:
        """The rest, so that everything adds up to `resampled_length`; the next block begins a new signal."""
        missing = resampled_length(self._taken, self.in_rate, self.out_rate) - self._given
        rest = np.zeros(max(0, missing), np.float32)
        if not self._same and missing > 0:
            # libsamplerate has no call for the rest alone: silence pushes it out.
            padding = np.zeros(2 * LIVE_HELD_BACK + math.ceil(missing / self._ratio) if self.live else 0, np.float32)
            tail = self._convert(padding, last=True)[: len(rest)]
            rest[: len(tail)] = tail
        self.reset()
        return rest

    def _convert(self, block: Float32s, *, last: bool) -> Float32s:
        made: Float32s
        if self._live is not None:
            made = self._live.process(block, self._ratio)
        elif self._file is not None:
            made = self._file.resample_chunk(block, last)
        else:
            made = block.copy()
        self._taken += len(block)
        self._given += len(made)
        return made

    def reset(self) -> None:
        """Forget the past; the next block begins a new signal."""
        self._taken = self._given = 0
        if not self._same and self.live:
            self._live = samplerate.Resampler(LIVE_CONVERTER, 1)
        elif not self._same:
            self._file = soxr.ResampleStream(self.in_rate, self.out_rate, 1, dtype="float32", quality=FILE_QUALITY)


class VariableRate:
    """Stretch or squeeze a stream by a few parts per million, so that two clocks agree.

    Until a ratio other than 1 is asked for, blocks pass bit for bit and without delay. From then on the interpolator
    runs for good; it is filled with the sound that went by, so that what it gives continues what was given, and only
    its own 20 samples are missing from the first block.
    """

    def __init__(self) -> None:
        self.active = False  # True once the interpolator runs
        self._converter = samplerate.Resampler(LIVE_CONVERTER, 1)
        self._history = np.zeros(PRIME_SAMPLES, np.float32)  # (PRIME_SAMPLES,) newest last, while not active
        self._last = 1.0  # ratio of the last call
        self._skip = 0  # samples to leave out that were already given

    @property
    def latency_samples(self) -> int:
        """Samples held back."""
        return LIVE_HELD_BACK if self.active else 0

    def process(self, block: Float32s, ratio: float) -> Float32s:
        """The block at the other clock.

        Parameters
        ----------
        block : (n,) float32
            Finite samples.
        ratio : float
            Output rate over input rate, 1 +- `MAX_RATIO_ERROR`; reached by the end of the block.

        Returns
        -------
        (m,) float32
            n +- 1 samples, fewer once; `block` itself until the first ratio other than 1.

        Raises
        ------
        SpecError
            If the ratio is not one of two clocks.
        """
        if not abs(ratio - 1.0) <= MAX_RATIO_ERROR + 1e-9:
            raise SpecError(f"clock ratio {ratio} is not one of two clocks; expected 1 +- {MAX_RATIO_ERROR}")
        if not self.active:
            if ratio == 1.0:
                self._remember(block)
                return block
            self._begin()
        made: Float32s = self._converter.process(block, self._safe(ratio, len(block)))
        skipped = min(self._skip, len(made))
        self._skip -= skipped
        return made[skipped:]

    def _remember(self, block: Float32s) -> None:
        n = min(len(block), PRIME_SAMPLES)
        self._history[: PRIME_SAMPLES - n] = self._history[n:]
        self._history[PRIME_SAMPLES - n :] = block[len(block) - n :]

    def _begin(self) -> None:
        primed = self._converter.process(self._history, 1.0)
        self._skip = PRIME_SAMPLES - len(primed)
        self.active = True

    def _safe(self, ratio: float, n: int) -> float:
        """Keep the binding from losing input.

        It makes room for ceil(n * ratio) samples and drops input whose output does not fit. libsamplerate glides from
        the last ratio to the new one, so when that room shrinks, more may come than fits: let it shrink one at a time.
        """
        needed = math.ceil(n * self._last - 1e-5)
        if math.ceil(n * ratio) < needed:
            ratio = (needed - 1 + 1e-6) / n
        self._last = ratio
        return ratio

    def reset(self) -> None:
        """Forget the past; blocks pass untouched again."""
        self.active = False
        self._converter.reset()
        self._history.fill(0.0)
        self._last, self._skip = 1.0, 0


def _check_rate(rate: int) -> None:
    low, high = RATE_RANGE
    if not low <= rate <= high:
        raise SpecError(f"sample rate {rate} Hz makes no sense for sound; expected {low} to {high} Hz")
