"""Many small GRU maskers as one computation: a group axis in front of the batch axis.

The time loop of a small GRU costs the same for one network as for thirty, so training the specialists of all ensembles
together is some four times cheaper than one after the other. Same numbers as `GRUMasker`; a test holds them equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor, nn

from pse_stream.training.models.gru import GRUMasker

_PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class _GroupedGRU(torch.autograd.Function):
    """One GRU layer (linear before reset, as PyTorch's) for all groups; from a zero state.

    Input products (time, groups, batch, 3H) with the input bias in, recurrent weight (groups, 3H, H), recurrent bias
    (groups, 1, 3H); output (time, groups, batch, H).
    """

    @staticmethod
    def forward(ctx: Any, products: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        time, groups, batch, triple = products.shape
        h = triple // 3
        turned = weight.transpose(1, 2).contiguous()
        state = products.new_zeros(groups, batch, h)
        states = products.new_empty(time + 1, groups, batch, h)
        gates = products.new_empty(time, groups, batch, 2 * h)
        news, recurrent_news = products.new_empty(time, groups, batch, h), products.new_empty(time, groups, batch, h)
        states[0] = state
        for t in range(time):
            recurrent = torch.baddbmm(bias, states[t], turned)
            torch.sigmoid(products[t, ..., : 2 * h] + recurrent[..., : 2 * h], out=gates[t])
            recurrent_news[t] = recurrent[..., 2 * h :]
            reset, update = gates[t, ..., :h], gates[t, ..., h:]
            torch.tanh(torch.addcmul(products[t, ..., 2 * h :], reset, recurrent_news[t]), out=news[t])
            torch.lerp(news[t], states[t], update, out=states[t + 1])
        ctx.save_for_backward(weight, states, gates, news, recurrent_news)
        return states[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (output,) = gradients
        weight, states, gates, news, recurrent_news = ctx.saved_tensors
        time, h = len(news), news.shape[-1]
        products, recurrents = output.new_empty(*gates.shape[:-1], 3 * h), output.new_empty(*gates.shape[:-1], 3 * h)
        carried = torch.zeros_like(states[0])
        for t in range(time - 1, -1, -1):
            whole = output[t] + carried
            reset, update = gates[t, ..., :h], gates[t, ..., h:]
            into_new = whole * (1 - update) * (1 - news[t].square())
            products[t, ..., :h] = into_new * recurrent_news[t] * reset * (1 - reset)
            products[t, ..., h : 2 * h] = whole * (states[t] - news[t]) * update * (1 - update)
            products[t, ..., 2 * h :] = into_new
            recurrents[t, ..., : 2 * h] = products[t, ..., : 2 * h]
            recurrents[t, ..., 2 * h :] = into_new * reset
            carried = torch.baddbmm(whole * update, recurrents[t], weight)
        by_group = recurrents.permute(1, 3, 0, 2).flatten(2)  # (groups, 3H, time * batch)
        into_weight = by_group @ states[:-1].permute(1, 0, 2, 3).flatten(1, 2)
        return products, into_weight, recurrents.sum((0, 2)).unsqueeze(1)


class MaskError(torch.autograd.Function):
    """|S - sigmoid(l) X|^2 per clip from mask logits: in one pass and without a copy as large as the logits.

    With a real mask on the noisy phase the error is a polynomial of the mask: |S|^2 - 2 m Re(S conj X) + m^2 |X|^2.
    """

    @staticmethod
    def forward(  # noqa: PLR0917 - autograd passes by position
        ctx: Any, logits: Tensor, rows: Tensor, wanted: Tensor, common: Tensor, noisy: Tensor
    ) -> Tensor:
        """Error (groups, batch) of logits (groups, batch, time, bins), overwritten, for the clips `rows` alike.

        `wanted` is (clips,), the sum of |S|^2; `common` and `noisy` are (clips, time, bins).
        """
        mask = logits.detach().sigmoid_()
        error = np.empty(rows.shape, np.float32)
        _mask_error(mask.flatten(2).numpy(), rows.numpy(), common.flatten(1).numpy(), noisy.flatten(1).numpy(), error)
        ctx.save_for_backward(mask, rows, common, noisy)
        return wanted[rows] + torch.from_numpy(error)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        """Into the logits."""
        mask, rows, common, noisy = ctx.saved_tensors
        gradient = gradients[0].contiguous().numpy()
        flat = mask.flatten(2).numpy()
        _mask_gradient(flat, rows.numpy(), common.flatten(1).numpy(), noisy.flatten(1).numpy(), gradient)
        return mask, None, None, None, None


@numba.njit(cache=True, fastmath=True)
def _mask_error(mask, rows, common, noisy, error):
    for g in range(rows.shape[0]):
        for b in range(rows.shape[1]):
            m, c, n = mask[g, b], common[rows[g, b]], noisy[rows[g, b]]
            total = 0.0
            for i in range(m.shape[0]):
                total += m[i] * (m[i] * n[i] - np.float32(2.0) * c[i])
            error[g, b] = total


@numba.njit(cache=True, fastmath=True)
def _mask_gradient(mask, rows, common, noisy, gradient):
    for g in range(rows.shape[0]):
        for b in range(rows.shape[1]):
            m, c, n, scale = mask[g, b], common[rows[g, b]], noisy[rows[g, b]], np.float32(2.0) * gradient[g, b]
            for i in range(m.shape[0]):
                m[i] = scale * (m[i] * n[i] - c[i]) * m[i] * (np.float32(1.0) - m[i])


class GroupedMaskers(nn.Module):
    """`GRUMasker`s of one shape, stacked; their statistics are those of the first, and the caller applies them."""

    def __init__(self, networks: Sequence[GRUMasker]) -> None:
        super().__init__()
        first = networks[0]
        self.width, self.layers = first.width, first.layers
        self.register_buffer("mean", first.mean.clone())
        self.register_buffer("spread", first.spread.clone())
        weights = [{k: v for k, v in n.state_dict().items() if k not in ("mean", "spread")} for n in networks]
        self.names = list(weights[0])
        self.stacked = nn.ParameterList([torch.stack([w[name] for w in weights]) for name in self.names])

    def forward(self, features: Tensor) -> Tensor:
        """Mask logits (groups, batch, time, 257) of standardised features alike, from fresh states."""
        of = dict(zip(self.names, self.stacked, strict=True))
        groups, batch, time, _ = features.shape
        x = features
        for layer in range(self.layers):
            w_in, w_hidden, b_in, b_hidden = (of[f"gru.{part}_l{layer}"] for part in _PARTS)
            # Only the narrow products are turned to time first; the wide features are never copied.
            products = torch.baddbmm(b_in.unsqueeze(1), x.reshape(groups, batch * time, -1), w_in.transpose(1, 2))
            products = products.view(groups, batch, time, -1).permute(2, 0, 1, 3).contiguous()
            hidden = _GroupedGRU.apply(products, w_hidden, b_hidden.unsqueeze(1))
            x = hidden.permute(1, 2, 0, 3)
        flat = x.reshape(groups, batch * time, -1)
        logits = torch.baddbmm(of["head.bias"].unsqueeze(1), flat, of["head.weight"].transpose(1, 2))
        return logits.view(groups, batch, time, -1)

    @torch.no_grad()
    def network(self, group: int) -> GRUMasker:
        """One of them as a network of its own."""
        made = GRUMasker(self.width, self.layers)
        state = {name: stack[group].detach() for name, stack in zip(self.names, self.stacked, strict=True)}
        made.load_state_dict({**state, "mean": self.mean, "spread": self.spread})
        return made.eval()
