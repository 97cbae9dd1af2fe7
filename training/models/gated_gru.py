"""A GRU layer over time of which most channels are computed only in the frames that a gate opens.

torch's GRU knows no such frames, and its automatic gradient of a loop adds to the gradient of the recurrent weights in
every frame. Here the loop backward only collects what the gates' sums are owed; the weights get theirs in one product.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def gated_gru(from_input: Tensor, weight: Tensor, bias: Tensor, start: Tensor, opened: Tensor) -> tuple[Tensor, Tensor]:
    """Play the layer.

    Where the gate is shut a channel is neither heard nor changed, and gives zero. The gradient reaches the gate too: of
    what a channel gives, of what it remembers and of what the others hear of it.

    Parameters
    ----------
    from_input : (batch, time, 3 * width)
        The input's share of the three sums, in torch's order (reset, update, new), with its bias.
    weight, bias : (3 * width, width), (3 * width,)
        Of the recurrence, in torch's order.
    start : (batch, width)
        State before the first frame.
    opened : (batch, time, width)
        1 where a channel is computed, 0 where it holds; channels that are always computed have 1 throughout.

    Returns
    -------
    out : (batch, time, width)
        What the next layer hears.
    state : (batch, width)
        What is remembered after the last frame.
    """
    out, states = _GatedGRU.apply(from_input, weight, bias, start, opened)
    return out, states[:, -1]


class _GatedGRU(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 - as autograd hands them over
        ctx: Any, from_input: Tensor, weight: Tensor, bias: Tensor, start: Tensor, opened: Tensor
    ) -> tuple[Tensor, Tensor]:
        batch, time, width = opened.shape
        reset_update, new = from_input.new_empty(batch, time, 2 * width), from_input.new_empty(batch, time, width)
        recurrent_new, states = torch.empty_like(new), from_input.new_empty(batch, time + 1, width)
        states[:, 0] = h = start
        turned = weight.t().contiguous()
        for t in range(time):
            g, i = opened[:, t], from_input[:, t]
            sums = torch.addmm(bias, g * h, turned)
            both = torch.sigmoid(i[:, : 2 * width] + sums[:, : 2 * width])
            r, z, s = both[:, :width], both[:, width:], sums[:, 2 * width :]
            n = torch.tanh(torch.addcmul(i[:, 2 * width :], r, s))
            h = torch.lerp(h, torch.lerp(n, h, z), g)
            reset_update[:, t], new[:, t], recurrent_new[:, t], states[:, t + 1] = both, n, s, h
        ctx.save_for_backward(weight, opened, reset_update, new, recurrent_new, states)
        return opened * states[:, 1:], states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor, d_states: Tensor) -> tuple[Tensor, ...]:
        weight, opened, reset_update, new, recurrent_new, states = ctx.saved_tensors
        batch, time, width = opened.shape
        r_all, z_all = reset_update[..., :width], reset_update[..., width:]
        # Slopes that do not depend on what comes after a frame, for all frames at once.
        slope_n = 1.0 - new.square()
        slope_r = recurrent_new * r_all * (1.0 - r_all)
        slope_z = (states[:, :-1] - new) * z_all * (1.0 - z_all)
        owed = torch.empty(batch, time, 3 * width, dtype=new.dtype, device=new.device)  # to the recurrent sums
        d_new, d_fresh_all, d_known_all = (torch.empty_like(new) for _ in range(3))
        d_h = d_states[:, -1].clone()
        for t in range(time - 1, -1, -1):
            g = opened[:, t]
            d_h = torch.addcmul(d_h, g, d_out[:, t])
            d_fresh = g * d_h
            n = d_fresh * (1.0 - z_all[:, t]) * slope_n[:, t]
            owed[:, t, :width] = n * slope_r[:, t]
            owed[:, t, width : 2 * width] = d_fresh * slope_z[:, t]
            owed[:, t, 2 * width :] = n * r_all[:, t]
            d_known = owed[:, t] @ weight
            d_new[:, t], d_fresh_all[:, t], d_known_all[:, t] = n, d_h, d_known
            d_h = (1.0 - g) * d_h + d_fresh * z_all[:, t] + g * d_known + d_states[:, t]
        before, after = states[:, :-1], states[:, 1:]
        fresh = torch.lerp(new, before, z_all)
        d_opened = d_out * after + d_fresh_all * (fresh - before) + d_known_all * before
        flat = owed.reshape(-1, 3 * width)
        d_weight = flat.t() @ (opened * before).reshape(-1, width)
        d_input = torch.cat([owed[..., : 2 * width], d_new], dim=-1)
        return d_input, d_weight, flat.sum(0), d_h, d_opened
