"""What every network here shares: features of the house spectrum and the shape of its state.

A network maps spectra and states to spectra and states, in two spellings of one computation: `forward` for whole
sequences in training, `step` for one frame in export. Tests hold them equal.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

N_BINS = 257


class SpectralNet(nn.Module):
    """Base of all families: spectrum in, spectrum out, all-zero state = fresh start."""

    state_shapes: list[tuple[int, ...]]  # of one stream, without the batch axis

    def zero_states(self, batch: int, device: torch.device | str = "cpu") -> list[Tensor]:
        """Fresh states for `batch` streams."""
        return [torch.zeros(batch, *shape, device=device) for shape in self.state_shapes]

    def forward(self, spec: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Clean spectra (batch, time, 257, 2) of noisy ones, and the states after them."""
        raise NotImplementedError

    def step(self, spec: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """One frame (1, 257, 2) and the states; returns the clean frame and the new states."""
        raise NotImplementedError

    def features(self, spec: Tensor, level: Tensor) -> Tensor:
        """What the network sees before it is standardised; `statistics` measures it."""
        raise NotImplementedError

    def set_statistics(self, features: Tensor) -> None:
        """Fix mean and spread of the features (frames first); done once before training."""
        raise NotImplementedError

    def macs_per_frame(self) -> int:
        """Multiply-accumulates of matrix products per frame."""
        raise NotImplementedError


def log_features(spec: Tensor, level: Tensor) -> Tensor:
    """0.5 log10(|X|^2 / P + 1e-5) for spec (..., 257, 2) and level (...); returns (..., 257)."""
    return 0.5 * torch.log10(spec.square().sum(-1) / level.unsqueeze(-1) + 1e-5)


def compressed_features(spec: Tensor, level: Tensor) -> Tensor:
    """Real part, imaginary part and magnitude of X / sqrt(P), magnitudes to the power 0.3; (..., 257, 3)."""
    relative = spec * level.rsqrt().unsqueeze(-1).unsqueeze(-1)
    power = relative.square().sum(-1, keepdim=True) + 1e-6
    root = power**-0.35
    return torch.cat([relative * root, power * root], dim=-1)
