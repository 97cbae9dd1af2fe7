"""From a run of the voice network to the package that is shipped: export, compare with torch, measure, write the card.

Measured through the package as it is played live, on speakers who were in no training: equal error rate by SNR and by
duration, and how well presence and SNR are told.
"""

from __future__ import annotations

import argparse
import csv
import io
import tarfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from pse_stream.dsp.spec import Float32s
from pse_stream.engines.gate.embedding import VoiceNetwork, VoiceStream, readings
from pse_stream.engines.gate.voice_package import SCHEMA, VoiceDescription, VoicePackage, write_voice
from pse_stream.training.corpus import open_packs
from pse_stream.training.embedding import equal_error_rate
from pse_stream.training.export import ExportError, licences
from pse_stream.training.loop import load_checkpoint
from pse_stream.training.models.voice import BLOCK_HOPS, FRAMES, STRIDE, VoiceNet

_OPSET = 18
_GOLDEN_BLOCKS = 12
_TOLERANCE = 1e-4
SNRS_DB = (-5.0, 0.0, 5.0, 10.0, 20.0)
DURATIONS_S = (0.5, 1.0, 2.0, 3.0, 5.0)
_AT_S, _AT_DB = 3.0, 5.0  # duration of the table by SNR, SNR of the table by duration
_SEGMENTS = 6  # per speaker

_CARD = """\
# Voice embedding

{width} units in two GRU layers, {parameters:,} parameters, {macs:.2f} million multiply-adds per second: one vector of
{dim} numbers every {block_ms:.0f} ms, with the share of the time in which somebody speaks and the signal-to-noise
ratio. Causal; it looks at every {stride}th frame, in blocks of {block_hops} hops.

## How it was trained

Contrastively: two clips of one speaker, each with its own noise (-5 to 20 dB), room, microphone and level, 0.5 to 5 s,
against the other 47 speakers of the batch; {updates} updates over {clips} clips made once from {speakers} speakers with
two recordings at least. Presence and SNR were learnt from the same mixtures. Recipe: `training/embedding.py`.

Licences of the recordings:

{licences}

## How good it is

{n_speakers} speakers who were in no training, with noises that were in no training, {segments} clips each, through this
package. Equal error rate: the share of pairs taken wrongly where both kinds of errors are as frequent.

{tables}

## Limits

- It was trained on few speakers; similar voices are taken for one. It chooses a specialist and proves no identity.
- A voice vector is biometric data and belongs to its owner.
"""


def to_onnx(net: VoiceNet) -> bytes:
    """The network's `step` as ONNX: block, state_0..2 -> voice, presence, snr, state_0_out..2_out."""

    class Step(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, block: torch.Tensor, *states: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return self.net.step(block, *states)

    states, buffer = net.zero_states(1), io.BytesIO()
    names = [f"state_{k}" for k in range(len(states))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter announces its age
        torch.onnx.export(
            Step(), (torch.zeros(1, FRAMES, 257, 2), *states), buffer, dynamo=False, opset_version=_OPSET,
            input_names=["block", *names], output_names=["voice", "presence", "snr", *(f"{n}_out" for n in names)],
        )  # fmt: skip
    return buffer.getvalue()


@torch.no_grad()
def golden(net: VoiceNet, seed: int = 3) -> dict[str, Float32s]:
    """Blocks of something like a voice in noise, and what torch makes of them block by block."""
    rng, time = np.random.default_rng(seed), np.arange(_GOLDEN_BLOCKS * BLOCK_HOPS * 128) / 16000
    wave = sum(np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 20)) * (np.sin(2 * np.pi * 2 * time) > -0.5)
    wave = 0.05 * wave + 0.01 * rng.standard_normal(len(time))
    from pse_stream.training.embedding import side_by_side

    blocks = side_by_side(torch.tensor(wave, dtype=torch.float32)[None])[0].unflatten(0, (-1, FRAMES))
    states, rows = net.zero_states(1), []
    for block in blocks:
        voice, presence, snr, *states = net.step(block[None], *states)
        rows.append((voice[0].numpy(), presence[0].numpy(), snr[0].numpy()))
    found = {name: np.stack([row[i] for row in rows]) for i, name in enumerate(("voice", "presence", "snr"))}
    return {"blocks": blocks.numpy(), **found}


def export(run: Path, folder: Path, *, version: str, data: Path, cache: Path) -> dict[str, float]:
    """Write the package of a run: first unmeasured, then with what was measured through it."""
    saved = load_checkpoint(run / "checkpoint.pt")
    recipe = saved["recipe"]
    net = VoiceNet(recipe["width"], recipe["dim"])
    net.load_state_dict(saved["average"])
    graph, expected = to_onnx(net.eval()), golden(net)
    store = open_packs(data, cache, splits=("train",))
    described: dict[str, Any] = {
        "schema": SCHEMA, "id": folder.name, "version": version, "title": "Voice embedding", "dim": net.dim,
        "block_hops": BLOCK_HOPS, "stride": STRIDE, "states": tuple(tuple(s.shape) for s in net.zero_states(1)),
        "macs_per_second": net.macs_per_block() * 125 / BLOCK_HOPS,
        "parameters": sum(p.numel() for p in net.parameters()), "licence_weights": "CC-BY-4.0", "licence_code": "MIT",
        "licence_data": licences(store.recordings),
        "provenance": {"recipe": recipe["name"], "updates": saved["update"], "seed": recipe["seed"]},
    }  # fmt: skip
    package = write_voice(folder, VoiceDescription(**described), graph=graph, golden=expected, card="unmeasured")
    _compare(package)
    voices = test_voices(data)
    table = measure(voices, VoiceNetwork(package))
    recordings = {r.speaker for r in store.recordings if r.kind == "speech" and not r.speaker.endswith("_unlabelled")}
    card = _CARD.format(
        width=net.width, parameters=described["parameters"], macs=described["macs_per_second"] / 1e6, dim=net.dim,
        block_ms=BLOCK_HOPS * 8, stride=STRIDE, block_hops=BLOCK_HOPS, updates=saved["update"], clips=recipe["clips"],
        speakers=len(recordings), licences="\n".join(f"- {line}" for line in described["licence_data"]),
        n_speakers=len(voices[0]), segments=_SEGMENTS, tables=tables(table),
    )  # fmt: skip
    write_voice(folder, VoiceDescription(**described, quality=table), graph=graph, golden=expected, card=card)
    return table


def _compare(package: VoicePackage) -> None:
    """The graph gives what torch gave, presence and SNR too."""
    network, wanted = VoiceNetwork(package), package.golden
    stream, rows = VoiceStream(network), []
    for block in wanted["blocks"]:
        reading = stream.hear(block)
        rows.append((*reading.vector, reading.presence, reading.snr_db))
    expected = np.concatenate([wanted["voice"], wanted["presence"], wanted["snr"]], axis=1)
    error = float(np.abs(np.array(rows) - expected).max() / np.abs(expected).max())
    if not error <= _TOLERANCE:
        raise ExportError(f"ONNX and torch differ by {error:.1e} of the largest output; at most {_TOLERANCE}")


def test_voices(data: Path) -> tuple[dict[str, list[Float32s]], list[Float32s]]:
    """Clean clips of every speaker of the test pairs and of the users, and the noises of the pairs."""
    voices: dict[str, list[Float32s]] = {}
    noises = []
    with tarfile.open(data / "test.tar") as tar:

        def read(name: str) -> bytes:
            return tar.extractfile(f"test/{name}").read()  # type: ignore[union-attr]

        for row in csv.DictReader(io.StringIO(read("pairs.csv").decode())):
            clip, _ = soundfile.read(io.BytesIO(read(f"pairs/{row['id']}/clean.flac")), dtype="float32")
            noise, _ = soundfile.read(io.BytesIO(read(f"pairs/{row['id']}/noise.flac")), dtype="float32")
            voices.setdefault(row["speaker"], []).append(clip)
            noises.append(noise)
        for row in csv.DictReader(io.StringIO(read("users.csv").decode())):
            if row["part"] == "test":
                clip, _ = soundfile.read(io.BytesIO(read(row["path"])), dtype="float32")
                voices.setdefault(row["user"], []).append(clip[: 6 * 16000])
    return voices, noises


def measure(voices: tuple[dict[str, list[Float32s]], list[Float32s]], network: VoiceNetwork) -> dict[str, float]:
    """Equal error rates in %, by SNR at 3 s (`eer_0db`) and by duration at 5 dB (`eer_1s`)."""
    table = {}
    for snr_db in SNRS_DB:
        table[f"eer_{snr_db:g}db"] = _eer(voices, network, snr_db, _AT_S)
    for seconds in DURATIONS_S:
        table[f"eer_{seconds:g}s"] = _eer(voices, network, _AT_DB, seconds)
    return {name: round(100 * value, 2) for name, value in table.items()}


def _eer(
    voices: tuple[dict[str, list[Float32s]], list[Float32s]], network: VoiceNetwork, snr_db: float, seconds: float
) -> float:
    rng, n = np.random.default_rng(7), int(seconds * 16000)
    rows, owner, source = [], [], []
    for who, clips in sorted(voices[0].items()):
        for k in range(_SEGMENTS):
            first = k % len(clips)
            clip = np.concatenate([clips[first], clips[(first + 1) % len(clips)]]) if seconds > 4 else clips[first]
            noise = voices[1][rng.integers(len(voices[1]))]
            rows.append(_vector(_noisy(rng, clip, noise, n, snr_db), network))
            owner.append(who)
            source.append(first)
    cosines = np.stack(rows) @ np.stack(rows).T
    who, clip = np.array(owner), np.array(source)
    same = who[:, None] == who[None]
    upper = np.triu(np.ones_like(same), 1).astype(bool)
    apart = clip[:, None] != clip[None]
    return equal_error_rate(cosines[upper & same & apart], cosines[upper & ~same])


def _noisy(rng: np.random.Generator, clip: Float32s, noise: Float32s, n: int, snr_db: float) -> Float32s:
    """`n` samples of a clip, of six places that with most speech, in its own noise."""
    starts = rng.integers(0, max(len(clip) - n, 0) + 1, 6)
    start = max(starts, key=lambda at: float(np.square(clip[at : at + n]).sum()))
    speech = clip[start : start + n]
    noise = np.roll(np.resize(noise, len(speech)), int(rng.integers(len(speech))))
    gain = np.sqrt(np.square(speech).sum() / (np.square(noise).sum() + 1e-12)) * 10 ** (-snr_db / 20)
    mixed = speech + gain * noise
    return np.asarray(np.resize(mixed, n) if len(mixed) < n else mixed, np.float32)


def _vector(samples: Float32s, network: VoiceNetwork) -> Float32s:
    total = sum(r.presence * r.vector for r in readings(samples, network))
    return np.asarray(total / (np.linalg.norm(total) + 1e-9))


def tables(table: dict[str, float]) -> str:
    """The rates as two Markdown tables."""
    heads = [f"| {_AT_S:g} s, at | " + " | ".join(f"{snr:g} dB" for snr in SNRS_DB) + " |", "|---" * 6 + "|"]
    heads.append("| EER % | " + " | ".join(f"{table[f'eer_{snr:g}db']:.1f}" for snr in SNRS_DB) + " |")
    heads += ["", f"| {_AT_DB:g} dB, over | " + " | ".join(f"{s:g} s" for s in DURATIONS_S) + " |", "|---" * 6 + "|"]
    heads.append("| EER % | " + " | ".join(f"{table[f'eer_{s:g}s']:.1f}" for s in DURATIONS_S) + " |")
    return "\n".join(heads)


def main() -> None:
    """Export from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--version", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    options = parser.parse_args()
    table = export(options.run, options.folder, version=options.version, data=options.data, cache=options.cache)
    print(tables(table))


if __name__ == "__main__":
    main()
