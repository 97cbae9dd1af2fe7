"""Score two files against a clean one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pse_stream.dsp.scores import score
from pse_stream.errors import AudioFileError
from pse_stream.streaming.soundfiles import read_sound

#: Name of a score: (of the noisy file, of the enhanced one).
Scores = dict[str, tuple[float | None, float | None]]


def compare_files(*, noisy: Path, enhanced: Path, clean: Path) -> Scores:
    """Scores of the noisy and of the enhanced file, each the mean over its channels.

    Raises
    ------
    AudioFileError
        If the clean recording has another rate, number of channels or length.
    """
    reference, rate = read_sound(clean)
    before, own_rate = read_sound(noisy)
    after, _ = read_sound(enhanced)
    if (rate, reference.shape) != (own_rate, before.shape):
        raise AudioFileError(
            f'"{clean}" has {_shape(reference, rate)}; "{noisy}" has {_shape(before, own_rate)}; '
            "expected two takes of the same recording.",
            name="bad_reference",
        )
    channels = range(reference.shape[1])
    noisy_scores = [score(before[:, c], reference[:, c], rate) for c in channels]
    clean_scores = [score(after[:, c], reference[:, c], rate) for c in channels]
    return {name: (_mean(noisy_scores, name), _mean(clean_scores, name)) for name in noisy_scores[0]}


def _mean(scores: list[dict[str, float | None]], name: str) -> float | None:
    values = [value for each in scores if (value := each[name]) is not None]
    return float(np.mean(values)) if values else None


def _shape(samples: np.ndarray[tuple[int, ...], np.dtype[np.float32]], rate: int) -> str:
    return f"{len(samples)} samples in {samples.shape[1]} channels at {rate} Hz"
