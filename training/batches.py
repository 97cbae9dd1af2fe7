"""Batches of spectra for training and validation, each a pure function of recipe and update number."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pse_stream.training.frames import HOP, spectra
from pse_stream.training.recipe import DataSpec
from pse_stream.training.simulate import Mixer


class Batches:
    """Updates 0, 1, 2, ... -> (noisy, target, first), spectra (batch, frames, 257, 2).

    `first` says that new mixtures begin, so the network's state starts from zero; otherwise these are the next
    seconds of the mixtures of the update before, and state is carried on.
    """

    def __init__(self, mixer: Mixer, spec: DataSpec, seed: int) -> None:
        self._mixer, self._spec, self._seed = mixer, spec, seed
        self._frames = int(spec.segment_s * 125)
        self._group = -1
        self._noisy: Tensor | None = None
        self._target: Tensor | None = None

    @property
    def seconds(self) -> float:
        """Audio per update, in seconds."""
        return self._spec.batch * self._frames / 125

    def at(self, update: int) -> tuple[Tensor, Tensor, bool]:
        """The batch of `update`; cheap to call in order, right in any order."""
        group, chunk = divmod(update, self._spec.chunks)
        if group != self._group:
            self._noisy, self._target = self._draw(group)
            self._group = group
        part = slice(chunk * self._frames, (chunk + 1) * self._frames)
        assert self._noisy is not None and self._target is not None
        return self._noisy[:, part], self._target[:, part], chunk == 0

    def _draw(self, group: int) -> tuple[Tensor, Tensor]:
        n = self._frames * self._spec.chunks * HOP
        return mixtures(self._mixer, self._seed, range(group * self._spec.batch, (group + 1) * self._spec.batch), n)


def mixtures(mixer: Mixer, seed: int, indices: range, n_samples: int) -> tuple[Tensor, Tensor]:
    """Spectra of the mixtures `indices`: noisy and target (len, frames, 257, 2); a non-finite one becomes silence."""
    pairs = [mixer.mix(seed, i, n_samples) for i in indices]
    bad = [k for k, (x, s) in enumerate(pairs) if not (np.isfinite(x).all() and np.isfinite(s).all())]
    for k in bad:
        pairs[k] = (np.zeros(n_samples, np.float32), np.zeros(n_samples, np.float32))
    noisy = spectra(np.stack([x for x, _ in pairs]).astype(np.float32))
    target = spectra(np.stack([s for _, s in pairs]).astype(np.float32))
    return torch.view_as_real(torch.from_numpy(noisy)), torch.view_as_real(torch.from_numpy(target))
