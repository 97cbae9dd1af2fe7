"""The gated linear recurrence h_t = a_t h_{t-1} + (1 - a_t) v_t, whole sequences at a time.

Gates come from the input alone, so all products of a block are batched over time and only this scan is sequential.
On CPU it is a numba loop forward and backward; elsewhere a scan by doubling in log2(time) tensor operations.
"""

from __future__ import annotations

import numba
import numpy as np
import torch
from torch import Tensor


@numba.njit(cache=True, fastmath=True)
def _forward(a, v, start, h):  # (batch, time, channels); start (batch, channels)
    batch, time, channels = a.shape
    for b in range(batch):
        for c in range(channels):
            g = a[b, 0, c]
            h[b, 0, c] = v[b, 0, c] + g * (start[b, c] - v[b, 0, c])
        for t in range(1, time):
            for c in range(channels):
                h[b, t, c] = v[b, t, c] + a[b, t, c] * (h[b, t - 1, c] - v[b, t, c])


@numba.njit(cache=True, fastmath=True)
def _backward(a, v, start, h, dh, da, dv, dstart):  # noqa: PLR0917
    batch, time, channels = a.shape
    for b in range(batch):
        carry = np.zeros(channels, np.float32)
        for t in range(time - 1, -1, -1):
            for c in range(channels):
                g = dh[b, t, c] + carry[c]
                past = h[b, t - 1, c] if t > 0 else start[b, c]
                da[b, t, c] = g * (past - v[b, t, c])
                dv[b, t, c] = g * (np.float32(1.0) - a[b, t, c])
                carry[c] = g * a[b, t, c]
        for c in range(channels):
            dstart[b, c] = carry[c]


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a: Tensor, v: Tensor, start: Tensor) -> Tensor:
        a, v, start = a.contiguous(), v.contiguous(), start.contiguous()
        h = torch.empty_like(v)
        _forward(a.detach().numpy(), v.detach().numpy(), start.detach().numpy(), h.numpy())
        ctx.save_for_backward(a, v, start, h)
        return h

    @staticmethod
    def backward(ctx, dh: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, v, start, h = ctx.saved_tensors
        da, dv, dstart = torch.empty_like(a), torch.empty_like(v), torch.empty_like(start)
        _backward(
            a.detach().numpy(), v.detach().numpy(), start.detach().numpy(), h.numpy(),
            dh.contiguous().numpy(), da.numpy(), dv.numpy(), dstart.numpy(),
        )  # fmt: skip
        return da, dv, dstart


def scan(a: Tensor, v: Tensor, start: Tensor) -> Tensor:
    """All states h of the recurrence.

    Parameters
    ----------
    a, v : (batch, time, channels) float32
        Gates in 0..1 and candidates.
    start : (batch, channels)
        State before the first step.

    Returns
    -------
    (batch, time, channels)
        The last time step is the state to carry on with.
    """
    if a.device.type == "cpu":
        return _Scan.apply(a.float(), v.float(), start.float())
    return doubling_scan(a.float(), v.float(), start.float())


def doubling_scan(a: Tensor, v: Tensor, start: Tensor) -> Tensor:
    """The same by doubling the reach of every step, after Hillis and Steele 1986; made of plain tensor operations."""
    h = torch.cat([((1.0 - a[:, :1]) * v[:, :1] + a[:, :1] * start.unsqueeze(1)), (1.0 - a[:, 1:]) * v[:, 1:]], dim=1)
    reach = 1
    while reach < a.shape[1]:
        h = torch.cat([h[:, :reach], torch.addcmul(h[:, reach:], a[:, reach:], h[:, :-reach])], dim=1)
        a = torch.cat([a[:, :reach], a[:, reach:] * a[:, :-reach]], dim=1)
        reach *= 2
    return h
