"""Whole batches on the house spectral grid: many signals to frames and back at once, on the device they lie on.

The windows are those of `dsp.spec`, so what a network sees in training is what it sees live.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pse_stream.dsp.spec import ENGINE_RATE, STFTSpec

_GRID = STFTSpec(ENGINE_RATE)
_WINDOW = torch.from_numpy(_GRID.analysis_window)
HOP = _GRID.hop


def spectra(audio: Tensor) -> Tensor:
    """Frames of each signal, the first one ending with the first hop (zeros before it).

    Parameters
    ----------
    audio : (batch, samples) float32
        `samples` a multiple of 128.

    Returns
    -------
    (batch, samples / 128, 257, 2) float32
        Real and imaginary parts.
    """
    n = audio.shape[1]
    if n % HOP:
        raise ValueError(f"audio has {n} samples; expected a multiple of {HOP}: pad the end with zeros")
    padded = torch.nn.functional.pad(audio, (_GRID.n_fft - HOP, 0))
    frames = padded.unfold(1, _GRID.n_fft, HOP) * _WINDOW.to(audio.device)
    return torch.view_as_real(torch.fft.rfft(frames))


def signals(frames: Tensor) -> Tensor:
    """The signals of these frames; undoes `spectra`, whose delay of one hop is taken off.

    Parameters
    ----------
    frames : (batch, n, 257, 2) float32

    Returns
    -------
    (batch, (n - 1) * 128) float32
        The newest hop of the last frame is not whole yet, so it is left out.
    """
    waves = torch.fft.irfft(torch.view_as_complex(frames.contiguous()), _GRID.n_fft)[..., -_GRID.n_synthesis :]
    waves = waves * torch.from_numpy(_GRID.synthesis_window).to(frames.device)
    return (waves[:, :-1, HOP:] + waves[:, 1:, :HOP]).flatten(1)
