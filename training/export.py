"""Turn a trained run into a model package: ONNX graph, golden frames, card, measured quality.

The graph is one `step` of the network with everything that training did to the input inside. Export fails when torch
over whole sequences and ONNX Runtime frame by frame differ by more than 1e-4 of the loudest output on ten seconds.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pse_stream.dsp.spec import ENGINE_BINS
from pse_stream.training.frames import HOP, signals, spectra
from pse_stream.training.loop import load_checkpoint
from pse_stream.training.models import SpectralNet, build
from pse_stream.training.models.slim import Slim

TOLERANCE = 1e-4
_OPSET = 18
_GOLDEN_FRAMES = 150
_CLIPS_AT_ONCE = 8


class ExportError(ValueError):
    """A network that must not be shipped; the text says what differs and by how much."""


def load_run(run: Path) -> tuple[SpectralNet, dict[str, Any]]:
    """The averaged weights of a run as a network, and its checkpoint."""
    saved = load_checkpoint(run / "checkpoint.pt")
    model = build(**saved["recipe"]["model"])
    model.load_state_dict(saved["average"])
    return model.eval(), saved


class _Step(torch.nn.Module):
    def __init__(self, model: SpectralNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, spec: torch.Tensor, *states: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.model.step(spec, *states)


def to_onnx(model: SpectralNet) -> bytes:
    """The network's `step` as ONNX: spec, state_0, ... -> spec_out, state_0_out, ..."""
    if isinstance(model, Slim):
        from pse_stream.training.branching import branched

        return branched(model)
    states = model.zero_states(1)
    names = [f"state_{k}" for k in range(len(states))]
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter announces its age
        torch.onnx.export(
            _Step(model), (torch.zeros(1, ENGINE_BINS, 2), *states), buffer, dynamo=False, opset_version=_OPSET,
            input_names=["spec", *names], output_names=["spec_out", *(f"{n}_out" for n in names)],
        )  # fmt: skip
    return buffer.getvalue()


def play(
    graph: bytes, frames: NDArray[np.complex64], settings: dict[str, float] | None = None
) -> NDArray[np.complex64]:
    """`frames` (n, 257) through the graph one by one, from a fresh state; `settings` are those of the level."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    feed = {i.name: np.zeros(i.shape, np.float32) for i in session.get_inputs()}
    feed |= {name: np.full(1, value, np.float32) for name, value in (settings or {}).items()}
    names, out = [o.name for o in session.get_outputs()], np.empty_like(frames)
    for t, frame in enumerate(frames):
        feed["spec"] = frame.view(np.float32).reshape(1, ENGINE_BINS, 2)
        results = session.run(names, feed)
        out[t] = results[0].view(np.complex64).reshape(ENGINE_BINS)
        feed |= dict(zip([n.removesuffix("_out") for n in names[1:]], results[1:], strict=True))
    return out


def probe(seconds: float, seed: int = 5) -> NDArray[np.complex64]:
    """Frames of a test signal that wakes every part of a network: noise in bursts, glides, a level step, silence."""
    rng, n = np.random.default_rng(seed), int(seconds * 125) * 128
    time = np.arange(n) / 16000
    voice = np.sin(2 * np.pi * (150 * time + 40 * np.sin(2 * np.pi * 0.7 * time))) * (
        np.sin(2 * np.pi * 1.3 * time) > 0
    )
    audio = 0.1 * voice + 0.02 * rng.standard_normal(n) * (1 + np.sin(2 * np.pi * 0.3 * time))
    audio[n // 2 :] *= 0.1
    audio[int(0.8 * n) : int(0.85 * n)] *= 1e-5  # digital silence is not played by engines, so not by golden frames
    frames = spectra(torch.from_numpy(audio[None].astype(np.float32)))[0]
    return torch.view_as_complex(frames.contiguous()).numpy()


@torch.no_grad()
def whole(model: SpectralNet, frames: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """`frames` (n, 257) through the training form of the network at once."""
    spec = torch.view_as_real(torch.from_numpy(frames[None].copy()))
    out, _ = model(spec, model.zero_states(1))
    return torch.view_as_complex(out[0].contiguous()).numpy()


@torch.no_grad()
def played(model: SpectralNet, clips: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Clips of one length through the network, delay taken off; the streaming path gives the same within 1e-4."""
    out: list[NDArray[np.float32]] = []
    for k in range(0, len(clips), _CLIPS_AT_ONCE):
        noisy = np.stack(clips[k : k + _CLIPS_AT_ONCE])
        n = noisy.shape[1]
        late = model.lookahead * HOP
        padded = np.pad(noisy, ((0, 0), (0, -n % HOP + HOP + late)))  # the last hop leaves one hop later
        clean, _ = model(spectra(torch.from_numpy(padded)), model.zero_states(len(noisy)))
        out += list(signals(clean).numpy()[:, late : late + n])
    return out


def check(model: SpectralNet, graph: bytes) -> float:
    """Largest difference between torch and ONNX relative to the loudest output; `ExportError` above `TOLERANCE`."""
    frames = probe(10.0)
    expected, found = whole(model, frames), play(graph, frames, model.settings())
    error = float(np.abs(found - expected).max() / np.abs(expected).max())
    if not error <= TOLERANCE:
        raise ExportError(f"ONNX and torch differ by {error:.1e} of the loudest output; at most {TOLERANCE} is allowed")
    return error


def export(
    run: Path,
    folder: Path,
    *,
    identity: str,
    title: str,
    version: str,
    card: str,
    quality: dict[str, float],
    licence_data: tuple[str, ...],
    licence_weights: str = "CC-BY-4.0",
) -> dict[str, float]:
    """Write the package of `run` to `folder`; returns figures about the graph (difference, nodes, bytes)."""
    import onnx

    from pse_stream.engines.package import Description, PackageLevel, State, Tensor
    from pse_stream.engines.package_writer import write_package

    if (folder / "checkpoint.pt").exists():
        raise ExportError(f"{folder} is a run folder; a package would replace it: choose another place")
    model, saved = load_run(run)
    nets = [model.at_level(k) for k in range(model.n_levels)]
    one_for_all = len(nets) == 1 or bool(model.settings())
    graphs = [to_onnx(model)] * len(nets) if one_for_all else [to_onnx(net) for net in nets]
    error = max(check(net, graph) for net, graph in zip(nets, graphs, strict=True))
    files = ["model.onnx"] * len(nets) if one_for_all else [f"level-{k}.onnx" for k in range(len(nets))]
    levels = tuple(
        PackageLevel(
            name=model.level_name(k), file=file, macs_per_second=float(net.macs_per_frame() * 125),
            parameters=net.parameter_count(), input=Tensor("spec", (1, ENGINE_BINS, 2)), output="spec_out",
            states=tuple(
                # One network, cut off at several places: most states are the same thing in every level that has them.
                State(f"state_{i}", f"state_{i}_out", (1, *shape), shared=len(nets) > 1 and i not in net.own_states)
                for i, shape in enumerate(net.state_shapes)
            ),
            settings=net.settings(),
        )
        for k, (net, file) in enumerate(zip(nets, files, strict=True))
    )  # fmt: skip
    frames = probe(_GOLDEN_FRAMES / 125)
    description = Description(
        schema=1, id=identity, version=version, title=title, family=saved["recipe"]["model"]["family"],
        lookahead_hops=model.lookahead,
        licence_weights=licence_weights, licence_code="MIT", licence_data=licence_data,
        levels=levels, quality=quality,
        provenance={
            "recipe": saved["recipe"]["name"], "seed": saved["recipe"]["seed"],
            "updates": saved["update"] + saved.get("before", 0),
        },
    )  # fmt: skip
    contents = dict(zip(files, graphs, strict=True))
    write_package(
        folder,
        description,
        graphs=contents,
        noisy=frames,
        clean=[whole(net, frames) for net in nets],
        card=card,
        replace=True,
    )
    nodes = len(onnx.load_from_string(graphs[-1]).graph.node)
    return {"difference": error, "nodes": nodes, "bytes": sum(map(len, contents.values()))}


def licences(recordings: list[Any], split: str = "train") -> tuple[str, ...]:
    """The licences of the recordings that a training could draw from, most minutes first."""
    minutes: dict[str, float] = {}
    for row in recordings:
        if row.split == split:
            minutes[row.licence] = minutes.get(row.licence, 0.0) + row.n_samples / 16000 / 60
    return tuple(f"{name} ({value:.0f} min)" for name, value in sorted(minutes.items(), key=lambda item: -item[1]))


def recipe_text(saved: dict[str, Any]) -> str:
    """The resolved recipe of a checkpoint for the card."""
    return json.dumps(saved["recipe"], indent=1)
