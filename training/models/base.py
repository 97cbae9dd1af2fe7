"""What every network here shares: features of the house spectrum and the shape of its state.

A network maps spectra and states to spectra and states, in two spellings of one computation: `forward` for whole
sequences in training, `step` for one frame in export. Tests hold them equal.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn

N_BINS = 257
LOG_SCALE = 0.5 / math.log(10.0)  # from `log_power` to `log_features`
_LOG_FLOOR = 1e-5  # of the power, relative to the running level
GRU_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")  # as PyTorch names and orders them


class Lesson(NamedTuple):
    """One thing to be judged in an update; all (batch, time, 257, 2)."""

    clean: Tensor  # what the network said
    target: Tensor
    noisy: Tensor


class SpectralNet(nn.Module):
    """Base of all families: spectrum in, spectrum out, all-zero state = fresh start."""

    state_shapes: list[tuple[int, ...]]  # of one stream, without the batch axis
    own_states: tuple[int, ...] = ()  # which of these mean something else at every level
    n_levels: int = 1  # quality steps, cheapest first
    lookahead: int = 0  # the frame that comes out is the one that went in this many steps ago
    mean: Tensor  # of the features
    spread: Tensor

    def zero_states(self, batch: int, device: torch.device | str = "cpu") -> list[Tensor]:
        """Fresh states for `batch` streams."""
        return [torch.zeros(batch, *shape, device=device) for shape in self.state_shapes]

    def forward(self, spec: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Clean spectra (batch, time, 257, 2) of noisy ones, and the states after them."""
        raise NotImplementedError

    def step(self, spec: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """One frame (1, 257, 2) and the states; returns the clean frame and the new states."""
        raise NotImplementedError

    def lessons(
        self, spec: Tensor, target: Tensor, states: list[Tensor], draw: np.random.Generator
    ) -> tuple[list[Lesson], list[Tensor]]:
        """What one update learns from, and the states after it; chance comes from `draw` alone, so runs resume."""
        clean, new = self(spec, states)
        return [self.lesson(clean, target, spec)], new

    def lesson(self, clean: Tensor, target: Tensor, noisy: Tensor) -> Lesson:
        """The parts of a sequence that belong together: `clean` is `lookahead` frames late."""
        n = clean.shape[1] - self.lookahead
        return Lesson(clean[:, self.lookahead :], target[:, :n], noisy[:, :n])

    def begin_with(self, weights: dict[str, Tensor]) -> None:
        """Take over the weights of another run (`start_from`), adjusted to what this run trains."""
        self.load_state_dict(weights)

    def at_level(self, level: int) -> Self:
        """The network as it plays `level`; shares all weights."""
        return self

    def level_name(self, level: int) -> str:
        """What people read."""
        return "full"

    def settings(self) -> dict[str, float]:
        """Inputs of the graph that hold still at this level; where there are any, one graph plays all levels."""
        return {}

    def features(self, spec: Tensor, level: Tensor) -> Tensor:
        """What the network sees before it is standardised; `statistics` measures it."""
        raise NotImplementedError

    def set_statistics(self, features: Tensor) -> None:
        """Fix mean and spread of the features (frames first); done once before training."""
        raise NotImplementedError

    def macs_per_frame(self) -> int:
        """Multiply-accumulates of matrix products per frame."""
        raise NotImplementedError

    def parameter_count(self) -> int:
        """Weights that this level needs."""
        return sum(p.numel() for p in self.parameters())


def play_gru(gru: nn.GRU, x: Tensor, state: Tensor, layer: int = 0) -> Tensor:
    """One frame through one layer, (1, width) each, as one GRU operator: quicker than spelt-out gates.

    The tracing exporter writes PyTorch's variant (`linear_before_reset`); others are known to pick the wrong one, and
    `export.check` would find it out.
    """
    weights = [getattr(gru, f"{name}_l{layer}") for name in GRU_WEIGHTS]
    _, hidden = torch.gru(x.unsqueeze(0), state.unsqueeze(0), weights, True, 1, 0.0, False, False, False)
    return hidden[0]  # of a single frame that is the output too


def log_power(spec: Tensor, level: Tensor) -> Tensor:
    """ln(|X|^2 / P + 1e-5) for spec (..., 257, 2) and level (..., 1); returns (..., 257)."""
    return torch.log(spec.square().sum(-1) / level + _LOG_FLOOR)


def log_features(spec: Tensor, level: Tensor) -> Tensor:
    """0.5 log10(|X|^2 / P + 1e-5) for spec (..., 257, 2) and level (...); returns (..., 257)."""
    return LOG_SCALE * log_power(spec, level.unsqueeze(-1))


def compressed_features(spec: Tensor, level: Tensor) -> Tensor:
    """Real part, imaginary part and magnitude of X / sqrt(P), magnitudes to the power 0.3; (..., 257, 3)."""
    relative = spec * level.rsqrt().unsqueeze(-1).unsqueeze(-1)
    power = relative.square().sum(-1, keepdim=True) + 1e-6
    root = power**-0.35
    return torch.cat([relative * root, power * root], dim=-1)
