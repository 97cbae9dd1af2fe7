"""BLOOM: a masker grown block by block, with an exit after every block.

After Kim & Jeong, "BLOOM-Net: blockwise optimization for masking networks toward scalable and efficient speech
enhancement" (ICASSP 2022): blocks refine a residual stream, every depth has a mask head of its own, and blocks are
trained in turn with everything before them frozen, then all exits together. Their blocks stand on clip-wide
normalisation; ours are GRUs, causal and with memory of their own, on a stream that widens with depth: every block adds
channels that see the input afresh, so that deep exits are not held to the narrow view of the first one.

    h_l = [h_{l-1}, E_l x],  h_l <- h_l + GRU_l(h_l),  mask_l = sigmoid(head_l(h_l))
"""

from __future__ import annotations

import copy
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from pse_stream.training.models.base import N_BINS, Lesson, SpectralNet, log_features, play_gru
from pse_stream.training.models.level import level_step, running_level

_WAKING_SHARE = 0.3  # of the joint updates: deeper blocks wake up with empty memories, as after a change of depth


class Bloom(SpectralNet):
    """`len(widths)` residual GRU blocks, a head after each.

    Parameters
    ----------
    widths : list of int
        Channels of the stream at each block; must not shrink.
    stage : int
        1..len(widths): only that block and its head are trained, through its own exit. 0: all exits together.
        -1: only through the last exit, end to end: the separately trained rival of that depth.
    """

    def __init__(self, widths: list[int] | tuple[int, ...] = (48, 96, 128, 160, 224), stage: int = 0) -> None:
        super().__init__()
        self.widths, self.stage, self.depth = tuple(widths), stage, len(widths)
        if list(widths) != sorted(widths) or not -1 <= stage <= len(widths):
            raise ValueError(f"widths {widths} must not shrink, and stage {stage} must be -1..{len(widths)}")
        self.n_levels = 1 if stage == -1 else len(widths)
        self.state_shapes = [(2,)] + [(w,) for w in self.widths]
        self.register_buffer("mean", torch.zeros(N_BINS))
        self.register_buffer("spread", torch.ones(N_BINS))
        added = np.diff([0, *self.widths])
        self.views = nn.ModuleList(nn.Linear(N_BINS, int(a)) if a else nn.Identity() for a in added)
        self.blocks = nn.ModuleList(nn.GRU(w, w, batch_first=True) for w in self.widths)
        self.heads = nn.ModuleList(nn.Linear(w, N_BINS) for w in self.widths)
        with torch.no_grad():
            for block in self.blocks:
                for name, p in block.named_parameters():
                    if "bias" in name:
                        p.zero_()
            for head in self.heads:
                head.weight.mul_(0.5)
                head.bias.fill_(1.0)  # start by letting most of the sound through
        self._freeze()

    def _freeze(self) -> None:
        """Only what the stage trains asks for gradients."""
        for index in range(len(self.widths)):
            trained = self.stage in (0, index + 1) or (self.stage == -1)
            for module in (self.views[index], self.blocks[index], self.heads[index]):
                module.requires_grad_(trained)
            if self.stage == -1 and index < len(self.widths) - 1:
                self.heads[index].requires_grad_(False)

    def begin_with(self, weights: dict[str, Tensor]) -> None:
        """A new exit begins as the one before it: its head reads the same channels with the same weights.

        A rival may begin as the first blocks of a deeper network.
        """
        own = self.state_dict() if self.stage == -1 else weights
        super().begin_with({name: value for name, value in weights.items() if name in own})
        if self.stage < 2:
            return
        before, now = self.heads[self.stage - 2], self.heads[self.stage - 1]
        with torch.no_grad():
            now.weight[:, : before.weight.shape[1]].copy_(before.weight)
            now.weight[:, before.weight.shape[1] :].zero_()
            now.bias.copy_(before.bias)

    def at_level(self, level: int) -> Self:
        """The network cut off after block `level` + 1; shares all weights."""
        cut = copy.copy(self)
        cut.depth = len(self.widths) if self.stage == -1 else level + 1
        cut.state_shapes = self.state_shapes[: 1 + cut.depth]
        return cut

    def level_name(self, level: int) -> str:
        """What people read."""
        return f"depth {level + 1}"

    def features(self, spec: Tensor, level: Tensor) -> Tensor:
        """Log spectrum relative to the running level; (..., 257)."""
        return log_features(spec, level)

    def set_statistics(self, features: Tensor) -> None:
        """Mean and spread per bin from features (frames, 257)."""
        self.mean.copy_(features.mean(0))
        self.spread.copy_(features.std(0).clamp(min=0.05))

    def _widen(self, index: int, h: Tensor | None, x: Tensor) -> Tensor:
        if isinstance(self.views[index], nn.Identity):
            assert h is not None
            return h
        seen: Tensor = self.views[index](x)
        return seen if h is None else torch.cat([h, seen], dim=-1)

    def streams(self, spec: Tensor, states: list[Tensor], depth: int) -> tuple[list[Tensor], list[Tensor]]:
        """The stream after each of the first `depth` blocks, and all states after the sequence."""
        level, level_state = running_level(spec, states[0])
        x = (self.features(spec, level) - self.mean) / self.spread
        h: Tensor | None = None
        found, new = [], [level_state]
        for index in range(depth):
            h = self._widen(index, h, x)
            refined, last = self.blocks[index](h, states[1 + index].unsqueeze(0))
            h = h + refined
            found.append(h)
            new.append(last[0])
        return found, new + list(states[1 + depth :])

    def _masked(self, spec: Tensor, h: Tensor, index: int) -> Tensor:
        return spec * torch.sigmoid(self.heads[index](h)).unsqueeze(-1)

    def forward(self, spec: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """See `SpectralNet.forward`."""
        found, new = self.streams(spec, states, self.depth)
        return self._masked(spec, found[-1], self.depth - 1), new

    def lessons(
        self, spec: Tensor, target: Tensor, states: list[Tensor], draw: np.random.Generator
    ) -> tuple[list[Lesson], list[Tensor]]:
        """Through the exit of the stage; in the joint training through the last one and another, drawn anew per update.

        Not through all of them: the loss costs as much as the network. The last exit is judged always because what
        it asks of the blocks serves those before it too. Now and then, all blocks from some depth on forget what they
        know while those before them go on: what a change of depth does to them at run time.
        """
        if self.stage > 0:
            found, new = self.streams(spec, states, self.stage)
            return [Lesson(self._masked(spec, found[-1], self.stage - 1), target, spec)], new
        if self.stage < 0:
            return super().lessons(spec, target, states, draw)
        if draw.random() < _WAKING_SHARE:
            asleep = 1 + int(draw.integers(1, len(self.widths)))
            states = [*states[:asleep], *(torch.zeros_like(s) for s in states[asleep:])]
        last = len(self.widths) - 1
        exits = {last, int(draw.integers(last))} if last else {0}
        found, new = self.streams(spec, states, len(self.widths))
        return [Lesson(self._masked(spec, found[k], k), target, spec) for k in sorted(exits)], new

    def step(self, spec: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """One frame: per block one product, one GRU operator, one sum."""
        level, level_state = level_step(spec, states[0])
        x = (self.features(spec, level[:, 0]) - self.mean) / self.spread  # (1, 257)
        h: Tensor | None = None
        new = [level_state]
        for index in range(self.depth):
            h = self._widen(index, h, x)
            new.append(play_gru(self.blocks[index], h, states[1 + index]))
            h = h + new[-1]
        assert h is not None
        return (self._masked(spec, h, self.depth - 1), *new)

    def _modules_used(self) -> list[nn.Module]:
        return [*self.views[: self.depth], *self.blocks[: self.depth], self.heads[self.depth - 1]]

    def macs_per_frame(self) -> int:
        """The input views and 6 w^2 per block down to `depth`, and one head."""
        return sum(p.numel() for module in self._modules_used() for p in module.parameters() if p.ndim == 2)

    def parameter_count(self) -> int:
        """What is needed down to `depth`."""
        return sum(p.numel() for module in self._modules_used() for p in module.parameters())
