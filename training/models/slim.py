"""Slimming: a two-layer GRU masker that computes only its first channels in most frames.

A gate of a few hundred weights decides per frame, from the input alone, whether all channels are computed or only a
group at the front ("dynamic channel pruning", in the structured form that saves time and not only products: two
prepared graphs behind one branch, `training/branching.py`). In a narrow frame the other channels hold, as in a
clockwork RNN (Koutnik et al. 2014): they go on saying what they said. So what the front channels and the head hear of
them is a sum that changes in full frames only; it is kept as state and costs nothing in narrow ones. The decision is
hard; its gradient is that of a sigmoid. A threshold that follows (`quota`) keeps the share of computed channels at a
target. The target is the level; the last level computes everything. One graph plays all levels: the share is an input.

Weights have the names of `GRUMasker`, so that a run may start from one: its channels are sorted by their weight on
what follows, because a prefix must hold the most useful ones.
"""

from __future__ import annotations

import copy
import math
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from pse_stream.training.models.base import (
    GRU_WEIGHTS,
    LOG_SCALE,
    N_BINS,
    Lesson,
    SpectralNet,
    log_features,
    log_power,
)
from pse_stream.training.models.gated_gru import gated_gru
from pse_stream.training.models.level import level_step, running_level
from pse_stream.training.models.quota import opened_frames, quota_settings, quota_step
from pse_stream.training.models.recurrence import scan
from pse_stream.training.models.slim_frames import FullFrame, SlenderFrame, held_sums, with_held

_BANDS = 16  # what the gate sees of a frame
_GATE_UNITS = 12
_DECAY = math.exp(-1.0 / (125 * 0.25))  # the gate's memory: 0.25 s
_BOUND = 1.5  # of the gate's logits: else they grow until the threshold, which follows slowly, means nothing to them
_OUT_OF_REACH = -100.0  # a start of the threshold that every logit is above
_START_RATE = 0.02  # per update: the threshold of a fresh stream follows those that streams were left with
_CHEAPEST_SHARE = 0.5  # of the sequences in training: what is asked of the fewest channels is the hardest


class Slim(SpectralNet):
    """Log spectrum -> two GRU layers -> mask, `width` channels wide or only `narrow`, as the gate says.

    Parameters
    ----------
    width, narrow : int
        Channels of each layer in all, and those computed in every frame.
    shares : list of float
        Mean share of computed channels at each level, rising; the last must be 1.
    """

    own_states = (2,)  # what was saved up under one budget is not spent under another

    def __init__(
        self, width: int = 256, narrow: int = 32, shares: list[float] | tuple[float, ...] = (0.25, 0.5, 1.0)
    ) -> None:
        super().__init__()
        if list(shares) != sorted(shares) or shares[-1] != 1.0 or shares[0] < narrow / width:
            raise ValueError(f"shares {shares} must rise from at least {narrow / width:g} (narrow / width) to 1")
        self.width, self.narrow, self.shares = width, narrow, tuple(shares)
        self.n_levels = len(shares)
        self.level = self.n_levels - 1
        # Running level; the gate's recent bands; its threshold; each layer, and what is heard of channels that hold.
        self.state_shapes = [(2,), (_BANDS,), (1,), (width + 6 * narrow,), (width + 6 * narrow + N_BINS,)]
        self.register_buffer("mean", torch.zeros(N_BINS))
        self.register_buffer("spread", torch.ones(N_BINS))
        self.register_buffer("bands", _bands())
        self.register_buffer("starts", torch.zeros(len(shares)))  # where the threshold begins at each level
        self.gru = nn.GRU(N_BINS, width, 2, batch_first=True)
        self.head = nn.Linear(width, N_BINS)
        self.gate_in = nn.Linear(2 * _BANDS, _GATE_UNITS)
        self.gate_out = nn.Linear(_GATE_UNITS, 1)
        with torch.no_grad():
            for name, p in self.gru.named_parameters():
                if "bias" in name:
                    p.zero_()
            self.head.weight.mul_(0.5)
            self.head.bias.fill_(1.0)  # start by letting most of the sound through

    def full_frames(self) -> list[float]:
        """The share of frames that each level may compute in full."""
        least = self.narrow / self.width
        return [(share - least) / (1.0 - least) for share in self.shares]

    def begin_with(self, weights: dict[str, Tensor]) -> None:
        """Weights of this family, or of a GRU masker of this width, whose channels are sorted first."""
        if "gate_in.weight" in weights:
            super().begin_with(weights)
            return
        own = {k: v for k, v in self.state_dict().items() if "gate" in k or k in ("bands", "starts")}
        self.load_state_dict(sorted_channels(weights) | own)

    def at_level(self, level: int) -> Self:
        """The network with the gate at `level`; shares all weights."""
        cut = copy.copy(self)
        cut.level = level
        return cut

    def level_name(self, level: int) -> str:
        """What people read."""
        return f"{round(100 * self.shares[level])} % of the channels"

    def settings(self) -> dict[str, float]:
        """Where the gate's threshold begins, and how far it moves with every frame."""
        if self.level == self.n_levels - 1:
            return {"start": _OUT_OF_REACH, "rise": 0.0, "fall": 0.0}
        return quota_settings(self.full_frames()[self.level], float(self.starts[self.level]))

    def features(self, spec: Tensor, level: Tensor) -> Tensor:
        """Log spectrum relative to the running level; (..., 257)."""
        return log_features(spec, level)

    def set_statistics(self, features: Tensor) -> None:
        """Mean and spread per bin from features (frames, 257)."""
        self.mean.copy_(features.mean(0))
        self.spread.copy_(features.std(0).clamp(min=0.05))

    def _gate(self, seen: Tensor, recent: Tensor) -> Tensor:
        """Logits (..., 1) from the bands of this frame and of the last quarter of a second, (..., 16)."""
        hidden = torch.relu(self.gate_in(torch.cat([seen, recent], dim=-1)))
        return _BOUND * torch.tanh(self.gate_out(hidden))

    def forward(self, spec: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """See `SpectralNet.forward`."""
        return self._play(spec, states)[:2]

    def _play(self, spec: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor], Tensor | None]:
        """Clean spectra, states, and the decisions (batch, time) where there is a gate."""
        level, level_state = running_level(spec, states[0])
        x = (self.features(spec, level) - self.mean) / self.spread
        seen = x @ self.bands
        recent, threshold = scan(torch.full_like(seen, _DECAY), seen, states[1]), states[2]
        hidden = [state[:, : self.width] for state in states[3:]]
        opened = None
        if self.level == self.n_levels - 1:
            y, last = self.gru(x, torch.stack(hidden))
            hidden = list(last)
        else:
            wishes = self._gate(seen, recent)[..., 0] - self.starts[self.level]
            opened, threshold = opened_frames(wishes, threshold, self.full_frames()[self.level])
            y = x
            for layer in range(2):
                y = self._gated_layer(layer, y, hidden[layer], opened)
                hidden[layer] = y[:, -1]
        clean = spec * torch.sigmoid(self.head(y)).unsqueeze(-1)
        held = held_sums(self.gru, self.head, self.narrow)
        return clean, [level_state, recent[:, -1], threshold, *with_held(hidden, held)], opened

    def _gated_layer(self, layer: int, x: Tensor, start: Tensor, opened: Tensor) -> Tensor:
        """One GRU layer over time; `opened` (batch, time) says whether channels behind `narrow` are computed."""
        w_i, w_h, b_i, b_h = (getattr(self.gru, f"{name}_l{layer}") for name in GRU_WEIGHTS)
        behind = opened.unsqueeze(-1).expand(-1, -1, self.width - self.narrow)
        channels = torch.cat([torch.ones(*opened.shape, self.narrow, device=x.device), behind], dim=-1)
        return gated_gru(nn.functional.linear(x, w_i, b_i), w_h, b_h, start, channels)

    def lessons(
        self, spec: Tensor, target: Tensor, states: list[Tensor], draw: np.random.Generator
    ) -> tuple[list[Lesson], list[Tensor]]:
        """At one level up to a moment, and from there on at another or the same: levels change while people speak."""
        moment, parts = int(draw.integers(1, spec.shape[1])), []
        for part in (spec[:, :moment], spec[:, moment:]):
            level = 0 if draw.random() < _CHEAPEST_SHARE else int(draw.integers(1, self.n_levels))
            clean, states = self.at_level(level).forward(part, states)
            parts.append(clean)
            if level < self.n_levels - 1:
                higher = _START_RATE * states[2].mean()
                self.starts[level] += higher
                states[2] = states[2] - higher  # what runs goes on as it was
        return [Lesson(torch.cat(parts, dim=1), target, spec)], states

    def step(self, spec: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """One frame; a trace of it holds only the branch that was taken, so the exporter joins its parts."""
        settings = [torch.tensor([value]) for value in self.settings().values()]
        opened, x, *known = self.choose(spec, *settings, *states[:3])
        full, slender = self.branches()
        gains, *hidden = (full if bool(opened) else slender)(x, *states[3:])
        return (spec * gains.unsqueeze(-1), *known, *hidden)

    def choose(self, spec: Tensor, *settings_and_states: Tensor) -> tuple[Tensor, ...]:
        """Whether the gate opens (1, 1), what the branches hear (1, 257), and the first three states.

        The branches hear a plain logarithm: to standardise it is a part of the weights, as every operator costs as
        much as the products of a narrow layer.
        """
        *settings, level, recent, threshold = settings_and_states
        running, level_state = level_step(spec, level)
        x = log_power(spec, running)
        scale, shift = self._standard()
        seen = torch.addmm(shift @ self.bands, x, scale.unsqueeze(-1) * self.bands)
        recent = seen + _DECAY * (recent - seen)
        opened, threshold = quota_step(self._gate(seen, recent), threshold, *settings)
        return opened, x, level_state, recent, threshold

    def branches(self) -> tuple[FullFrame, SlenderFrame]:
        """What plays a frame with all channels, and with those at the front; the weights are as they are now."""
        gru = copy.deepcopy(self.gru)
        scale, shift = self._standard()
        with torch.no_grad():
            gru.bias_ih_l0 += gru.weight_ih_l0 @ shift
            gru.weight_ih_l0 *= scale
        return FullFrame(gru, self.head, self.narrow), SlenderFrame(gru, self.head, self.narrow)

    def _standard(self) -> tuple[Tensor, Tensor]:
        """What makes standardised features of logarithms: a factor and a summand, (257,)."""
        return LOG_SCALE / self.spread, -self.mean / self.spread

    def macs_per_frame(self) -> int:
        """The mean over frames: the gate, the narrow network, and the rest in the target's share of frames."""
        full, narrow = (3 * n * (N_BINS + n) + 6 * n * n + n * N_BINS for n in (self.width, self.narrow))
        full += (self.width - self.narrow) * (9 * self.narrow + N_BINS)  # what is heard of those that will hold
        gate = N_BINS * _BANDS + 2 * _BANDS * _GATE_UNITS + _GATE_UNITS
        if self.level == self.n_levels - 1:
            return full + N_BINS * _BANDS
        return round(gate + narrow + self.full_frames()[self.level] * (full - narrow))


def _bands() -> Tensor:
    """Mean of the features over 16 bands of equal width on the Bark scale; (257, 16)."""
    hz = np.arange(N_BINS) * 31.25
    bark = np.maximum(26.81 * hz / (1960.0 + hz) - 0.53, 0.0)  # Traunmueller 1990
    place = np.minimum((bark / bark[-1] * _BANDS).astype(int), _BANDS - 1)
    weights = (place[:, None] == np.arange(_BANDS)).astype(np.float32)
    return torch.tensor(weights / np.maximum(weights.sum(0), 1.0))


def sorted_channels(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a two-layer GRU masker with the channels of each layer sorted by their weight on what follows."""
    found = dict(weights)
    width = weights["head.weight"].shape[1]
    for layer, follows in ((0, "gru.weight_ih_l1"), (1, "head.weight")):
        order = torch.argsort(found[follows].float().norm(dim=0), descending=True)
        rows = torch.cat([order + k * width for k in range(3)])
        for name in GRU_WEIGHTS:
            found[f"gru.{name}_l{layer}"] = found[f"gru.{name}_l{layer}"][rows]
        found[f"gru.weight_hh_l{layer}"] = found[f"gru.weight_hh_l{layer}"][:, order]
        found[follows] = found[follows][:, order]
    return found
