"""A corpus of a few seconds, packed like the real one, and skipping where torch is not installed."""

from __future__ import annotations

import csv
import importlib.util
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

# The workshop needs the extra [train]; where it is not installed, none of these files can even be imported.
if any(importlib.util.find_spec(name) is None for name in ("torch", "numba", "onnx")):
    collect_ignore_glob = ["test_*.py"]

COLUMNS = ("pack", "path", "split", "kind", "speaker", "gender", "language", "category", "seconds", "source", "licence")


def voice(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Something with a pitch and pauses, (samples,) float32."""
    time = np.arange(int(seconds * 16000)) / 16000
    pitch = rng.uniform(90, 250)
    wave = sum(np.sin(2 * np.pi * k * pitch * time) / k for k in range(1, 12))
    return (0.05 * wave * (np.sin(2 * np.pi * rng.uniform(1, 3) * time) > -0.3)).astype(np.float32)


def write_pack(folder: Path, name: str, files: list[tuple[str, dict[str, str], np.ndarray]]) -> None:
    """A tar of FLAC files and their rows in manifest.csv."""
    with tarfile.open(folder / name, "w") as tar:
        for path, _, audio in files:
            data = io.BytesIO()
            soundfile.write(data, audio, 16000, format="FLAC")
            info = tarfile.TarInfo(path)
            info.size = data.getbuffer().nbytes
            data.seek(0)
            tar.addfile(info, data)
    manifest = folder / "manifest.csv"
    fresh = not manifest.exists()
    with manifest.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if fresh:
            writer.writeheader()
        for path, row, audio in files:
            blank = dict.fromkeys(COLUMNS, "")
            writer.writerow(blank | {"pack": name, "path": path, "seconds": len(audio) / 16000, "licence": "CC0"} | row)


@pytest.fixture(scope="session")
def packs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three packs: speech (one recording of unclear licence), noise, rooms."""
    folder, rng = tmp_path_factory.mktemp("packs"), np.random.default_rng(0)
    speech = [
        (f"train/speech/s{k}/{i}.flac", {"split": "train", "kind": "speech", "speaker": f"s{k}"}, voice(rng, 1.5))
        for k in range(3)
        for i in range(2)
    ]
    row = {"split": "train", "kind": "speech", "speaker": "s9", "licence": "UNCLEAR: not stated"}
    speech.append(("train/speech/s9/0.flac", row, voice(rng, 1.0)))
    noise = [
        (f"train/noise/fan/{k}.flac", {"split": "train", "kind": "noise", "speaker": f"n{k}", "category": "fan"},
         0.05 * rng.standard_normal(24000).astype(np.float32))
        for k in range(3)
    ]  # fmt: skip
    decay = np.exp(-np.arange(4000) / 900) * rng.standard_normal(4000) * 0.3
    decay[40] = 0.9
    rooms = [("train/rir/a.flac", {"split": "train", "kind": "rir"}, decay.astype(np.float32))]
    write_pack(folder, "speech.tar", speech)
    write_pack(folder, "noise.tar", noise)
    write_pack(folder, "rir.tar", rooms)
    return folder


@pytest.fixture(scope="session")
def store(packs: Path, tmp_path_factory: pytest.TempPathFactory):
    """The packs, opened."""
    from pse_stream.training.corpus import open_packs

    return open_packs(packs, tmp_path_factory.mktemp("cache"))
