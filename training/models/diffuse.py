"""Modified cold diffusion: enhancement as a ladder of milestones with less and less noise, each usable.

After Kim & Jeong (scalable speech enhancement by modified cold diffusion). With noisy x = s + n the milestones are
m_k = s + lam_k n, 1 = lam_0 > lam_1 > ... > lam_T = 0. Step k removes only what lies between two of them,
m_{k+1} = m_k - r_k, here as a mask of its own small GRU: r_k = (1 - mask_k) m_k. All steps are cascaded within one
frame, so more steps cost time but no delay, and every step keeps one recurrent state. Steps learn on what the steps
before them really give, and now and then on the ideal milestone. With `linked` a step also hears the last thoughts of
the step before (the stream that its mask was read from): otherwise all that a step knows would have to pass through a
spectrum that another one has masked.

`ordinary=True` is the rival: one network for all steps that estimates s from x_t = s + (t / T) n and is told t, with
the update x_{t-1} = x_t - (x - s_hat) / T (Yen et al., cold diffusion for speech enhancement, for this degradation).
"""

from __future__ import annotations

import copy
import math
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from pse_stream.training.models.base import GRU_WEIGHTS, N_BINS, Lesson, SpectralNet, log_features, play_gru
from pse_stream.training.models.level import level_step, running_level

_LESSONS_AT_ONCE = 2  # steps judged per update: the loss costs more than a step
_IDEAL_SHARE = 0.25  # of the updates: one of the steps is fed with the ideal milestone
# A step that begins as a one-shot network: its logits are made flatter and lifted, so that bins that were noise to it
# (logit -3, a gain of -26 dB) are turned down as far as the milestone wants, and clear speech stays.
_GENTLER, _NOISE_LOGIT = 0.5, 3.0


class StepNet(nn.Module):
    """Features, and what the step before thought -> linear -> residual GRU -> mask: the smallest of the house."""

    def __init__(self, width: int, linked: bool = False) -> None:
        super().__init__()
        self.view = nn.Linear(N_BINS, width)
        self.link = nn.Linear(width, width, bias=False) if linked else None
        self.block = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, N_BINS)
        with torch.no_grad():
            self.block.bias_ih_l0.zero_()
            self.block.bias_hh_l0.zero_()
            self.head.weight.mul_(0.5)
            self.head.bias.fill_(1.0)  # start by letting most of the sound through
            if self.link is not None:
                self.link.weight.zero_()  # start as without

    def forward(
        self, x: Tensor, state: Tensor, hint: Tensor, before: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Masks (batch, time, 257) from features of that shape, new state, stream (batch, time, width).

        `state` is (batch, width), `hint` (width,), `before` the stream of the step before.
        """
        h = self._heard(x, hint, before)
        refined, last = self.block(h, state.unsqueeze(0))
        return torch.sigmoid(self.head(h + refined)), last[0], h + refined

    def step(
        self, x: Tensor, state: Tensor, hint: Tensor, before: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One frame, (1, 257)."""
        h = self._heard(x, hint, before)
        last = play_gru(self.block, h, state)
        return torch.sigmoid(self.head(h + last)), last, h + last

    def _heard(self, x: Tensor, hint: Tensor, before: Tensor | None) -> Tensor:
        h: Tensor = self.view(x) + hint
        return h if self.link is None or before is None else h + self.link(before)


class Diffuse(SpectralNet):
    """`len(residual_db)` + 1 steps.

    Parameters
    ----------
    width : int
        Of every step's GRU.
    residual_db : list of float
        Noise left at the milestones before the last, in dB of amplitude: falling. The last milestone has none.
    through : bool
        Gradients flow through all steps (the joint training), or each step learns alone.
    ordinary : bool
        The rival of the module's text.
    linked : bool
        Every step after the first also hears the stream of the step before.
    """

    def __init__(
        self,
        width: int = 48,
        residual_db: list[float] | tuple[float, ...] = (-3.0, -6.0, -9.0, -13.0, -18.0),
        through: bool = False,
        ordinary: bool = False,
        linked: bool = False,
    ) -> None:
        super().__init__()
        if ordinary and linked:
            raise ValueError("ordinary cold diffusion is one network for all steps; it has no links between them")
        self.width, self.through, self.ordinary = width, through, ordinary
        self.n_levels = self.depth = len(residual_db) + 1
        self.left = [10.0 ** (db / 20.0) for db in residual_db] + [0.0]  # lam after each step
        if self.left != sorted(self.left, reverse=True) or self.left[0] >= 1.0:
            raise ValueError(f"residual_db {residual_db} must be below zero and fall")
        if ordinary:
            self.left = [1.0 - (k + 1) / self.depth for k in range(self.depth)]
        self.state_shapes = [(2,)] + [(width,)] * self.depth
        self.register_buffer("mean", torch.zeros(N_BINS))
        self.register_buffer("spread", torch.ones(N_BINS))
        self.nets = nn.ModuleList(StepNet(width, linked and k > 0) for k in range(1 if ordinary else self.depth))
        self.hints = nn.Parameter(torch.zeros(self.depth, width), requires_grad=ordinary)  # which step it is

    def begin_with(self, weights: dict[str, Tensor]) -> None:
        """Weights of this family, with or without links, or of a one-shot network of one step's size (`bloom` with one
        block).

        Every step then begins as a copy that mixes the one-shot result with its own input, so that as much noise is
        left as its milestone wants; the rival begins as the one-shot network, which is what its first step is.
        """
        if "blocks.0.weight_ih_l0" not in weights:
            links = {name: zeros for name, zeros in self.state_dict().items() if name.endswith("link.weight")}
            super().begin_with(links | weights)
            return
        one = {new: weights[old] for new, old in _one_shot_names().items()}
        with torch.no_grad():
            self.mean.copy_(weights["mean"])
            self.spread.copy_(weights["spread"])
            for index, net in enumerate(self.nets):
                assert isinstance(net, StepNet)
                net.load_state_dict(one, strict=False)  # a link begins as it is: silent
                before = self.left[index - 1] if index else 1.0
                if not self.ordinary and self.left[index] > 0.0:
                    share = self.left[index] / before  # of the noise that came in
                    net.head.weight.mul_(_GENTLER)
                    net.head.bias.mul_(_GENTLER).add_(math.log(share / (1.0 - share)) + _GENTLER * _NOISE_LOGIT)

    def at_level(self, level: int) -> Self:
        """The network that stops after step `level` + 1; shares all weights."""
        cut = copy.copy(self)
        cut.depth = level + 1
        cut.state_shapes = self.state_shapes[: 1 + cut.depth]
        return cut

    def level_name(self, level: int) -> str:
        """What people read."""
        return f"{level + 1} steps" if level else "1 step"

    def features(self, spec: Tensor, level: Tensor) -> Tensor:
        """Log spectrum relative to the running level of the noisy input; (..., 257)."""
        return log_features(spec, level)

    def set_statistics(self, features: Tensor) -> None:
        """Mean and spread per bin from features (frames, 257)."""
        self.mean.copy_(features.mean(0))
        self.spread.copy_(features.std(0).clamp(min=0.05))

    def _seen(self, now: Tensor, level: Tensor) -> Tensor:
        return (self.features(now, level) - self.mean) / self.spread

    def _net(self, index: int) -> StepNet:
        net = self.nets[0 if self.ordinary else index]
        assert isinstance(net, StepNet)
        return net

    def _next(self, noisy: Tensor, now: Tensor, mask: Tensor) -> Tensor:
        estimate = now * mask.unsqueeze(-1)
        return now - (noisy - estimate) / self.n_levels if self.ordinary else estimate

    def forward(self, spec: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """See `SpectralNet.forward`."""
        level, level_state = running_level(spec, states[0])
        now, new, stream = spec, [level_state], None
        for index in range(self.depth):
            mask, last, stream = self._net(index)(self._seen(now, level), states[1 + index], self.hints[index], stream)
            now = self._next(spec, now, mask)
            new.append(last)
        return now, new

    def in_strides(self, spec: Tensor, stride: int) -> Tensor:
        """The rival's result in `n_levels` / `stride` steps from a fresh state: it jumps over the others."""
        level, _ = running_level(spec, torch.zeros(len(spec), 2))
        now = spec
        for index in range(0, self.n_levels, stride):
            state = torch.zeros(len(spec), self.width)
            mask, _, _ = self._net(index)(self._seen(now, level), state, self.hints[index])
            now = now - (spec - now * mask.unsqueeze(-1)) * stride / self.n_levels
        return now

    def lessons(
        self, spec: Tensor, target: Tensor, states: list[Tensor], draw: np.random.Generator
    ) -> tuple[list[Lesson], list[Tensor]]:
        """Every step's milestone, two of them judged; the rival estimates the clean signal from ideal mixtures."""
        level, level_state = running_level(spec, states[0])
        noise, chosen = spec - target, self._judged(draw)
        ideal = int(draw.integers(1, self.depth)) if self.depth > 1 and draw.random() < _IDEAL_SHARE else 0
        now, new, lessons, stream = spec, [level_state], [], None
        for index in range(self.depth):
            if self.ordinary or index == ideal > 0:
                now = target + (self.left[index - 1] if index else 1.0) * noise
            if not self.through:
                now = now.detach()
            with torch.set_grad_enabled(self.through or index in chosen):
                before = stream if self.through or stream is None else stream.detach()
                mask, last, stream = self._net(index)(
                    self._seen(now, level), states[1 + index], self.hints[index], before
                )
                estimate = now * mask.unsqueeze(-1)
            if index in chosen:
                goal = target if self.ordinary else target + self.left[index] * noise
                lessons.append(Lesson(estimate, goal, spec))
            now = estimate
            new.append(last)
        return lessons, new

    def _judged(self, draw: np.random.Generator) -> set[int]:
        """Two steps, of which the last is one in the joint training: it asks of the others the quality of all."""
        if self.through and self.depth > 1:
            return {int(draw.integers(self.depth - 1)), self.depth - 1}
        return set(draw.choice(self.depth, size=min(_LESSONS_AT_ONCE, self.depth), replace=False).tolist())

    def step(self, spec: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """One frame through `depth` steps."""
        level, level_state = level_step(spec, states[0])
        now, new, stream = spec, [level_state], None
        for index in range(self.depth):
            seen = self._seen(now, level[:, 0])
            mask, last, stream = self._net(index).step(seen, states[1 + index], self.hints[index], stream)
            now = self._next(spec, now, mask)
            new.append(last)
        return (now, *new)

    def macs_per_frame(self) -> int:
        """2 F w + 6 w^2 for every step, and w^2 for every link."""
        links = sum(net.link is not None for net in self._played())
        return self.depth * (2 * N_BINS * self.width + 6 * self.width**2) + links * self.width**2

    def parameter_count(self) -> int:
        """Of the steps that are played."""
        return sum(p.numel() for net in self._played() for p in net.parameters())

    def _played(self) -> list[StepNet]:
        return [net for net in self.nets[: self.depth] if isinstance(net, StepNet)]


def _one_shot_names() -> dict[str, str]:
    """Names of a step's weights -> those of a `bloom` network with one block."""
    gru = {f"block.{kind}_l0": f"blocks.0.{kind}_l0" for kind in GRU_WEIGHTS}
    linear = {f"{part}.{kind}": f"{part}s.0.{kind}" for part in ("view", "head") for kind in ("weight", "bias")}
    return gru | linear
