"""Meters: how loud is it, did it clip, is anything there at all.

One `LevelMeter` per tap on the signal; `process` once per hop, `read` whenever somebody looks. Ballistics and words
are those of docs/glossary.md:
- bar: sample peak, rises at once, falls 20 dB in 1.7 s (IEC 60268-10 type I, IEC 60268-18);
- mark: sample peak, held 1.5 s, then falls 20 dB a second;
- RMS over 304 ms (whole hops);
- momentary loudness: 400 ms, K-weighted (ITU-R BS.1770-4; EBU Tech 3341), renewed every 80 ms;
- clip: a run of three or more samples at full scale; one click of full scale is no clip;
- zeros: how many samples in a row were exactly zero: a muted or missing microphone, not a quiet room.
True (inter-sample) peaks and gating of loudness are not here: nobody masters a programme with this.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pse_stream.dsp.spec import HOPS_PER_SECOND, Float32s, STFTSpec

SILENCE_DB = -120.0  # shown for digital silence
FULL_SCALE = 32_767.0 / 32_768.0 - 1e-6  # the highest positive sample of a 16 bit converter
CLIP_RUN = 3  # samples
BAR_FALL_DB_PER_S = 20.0 / 1.7
MARK_HOLD_S, MARK_FALL_DB_PER_S = 1.5, 20.0
RMS_HOPS = 38  # 304 ms
PIECE_HOPS, PIECES = 10, 5  # loudness: 80 ms pieces, five of them are 400 ms
LOUDNESS_OFFSET_DB = -0.691  # BS.1770: a 997 Hz sine of 0 dBFS reads -3.01 LUFS


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """What a meter says; dBFS, `SILENCE_DB` for silence."""

    peak_db: float = SILENCE_DB  # the bar: highest since the last reading
    mark_db: float = SILENCE_DB  # the peak mark: highest since the last reading
    rms_db: float = SILENCE_DB
    loudness: float = SILENCE_DB  # LUFS, momentary
    max_db: float = SILENCE_DB  # highest sample since the meter was reset
    clips: int = 0  # runs at full scale since the meter was reset
    zero_samples: int = 0  # exact zeros in a row up to now


class LevelMeter:
    """One tap on one channel.

    Parameters
    ----------
    spec : STFTSpec
    loudness : bool
        Measure it too. Off by default: nobody is shown it live, and its filter is the only thing that loads
        scipy.signal, whose import takes longer than all the rest of a start.
    """

    def __init__(self, spec: STFTSpec, *, loudness: bool = False) -> None:
        hop = spec.hop
        self.clips = 0
        self.zero_samples = 0
        self._per_hop = np.float32(1.0 / hop)
        self._bar_keep = 10.0 ** (-BAR_FALL_DB_PER_S / 20.0 / HOPS_PER_SECOND)  # linear factor per hop
        self._mark_keep = 10.0 ** (-MARK_FALL_DB_PER_S / 20.0 / HOPS_PER_SECOND)
        self._hold_hops = round(MARK_HOLD_S * HOPS_PER_SECOND)
        self._bar = self._mark = self._highest = 0.0  # linear
        self._bar_seen = self._mark_seen = 0.0  # linear, highest since the last reading
        self._held_hops = 0
        self._squares = np.zeros(RMS_HOPS, np.float64)  # (RMS_HOPS,) ring: mean square of each hop
        self._hops = 0
        self._magnitude = np.zeros(hop, np.float32)  # (hop,) scratch
        # (hop + CLIP_RUN,) which samples stand at full scale; the first are the end of the hop before
        self._full = np.zeros(hop + CLIP_RUN, np.bool_)
        self._in_run = np.zeros(hop + 1, np.bool_)  # (hop + 1,) scratch: the third or later sample of a run
        self._loudness = Loudness(spec) if loudness else None

    @np.errstate(over="ignore")  # a sum of squares that overflows is found below
    def process(self, hop: Float32s) -> None:
        """Measure one hop.

        Parameters
        ----------
        hop : (hop,) float32
            Not changed. NaN and Inf anywhere in it: the hop counts as silence.
        """
        energy = float(np.dot(hop, hop))
        if not math.isfinite(energy):
            hop = self._magnitude
            hop.fill(0.0)
            energy = 0.0
        n = len(hop)
        self._squares[self._hops % RMS_HOPS] = energy / n
        if self._loudness is not None:
            self._loudness.process(hop)
        np.abs(hop, out=self._magnitude)
        peak = float(np.maximum.reduce(self._magnitude))
        self._follow_peak(peak)
        self._count_clips(peak, n)
        self._count_zeros(hop, peak, n)
        self._hops += 1

    def _follow_peak(self, peak: float) -> None:
        self._bar = max(peak, self._bar * self._bar_keep)
        if peak >= self._mark:
            self._mark, self._held_hops = peak, 0
        elif self._held_hops < self._hold_hops:
            self._held_hops += 1
        else:
            self._mark = max(peak, self._mark * self._mark_keep)
        self._bar_seen = max(self._bar_seen, self._bar)
        self._mark_seen = max(self._mark_seen, self._mark)
        self._highest = max(self._highest, peak)

    def _count_clips(self, peak: float, n: int) -> None:
        full, in_run = self._full, self._in_run
        full[:CLIP_RUN] = full[n:]
        if peak < FULL_SCALE:
            full[CLIP_RUN:] = False
            return
        np.greater_equal(self._magnitude, np.float32(FULL_SCALE), out=full[CLIP_RUN:])
        np.logical_and(full[:-2], full[1:-1], out=in_run)
        in_run &= full[2:]
        # A run is counted where its third sample stands: true here and not one sample before.
        self.clips += int(np.count_nonzero(in_run[1:] & ~in_run[:-1]))

    def _count_zeros(self, hop: Float32s, peak: float, n: int) -> None:
        if peak == 0.0:
            self.zero_samples += n
        elif hop[-1] != 0.0:
            self.zero_samples = 0
        else:
            self.zero_samples = n - 1 - int(np.flatnonzero(hop)[-1])

    def read(self) -> Levels:
        """What is shown now; begins a new interval for `peak_db` and `mark_db`, so that no peak is ever missed."""
        levels = Levels(
            peak_db=amplitude_db(max(self._bar_seen, self._bar)),
            mark_db=amplitude_db(max(self._mark_seen, self._mark)),
            rms_db=power_db(float(self._squares.mean())),
            loudness=self.loudness,
            max_db=amplitude_db(self._highest),
            clips=self.clips,
            zero_samples=self.zero_samples,
        )
        self._bar_seen = self._mark_seen = 0.0
        return levels

    @property
    def loudness(self) -> float:
        """LUFS, momentary; `SILENCE_DB` if it is not measured."""
        return SILENCE_DB if self._loudness is None else self._loudness.value

    def clear(self) -> None:
        """Forget the latched figures: highest sample and clips."""
        self._highest = 0.0
        self.clips = 0

    def reset(self) -> None:
        """Forget the past; the next hop is the first."""
        self.clear()
        self.zero_samples = 0
        self._bar = self._mark = self._bar_seen = self._mark_seen = 0.0
        self._held_hops = self._hops = 0
        for memory in (self._squares, self._full):
            memory.fill(0)
        if self._loudness is not None:
            self._loudness.reset()


class Loudness:
    """Momentary loudness of one channel."""

    def __init__(self, spec: STFTSpec) -> None:
        from scipy.signal import lfilter, sos2tf

        self._lfilter = lfilter
        self._b, self._a = sos2tf(k_weighting(spec.sample_rate))  # one filter: half the time of two sections
        self._hops = 0
        self._piece = np.zeros(PIECE_HOPS * spec.hop, np.float64)  # (PIECE_HOPS * hop,) samples waiting to be weighted
        self._filter = np.zeros(len(self._a) - 1, np.float64)  # (4,) state of the weighting
        self._pieces = np.zeros(PIECES, np.float64)  # (PIECES,) ring: weighted mean squares

    def process(self, hop: Float32s) -> None:
        """Take one hop, (hop,) float32, finite."""
        n, at = len(hop), self._hops % PIECE_HOPS
        self._piece[at * n : (at + 1) * n] = hop
        if at == PIECE_HOPS - 1:  # ten hops at once: the call costs more than the filter
            weighted, self._filter = self._lfilter(self._b, self._a, self._piece, zi=self._filter)
            self._pieces[self._hops // PIECE_HOPS % PIECES] = float(np.dot(weighted, weighted)) / len(weighted)
            self._filter[np.abs(self._filter) < 1e-30] = 0.0  # denormals are slow
        self._hops += 1

    @property
    def value(self) -> float:
        """LUFS, momentary."""
        power = float(self._pieces.mean())
        return max(SILENCE_DB, LOUDNESS_OFFSET_DB + 10.0 * math.log10(power)) if power > 0.0 else SILENCE_DB

    def reset(self) -> None:
        """Forget the past; the next hop is the first."""
        self._hops = 0
        for memory in (self._filter, self._pieces):
            memory.fill(0)


def amplitude_db(amplitude: float) -> float:
    """dBFS of a linear amplitude, at least `SILENCE_DB`."""
    return max(SILENCE_DB, 20.0 * math.log10(amplitude)) if amplitude > 0.0 else SILENCE_DB


def power_db(mean_square: float) -> float:
    """dBFS of a mean square, at least `SILENCE_DB`; a sine of full scale reads -3.01."""
    return max(SILENCE_DB, 10.0 * math.log10(mean_square)) if mean_square > 0.0 else SILENCE_DB


def k_weighting(sample_rate: int) -> NDArray[np.float64]:
    """The two filters of BS.1770 as second-order sections, (2, 6), at any rate.

    The standard prints coefficients for 48 kHz only; these are its analogue prototypes (a shelf of +4 dB at 1682 Hz, a
    high-pass at 38 Hz) through the bilinear transform, which gives the printed ones back at 48 kHz.
    """
    gain_db, shelf_hz, shelf_q = 3.999843853973347, 1681.974450955533, 0.7071752369554196
    high_hz, high_q = 38.13547087602444, 0.5003270373238773
    high_gain = 10.0 ** (gain_db / 20.0)
    band_gain = high_gain**0.4996667741545416
    k = math.tan(math.pi * shelf_hz / sample_rate)
    a0 = 1.0 + k / shelf_q + k * k
    shelf = [
        (high_gain + band_gain * k / shelf_q + k * k) / a0,
        2.0 * (k * k - high_gain) / a0,
        (high_gain - band_gain * k / shelf_q + k * k) / a0,
        1.0,
        2.0 * (k * k - 1.0) / a0,
        (1.0 - k / shelf_q + k * k) / a0,
    ]
    k = math.tan(math.pi * high_hz / sample_rate)
    a0 = 1.0 + k / high_q + k * k
    high = [1.0, -2.0, 1.0, 1.0, 2.0 * (k * k - 1.0) / a0, (1.0 - k / high_q + k * k) / a0]
    return np.array([shelf, high])
