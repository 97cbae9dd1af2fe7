"""Is a recording of a voice good enough to learn it from? Levels, clipping, noise, music, as far as samples tell.

Everything is computed on one channel at 16 kHz in frames of 32 ms. The thresholds were set on the recordings that the
networks are trained on (docs/personalisation.md says how many of those are refused).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pse_stream.dsp.spec import Float32s

RATE = 16_000  # Hz
FRAME, HOP = 512, 256  # samples: 32 and 16 ms
SILENT_DB = -55.0  # dBFS RMS of the loud frames: nobody spoke, or the microphone is shut
QUIET_DB = -45.0
CLIPPED_SAMPLES = 0.002  # share of samples in runs at full scale
FULL_SCALE, CLIP_RUN = 0.985, 3
ABOVE_FLOOR_DB = 9.0  # a frame is active from here above the floor
SNR_DB = 15.0  # of active frames against the floor; recordings made for training have 27 and more
PITCH_HZ = (70.0, 400.0)  # where voices are
VOICED = 0.6  # normalised autocorrelation at the pitch from which a frame is voiced
STILL_OCTAVES, GLIDE_OCTAVES = 0.003, 0.1  # per 16 ms: below, a note is held; up to here, a voice glides
# Speech of 88 people: voiced 0.55 to 0.88 of the active frames; of the steps between those gliding 0.40 to 0.79, still
# 0.00 to 0.13; the same 20 dB above white noise. The limits lie a little outside.
MIN_VOICED, MIN_GLIDE, MAX_STILL = 0.45, 0.35, 0.18

Name = Literal["silent", "quiet", "clipped", "short", "noisy", "music", "two_voices", "no_speech"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One reason to refuse a recording."""

    name: Name
    text: str  # what was found and expected
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What a recording is like."""

    seconds: float
    speech_s: float  # above the noise
    level_db: float  # dBFS RMS of what is above the noise; -120 if nothing is
    floor_db: float  # dBFS RMS of the pauses
    clipped: float  # share of samples
    voiced: float  # share of the active frames that have a pitch
    glide: float  # share of the steps between voiced frames in which the pitch glides
    still: float  # ... in which it is held
    faults: tuple[Fault, ...] = ()

    @property
    def snr_db(self) -> float:
        """Of the voice against the pauses."""
        return self.level_db - self.floor_db


def examine(samples: Float32s, *, needed_s: float) -> Quality:
    """Measure a recording and say what is wrong with it.

    Parameters
    ----------
    samples : (n,) float32
        At 16 kHz.
    needed_s : float
        Seconds of speech that are wanted.
    """
    finite = np.nan_to_num(np.asarray(samples, np.float32))
    levels = _frame_levels(finite)
    floor = float(np.percentile(levels, 10)) if len(levels) else -120.0
    loud = levels > max(floor + ABOVE_FLOOR_DB, SILENT_DB)
    level = _mean_db(levels[loud]) if loud.any() else -120.0
    voiced, glide, still = _pitch(finite, loud)
    measured = Quality(
        seconds=len(finite) / RATE,
        speech_s=float(loud.sum()) * HOP / RATE,
        level_db=level,
        floor_db=floor,
        clipped=_clipped_share(finite),
        voiced=voiced,
        glide=glide,
        still=still,
    )
    peak_db = float(levels.max()) if len(levels) else -120.0
    return _with_faults(measured, peak_db, needed_s)


def _with_faults(found: Quality, peak_db: float, needed_s: float) -> Quality:
    faults = []
    if peak_db < SILENT_DB:
        faults.append(
            Fault(
                "silent",
                f"silent: nothing above {peak_db:.0f} dBFS; expected speech around -25.",
                "Is the right microphone chosen, and is it muted? pse-stream doctor",
            )
        )
    elif found.speech_s < 0.5 or found.snr_db < SNR_DB:
        faults.append(
            Fault(
                "noisy",
                f"too noisy: the voice stands {max(0.0, found.snr_db):.0f} dB above the noise; expected {SNR_DB:.0f}.",
                "Find a quieter place, or come closer to the microphone.",
            )
        )
    elif found.level_db < QUIET_DB:
        faults.append(
            Fault(
                "quiet",
                f"too quiet: {found.level_db:.0f} dBFS; expected above {QUIET_DB:.0f}.",
                "Come closer, or turn the microphone up.",
            )
        )
    if found.clipped > CLIPPED_SAMPLES:
        faults.append(
            Fault(
                "clipped",
                f"clipped: {100 * found.clipped:.1f} % of the samples are at full scale; "
                f"expected less than {100 * CLIPPED_SAMPLES:g} %.",
                "Turn the microphone down, or step back.",
            )
        )
    if not faults and (fault := _no_voice(found)) is not None:
        faults.append(fault)
    if not faults and found.speech_s < needed_s:
        faults.append(
            Fault(
                "short",
                f"too short: {found.speech_s:.1f} s of speech; expected {needed_s:g} s.",
                "Read on until the bar is full.",
            )
        )
    return replace(found, faults=tuple(faults))


def _no_voice(found: Quality) -> Fault | None:
    """What is loud but does not move as a voice does."""
    if found.voiced < MIN_VOICED:
        return Fault(
            "no_speech",
            f"no voice: {100 * found.voiced:.0f} % of what is loud has a pitch; speech has it in "
            f"{100 * MIN_VOICED:.0f} % and more.",
            "Speak, in your normal voice, with nothing else going on.",
        )
    if found.glide < MIN_GLIDE or found.still > MAX_STILL:
        return Fault(
            "music",
            f"music, or something like it: the pitch is held in {100 * found.still:.0f} % and glides in "
            f"{100 * found.glide:.0f} % of it; expected of speech: held in {100 * MAX_STILL:.0f} % at most, gliding in "
            f"{100 * MIN_GLIDE:.0f} % at least.",
            "Switch it off, and speak.",
        )
    return None


def _frame_levels(samples: Float32s) -> NDArray[np.float64]:
    """dBFS RMS of each frame, (n,); nothing of a recording shorter than a frame."""
    if len(samples) < FRAME:
        return np.zeros(0)
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), FRAME)[::HOP]
    return np.asarray(10.0 * np.log10(np.mean(frames**2, axis=1) + 1e-12))


def _mean_db(levels: NDArray[np.float64]) -> float:
    return float(10.0 * np.log10(np.mean(10.0 ** (levels / 10.0))))


def _clipped_share(samples: Float32s) -> float:
    """Share of the samples that are in runs at full scale: a single peak may well be there."""
    if not len(samples):
        return 0.0
    full = np.concatenate([[0], (np.abs(samples) >= FULL_SCALE).astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(full))
    runs = edges[1::2] - edges[::2]
    return float(runs[runs >= CLIP_RUN].sum() / len(samples))


def _pitch(samples: Float32s, loud: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Shares (voiced, glide, still): a voice glides, an instrument holds and jumps, a knock has no pitch.

    Autocorrelation of a windowed frame over that of the window (Boersma 1993, "Accurate short-term analysis of the
    fundamental frequency"), its highest peak in the range of voices.
    """
    if not loud.any():
        return 0.0, 0.0, 0.0
    window = np.hanning(FRAME)
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP][loud] * window
    shortest, longest = round(RATE / PITCH_HZ[1]), round(RATE / PITCH_HZ[0])
    wave, own = (np.fft.irfft(np.abs(np.fft.rfft(x, 2 * FRAME)) ** 2)[..., : longest + 1] for x in (frames, window))
    likeness = (wave / np.maximum(wave[:, :1], 1e-20))[:, shortest:] / (own / own[0])[shortest:]
    voiced = likeness.max(axis=1) > VOICED
    pitch = np.log2(RATE / (shortest + _peaks(likeness[voiced])))  # octaves
    steps = np.abs(np.diff(pitch))
    if not len(steps):
        return float(voiced.mean()), 0.0, 0.0
    glide = float(np.mean((steps > STILL_OCTAVES) & (steps < GLIDE_OCTAVES)))
    return float(voiced.mean()), glide, float(np.mean(steps <= STILL_OCTAVES))


def _peaks(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where each row is highest, between samples: the top of a parabola through three points."""
    at = np.clip(rows.argmax(axis=1), 1, rows.shape[1] - 2)
    before, top, after = (np.take_along_axis(rows, (at + step)[:, None], axis=1)[:, 0] for step in (-1, 0, 1))
    bend = before - 2.0 * top + after
    shift = np.where(np.abs(bend) > 1e-12, 0.5 * (before - after) / np.minimum(bend, -1e-12), 0.0)
    return np.asarray(at + np.clip(shift, -0.5, 0.5))
