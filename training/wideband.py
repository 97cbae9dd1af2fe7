"""Mixtures at 48 kHz as powers of bands: what the head for the bins above 8 kHz is trained on.

Speech and noise are drawn per speaker and per category, played faster or slower, equalised at random and mixed at -7 to
18 dB; some in a room, some without noise, without voice or without treble. Real engines clean the part below 8 kHz, and
one that knows the truth does too; each as it is, and spoiled. Engines were trained on some of these voices and know
them too well; a head that trusts them loses the voices of strangers.
One mixture is a pure function of (recordings, seed, index).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy import fft
from scipy.signal import fftconvolve

from pse_stream.dsp.clues import BAND_BINS, BANDS, LOW_BANDS, N_CLUES, Clues
from pse_stream.dsp.spec import ENGINE_BINS, Complex64s, Float32s, STFTSpec
from pse_stream.dsp.stft import transform
from pse_stream.engines.contract import Engine
from pse_stream.training.corpus import CorpusError

GRID = STFTSpec(48_000)
SECONDS = 5.0
SAMPLES = int(SECONDS * GRID.sample_rate)
SNR_DB = (-7.0, 18.0)
LEVEL_DBFS = (-35.0, -20.0)
KNOTS_HZ = (0.0, 500.0, 1500.0, 3000.0, 5000.0, 8000.0, 12_000.0, 16_000.0, 20_000.0, 24_000.0)  # of the equaliser
VOICE_SPREAD_DB, NOISE_SPREAD_DB = 3.0, 4.0  # standard deviation at each knot
WEIGHED_FILES = 12  # a speaker with more recordings is not drawn more often
SPOILED = "spoiled "
TRUTH = "truth"  # the engine that knows voice and noise
TRUTH_FLOOR = 0.03  # smallest gain of that engine

UNSTEADY_HOPS = 12  # between two knots of a spoiled engine's mood, 96 ms
CONSONANT_BAND = 6  # 3 kHz: above it a frame is a consonant, or noise

Groups = dict[str, list[Float32s]]  # recordings by speaker or category


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One mixture, heard through each engine; float32, over hops."""

    noisy: Float32s  # (hops, BANDS - LOW_BANDS) power above 8 kHz
    voice: Float32s  # (hops, BANDS - LOW_BANDS) power of the voice there
    shared: Float32s  # (hops, BANDS - LOW_BANDS) real part of voice times conjugate of noisy
    voice_low: Float32s  # (hops,) power of the voice below 8 kHz
    clues: dict[str, Float32s]  # by engine, as it is and with `SPOILED` in front: (hops, N_CLUES)


def read_groups(folder: Path) -> Groups:
    """Recordings of FOLDER/<speaker or category>/*, mono at 48 kHz.

    Raises
    ------
    CorpusError
        If there are none, or one has another rate.
    """
    groups: Groups = {}
    for path in sorted(folder.glob("*/*.*")):
        audio, rate = soundfile.read(path, dtype="float32")
        if rate != GRID.sample_rate or audio.ndim != 1:
            raise CorpusError(f"{path}: {rate} Hz, {audio.ndim} dimension(s); expected 48000 Hz and one channel")
        groups.setdefault(path.parent.name, []).append(audio)
    if not groups:
        raise CorpusError(f"{folder}: no recordings found; expected <speaker or category>/<file> at 48 kHz")
    return groups


def mixture(speech: Groups, noise: Groups, seed: int, index: int) -> tuple[Float32s, Float32s]:
    """Voice and noise of one mixture, (SAMPLES,) float32 each; their sum is what a microphone hears."""
    rng = np.random.default_rng((seed, index))
    voice, sound = _voice(speech, rng), _noise(noise, rng)
    if rng.random() < 0.25:
        second = _noise(noise, rng)
        sound = sound + second * _to_snr(sound, second, rng.normal(3.0, 5.0))
    sound = sound * _to_snr(voice, sound, rng.uniform(*SNR_DB))
    kind = rng.random()
    if kind < 0.05:
        sound = sound * np.float32(0.01)  # hardly any noise
    elif kind < 0.10:
        voice = voice * np.float32(1e-5)  # no voice
    hiss = rng.standard_normal(SAMPLES, np.float32)
    sound = sound + hiss * _to_snr(voice + sound, hiss, rng.uniform(45.0, 75.0))  # the microphone's own
    if rng.random() < 0.15:
        cut = float(rng.choice([12_000.0, 16_000.0, 20_000.0]))
        voice, sound = (_filtered(x, lambda hz: np.where(hz < cut, 0.0, -300.0)) for x in (voice, sound))
    level = 10.0 ** (rng.uniform(*LEVEL_DBFS) / 20.0) / np.sqrt(np.mean((voice + sound) ** 2))
    return (voice * level).astype(np.float32), (sound * level).astype(np.float32)


def hear(voice: Float32s, noise: Float32s, engines: dict[str, Engine], rng: np.random.Generator) -> Example:
    """One mixture through the transform and every engine, hop by hop, as live; `rng` spoils."""
    s, n = transform(voice, GRID), transform(noise, GRID)
    x = s + n
    high = slice(1 + LOW_BANDS * BAND_BINS, 1 + BANDS * BAND_BINS)
    clues = {}
    for name in (*engines, TRUTH):
        low = _truth(s, n) if name == TRUTH else _through(engines[name], x)
        clues[name] = _clues(x, low)
        clues[SPOILED + name] = _clues(x, _spoiled(low, x, rng))
    return Example(
        noisy=_bands(np.abs(x[:, high]) ** 2),
        voice=_bands(np.abs(s[:, high]) ** 2),
        shared=_bands((s[:, high] * np.conj(x[:, high])).real),
        voice_low=np.sum(np.abs(s[:, 1:ENGINE_BINS]) ** 2, axis=1),
        clues=clues,
    )


def _voice(speech: Groups, rng: np.random.Generator) -> Float32s:
    names = sorted(speech)
    weights = np.array([min(len(speech[name]), WEIGHED_FILES) + 3.0 for name in names])
    files = speech[names[rng.choice(len(names), p=weights / weights.sum())]]
    pieces, length = [], 0
    while length < SAMPLES:
        piece = files[rng.integers(len(files))]
        if rng.random() < 0.7:
            piece = _faster(piece, rng.uniform(0.86, 1.18))
        pause = np.zeros(int(rng.uniform(0.0, 0.7) * GRID.sample_rate) if rng.random() < 0.7 else 0, np.float32)
        pieces += [pause, piece]
        length += len(pause) + len(piece)
    start = rng.integers(length - SAMPLES + 1) if rng.random() < 0.5 else 0
    voice = _coloured(np.concatenate(pieces)[start : start + SAMPLES], rng, VOICE_SPREAD_DB)
    return _in_room(voice, rng) if rng.random() < 0.2 else voice


def _noise(noise: Groups, rng: np.random.Generator) -> Float32s:
    names = sorted(noise)
    files = noise[names[rng.integers(len(names))]]
    sound = files[rng.integers(len(files))]
    if rng.random() < 0.5:
        sound = _faster(sound, rng.uniform(0.8, 1.25))
    if len(sound) < SAMPLES:
        sound = np.roll(np.resize(sound, SAMPLES), rng.integers(SAMPLES))
    else:
        start = rng.integers(len(sound) - SAMPLES + 1)
        sound = sound[start : start + SAMPLES]
    sound = _coloured(sound, rng, NOISE_SPREAD_DB)
    if rng.random() < 0.2:  # without treble: there the voice above 8 kHz needs no help
        edge, depth = rng.uniform(3000.0, 9000.0), rng.uniform(5.0, 40.0)
        sound = _filtered(sound, lambda hz: -depth * np.clip((hz - edge) / 3000.0, 0.0, 1.0))
    return sound


def _faster(audio: Float32s, factor: float) -> Float32s:
    return np.asarray(soxr.resample(audio, GRID.sample_rate, GRID.sample_rate / factor), np.float32)


def _coloured(audio: Float32s, rng: np.random.Generator, spread_db: float) -> Float32s:
    gains_db = rng.normal(0.0, spread_db, len(KNOTS_HZ))
    return _filtered(audio, lambda hz: np.interp(hz, KNOTS_HZ, gains_db))


def _filtered(audio: Float32s, gain_db: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Float32s:
    spectrum = fft.rfft(audio)
    gains = 10.0 ** (gain_db(np.linspace(0.0, GRID.sample_rate / 2, len(spectrum))) / 20.0)
    return np.asarray(fft.irfft(spectrum * gains.astype(np.float32), len(audio)), np.float32)


def _in_room(audio: Float32s, rng: np.random.Generator) -> Float32s:
    """With an exponential tail of noise, 2 to 10 dB under the direct sound; it belongs to the voice."""
    seconds = np.arange(GRID.sample_rate // 4) / GRID.sample_rate
    tail = rng.normal(size=len(seconds)) * np.exp(-6.9 * seconds / rng.uniform(0.12, 0.45))
    tail *= 10.0 ** (-rng.uniform(2.0, 10.0) / 20.0) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return np.asarray(fftconvolve(audio, tail)[: len(audio)], np.float32)


def _to_snr(signal: Float32s, noise: Float32s, snr_db: float) -> np.float32:
    """Factor on `noise`."""
    ratio = float(np.sum(signal.astype(np.float64) ** 2) / (np.sum(noise.astype(np.float64) ** 2) + 1e-9))
    return np.float32(np.sqrt(ratio) * 10.0 ** (-snr_db / 20.0))


def _bands(values: NDArray[np.floating]) -> Float32s:
    return values.reshape(len(values), -1, BAND_BINS).sum(axis=2).astype(np.float32)


def _truth(voice: Complex64s, noise: Complex64s) -> Complex64s:
    """The lower part through Wiener gains of the true powers, smoothed over three bins."""
    s, n = (_over_three(np.abs(x[:, :ENGINE_BINS]) ** 2) for x in (voice, noise))
    gains = np.maximum(s / (s + n + 1e-20), TRUTH_FLOOR)
    return ((voice + noise)[:, :ENGINE_BINS] * gains).astype(np.complex64)


def _over_three(power: NDArray[np.float32]) -> NDArray[np.float32]:
    padded = np.pad(power, ((0, 0), (1, 1)))
    return 0.5 * power + 0.25 * (padded[:, :-2] + padded[:, 2:])


def _through(engine: Engine, noisy: Complex64s) -> Complex64s:
    engine.reset()
    low = np.ascontiguousarray(noisy[:, :ENGINE_BINS])
    out = np.empty_like(low)
    for frame, made in zip(low, out, strict=True):
        engine.step(frame, made, engine.info.best_level)
    return out


def _spoiled(low: Complex64s, noisy: Complex64s, rng: np.random.Generator) -> Complex64s:
    """What a worse engine would make of it: too strong, unsteady, deaf for consonants or for the whole voice."""
    before, after = (_bands(np.abs(x[:, 1:ENGINE_BINS]) ** 2) for x in (noisy, low))
    kept_db = 10.0 * np.log10(np.clip((after + 1e-30) / (before + 1e-30), 1e-6, 1.0))
    wrong_db = kept_db * rng.uniform(0.6, 2.5)
    knots = rng.normal(size=(len(low) // UNSTEADY_HOPS + 2, LOW_BANDS))
    knots = (knots + np.roll(knots, 1, axis=1) + np.roll(knots, -1, axis=1)) / 1.7
    at = np.arange(len(low)) / UNSTEADY_HOPS
    first, share = at.astype(int), (at % 1.0)[:, None]
    wrong_db += rng.uniform(0.0, 8.0) * (knots[first] * (1.0 - share) + knots[first + 1] * share)
    if rng.random() < 0.5:
        consonant = before[:, CONSONANT_BAND:].sum(axis=1) / (before.sum(axis=1) + 1e-20)
        wrong_db -= rng.uniform(0.0, 25.0) * consonant[:, None]
    if rng.random() < 0.15:
        wrong_db -= rng.uniform(5.0, 25.0)
    wrong_db = np.clip(wrong_db, -rng.uniform(15.0, 40.0), 0.0)
    gains = 10.0 ** ((wrong_db - kept_db) / 20.0)
    spoiled = low.copy()
    spoiled[:, 1:] *= np.repeat(gains, BAND_BINS, axis=1).astype(np.float32)
    return spoiled


def _clues(noisy: Complex64s, low: Complex64s) -> Float32s:
    told = np.zeros((len(noisy), N_CLUES), np.float32)
    newest = np.zeros(N_CLUES, np.float32)
    clues = Clues(GRID, out=newest)
    for frame, made, row in zip(noisy, low, told, strict=True):
        clues.process(frame, made)
        row[:] = newest
    return told
