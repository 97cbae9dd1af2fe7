"""A gate that opens in a given share of the frames: what it lets through is compared with a threshold that follows.

Every open frame raises the threshold and every shut one lowers it, so that over seconds the share is kept whatever the
sound is, at run time as in training, and what a gate learns is only which frames are worth more than others. A loss
term that draws the share to its target (conditional computation: Bengio et al. 2013, Bapna et al. 2020) keeps it on
average over the training mixtures; on one sound it opened never and on the next always.
"""

from __future__ import annotations

import numba
import numpy as np
import torch
from torch import Tensor

RATE = 0.04  # of the threshold per hop, in units of the logit: a pause of a second saves up for the speech after it


@numba.njit(cache=True)
def _followed(logits, threshold, share, rate, before):  # (batch, time), (batch,), .., (batch, time)
    batch, time = logits.shape
    for b in range(batch):
        for t in range(time):
            before[b, t] = threshold[b]
            opened = 1.0 if logits[b, t] > threshold[b] else 0.0
            threshold[b] += rate * (opened - share)


def opened_frames(logits: Tensor, threshold: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Hard decisions with the gradient of a sigmoid (straight through).

    Parameters
    ----------
    logits : (batch, time)
    threshold : (batch, 1)
        Before the first frame; zeros for a fresh start.
    share : float
        Of the frames that may be open, 0..1.

    Returns
    -------
    opened : (batch, time)
        0 or 1.
    threshold : (batch, 1)
        After the last frame.
    """
    with torch.no_grad():
        known = logits.detach().double().cpu().numpy()
        after, before = threshold[:, 0].detach().double().cpu().numpy().copy(), np.empty_like(known)
        _followed(known, after, share, RATE, before)
        limits, new = (torch.tensor(x, dtype=logits.dtype, device=logits.device) for x in (before, after))
    above = logits - limits
    soft = torch.sigmoid(above)
    return (above > 0).to(soft.dtype) + soft - soft.detach(), new.unsqueeze(-1)


def quota_settings(share: float, start: float) -> dict[str, float]:
    """What `quota_step` needs to keep `share`, with a threshold that counts from `start`."""
    return {"start": start, "rise": RATE * (1.0 - share), "fall": -RATE * share}


def quota_step(logit: Tensor, threshold: Tensor, start: Tensor, rise: Tensor, fall: Tensor) -> tuple[Tensor, Tensor]:
    """The same for one frame in plain tensor operations, for export: open or not, and the threshold after it.

    All are (1, 1), the settings (1,).
    """
    opened = logit > threshold + start
    return opened, threshold + torch.where(opened, rise, fall)
