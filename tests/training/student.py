"""A tiny student as a model package, and somebody who talks in a noisy place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pse_stream.dsp.spec import ENGINE_BINS
from pse_stream.engines.package import Description, Package, PackageLevel, State, Tensor
from pse_stream.engines.package_writer import write_package
from pse_stream.training.export import probe, to_onnx, whole
from pse_stream.training.models import SpectralNet, build

RATE = 16000
Float32s = NDArray[np.float32]


def tiny(seed: int = 1, width: int = 8) -> SpectralNet:
    """A GRU masker that knows nothing yet."""
    torch.manual_seed(seed)
    model = build("gru", width=width)
    model.mean.fill_(-1.0)
    return model.eval()


def write_student(folder: Path, model: SpectralNet, family: str = "gru", golden: SpectralNet | None = None) -> Package:
    """`model` as a package called like its folder; `golden` says what it plays, if it shall lie."""
    frames = probe(0.4)
    clean = whole(golden or model, frames)
    shapes = [(1, *shape) for shape in model.state_shapes]
    level = PackageLevel(
        name="full", file="model.onnx", macs_per_second=1.0, parameters=1, input=Tensor("spec", (1, ENGINE_BINS, 2)),
        states=tuple(State(input=f"state_{k}", output=f"state_{k}_out", shape=s) for k, s in enumerate(shapes)),
    )  # fmt: skip
    description = Description(
        schema=1, id=folder.name, version="1", title="Tiny", family=family, licence_weights="CC0", licence_code="MIT",
        licence_data=(), levels=(level,),
    )  # fmt: skip
    graphs = {"model.onnx": to_onnx(model)}
    return write_package(folder, description, graphs=graphs, noisy=frames, clean=[clean], card="tiny")


def talk(rng: np.random.Generator, seconds: float, pause_s: float = 1.5) -> Float32s:
    """A voice that speaks for `seconds`, with a pause before and after."""
    time = np.arange(int(seconds * RATE)) / RATE
    pitch = 140 + 30 * np.sin(2 * np.pi * 0.5 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    wave = sum(np.sin(k * phase) / k for k in range(1, 14)) * (0.6 + 0.4 * np.sin(2 * np.pi * 3.0 * time))
    quiet = np.zeros(int(pause_s * RATE))
    return np.concatenate([quiet, 0.1 * wave, quiet]).astype(np.float32)


def hiss(rng: np.random.Generator, n: int, level: float = 0.02) -> Float32s:
    """Noise without a voice."""
    return (level * rng.standard_normal(n)).astype(np.float32)
