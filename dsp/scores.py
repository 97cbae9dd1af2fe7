"""How close an enhanced recording is to the clean one; what `enhance --reference` and the evaluation of networks print.

SI-SDR: Le Roux 2019, "SDR - half-baked or well done?". PESQ-WB: ITU-T P.862.2, by the package pesq.
ESTOI: Jensen 2016, by the package pystoi. Both packages are optional; without them their scores are missing, not zero.
"""

from __future__ import annotations

import warnings

import numpy as np
import soxr
from numpy.typing import NDArray

from pse_stream.dsp.spec import ENGINE_RATE, Float32s
from pse_stream.errors import ShapeError

TINY = 1e-20  # keeps the ratio of two silences finite


def si_sdr_db(estimate: NDArray[np.floating], target: NDArray[np.floating]) -> float:
    """Scale-invariant signal-to-distortion ratio in dB; both (n,), made zero-mean first."""
    y, s = estimate - np.mean(estimate, dtype=float), target - np.mean(target, dtype=float)
    s = s * (np.dot(y, s) / (np.dot(s, s) + TINY))
    return float(10 * np.log10((np.dot(s, s) + TINY) / (np.dot(y - s, y - s) + TINY)))


def score(estimate: Float32s, target: Float32s, sample_rate: int) -> dict[str, float | None]:
    """SI-SDR in dB, PESQ-WB (1 to 4.6) and ESTOI (0 to 1) of one channel.

    Parameters
    ----------
    estimate, target : (n,) float32
        In step with each other.
    sample_rate : int
        Hz; PESQ and ESTOI are taken at 16 kHz, as they are defined.

    Returns
    -------
    dict
        None where a package is missing, or a score is not defined (no speech in the target).

    Raises
    ------
    ShapeError
        If the two are not equally long.
    """
    if estimate.shape != target.shape or estimate.ndim != 1:
        raise ShapeError(
            f"recordings of {estimate.shape} and {target.shape} samples cannot be compared; expected one (n,)"
        )
    scores: dict[str, float | None] = {"si_sdr_db": si_sdr_db(estimate, target)}
    if sample_rate != ENGINE_RATE:
        estimate, target = (soxr.resample(x, sample_rate, ENGINE_RATE) for x in (estimate, target))
    scores["pesq"] = _pesq(estimate, target)
    scores["estoi"] = _estoi(estimate, target)
    return scores


def _pesq(estimate: Float32s, target: Float32s) -> float | None:
    try:
        import pesq
    except ImportError:
        return None
    try:
        return float(pesq.pesq(ENGINE_RATE, target, estimate, "wb"))
    except (pesq.PesqError, ValueError):  # no utterance found
        return None


def _estoi(estimate: Float32s, target: Float32s) -> float | None:
    try:
        import pystoi
    except ImportError:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it warns and gives 1e-5 when there is too little speech
        try:
            return float(pystoi.stoi(target, estimate, ENGINE_RATE, extended=True))
        except (RuntimeWarning, ValueError):
            return None
