"""Mix what a live microphone would have heard: speech in a room, noises, levels, a microphone, faults.

One mixture is a pure function of (spec, seed, index), so a training that stops and resumes sees the same audio.
Target = direct sound and reflections up to `early_ms`, through the same microphone; `keep_room` keeps the whole room.
Deliberately absent: spectra (see `frames`) and files (see `corpus`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from pse_stream.training.corpus import SAMPLE_RATE, CorpusError, Store
from pse_stream.training.rooms import random_room
from pse_stream.training.synthetic import any_noise, smooth_curve, unit_rms

Float32s = NDArray[np.float32]
_DIRECT_S = 0.0025  # the packs' rooms start their direct sound about here


@dataclass(frozen=True, slots=True, kw_only=True)
class MixSpec:
    """How often and how strongly each thing happens. Probabilities 0..1, levels in dB or dBFS."""

    snr_db: tuple[float, float] = (-5.0, 20.0)
    high_snr_db: tuple[float, float] = (15.0, 35.0)
    p_high_snr: float = 0.12
    p_clean: float = 0.05
    p_noise_only: float = 0.05
    p_room: float = 0.4
    p_simulated_room: float = 0.0  # share of the rooms that are computed on the fly instead of read
    early_ms: float = 50.0
    keep_room: bool = False
    p_second_noise: float = 0.35
    p_change: float = 0.2
    p_synthetic: float = 0.2
    p_babble: float = 0.08
    p_tempo: float = 0.4
    level_dbfs: tuple[float, float] = (-45.0, -10.0)
    p_level_jump: float = 0.25
    level_jump_db: float = 20.0
    p_microphone: float = 0.6
    microphone_db: float = 6.0
    p_band_limit: float = 0.08
    p_clip: float = 0.04
    p_codec: float = 0.03
    p_dc: float = 0.1


class Mixer:
    """Draws mixtures from the recordings of one split."""

    def __init__(self, store: Store, spec: MixSpec, *, split: str = "train") -> None:
        self.spec = spec
        self._store = store
        self._noises = store.select(split=split, kind="noise")
        self._rooms = store.select(split=split, kind="rir")
        by_speaker: dict[str, list[int]] = {}
        for i in store.select(split=split, kind="speech"):
            by_speaker.setdefault(store.recordings[i].speaker, []).append(i)
        if not by_speaker or not self._noises:
            raise CorpusError(
                f"split {split!r}: {len(by_speaker)} speakers and {len(self._noises)} noises; expected one at least"
            )
        self.speakers = list(by_speaker)  # their names, in the order of the numbers that `mix` takes
        self._speakers = list(by_speaker.values())
        minutes = np.array([sum(store.recordings[i].n_samples for i in s) for s in self._speakers], float)
        # Between one voice one vote (0) and one second one vote (1): voices with an hour must not drown the others.
        self._speaker_odds = np.sqrt(minutes) / np.sqrt(minutes).sum()
        seconds = np.array([min(store.recordings[i].n_samples, 30 * SAMPLE_RATE) for i in self._noises], float)
        self._noise_odds = np.sqrt(seconds) / np.sqrt(seconds).sum()

    def mix(self, seed: int, index: int, n_samples: int, speaker: int | None = None) -> tuple[Float32s, Float32s]:
        """The mixture number `index`: noisy and target, both (n_samples,) float32.

        The target is silent where nobody speaks; both carry the same gain, microphone and level jumps. `speaker` is the
        number of a speaker who shall be heard, of `speakers`; None draws one.
        """
        rng = np.random.default_rng([seed, index])
        spec = self.spec
        kind = rng.random()
        noise_only, clean = kind < spec.p_noise_only, kind > 1.0 - spec.p_clean
        speech = np.zeros(n_samples, np.float32) if noise_only else self._speech(rng, n_samples, speaker)
        noise = np.zeros(n_samples, np.float32) if clean else self._noise(rng, n_samples)
        heard, target, noise = self._acoustics(rng, speech, noise)
        if not noise_only and not clean:
            wide = spec.high_snr_db if rng.random() < spec.p_high_snr else spec.snr_db
            noise = noise * np.float32(_rms(heard) / (_rms(noise) + 1e-9) * 10.0 ** (-rng.uniform(*wide) / 20.0))
        return self._capture(rng, heard + noise, target)

    def _speech(self, rng: np.random.Generator, n: int, speaker: int | None = None) -> Float32s:
        """One voice talking for `n` samples with pauses of its own making."""
        chosen = rng.choice(len(self._speakers), p=self._speaker_odds) if speaker is None else speaker
        clips = self._speakers[chosen]
        track = np.zeros(n, np.float32)
        tempo = rng.uniform(0.88, 1.14) if rng.random() < self.spec.p_tempo else 1.0
        place = int(rng.uniform(0.0, 0.6) * SAMPLE_RATE) if rng.random() < 0.5 else 0
        while place < n:
            index = clips[rng.integers(len(clips))]
            length = self._store.recordings[index].n_samples
            start = int(rng.integers(0, max(length - SAMPLE_RATE, 1))) if place == 0 and rng.random() < 0.7 else 0
            clip = self._store.audio(index, start, start + int((n - place) * tempo) + 2)
            if tempo != 1.0:  # changes pitch and tempo together: another voice
                clip = np.interp(np.arange(0, len(clip) - 1, tempo), np.arange(len(clip)), clip).astype(np.float32)
            clip = clip[: n - place]
            clip[:160] *= np.linspace(0.0, 1.0, len(clip[:160]), dtype=np.float32)
            track[place : place + len(clip)] = clip
            gap = rng.uniform(0.0, 0.3) if rng.random() < 0.7 else rng.uniform(0.3, 2.0)
            place += len(clip) + int(gap * SAMPLE_RATE)
        return track

    def _noise(self, rng: np.random.Generator, n: int) -> Float32s:
        noise = self._one_noise(rng, n)
        while rng.random() < self.spec.p_second_noise:
            noise = noise + self._one_noise(rng, n) * np.float32(10.0 ** (rng.uniform(-15.0, 3.0) / 20.0))
        if rng.random() < self.spec.p_change:  # another noise takes over, abruptly or slowly
            place, width = int(rng.uniform(0.2, 0.8) * n), int(rng.uniform(0.005, 0.5) * SAMPLE_RATE)
            ramp = np.clip((np.arange(n, dtype=np.float32) - place) / width, 0.0, 1.0)
            noise = noise * (1.0 - ramp) + self._one_noise(rng, n) * ramp * np.float32(10.0 ** rng.uniform(-0.5, 0.5))
        return noise

    def _one_noise(self, rng: np.random.Generator, n: int) -> Float32s:
        """One source of noise, unit RMS."""
        draw = rng.random()
        if draw < self.spec.p_synthetic:
            return any_noise(rng, n)
        if draw < self.spec.p_synthetic + self.spec.p_babble:
            return self._babble(rng, n)
        index = self._noises[rng.choice(len(self._noises), p=self._noise_odds)]
        length = self._store.recordings[index].n_samples
        start = int(rng.integers(0, max(length - n, 1)))
        audio = self._store.audio(index, start, start + n)
        if len(audio) < n:  # repeat short recordings, each time from another place, or leave silence between them
            repeated = np.zeros(n, np.float32)
            place = 0 if rng.random() < 0.5 else int(rng.uniform(0.0, 0.5) * n)
            spaced = rng.random() < 0.3
            while place < n:
                part = np.roll(audio, int(rng.integers(len(audio))))[: n - place] if not spaced else audio[: n - place]
                repeated[place : place + len(part)] = part
                place += len(part) + (int(rng.uniform(0.0, 2.0) * SAMPLE_RATE) if spaced else 0)
            audio = repeated
        if rng.random() < 0.3:
            audio = audio[::-1]
        return unit_rms(audio)

    def _babble(self, rng: np.random.Generator, n: int) -> Float32s:
        total = np.zeros(n, np.float32)
        for _ in range(rng.integers(3, 9)):
            total += unit_rms(self._speech(rng, n)) * np.float32(10.0 ** rng.uniform(-0.5, 0.0))
        return unit_rms(total)

    def _acoustics(
        self, rng: np.random.Generator, speech: Float32s, noise: Float32s
    ) -> tuple[Float32s, Float32s, Float32s]:
        """Room and microphone: speech as heard, target, noise. One transform for both filters."""
        spec, n = self.spec, len(speech)
        room = (self._rooms or spec.p_simulated_room) and rng.random() < spec.p_room
        size = fft.next_fast_len(n + (SAMPLE_RATE if room else 0), real=True)
        bins = size // 2 + 1
        microphone = self._microphone(rng, bins)
        voice = fft.rfft(speech, size)
        if microphone is not None:
            voice *= microphone
        tint = smooth_curve(rng, bins, spread_db=8.0) if rng.random() < 0.5 else None
        if microphone is not None or tint is not None:
            spectrum = fft.rfft(noise, size)
            for curve in (microphone, tint):
                if curve is not None:
                    spectrum *= curve
            noise = fft.irfft(spectrum, size)[:n]
        if not room:
            heard = fft.irfft(voice, size)[:n] if microphone is not None else speech
            return heard, heard, noise
        reverb, early = self._room(rng)
        heard = fft.irfft(voice * fft.rfft(reverb, size), size)[:n]
        target = heard if spec.keep_room else fft.irfft(voice * fft.rfft(early, size), size)[:n]
        return heard, target, noise

    def _room(self, rng: np.random.Generator) -> tuple[Float32s, Float32s]:
        """An impulse response (at most 1 s, direct sound at time zero) and its first `early_ms`."""
        if not self._rooms or (self.spec.p_simulated_room and rng.random() < self.spec.p_simulated_room):
            rir = random_room(rng)
        else:
            rir = self._store.audio(self._rooms[rng.integers(len(self._rooms))])[: SAMPLE_RATE + 40]
        direct = int(np.argmax(np.abs(rir[: int(0.02 * SAMPLE_RATE)])))
        rir = rir[direct:][:SAMPLE_RATE].copy()
        if rng.random() < 0.5:  # nearer or farther than measured: change direct sound against the rest
            rir[24:] *= np.float32(10.0 ** (rng.uniform(-9.0, 3.0) / 20.0))
        edge = int(self.spec.early_ms * SAMPLE_RATE / 1000)
        early = rir.copy()
        early[edge:] *= np.clip(1.0 - np.arange(len(rir) - edge) / 80.0, 0.0, 1.0).astype(np.float32)
        scale = np.float32(1.0 / (np.sqrt(np.sum(np.square(early))) + 1e-6))
        return rir * scale, early * scale

    def _microphone(self, rng: np.random.Generator, bins: int) -> Float32s | None:
        """Zero-phase response of microphone and band limit, or None for a flat one."""
        spec = self.spec
        curve = smooth_curve(rng, bins, spread_db=spec.microphone_db) if rng.random() < spec.p_microphone else None
        if rng.random() < spec.p_band_limit:
            hz = np.linspace(0.0, SAMPLE_RATE / 2, bins, dtype=np.float32)
            low, high = rng.uniform(40.0, 350.0), rng.uniform(3300.0, 7500.0)
            limit = 1.0 / (1.0 + (low / (hz + 1.0)) ** 8) / (1.0 + (hz / high) ** 24)
            curve = limit.astype(np.float32) if curve is None else curve * limit.astype(np.float32)
        return curve

    def _capture(self, rng: np.random.Generator, noisy: Float32s, target: Float32s) -> tuple[Float32s, Float32s]:
        """Levels, level jumps and the faults of converters and codecs."""
        spec, n = self.spec, len(noisy)
        noisy, target = noisy.astype(np.float32), target.astype(np.float32)
        gain = 10.0 ** (rng.uniform(*spec.level_dbfs) / 20.0) / (_rms(noisy) + 1e-9)
        gain = min(gain, 0.98 / (np.abs(noisy).max() + 1e-9))
        noisy, target = noisy * np.float32(gain), target * np.float32(gain)
        if rng.random() < spec.p_level_jump:
            place, step_db = int(rng.uniform(0.1, 0.9) * n), rng.uniform(-spec.level_jump_db, spec.level_jump_db)
            before, after = (10.0 ** (step_db / 20.0), 1.0) if step_db < 0 else (1.0, 10.0 ** (-step_db / 20.0))
            gains = np.where(np.arange(n) < place, np.float32(before), np.float32(after))
            noisy, target = noisy * gains, target * gains
        if rng.random() < spec.p_clip:
            edge = np.float32(np.abs(noisy).max() * rng.uniform(0.2, 0.8))
            noisy = np.clip(noisy, -edge, edge)
        if rng.random() < spec.p_codec:
            noisy = _companded(noisy, bits=int(rng.integers(6, 9)))
        if rng.random() < spec.p_dc:
            noisy = noisy + np.float32(rng.uniform(-0.02, 0.02))
        # One step of a 16 bit converter: digital silence must not be a special case.
        noisy = noisy + rng.standard_normal(n, np.float32) * np.float32(1 / 65536)
        return noisy, target


def _rms(audio: Float32s) -> float:
    """RMS over the parts of the signal that are not silent (20 ms blocks within 40 dB of the loudest)."""
    blocks = np.mean(np.square(audio[: len(audio) // 320 * 320].reshape(-1, 320)), axis=1)
    active = blocks[blocks > 1e-4 * (blocks.max() if len(blocks) else 0.0)]
    return float(np.sqrt(active.mean())) if len(active) else 0.0


def _companded(audio: Float32s, *, bits: int) -> Float32s:
    """What a logarithmic telephone codec leaves of `audio` (mu-law of few bits)."""
    scale = np.abs(audio).max() + 1e-9
    squeezed = np.sign(audio) * np.log1p(255.0 * np.abs(audio) / scale) / np.log(256.0)
    levels = 2.0 ** (bits - 1)
    coarse = np.rint(squeezed * levels) / levels
    return (np.sign(coarse) * np.expm1(np.abs(coarse) * np.log(256.0)) / 255.0 * scale).astype(np.float32)
