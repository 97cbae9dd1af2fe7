"""A GRU for one frame whose biases are given with the frame: what channels say that hold is a part of them.

torch's GRU takes such biases too, but its exporter then sorts them anew in every frame, gate by gate, which costs more
than the products of a small layer. This one has ONNX's order from the start and becomes a single operator.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class FrontGRU(torch.autograd.Function):
    """`FrontGRU.apply(x, h, w, r, b)` -> h: one frame; for playing and export, not for training.

    Gates are in ONNX's order (update, reset, new), the reset gate after the recurrent product as in torch.

    Parameters
    ----------
    x, h : (1, inputs), (1, units)
    w, r : (1, 3 * units, inputs), (1, 3 * units, units)
    b : (1, 6 * units)
        Of the input's sums, then of the recurrence.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, h: Tensor, w: Tensor, r: Tensor, b: Tensor) -> Tensor:  # noqa: PLR0917 - autograd's
        """See the class."""
        n = h.shape[1]
        i, sums = torch.addmm(b[:, : 3 * n], x, w[0].t()), torch.addmm(b[:, 3 * n :], h, r[0].t())
        update, reset = torch.sigmoid(i[:, : 2 * n] + sums[:, : 2 * n]).chunk(2, dim=1)
        new = torch.tanh(i[:, 2 * n :] + reset * sums[:, 2 * n :])
        return new + update * (h - new)

    @staticmethod
    def symbolic(g: Any, x: Any, h: Any, w: Any, r: Any, b: Any) -> Any:  # noqa: PLR0917 - the exporter's
        """The operator; its inputs have a direction and a time of length one in front."""
        one = g.op("Constant", value_t=torch.tensor([0]))
        x, h = (g.op("Unsqueeze", given, one) for given in (x, h))
        lengths = g.op("prim::Constant")  # none: all of the sequence
        lengths.setType(torch._C.OptionalType.ofTensor())
        units = h.type().sizes()[-1]
        _, last = g.op("GRU", x, w, r, b, lengths, h, hidden_size_i=units, linear_before_reset_i=1, outputs=2)
        return g.op("Squeeze", last, one)
