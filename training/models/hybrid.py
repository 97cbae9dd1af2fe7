"""House networks: a shared local encoder, a dense recurrent core, a shared local decoder.

Bins 1..256 form 64 groups of 4. Every group sees itself and its neighbours through the same small encoder and keeps
its own short memory through the same gated linear recurrence, so what is learnt in one band is known in all. The core
joins all groups into one vector and carries the context of the whole spectrum. The decoder, again shared, sees the
core's message to its group beside what the encoder found there, and gives per bin one gain and a complex filter over
the last frames. Bin 0 (below 16 Hz) follows bin 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pse_stream.training.models.base import N_BINS, SpectralNet, compressed_features
from pse_stream.training.models.level import level_step, running_level
from pse_stream.training.models.recurrence import scan

GROUPS, BINS = 64, 4
CHANNELS = 3  # re, im, magnitude


class LinearMemory(nn.Module):
    """Gated linear recurrence: h = a h + (1 - a) v, out = h * silu(o); a, v, o from the input alone."""

    def __init__(self, width: int, state: int, groups: int = 1) -> None:
        super().__init__()
        self.state, self.groups = state, groups
        self.inner = nn.Linear(width, 3 * state)
        self.outer = nn.Linear(state, width)
        with torch.no_grad():
            # Memories from a few frames to many seconds; gates near one start as long averages.
            self.inner.bias[:state].copy_(torch.linspace(0.5, 5.5, state))
            self.inner.bias[state:].zero_()
            self.outer.weight.mul_(0.5)
            self.outer.bias.zero_()

    def forward(self, x: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        """Sequence form: x (batch, time, [groups,] width), start (batch, groups * state)."""
        a, v, o = self.inner(x).chunk(3, dim=-1)
        shape = v.shape
        h = scan(torch.sigmoid(a).flatten(2), v.flatten(2), start)
        out = self.outer(h.view(shape) * functional.silu(o))
        return out, h[:, -1]

    def step(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """One frame: x (groups, width), h (groups, state)."""
        a, v, o = self.inner(x).chunk(3, dim=-1)
        h = v + torch.sigmoid(a) * (h - v)
        return self.outer(h * functional.silu(o)), h


class CoreBlock(nn.Module):
    """Norm, linear memory, residual; norm, gated feed-forward, residual."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.norm_memory = nn.LayerNorm(width)
        self.memory = LinearMemory(width, width)
        self.norm_feed = nn.LayerNorm(width)
        self.feed_in = nn.Linear(width, 2 * inner)
        self.feed_out = nn.Linear(inner, width)
        with torch.no_grad():
            self.feed_out.weight.mul_(0.5)

    def _feed(self, x: Tensor) -> Tensor:
        value, gate = self.feed_in(self.norm_feed(x)).chunk(2, dim=-1)
        return x + self.feed_out(value * functional.silu(gate))

    def forward(self, x: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        """Sequence form: x (batch, time, width)."""
        y, h = self.memory(self.norm_memory(x), start)
        return self._feed(x + y), h

    def step(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """One frame: x and h (1, width)."""
        y, h = self.memory.step(self.norm_memory(x), h)
        return self._feed(x + y), h


class Hybrid(SpectralNet):
    """Local encoder -> dense core -> local decoder with a complex filter over `taps` frames."""

    def __init__(  # noqa: PLR0917 - built from recipes, by name
        self,
        width: int = 192,
        blocks: int = 4,
        inner: int = 288,
        local: int = 32,
        memory: int = 24,
        message: int = 16,
        decoder: int = 48,
        taps: int = 3,
    ) -> None:
        super().__init__()
        self.local, self.memory, self.taps, self.message = local, memory, taps, message
        self.state_shapes = [(2,)] + [(width,)] * blocks
        if memory:
            self.state_shapes.append((GROUPS * memory,))
        if taps > 1:
            self.state_shapes.append(((taps - 1) * N_BINS * 2,))
        self.register_buffer("mean", torch.zeros(N_BINS, CHANNELS))
        self.register_buffer("spread", torch.ones(N_BINS, CHANNELS))
        self.encode = nn.Linear(3 * BINS * CHANNELS, local)
        self.place = nn.Parameter(torch.randn(GROUPS, local) * 0.1)
        if memory:
            self.local_memory = LinearMemory(local, memory)
        self.squeeze = nn.Linear(local, message)
        self.gather = nn.Linear(GROUPS * message, width)
        self.blocks = nn.ModuleList(CoreBlock(width, inner) for _ in range(blocks))
        self.spread_out = nn.Linear(width, GROUPS * message)
        self.decode_in = nn.Linear(local + message, decoder)
        self.decode_out = nn.Linear(decoder, BINS * (1 + 2 * taps))
        with torch.no_grad():
            self.decode_out.weight.mul_(0.5)
            self.decode_out.bias.zero_()
            self.decode_out.bias[:BINS].fill_(1.0)  # start by letting most of the sound through

    def features(self, spec: Tensor, level: Tensor) -> Tensor:
        """Compressed re, im and magnitude; (..., 257, 3)."""
        return compressed_features(spec, level)

    def set_statistics(self, features: Tensor) -> None:
        """Per bin: mean and spread of the magnitude, one spread for re and im; features (frames, 257, 3)."""
        self.mean[:, 2].copy_(features[..., 2].mean(0))
        self.spread[:, 2].copy_(features[..., 2].std(0).clamp(min=0.01))
        self.spread[:, :2].copy_(features[..., :2].square().mean((0, 2)).sqrt().clamp(min=0.01).unsqueeze(-1))

    def _grouped(self, x: Tensor) -> Tensor:
        """Features (..., 257, 3) -> own and neighbouring bins of each group (..., 64, 36)."""
        x = x[..., 1:, :].flatten(-2)  # (..., 768)
        x = functional.pad(x, (BINS * CHANNELS, BINS * CHANNELS))
        x = x.unflatten(-1, (GROUPS + 2, BINS * CHANNELS))
        return torch.cat([x[..., :-2, :], x[..., 1:-1, :], x[..., 2:, :]], dim=-1)

    def _decode(self, core: Tensor, local: Tensor) -> Tensor:
        """Coefficients (..., 64, 4 * (1 + 2 taps)) from the core (..., width) and the groups (..., 64, local)."""
        message = self.spread_out(core).unflatten(-1, (GROUPS, self.message))
        return self.decode_out(functional.relu(self.decode_in(torch.cat([message, local], dim=-1))))

    def forward(self, spec: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """See `SpectralNet.forward`."""
        level, level_state = running_level(spec, states[0])
        x = (self.features(spec, level) - self.mean) / self.spread
        e = functional.relu(self.encode(self._grouped(x)) + self.place)
        new = [level_state]
        core_states, rest = states[1 : 1 + len(self.blocks)], list(states[1 + len(self.blocks) :])
        if self.memory:
            y, local_state = self.local_memory(e, rest.pop(0))
            e = e + y
        core = self.gather(self.squeeze(e).flatten(-2))
        for block, state in zip(self.blocks, core_states, strict=True):
            core, h = block(core, state)
            new.append(h)
        if self.memory:
            new.append(local_state)
        coefficients = self._decode(core, e)
        gain = torch.sigmoid(coefficients[..., :BINS]).flatten(-2)  # (B, T, 256)
        history, batch, time = spec, *spec.shape[:2]
        if self.taps > 1:
            past = rest.pop(0).view(batch, self.taps - 1, N_BINS, 2)
            history = torch.cat([past, spec], dim=1)
            new.append(history[:, -(self.taps - 1) :].flatten(1))
        re, im = history[..., 1:, 0], history[..., 1:, 1]
        filters = coefficients[..., BINS:].unflatten(-1, (self.taps, 2, BINS))
        last = self.taps - 1
        out_re, out_im = re[:, last:], im[:, last:]
        for k in range(self.taps):
            c, d = filters[..., k, 0, :].flatten(-2), filters[..., k, 1, :].flatten(-2)
            x_re, x_im = re[:, last - k : last - k + time], im[:, last - k : last - k + time]
            out_re = out_re + c * x_re - d * x_im
            out_im = out_im + c * x_im + d * x_re
        out = torch.stack([out_re * gain, out_im * gain], dim=-1)
        low = spec[..., :1, :] * gain[..., :1].unsqueeze(-1)
        return torch.cat([low, out], dim=-2), new

    def step(self, spec: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """One frame with the group axis in the place of batch and time."""
        level, level_state = level_step(spec, states[0])
        level = level[:, 0]
        x = (self.features(spec, level) - self.mean) / self.spread
        e = functional.relu(self.encode(self._grouped(x[0])) + self.place)  # (64, local)
        new = [level_state]
        core_states, rest = states[1 : 1 + len(self.blocks)], list(states[1 + len(self.blocks) :])
        if self.memory:
            y, local_state = self.local_memory.step(e, rest.pop(0).view(GROUPS, self.memory))
            e = e + y
        core = self.gather(self.squeeze(e).view(1, -1))
        for block, state in zip(self.blocks, core_states, strict=True):
            core, h = block.step(core, state)
            new.append(h)
        if self.memory:
            new.append(local_state.view(1, -1))
        coefficients = self._decode(core, e.unsqueeze(0))[0]  # (64, 4 + 8 taps)
        gain = torch.sigmoid(coefficients[:, :BINS]).reshape(1, -1)
        history = spec.unsqueeze(0)  # (1, 1, 257, 2)
        if self.taps > 1:
            history = torch.cat([rest.pop(0).view(1, self.taps - 1, N_BINS, 2), history], dim=1)
            new.append(history[:, 1:].reshape(1, -1))
        frames = history[0, :, 1:].flip(0) if self.taps > 1 else history[0, :, 1:]  # (taps, 256, 2), newest first
        filters = coefficients[:, BINS:].view(GROUPS, self.taps, 2, BINS).permute(1, 2, 0, 3).reshape(self.taps, 2, -1)
        c, d, re, im = filters[:, 0], filters[:, 1], frames[..., 0], frames[..., 1]
        out_re = spec[:, 1:, 0] + (c * re - d * im).sum(0, keepdim=True)
        out_im = spec[:, 1:, 1] + (c * im + d * re).sum(0, keepdim=True)
        out = torch.stack([out_re * gain, out_im * gain], dim=-1)
        return (torch.cat([spec[:, :1] * gain[:, :1].unsqueeze(-1), out], dim=1), *new)

    def macs_per_frame(self) -> int:
        """All matrix products and the complex filter."""
        shared = [self.encode, self.squeeze, self.decode_in, self.decode_out]
        if self.memory:
            shared += [self.local_memory.inner, self.local_memory.outer]
        dense = [self.gather, self.spread_out]
        for block in self.blocks:
            dense += [block.memory.inner, block.memory.outer, block.feed_in, block.feed_out]
        return (
            GROUPS * sum(m.weight.numel() for m in shared) + sum(m.weight.numel() for m in dense) + 256 * 4 * self.taps
        )
