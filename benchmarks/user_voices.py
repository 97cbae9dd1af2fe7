"""Four people in their own noise, made from the user recordings of the test pack: what adaptation is measured on.

A person lives in one place: a noise that runs all the time (a cafe, an office, a train, a washing machine) and another
that comes now and then. The recording of each place is cut in two in time, one part for the sessions that adaptation
may hear and one for the test; the speech is the adapt half and the test half of the pack. Sessions are fixed mixtures:
every sentence is said once, at -5 to 10 dB, with pauses in which only the place is heard.
"""

from __future__ import annotations

import csv
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import fftconvolve

RATE = 16000
Float32s = NDArray[np.float32]

#: user: (noise of the place, noise that comes now and then), as the manifest names their recordings
PLACES = {
    "ls_19": ("blanket/coffee-shop", "freesound/156844"),
    "ls_26": ("moodist/places/laboratory", "mechvibes/topre-purple-hybrid-pbt"),
    "so_7001": ("moodist/transport/inside-a-train", "freesound/183992"),
    "so_9643": ("moodist/things/washing-machine", "freesound/179984"),
}
SESSION_SNR_DB = (-5.0, 10.0)
TEST_SNR_DB = (-5.0, 0.0, 5.0, 10.0)
TEST_CLIP_S = 12.0
PAUSE_S = (1.0, 2.5)
_MIN_OVERLAP = 800  # samples: two clips of one recording that share less are taken as apart
_SAME = 0.98  # correlation of the shared part


@dataclass(frozen=True)
class Mixture:
    """One labelled test clip."""

    noisy: Float32s
    clean: Float32s
    snr_db: float


@dataclass(frozen=True)
class User:
    """One person."""

    name: str
    sessions: list[Float32s]  # noisy, in order of time; all that adaptation hears
    clean: list[Float32s]  # the same, clean: for development figures only
    test: list[Mixture]


def users(data: Path, *, seed: int = 11) -> list[User]:
    """The four of the test pack in `data`."""
    with tarfile.open(data / "test.tar") as pack:
        rows = list(csv.DictReader(io.StringIO(_bytes(pack, "test/users.csv").decode())))
        noises = _noises(data, pack)
        return [_user(name, rows, pack, noises, np.random.default_rng([seed, k])) for k, name in enumerate(PLACES)]


def _user(
    name: str, rows: list[dict[str, str]], pack: tarfile.TarFile, noises: dict[str, list[Float32s]],
    rng: np.random.Generator,
) -> User:  # fmt: skip
    halves = {
        part: [_audio(pack, f"test/{r['path']}") for r in rows if (r["user"], r["part"]) == (name, part)]
        for part in ("adapt", "test")
    }
    place = [two_parts(timelines(noises[source])) for source in PLACES[name]]
    sessions, clean = [], []
    for speech in halves["adapt"]:
        before, after = (int(rng.uniform(*PAUSE_S) * RATE) for _ in range(2))
        whole = np.concatenate([np.zeros(before, np.float32), speech, np.zeros(after, np.float32)])
        noise = scene(rng, len(whole), place[0][0], place[1][0])
        sessions.append(_mix(whole, noise, speech, rng.uniform(*SESSION_SNR_DB)))
        clean.append(whole)
    test = []
    for whole in halves["test"]:
        speech = whole[: int(TEST_CLIP_S * RATE)]
        for snr_db in TEST_SNR_DB:
            noise = scene(rng, len(speech), place[0][1], place[1][1])
            test.append(Mixture(_mix(speech, noise, speech, snr_db), speech, snr_db))
    return User(name, sessions, clean, test)


def scene(rng: np.random.Generator, n: int, steady: Float32s, other: Float32s) -> Float32s:
    """`n` samples of a place: its noise from a random moment on, and in half the scenes the other one on top."""
    whole = _looped(rng, steady, n)
    if rng.random() < 0.5:
        extra = _looped(rng, other, n)
        gain = np.sqrt(np.mean(np.square(whole)) / (np.mean(np.square(extra)) + 1e-9)) * 10 ** rng.uniform(-0.4, 0.1)
        whole = whole + np.float32(gain) * extra
    return whole


def _looped(rng: np.random.Generator, noise: Float32s, n: int) -> Float32s:
    start = int(rng.integers(len(noise)))
    return np.resize(np.roll(noise, -start), n).astype(np.float32)


def _mix(whole: Float32s, noise: Float32s, speech: Float32s, snr_db: float) -> Float32s:
    """Speech with pauses + noise; the ratio counts only the time of the speech."""
    gain = np.sqrt(np.mean(np.square(speech)) / (np.mean(np.square(noise)) + 1e-9)) * 10.0 ** (-snr_db / 20.0)
    return (whole + np.float32(gain) * noise).astype(np.float32)


def _noises(data: Path, pack: tarfile.TarFile) -> dict[str, list[Float32s]]:
    wanted = {source for pair in PLACES.values() for source in pair}
    with (data / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["split"] == "test" and r["path"].endswith("noise.flac")]
    return {source: [_audio(pack, r["path"]) for r in rows if r["speaker"] == source] for source in sorted(wanted)}


def timelines(clips: list[Float32s]) -> list[Float32s]:
    """Clips of one recording put together where they overlap: pieces that share nothing, longest first."""
    places: dict[int, tuple[int, int, float]] = {}  # clip: (piece, start, gain)
    for k in range(len(clips)):
        if k in places:
            continue
        places[k] = (k, 0, 1.0)
        todo = [k]
        while todo:
            i = todo.pop()
            for j in range(len(clips)):
                found = _lag(clips[i], clips[j]) if j not in places else None
                if found is not None:
                    places[j] = (k, places[i][1] + found[0], places[i][2] * found[1])
                    todo.append(j)
    pieces = []
    for piece in sorted({p for p, _, _ in places.values()}):
        members = [(j, start, gain) for j, (p, start, gain) in places.items() if p == piece]
        first = min(start for _, start, _ in members)
        whole = np.zeros(max(start + len(clips[j]) for j, start, _ in members) - first, np.float32)
        for j, start, gain in members:
            whole[start - first : start - first + len(clips[j])] = clips[j] / gain
        pieces.append(whole)
    return sorted(pieces, key=len, reverse=True)


def _lag(a: Float32s, b: Float32s) -> tuple[int, float] | None:
    """Where `b` begins in `a`, and how much louder it is there; None if they share nothing."""
    cross = fftconvolve(a, b[::-1])
    lag = int(np.argmax(np.abs(cross))) - (len(b) - 1)
    i, j = max(0, lag), max(0, -lag)
    n = min(len(a) - i, len(b) - j)
    if n < _MIN_OVERLAP:
        return None
    u, v = a[i : i + n], b[j : j + n]
    same = float(np.dot(u, v)) / np.sqrt(float(np.dot(u, u)) * float(np.dot(v, v)) + 1e-12)
    return (lag, float(np.sqrt(np.dot(v, v) / (np.dot(u, u) + 1e-12)))) if same > _SAME else None


def two_parts(pieces: list[Float32s]) -> tuple[Float32s, Float32s]:
    """Two thirds of a place's time for the sessions and one for the test, nothing in both."""
    whole = np.concatenate([piece * np.float32(0.05 / (np.sqrt(np.mean(np.square(piece))) + 1e-9)) for piece in pieces])
    border = 2 * len(whole) // 3
    return whole[:border], whole[border:]


def _audio(pack: tarfile.TarFile, name: str) -> Float32s:
    audio, rate = soundfile.read(io.BytesIO(_bytes(pack, name)), dtype="float32")
    assert rate == RATE, f"{name} has {rate} Hz"
    return audio


def _bytes(pack: tarfile.TarFile, name: str) -> bytes:
    file = pack.extractfile(name)
    assert file is not None, f"{name} is no file"
    return file.read()
