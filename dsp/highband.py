"""Gains above 8 kHz, from what the engine did below (first form: the mean gain of 5 to 8 kHz)."""

from __future__ import annotations

import numpy as np

from pse_stream.dsp.spec import ENGINE_BINS, Complex64s, STFTSpec


class HighBand:
    """Fill the bins that no engine sees."""

    def __init__(self, spec: STFTSpec) -> None:
        self.spec = spec

    def process(self, noisy: Complex64s, clean: Complex64s, *, out: Complex64s) -> None:
        """Write bins 257 and up.

        Parameters
        ----------
        noisy : (n_bins,) complex64
            The frame that went in.
        clean : (257,) complex64
            What the engine made of its lowest 257 bins.
        out : (n_bins,) complex64
            Only bins from 257 on are written.
        """
        if self.spec.n_bins <= ENGINE_BINS:
            return
        before = float(np.sum(np.abs(noisy[160:ENGINE_BINS]) ** 2))
        after = float(np.sum(np.abs(clean[160:]) ** 2))
        gain = np.float32(min(1.0, (after / max(before, 1e-20)) ** 0.5))
        np.multiply(noisy[ENGINE_BINS:], gain, out=out[ENGINE_BINS:])

    def reset(self) -> None:
        """Forget the past."""
