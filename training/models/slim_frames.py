"""One frame of a slim network, in full and with only the channels at the front: weights laid out for playing.

A layer's state is its channels, and after them what is heard of those behind the front: in a slender frame that is
known, a part of the biases.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pse_stream.training.models.base import N_BINS, play_gru
from pse_stream.training.models.front_gru import FrontGRU


class FullFrame(nn.Module):
    """All channels are computed, and what will be heard of those that may hold in the next frame.

    Parameters
    ----------
    gru : nn.GRU
        Two layers.
    head : nn.Linear
        From the second layer to the logits of the gains.
    narrow : int
        Channels at the front.
    """

    held_0: Tensor
    held_1: Tensor
    held_2: Tensor

    def __init__(self, gru: nn.GRU, head: nn.Linear, narrow: int) -> None:
        super().__init__()
        self.gru, self.head = gru, head
        for index, held in enumerate(held_sums(gru, head, narrow)):
            self.register_buffer(f"held_{index}", held)

    def forward(self, x: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features (1, 257) and both layers' states -> gains (1, 257) and the new states."""
        width = self.gru.hidden_size
        first = play_gru(self.gru, x, first[:, :width])
        second = play_gru(self.gru, first, second[:, :width], layer=1)
        held = (self.held_0, self.held_1, self.held_2)
        return (torch.sigmoid(self.head(second)), *with_held([first, second], held))


class SlenderFrame(nn.Module):
    """Only the channels at the front are computed; the others hold. Parameters as `FullFrame`."""

    w_0: Tensor  # in ONNX's layout, as `FrontGRU` takes them
    w_1: Tensor
    r_0: Tensor
    r_1: Tensor
    b_0: Tensor
    b_1: Tensor
    head: Tensor
    head_bias: Tensor

    def __init__(self, gru: nn.GRU, head: nn.Linear, narrow: int) -> None:
        super().__init__()
        self.narrow, self.behind = narrow, gru.hidden_size - narrow
        for layer, inputs in ((0, N_BINS), (1, narrow)):
            self.register_buffer(f"w_{layer}", front_rows(gru, f"weight_ih_l{layer}", narrow)[None, :, :inputs].clone())
            self.register_buffer(f"r_{layer}", front_rows(gru, f"weight_hh_l{layer}", narrow)[None, :, :narrow].clone())
            biases = [front_rows(gru, f"bias_{kind}_l{layer}", narrow)[:, 0] for kind in ("ih", "hh")]
            self.register_buffer(f"b_{layer}", torch.cat(biases).unsqueeze(0))
        self.register_buffer("head", head.weight.detach()[:, :narrow].t().clone())
        self.register_buffer("head_bias", head.bias.detach().clone())

    def forward(self, x: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `FullFrame.forward`."""
        front, told = [self.narrow, self.behind], 6 * self.narrow
        h, others, held = first.split([*front, told], dim=1)
        x = FrontGRU.apply(x, h, self.w_0, self.r_0, held + self.b_0)
        first = torch.cat([x, others, held], dim=1)
        h, others, held, heard = second.split([*front, told, N_BINS], dim=1)
        x = FrontGRU.apply(x, h, self.w_1, self.r_1, held + self.b_1)
        gains = torch.sigmoid(torch.addmm(heard + self.head_bias, x, self.head))
        return gains, first, torch.cat([x, others, held, heard], dim=1)


def held_sums(gru: nn.GRU, head: nn.Linear, narrow: int) -> list[Tensor]:
    """Three weights of what is heard of a layer's channels behind the front, (width, ..).

    Of the first layer by its own front channels and by those of the second; of the second by its own and the head.
    """
    own, between = (front_rows(gru, name, narrow) for name in ("weight_hh_l0", "weight_ih_l1"))
    after = torch.cat([front_rows(gru, "weight_hh_l1", narrow), head.weight.detach()])
    held = [weights.t().clone() for weights in (own, between, after)]
    for matrix in held:
        matrix[:narrow] = 0.0  # the front speaks for itself
    return held


def with_held(hidden: Sequence[Tensor], held: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Both layers' states after a full frame: channels, what adds to the biases of a GRU, and to those of the head."""
    (first, second), (own, between, after) = hidden, held
    said = first @ own
    return (
        torch.cat([first, torch.zeros_like(said), said], dim=1),  # nothing holds in what the first layer hears
        torch.cat([second, first @ between, second @ after], dim=1),
    )


def front_rows(gru: nn.GRU, name: str, narrow: int) -> Tensor:
    """Weights that make the sums of the front channels, in ONNX's order (update, reset, new); (3 * narrow, ...)."""
    whole: Tensor = getattr(gru, name).detach()
    reset, update, new = whole.view(3, gru.hidden_size, -1)[:, :narrow]
    return torch.cat([update, reset, new])
