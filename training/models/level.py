"""Level independence: divide every frame by a causal running level, and standardise what the network sees.

P_t = a_t P_{t-1} + (1 - a_t) mean_f |X_t|^2 with a_t = min(exp(-1 / 125), t / (t + 1)): a mean over the first second,
then an exponential one of 1 s. P and t are state inside the exported graph; all zeros is a fresh start.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import torch
from torch import Tensor

_DECAY = math.exp(-1.0 / 125.0)  # time constant 1 s at 125 frames per second
_FLOOR = 1e-10  # of mean |X|^2: far below the noise of a 16 bit converter


@numba.njit(cache=True)
def _running(power, level, count, out):
    batch, time = power.shape
    for b in range(batch):
        p, t = level[b], count[b]
        for i in range(time):
            a = min(_DECAY, t / (t + 1.0))
            p = max(a * p + (1.0 - a) * power[b, i], _FLOOR)
            t += 1.0
            out[b, i] = p
        level[b], count[b] = p, t


def running_level(spec: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The running level of every frame; no gradient.

    Parameters
    ----------
    spec : (batch, time, 257, 2)
    state : (batch, 2)
        Level and frame count before the first frame; zeros for a fresh start.

    Returns
    -------
    level : (batch, time)
    state : (batch, 2)
    """
    with torch.no_grad():
        power = spec.square().sum(-1).mean(-1).double().cpu().numpy()
        level, count = state[:, 0].double().cpu().numpy().copy(), state[:, 1].double().cpu().numpy().copy()
        out = np.empty_like(power)
        _running(power, level, count, out)
        new = torch.tensor(np.stack([level, count], axis=1), dtype=spec.dtype, device=spec.device)
        return torch.tensor(out, dtype=spec.dtype, device=spec.device), new


def level_step(spec: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The same for one frame in plain tensor operations, for export.

    Parameters
    ----------
    spec : (1, 257, 2)
    state : (1, 2)

    Returns
    -------
    level : (1, 1)
    state : (1, 2)
    """
    power = spec.square().sum(-1).mean(-1, keepdim=True)
    level, count = state[:, 0:1], state[:, 1:2]
    a = torch.clamp(count / (count + 1.0), max=_DECAY)
    level = torch.clamp(power + a * (level - power), min=_FLOOR)
    return level, torch.cat([level, count + 1.0], dim=1)
