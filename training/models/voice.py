"""The network that hears who speaks: band spectra -> GRU -> GRU -> voice vector, speech presence and SNR.

It works on blocks of 32 hops (256 ms) and looks at every fourth frame (31 a second: windows of 32 ms side by side), so
that it costs less than a fifth of the smallest specialist. One vector per block, weighted by where speech was heard.

Level independence as everywhere: a causal running level divides the power, here one level per block, because a block is
complete before it is looked at.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pse_stream.training.models.base import GRU_WEIGHTS, N_BINS

BLOCK_HOPS = 32  # 256 ms
STRIDE = 4  # every fourth frame is looked at
FRAMES = BLOCK_HOPS // STRIDE
BANDS = 72
SNR_SCALE_DB = 10.0  # the SNR output is in units of this
_DECAY = math.exp(-BLOCK_HOPS / 125.0)  # running level: time constant 1 s
_FLOOR = 1e-10


def bands(power: Tensor) -> Tensor:
    """Sums of neighbouring bins, (..., 257) -> (..., 72): 1 bin wide below 1 kHz, 2 to 2 kHz, 4 to 4 kHz, then 16.

    Fine below 1 kHz, where single harmonics tell the pitch; sums of neighbours cost no multiplication.
    """
    parts = [power[..., 1:33]]
    for start, stop, width in ((33, 65, 2), (65, 129, 4), (129, 257, 16)):
        parts.append(power[..., start:stop].unflatten(-1, (-1, width)).sum(-1))
    return torch.cat(parts, dim=-1)


class VoiceNet(nn.Module):
    """Blocks of frames in; per block a voice vector, the share of frames with speech, and the SNR."""

    def __init__(self, width: int = 48, dim: int = 32) -> None:
        super().__init__()
        self.width, self.dim = width, dim
        self.register_buffer("mean", torch.zeros(BANDS))
        self.register_buffer("spread", torch.ones(BANDS))
        self.gru = nn.GRU(BANDS, width, 2, batch_first=True)
        self.head = nn.Linear(width, dim + 2)

    def zero_states(self, batch: int) -> list[Tensor]:
        """Fresh states: running level and block count, two hidden layers."""
        return [torch.zeros(batch, 2), torch.zeros(batch, self.width), torch.zeros(batch, self.width)]

    def features(self, power: Tensor) -> Tensor:
        """Log bands of whole clips from their start; (batch, blocks, 8, 72) -> (batch, frames, 72)."""
        level, count = torch.zeros(len(power), 1), torch.zeros(len(power), 1)
        rows = []
        for block in range(power.shape[1]):
            level, count = _level(power[:, block], level, count)
            rows.append(0.5 * torch.log10(power[:, block] / level.unsqueeze(-1) + 1e-5))
        return torch.cat(rows, dim=1)

    def frames(self, power: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Every frame of whole clips: unit voice vectors (b, n, dim), presence logits (b, n), SNR (b, n).

        `power` holds bands, (batch, blocks, 8, 72).
        """
        with torch.no_grad():
            x = (self.features(power) - self.mean) / self.spread
        hidden, _ = self.gru(x)
        return self._read(hidden)

    def _read(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        out = self.head(hidden)
        voice = out[..., : self.dim]
        voice = voice * (voice.square().sum(-1, keepdim=True) + 1e-8).rsqrt()
        return voice, out[..., self.dim], out[..., self.dim + 1]

    def step(self, spec: Tensor, level: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, ...]:
        """One block (1, 8, 257, 2) and the states; voice (1, dim), presence (1, 1), SNR (1, 1), new states."""
        power = bands(spec.square().sum(-1))
        now, count = _level(power, level[:, :1], level[:, 1:])
        x = (0.5 * torch.log10(power / now.unsqueeze(-1) + 1e-5) - self.mean) / self.spread
        x = x.transpose(0, 1)  # (time, batch 1, bands)
        new = [torch.cat([now, count], dim=1)]
        for layer, state in enumerate((first, second)):
            weights = [getattr(self.gru, f"{name}_l{layer}") for name in GRU_WEIGHTS]
            x, hidden = torch.gru(x, state.unsqueeze(0), weights, True, 1, 0.0, False, False, False)
            new.append(hidden[0])
        voice, presence, snr = self._read(x[:, 0])
        weight = torch.sigmoid(presence)
        total = weight.sum() + 1e-6
        pooled = (voice * weight.unsqueeze(-1)).sum(0, keepdim=True) / total
        mean_snr = SNR_SCALE_DB * (snr * weight).sum() / total
        return (pooled, weight.mean().reshape(1, 1), mean_snr.reshape(1, 1), *new)

    def macs_per_block(self) -> int:
        """Multiply-accumulates of matrix products for one block of 32 hops."""
        h = self.width
        return FRAMES * (3 * h * (BANDS + h) + 6 * h * h + h * (self.dim + 2))


def _level(power: Tensor, level: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Running level (batch, 1) after a block of band powers (batch, 8, 72), and the block count."""
    now = power.sum(-1).mean(-1, keepdim=True) / N_BINS
    a = torch.clamp(count / (count + 1.0), max=_DECAY)
    return torch.clamp(now + a * (level - now), min=_FLOOR), count + 1.0


def pooled(voice: Tensor, presence: Tensor) -> Tensor:
    """One unit vector per clip from frames (b, n, dim) and presence logits (b, n)."""
    total = (voice * torch.sigmoid(presence).unsqueeze(-1)).sum(1)
    return total * (total.square().sum(-1, keepdim=True) + 1e-8).rsqrt()
