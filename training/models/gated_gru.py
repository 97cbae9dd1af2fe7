"""A GRU layer over time of which most channels are computed only in the frames that a gate opens.

torch's GRU knows no such frames, and its automatic gradient of a loop adds to the gradient of the recurrent weights in
every frame. Here the loop backward only collects what the gates' sums are owed; the weights get theirs in one product.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def gated_gru(from_input: Tensor, weight: Tensor, bias: Tensor, start: Tensor, opened: Tensor) -> Tensor:
    """Play the layer.

    Where the gate is shut a channel holds: it says what it said before. The gradient reaches the gate too.

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
    (batch, time, width)
        All states; the last one is the state to carry on with.
    """
    states: Tensor = _GatedGRU.apply(from_input, weight, bias, start, opened)
    return states


class _GatedGRU(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 - as autograd hands them over
        ctx: Any, from_input: Tensor, weight: Tensor, bias: Tensor, start: Tensor, opened: Tensor
    ) -> Tensor:
        batch, time, width = opened.shape
        reset_update, new = from_input.new_empty(batch, time, 2 * width), from_input.new_empty(batch, time, width)
        recurrent_new, states = torch.empty_like(new), from_input.new_empty(batch, time + 1, width)
        states[:, 0] = h = start
        turned = weight.t().contiguous()
        for t in range(time):
            i, sums = from_input[:, t], torch.addmm(bias, h, turned)
            both = torch.sigmoid(i[:, : 2 * width] + sums[:, : 2 * width])
            r, z, s = both[:, :width], both[:, width:], sums[:, 2 * width :]
            n = torch.tanh(torch.addcmul(i[:, 2 * width :], r, s))
            h = torch.lerp(h, torch.lerp(n, h, z), opened[:, t])
            reset_update[:, t], new[:, t], recurrent_new[:, t], states[:, t + 1] = both, n, s, h
        ctx.save_for_backward(weight, opened, reset_update, new, recurrent_new, states)
        return states[:, 1:].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_states: Tensor) -> tuple[Tensor, ...]:
        weight, opened, reset_update, new, recurrent_new, states = ctx.saved_tensors
        time, width = opened.shape[1:]
        before, r, z = states[:, :-1], reset_update[..., :width], reset_update[..., width:]
        # What a frame's sums get of what its fresh value gets: known for all frames beforehand.
        to_new = opened * (1.0 - z) * (1.0 - new.square())
        to_reset = to_new * recurrent_new * r * (1.0 - r)
        to_update = opened * (before - new) * z * (1.0 - z)
        kept = 1.0 - opened + opened * z  # of a state into the next one
        slopes = torch.cat([to_reset, to_update, to_new * r], dim=-1)
        owed, d_each = torch.empty_like(slopes), torch.empty_like(new)  # to the recurrent sums, to the states
        d_h = torch.zeros_like(new[:, 0])
        for t in range(time - 1, -1, -1):
            d_h = d_h + d_states[:, t]
            d_each[:, t] = d_h
            owed[:, t] = slopes[:, t] * d_h.repeat(1, 3)
            d_h = torch.addmm(d_h * kept[:, t], owed[:, t], weight)
        d_opened = d_each * (torch.lerp(new, before, z) - before)
        flat = owed.reshape(-1, 3 * width)
        d_weight = flat.t() @ before.reshape(-1, width)
        return torch.cat([owed[..., : 2 * width], d_each * to_new], dim=-1), d_weight, flat.sum(0), d_h, d_opened
