"""Samples to frames and back, one hop at a time, on the grid of `spec.py`.

The whole-signal functions run the very same objects in a loop, so that what is heard live, what a file
contains and what a network was trained on are one transform.
"""

from __future__ import annotations

import numpy as np

from pse_stream.dsp.fft import RealFFT
from pse_stream.dsp.spec import Complex64s, Float32s, STFTSpec
from pse_stream.errors import ShapeError


class Analysis:
    """Take hops of samples, give frames of bins."""

    latency_samples = 0

    def __init__(self, spec: STFTSpec) -> None:
        self.spec = spec
        self._fft = RealFFT(spec.n_fft)
        # The scale rides on the window: one multiplication less per hop.
        self._window = spec.analysis_window * np.float32(spec.scale)
        self._past = np.zeros(spec.n_fft, np.float32)  # (n_fft,) the last 32 ms, newest last
        self._windowed = np.zeros(spec.n_fft, np.float32)  # (n_fft,) scratch

    def process(self, hop: Float32s, *, out: Complex64s) -> None:
        """Write the frame that ends with this hop.

        Parameters
        ----------
        hop : (spec.hop,) float32
            New samples.
        out : (spec.n_bins,) complex64
            Written in full; scaled as the same signal's frame at 16 kHz.
        """
        past, n = self._past, self.spec.hop
        past[:-n] = past[n:]
        past[-n:] = hop
        np.multiply(past, self._window, out=self._windowed)
        self._fft.forward(self._windowed, out=out)

    def reset(self) -> None:
        """Forget the past; the next hop is the first."""
        self._past.fill(0.0)


class Synthesis:
    """Take frames of bins, give hops of samples, one hop after the frame's newest."""

    def __init__(self, spec: STFTSpec) -> None:
        self.spec = spec
        self.latency_samples = spec.overlap_samples
        self._fft = RealFFT(spec.n_fft)
        self._window = spec.synthesis_window / np.float32(spec.scale)
        self._wave = np.zeros(spec.n_fft, np.float32)  # (n_fft,) scratch
        self._tail = np.zeros(spec.hop, np.float32)  # (hop,) second half of the last frame
        self._recent = self._wave[-spec.n_synthesis :]  # view: the 16 ms that are heard

    def process(self, frame: Complex64s, *, out: Float32s) -> None:
        """Write the hop before the newest.

        Parameters
        ----------
        frame : (spec.n_bins,) complex64
            Not changed.
        out : (spec.hop,) float32
            Written in full.
        """
        n = self.spec.hop
        self._fft.backward(frame, out=self._wave)
        np.multiply(self._recent, self._window, out=self._recent)
        np.add(self._tail, self._recent[:n], out=out)
        self._tail[:] = self._recent[n:]

    def reset(self) -> None:
        """Forget the past; the next frame is the first."""
        self._tail.fill(0.0)


def transform(samples: Float32s, spec: STFTSpec) -> Complex64s:
    """All frames of a signal.

    Parameters
    ----------
    samples : (n,) float32

    Returns
    -------
    (ceil(n / hop) + 1, n_bins) complex64
        The last frame is fed with silence, so that `inverse` gives back every sample.

    Raises
    ------
    ShapeError
        If `samples` is not one-dimensional.
    """
    if samples.ndim != 1:
        raise ShapeError(f"a signal of shape {samples.shape} was given; expected one dimension, (samples,)")
    n_frames = -(-len(samples) // spec.hop) + 1
    padded = np.zeros(n_frames * spec.hop, np.float32)
    padded[: len(samples)] = samples
    frames = np.empty((n_frames, spec.n_bins), np.complex64)
    analysis = Analysis(spec)
    for t in range(n_frames):
        analysis.process(padded[t * spec.hop : (t + 1) * spec.hop], out=frames[t])
    return frames


def inverse(frames: Complex64s, spec: STFTSpec, length: int) -> Float32s:
    """The signal of these frames; undoes `transform`.

    Parameters
    ----------
    frames : (n_frames, n_bins) complex64
    length : int
        Samples to give back, at most (n_frames - 1) * hop.

    Raises
    ------
    ShapeError
        If the frames are not on this grid or too few.
    """
    if frames.ndim != 2 or frames.shape[1] != spec.n_bins:
        raise ShapeError(f"frames of shape {frames.shape} were given; expected (frames, {spec.n_bins})")
    if length > (len(frames) - 1) * spec.hop:
        raise ShapeError(f"{len(frames)} frames hold {(len(frames) - 1) * spec.hop} samples, not {length}")
    samples = np.empty(len(frames) * spec.hop, np.float32)
    synthesis = Synthesis(spec)
    for t, frame in enumerate(frames):
        synthesis.process(frame, out=samples[t * spec.hop : (t + 1) * spec.hop])
    return samples[spec.hop : spec.hop + length]
