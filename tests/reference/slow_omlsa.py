"""OM-LSA on IMCRA, equation by equation, bin by bin, in double precision. For tests only."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import exp1

from pse_stream.dsp import noise
from pse_stream.dsp.noise import NoiseSpec


def gains(powers: NDArray[np.float32], spec: NoiseSpec) -> NDArray[np.float64]:
    """(hops, n) gains for (hops, n) powers."""
    hops, n = powers.shape
    power = powers.astype(np.float64)
    made = np.empty((hops, n))
    around = _neighbours(n)
    smooth = [sum(b * power[0, i] for i, b in around[k]) for k in range(n)]
    quiet = list(smooth)
    past_smooth: list[list[float]] = [[s] for s in smooth]  # what minima are taken over
    past_quiet: list[list[float]] = [[s] for s in quiet]
    mean, floor = power[0].copy(), np.maximum(power[0], noise.TINY)
    let_through = np.ones(n)
    for t in range(hops):
        across = [sum(b * power[t, i] for i, b in around[k]) for k in range(n)]
        if t > 0:
            smooth = [spec.smoothing * s + (1 - spec.smoothing) * a for s, a in zip(smooth, across, strict=True)]
        least = [_least(past_smooth[k], smooth[k], t) for k in range(n)]
        calm = [
            power[t, k] < spec.near_power * spec.minima_bias * least[k]
            and smooth[k] < spec.near_smooth * spec.minima_bias * least[k]
            for k in range(n)
        ]
        for k in range(n):
            weight = sum(b for i, b in around[k] if calm[i])
            if weight > 0:
                mean_calm = sum(b * power[t, i] for i, b in around[k] if calm[i]) / weight
                quiet[k] = spec.smoothing * quiet[k] + (1 - spec.smoothing) * mean_calm
        for k in range(n):
            bottom = max(spec.minima_bias * _least(past_quiet[k], quiet[k], t), noise.TINY)
            absent = (spec.sure_power - power[t, k] / bottom) / (spec.sure_power - 1)
            absent = min(max(absent, 0.0), spec.absence_ceiling) if smooth[k] < spec.near_smooth * bottom else 0.0
            made[t, k], present, let_through[k] = _gain(power[t, k], floor[k], absent, let_through[k], spec)
            weight, bias = (1 - present) * (1 - spec.floor_smoothing), spec.floor_bias
            if t < noise.START_HOPS:
                weight, bias = (1 - present) * max(1 / (t + 1), 1 - noise.START_SMOOTHING), 1.0
            if t < noise.FILL_HOPS:
                weight = 1 / (t + 1)
            mean[k] += weight * (power[t, k] - mean[k])
            floor[k] = max(bias * mean[k], noise.TINY)
    return made


def _gain(power: float, floor: float, absent: float, before: float, spec: NoiseSpec) -> tuple[float, float, float]:
    posterior = min(max(power / floor, float(noise.SNR_FLOOR)), 1 / float(noise.LEAST_RATIO))
    prior = spec.prior_smoothing * before + (1 - spec.prior_smoothing) * max(posterior - 1, 0.0)
    prior = max(prior, 10 ** (spec.prior_floor_db / 10))
    v = min(max(posterior * prior / (1 + prior), float(noise.V_FLOOR)), float(noise.V_CEILING))
    present = 1 / (1 + absent / (1 - absent) * (1 + prior) * math.exp(-v))
    least = 10 ** (spec.gain_floor_db / 20)
    speech_gain = min(max(prior / (1 + prior) * math.exp(0.5 * float(exp1(v))), least), 1.0)
    return speech_gain**present * least ** (1 - present), present, speech_gain**2 * posterior


def _neighbours(n: int) -> list[list[tuple[int, float]]]:
    inside = [[(k - 1, 0.25), (k, 0.5), (k + 1, 0.25)] for k in range(n)]
    inside[0] = [(0, 0.75), (1, 0.25)]
    inside[-1] = [(n - 1, 0.75), (n - 2, 0.25)]
    return inside


def _least(past: list[float], now: float, t: int) -> float:
    """Minimum over the newest `SUBWINDOWS` whole pieces and the one that has begun; remembers `now`.

    A piece begins with the last hop of the one before it, as in the paper (S_tmp = S at the turn).
    """
    if t > 0:
        past.append(now)
    pieces_done = t // noise.SUBWINDOW_HOPS
    oldest = max(0, (pieces_done - noise.SUBWINDOWS) * noise.SUBWINDOW_HOPS - 1)
    return min(past[oldest:])
