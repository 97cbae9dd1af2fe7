"""What is noise and what is voice, bin by bin: a noise floor that follows the room, and the gain that it allows.

    power |Y|^2 -> absence (minima of the smoothed power) -> prior SNR -> presence -> gain, new floor

Sources, in the words of their equations:
- noise floor: I. Cohen 2003, "Noise spectrum estimation in adverse environments: improved minima controlled
  recursive averaging" (IMCRA), IEEE Trans. Speech Audio Process. 11(5);
- prior SNR: Y. Ephraim and D. Malah 1984 (decision-directed), IEEE Trans. ASSP 32(6);
- gain: I. Cohen and B. Berdugo 2001, "Speech enhancement for non-stationary noise environments" (OM-LSA), Signal
  Processing 81, on the log-spectral gain of Ephraim and Malah 1985.
Both papers of Cohen use 32 ms frames every 8 ms, which is our grid. The constants named after their symbols were tuned
around the papers' values (in brackets) on 47 mixtures of real voices and noises at -5 to 15 dB, for SI-SDR, PESQ and
ESTOI together.
Everything is a ratio of powers, so the result does not depend on the level of the microphone. Nothing here knows what
a bin is: it may stand for a band (`highband.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pse_stream.dsp.spec import Float32s
from pse_stream.errors import SpecError

TINY = np.float32(1e-24)  # power far below any converter's noise; only keeps a division finite
FILL_HOPS = 4  # 32 ms until the window holds sound only: taken for noise whatever it is
START_HOPS = 40  # 320 ms in which the floor is learnt faster
START_SMOOTHING = 0.9  # of the noise floor per hop during the start, at most
SUBWINDOWS, SUBWINDOW_HOPS = 8, 15  # U and V: minima over 0.96 s, renewed every 0.12 s
SNR_FLOOR = np.float32(1e-3)  # of the posterior SNR; below it the gain no longer changes
LEAST_RATIO = np.float32(1e-5)  # of noise to power; 50 dB under the frame it no longer matters, and nothing overflows
V_FLOOR, V_CEILING = np.float32(2.0**-14), np.float32(64.0)  # v in the table of E1; exp(-64) is a float32
E1_STEPS = 128  # of that table, per octave: the gain is off by 0.02 dB at most
ZERO, QUARTER, HALF, ONE = (np.float32(x) for x in (0.0, 0.25, 0.5, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseSpec:
    """How eagerly noise is followed and removed."""

    n: int  # bins or bands
    smoothing: float = 0.92  # alpha_s (0.9), of the power per hop, for the minima
    minima_bias: float = 2.0  # B_min (1.66), the mean of the smoothed noise over its minimum
    floor_bias: float = 1.47  # beta, makes up for the noise frames that pass as speech
    near_power: float = 4.6  # gamma_0: power closer to the minimum than this is noise for the first pass
    near_smooth: float = 2.2  # zeta_0 (1.67): the same for the smoothed power, in both passes
    sure_power: float = 4.5  # gamma_1 (3): further from the minimum than this is speech for the second pass
    floor_smoothing: float = 0.95  # alpha_d (0.85), of the noise floor per hop while there is no speech
    prior_smoothing: float = 0.92  # alpha of the decision-directed prior SNR
    prior_floor_db: float = -22.0  # smallest prior SNR; below it musical noise begins
    gain_floor_db: float = -18.0  # what noise is turned down by where there is surely no speech
    absence_ceiling: float = 0.8  # q_max (0.95): never so sure of noise that a voice could not begin

    def __post_init__(self) -> None:
        if self.n < 3:
            raise SpecError(f"a noise floor over {self.n} bins was asked for; expected at least 3")
        for name in ("smoothing", "floor_smoothing", "prior_smoothing", "absence_ceiling"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise SpecError(f"{name}={getattr(self, name)} is out of range; expected a value between 0 and 1")
        for name in ("minima_bias", "floor_bias", "near_power", "near_smooth", "sure_power"):
            if not getattr(self, name) > 1.0:
                raise SpecError(f"{name}={getattr(self, name)} is out of range; expected a factor above 1")
        if not self.gain_floor_db < 0.0:
            raise SpecError(f"gain_floor_db={self.gain_floor_db} turns nothing down; expected a value below 0")


class Minima:
    """The running minimum over `SUBWINDOWS` pieces of time, and over the piece that has begun."""

    def __init__(self, n: int) -> None:
        self.values = np.zeros(n, np.float32)  # (n,) smallest over the whole window
        self._piece = np.zeros(n, np.float32)  # (n,) smallest of the piece that has begun
        self._pieces = np.zeros((SUBWINDOWS, n), np.float32)  # (SUBWINDOWS, n) ring of finished pieces
        self._at = 0

    def start(self, power: Float32s) -> None:
        """Take this hop for everything that was before."""
        self.values[:] = power
        self._piece[:] = power
        self._pieces[:] = power
        self._at = 0

    def update(self, power: Float32s) -> None:
        """See one hop; (n,) float32."""
        np.minimum(self.values, power, out=self.values)
        np.minimum(self._piece, power, out=self._piece)

    def turn(self, power: Float32s) -> None:
        """Finish a piece and forget the oldest; the next begins with this hop."""
        self._pieces[self._at] = self._piece
        self._at = (self._at + 1) % SUBWINDOWS
        np.min(self._pieces, axis=0, out=self.values)
        self._piece[:] = power


class NoiseFloor:
    """IMCRA: the power of the noise in each bin, and how surely a bin holds nothing else.

    Call `absence` and then `learn`, once per hop.
    """

    def __init__(self, spec: NoiseSpec) -> None:
        n = spec.n
        self.spec = spec
        self.power = np.full(n, TINY, np.float32)  # (n,) lambda_d, what the next hop is compared with
        self.absent = np.zeros(n, np.float32)  # (n,) q, prior probability of no speech, 0..q_max
        self._absence_ceiling = np.float32(spec.absence_ceiling)
        self._bias = np.float32(spec.minima_bias)
        self._near_power = np.float32(spec.minima_bias * spec.near_power)
        self._near_smooth = np.float32(spec.near_smooth)
        self._sure_power = np.float32(spec.sure_power)
        self._per_absence = np.float32(1.0 / (spec.sure_power - 1.0))
        self._mean = np.zeros(n, np.float32)  # (n,) lambda_d before the bias
        self._smooth = np.zeros(n, np.float32)  # (n,) S
        self._quiet = np.zeros(n, np.float32)  # (n,) S tilde: S without the strong bins
        self._minima, self._quiet_minima = Minima(n), Minima(n)
        self._hops = 0
        self._across = np.zeros(n, np.float32)  # (n,) scratch: power smoothed over three bins
        self._weight = np.zeros(n, np.float32)  # (n,) scratch
        self._sum = np.zeros(n, np.float32)  # (n,) scratch
        self._near = np.zeros(n, np.bool_)  # (n,) scratch
        self._calm = np.zeros(n, np.bool_)  # (n,) scratch

    def absence(self, power: Float32s) -> Float32s:
        """Probability of no speech from the minima; (n,) float32, a view valid until the next call."""
        _over_three(power, self._across)
        if self._hops == 0:
            self._smooth[:] = self._across
            self._quiet[:] = self._across
            self._minima.start(self._across)
            self._quiet_minima.start(self._across)
            self._mean[:] = power
            np.maximum(power, TINY, out=self.power)
        else:
            _glide(self._smooth, self._across, self.spec.smoothing, self._sum)
        self._minima.update(self._smooth)
        self._first_pass(power)
        self._quiet_minima.update(self._quiet)
        self._second_pass(power)
        if self._hops % SUBWINDOW_HOPS == SUBWINDOW_HOPS - 1:
            self._minima.turn(self._smooth)
            self._quiet_minima.turn(self._quiet)
        return self.absent

    def _first_pass(self, power: Float32s) -> None:
        """Smooth once more, without the bins that stand out from their minimum."""
        np.multiply(self._minima.values, self._near_power, out=self._sum)
        np.less(power, self._sum, out=self._near)
        self._sum *= np.float32(self.spec.near_smooth / self.spec.near_power)
        np.less(self._smooth, self._sum, out=self._calm)
        self._near &= self._calm
        np.multiply(power, self._near, out=self._sum)
        _over_three(self._sum, self._across)
        self._sum[:] = self._near
        _over_three(self._sum, self._weight)
        np.greater(self._weight, ZERO, out=self._near)  # bins with a calm neighbour; the others keep their value
        np.maximum(self._weight, QUARTER, out=self._weight)
        self._across /= self._weight
        self._across -= self._quiet
        self._across *= self._near
        self._across *= np.float32(1.0 - self.spec.smoothing)
        self._quiet += self._across

    def _second_pass(self, power: Float32s) -> None:
        """q: 1 at the minimum, 0 at `sure_power` times the minimum or where the smoothed power stands out."""
        np.multiply(self._quiet_minima.values, self._bias, out=self._sum)
        np.multiply(power, LEAST_RATIO, out=self.absent)
        np.maximum(self._sum, self.absent, out=self._sum)
        np.maximum(self._sum, TINY, out=self._sum)
        np.divide(power, self._sum, out=self.absent)
        np.subtract(self._sure_power, self.absent, out=self.absent)
        self.absent *= self._per_absence
        self._sum *= self._near_smooth
        np.less(self._smooth, self._sum, out=self._calm)
        self.absent *= self._calm
        np.maximum(self.absent, ZERO, out=self.absent)
        np.minimum(self.absent, self._absence_ceiling, out=self.absent)

    def learn(self, power: Float32s, present: Float32s) -> None:
        """Follow the noise where there is no speech.

        Parameters
        ----------
        power : (n,) float32
            The hop that `absence` saw.
        present : (n,) float32
            Probability of speech, 0..1.
        """
        np.subtract(ONE, present, out=self._weight)
        if self._hops < START_HOPS:
            even = 1.0 / (self._hops + 1.0)  # an even average of what there was
            if self._hops < FILL_HOPS:
                self._weight.fill(even)
            else:
                self._weight *= np.float32(max(even, 1.0 - START_SMOOTHING))
        else:
            self._weight *= np.float32(1.0 - self.spec.floor_smoothing)
        np.subtract(power, self._mean, out=self._sum)
        self._sum *= self._weight
        self._mean += self._sum
        # While the floor is an average of everything, it needs no correction for what it misses.
        bias = 1.0 if self._hops < START_HOPS else self.spec.floor_bias
        np.multiply(self._mean, np.float32(bias), out=self.power)
        np.maximum(self.power, TINY, out=self.power)
        self._hops += 1

    def reset(self) -> None:
        """Forget the past; the next hop is the first."""
        self._hops = 0
        self.power.fill(TINY)
        self.absent.fill(0.0)


class PriorSnr:
    """Decision-directed prior SNR: what was let through one hop ago, and what stands out now."""

    def __init__(self, spec: NoiseSpec) -> None:
        self._smoothing = np.float32(spec.prior_smoothing)
        self._floor = np.float32(10.0 ** (spec.prior_floor_db / 10.0))
        self._before = np.ones(spec.n, np.float32)  # (n,) G^2 * gamma of the hop before
        self._excess = np.zeros(spec.n, np.float32)  # (n,) scratch

    def estimate(self, posterior: Float32s, *, out: Float32s) -> None:
        """Write xi, (n,) float32, from gamma = |Y|^2 / noise."""
        np.subtract(posterior, ONE, out=self._excess)
        np.maximum(self._excess, ZERO, out=self._excess)
        self._excess *= ONE - self._smoothing
        np.multiply(self._before, self._smoothing, out=out)
        out += self._excess
        np.maximum(out, self._floor, out=out)

    def remember(self, speech_gain: Float32s, posterior: Float32s) -> None:
        """Keep what this hop let through; `speech_gain` is the gain if there was speech."""
        np.multiply(speech_gain, speech_gain, out=self._before)
        self._before *= posterior

    def reset(self) -> None:
        """Forget the past."""
        self._before.fill(1.0)


class OmLsa:
    """Power of a frame in, gains out: noise floor, prior SNR and the optimally modified log-spectral gain."""

    def __init__(self, spec: NoiseSpec) -> None:
        n = spec.n
        self.spec = spec
        self.floor = NoiseFloor(spec)
        self.present = np.zeros(n, np.float32)  # (n,) p, probability of speech in the newest hop
        self._prior = PriorSnr(spec)
        self._log_floor = np.float32(spec.gain_floor_db / 20.0 * np.log(10.0))
        self._posterior = np.zeros(n, np.float32)  # (n,) gamma
        self._snr = np.zeros(n, np.float32)  # (n,) xi
        self._v = np.zeros(n, np.float32)  # (n,) xi gamma / (1 + xi)
        self._wiener = np.zeros(n, np.float32)  # (n,) xi / (1 + xi)
        self._log_gain = np.zeros(n, np.float32)  # (n,) of the gain if there is speech
        self._scratch = np.zeros(n, np.float32)  # (n,) scratch
        self._half_e1 = _HalfE1(n)

    def process(self, power: Float32s, *, out: Float32s) -> None:
        """Write the gains of this hop.

        Parameters
        ----------
        power : (n,) float32
            |Y|^2, finite.
        out : (n,) float32
            Linear gains, `gain_floor_db` to 1. Written in full; may not be `power`.
        """
        absent = self.floor.absence(power)
        np.multiply(power, LEAST_RATIO, out=self._scratch)
        np.maximum(self.floor.power, self._scratch, out=self._scratch)
        np.divide(power, self._scratch, out=self._posterior)
        np.maximum(self._posterior, SNR_FLOOR, out=self._posterior)
        self._prior.estimate(self._posterior, out=self._snr)
        np.add(self._snr, ONE, out=self._scratch)
        np.divide(self._snr, self._scratch, out=self._wiener)
        np.multiply(self._wiener, self._posterior, out=self._v)
        np.maximum(self._v, V_FLOOR, out=self._v)
        np.minimum(self._v, V_CEILING, out=self._v)
        self._presence(absent)
        self._speech_gain(out)
        self._prior.remember(out, self._posterior)
        self.floor.learn(power, self.present)
        # G = G_speech^p * G_floor^(1-p): a weighted mean on the scale of decibels.
        np.subtract(self._log_gain, self._log_floor, out=out)
        out *= self.present
        out += self._log_floor
        np.exp(out, out=out)

    def _presence(self, absent: Float32s) -> None:
        """p = 1 / (1 + q / (1 - q) (1 + xi) exp(-v))."""
        np.negative(self._v, out=self.present)
        np.exp(self.present, out=self.present)
        self.present *= self._scratch  # 1 + xi
        self.present *= absent
        np.subtract(ONE, absent, out=self._scratch)
        self.present /= self._scratch
        self.present += ONE
        np.reciprocal(self.present, out=self.present)

    def _speech_gain(self, out: Float32s) -> None:
        """Write xi / (1 + xi) exp(E1(v) / 2), at most 1, and keep its logarithm."""
        self._half_e1.read(self._v, out=self._scratch)
        np.log(self._wiener, out=self._log_gain)
        self._log_gain += self._scratch
        np.minimum(self._log_gain, ZERO, out=self._log_gain)
        np.maximum(self._log_gain, self._log_floor, out=self._log_gain)
        np.exp(self._log_gain, out=out)

    def reset(self) -> None:
        """Forget the past; the next hop is the first."""
        self.floor.reset()
        self._prior.reset()
        self.present.fill(0.0)


class _HalfE1:
    """E1(v) / 2 from a table: scipy's function takes 42 us for 257 bins, this 5.

    The upper bits of a positive float32 are its exponent and the beginning of its fraction: shifted down they count
    equal steps within each octave, which is the index.
    """

    _shift = 23 - (E1_STEPS.bit_length() - 1)  # a float32 has 23 bits of fraction
    _first = int(V_FLOOR.view(np.int32)) >> _shift
    _last = int(V_CEILING.view(np.int32)) >> _shift

    def __init__(self, n: int) -> None:
        from scipy.special import exp1  # takes longer to import than all else of a start; a network needs it not

        steps = (np.arange(self._first, self._last + 1, dtype=np.int32) << self._shift).view(np.float32)
        middles = steps.astype(np.float64) * (1.0 + 0.35 / E1_STEPS)  # a step is 0.5 to 1 of 1 / E1_STEPS wide
        self._table = (0.5 * exp1(middles)).astype(np.float32)
        self._index = np.zeros(n, np.int32)  # (n,) scratch

    def read(self, v: Float32s, *, out: Float32s) -> None:
        """Write E1(v) / 2; `v` within `V_FLOOR` and `V_CEILING`."""
        np.right_shift(v.view(np.int32), self._shift, out=self._index)
        self._index -= self._first
        np.take(self._table, self._index, out=out, mode="clip")


def _over_three(values: NDArray[np.float32], out: Float32s) -> None:
    """Hann-weighted mean over a bin and its neighbours (b = 1/4, 1/2, 1/4); the ends lean on themselves."""
    np.multiply(values, HALF, out=out)
    out[1:-1] += QUARTER * values[:-2]
    out[1:-1] += QUARTER * values[2:]
    out[0] += QUARTER * (values[0] + values[1])
    out[-1] += QUARTER * (values[-1] + values[-2])


def _glide(state: Float32s, target: Float32s, keep: float, scratch: Float32s) -> None:
    """state = keep * state + (1 - keep) * target, in place."""
    np.subtract(target, state, out=scratch)
    scratch *= np.float32(1.0 - keep)
    state += scratch
