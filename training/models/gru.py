"""Two-layer GRU maskers: log spectrum -> GRU -> GRU -> one gain per bin.

The workhorse of the literature on scalable and personalised denoising, in five widths. Real gains on the noisy phase.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pse_stream.training.models.base import N_BINS, SpectralNet, log_features, play_gru
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

    def begin_with(self, weights: dict[str, Tensor]) -> None:
        """Weights of this network, or of a narrower one: it then begins as that one.

        The new units hear everything and are heard by nobody at first (their outgoing weights are zero), so they are
        free to learn what the old ones do not know.
        """
        narrow = weights["head.weight"].shape[1] if "gru.weight_ih_l0" in weights else 0
        if not 0 < narrow <= self.width:
            raise ValueError(
                f"the weights to start from are {narrow} wide; expected a GRU masker, {self.width} at most"
            )
        own = self.state_dict()
        old = [slice(k * self.width, k * self.width + narrow) for k in range(3)]  # rows of the old units, gate by gate
        for name, value in weights.items():
            if not name.startswith("gru."):
                own[name][..., : value.shape[-1]] = value
                own[name][..., value.shape[-1] :] = 0.0
                continue
            inputs = value.shape[1] if value.ndim == 2 else None  # a bias has no columns
            for rows, part in zip(old, value.chunk(3), strict=True):
                own[name][rows] = 0.0
                own[name][rows][..., :inputs] = part
        self.load_state_dict(own)

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
        """One frame, layer by layer."""
        level, level_state = level_step(spec, states[0])
        x = (self.features(spec, level[:, 0]) - self.mean) / self.spread  # (1, 257)
        new = [level_state]
        for layer in range(self.layers):
            x = play_gru(self.gru, x, states[1 + layer], layer)
            new.append(x)
        gains = torch.sigmoid(self.head(x))
        return (spec * gains.unsqueeze(-1), *new)

    def macs_per_frame(self) -> int:
        """3H(F + H) for the first layer, 6H^2 for each other, HF for the head."""
        h = self.width
        return 3 * h * (N_BINS + h) + (self.layers - 1) * 6 * h * h + h * N_BINS
