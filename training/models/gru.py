"""Two-layer GRU maskers: log spectrum -> GRU -> GRU -> one gain per bin.

The workhorse of the literature on scalable and personalised denoising, in five widths. Real gains on the noisy phase.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pse_stream.training.models.base import N_BINS, SpectralNet, log_features
from pse_stream.training.models.level import level_step, running_level


class GRUMasker(SpectralNet):
    """Standardised log spectrum -> `layers` GRU layers of `width` -> linear -> sigmoid mask."""

    def __init__(self, width: int = 256, layers: int = 2) -> None:
        super().__init__()
        self.width, self.layers = width, layers
        self.state_shapes = [(2,)] + [(width,)] * layers
        self.register_buffer("mean", torch.zeros(N_BINS))
        self.register_buffer("spread", torch.ones(N_BINS))
        self.gru = nn.GRU(N_BINS, width, layers, batch_first=True)
        self.head = nn.Linear(width, N_BINS)
        with torch.no_grad():
            for name, p in self.gru.named_parameters():
                if "bias" in name:
                    p.zero_()
            self.head.weight.mul_(0.5)
            self.head.bias.fill_(1.0)  # start by letting most of the sound through

    def features(self, spec: Tensor, level: Tensor) -> Tensor:
        """Log spectrum relative to the running level; (..., 257)."""
        return log_features(spec, level)

    def set_statistics(self, features: Tensor) -> None:
        """Mean and spread per bin from features (frames, 257)."""
        self.mean.copy_(features.mean(0))
        self.spread.copy_(features.std(0).clamp(min=0.05))

    def forward(self, spec: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """See `SpectralNet.forward`."""
        level, level_state = running_level(spec, states[0])
        x = (self.features(spec, level) - self.mean) / self.spread
        x, hidden = self.gru(x, torch.stack(states[1:]))
        gains = torch.sigmoid(self.head(x))
        return spec * gains.unsqueeze(-1), [level_state, *hidden]

    def step(self, spec: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """One frame, layer by layer: one GRU operator each, which the runtime plays faster than spelt-out gates.

        The tracing exporter writes PyTorch's variant (`linear_before_reset`); others are known to pick the wrong one,
        and `export.check` would find it out.
        """
        level, level_state = level_step(spec, states[0])
        level = level[:, 0]
        x = ((self.features(spec, level) - self.mean) / self.spread).unsqueeze(0)  # (time 1, batch 1, 257)
        new = [level_state]
        for layer in range(self.layers):
            weights = [
                getattr(self.gru, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            ]
            x, hidden = torch.gru(x, states[1 + layer].unsqueeze(0), weights, True, 1, 0.0, False, False, False)
            new.append(hidden[0])
        gains = torch.sigmoid(self.head(x[0]))
        return (spec * gains.unsqueeze(-1), *new)

    def macs_per_frame(self) -> int:
        """3H(F + H) for the first layer, 6H^2 for each other, HF for the head."""
        h = self.width
        return 3 * h * (N_BINS + h) + (self.layers - 1) * 6 * h * h + h * N_BINS
