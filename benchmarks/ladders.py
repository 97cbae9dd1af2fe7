"""Do the scalable networks keep what their methods claim? Runs of the training, compared clip by clip on test pairs.

    python benchmarks/ladders.py RUNS PAIRS.tar [--every 2] [--rows FOLDER] [--bloom bloom]

RUNS holds the run folders that the recipes make: bloom, bloom-rival-1, bloom-rival-3, diffuse, diffuse-ordinary, and
gru-256, the one-shot network of the cost of the last exit. What is missing is left out. Systems:

    bloom 1 .. 5        its exits; rival 1, 3: nets of that depth trained by themselves
    diffuse 1 .. 6      its steps; noise left is told beside each step's milestone
    mixed 1 .. 5        the control: rival 1, of which so much of the microphone is mixed back as the milestone leaves
    ordinary 1, 2, 3, 6 cold diffusion in that many steps (every 6th, 3rd, 2nd, every one)

Printed: means with half of the 95 % interval, then the differences that the claims are about, paired by clip. Networks
run over whole clips in torch, as `training.export` has checked to equal the streaming path.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pesq import PesqError, pesq

from pse_stream.training.evaluate import Pair, read_pairs
from pse_stream.training.export import load_run
from pse_stream.training.frames import HOP, signals, spectra
from pse_stream.training.metrics import si_sdr
from pse_stream.training.models.diffuse import Diffuse

Float32s = NDArray[np.float32]
System = Callable[[torch.Tensor], torch.Tensor]  # spectra (1, frames, 257, 2) -> the same
Rows = dict[str, list[float]]
CLAIMS = (
    ("bloom 1", "rival 1"), ("bloom 3", "rival 3"), ("bloom 5", "gru-256"),
    ("diffuse 5", "rival 1"), ("diffuse 6", "rival 1"), ("diffuse 6", "rival 3"),
    *((f"diffuse {steps}", f"ordinary {steps}") for steps in (1, 2, 3, 6)), ("diffuse 3", "ordinary 6"),
    *((f"diffuse {step}", f"mixed {step}") for step in range(1, 6)),
)  # fmt: skip


def main() -> None:
    """Two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--every", type=int, default=2, help="take every so many pairs")
    parser.add_argument("--rows", type=Path, help="keep scores here, and take those that are there")
    parser.add_argument("--bloom", default="bloom", help="name of BLOOM's run")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    pairs = [pair for k, pair in enumerate(read_pairs(asked.pairs)) if k % asked.every == 0]
    found: dict[str, Rows] = {}
    for name, system in systems(asked.runs, asked.bloom):
        kept = asked.rows / f"{name.replace(' ', '-')}.json" if asked.rows else None
        if kept and kept.is_file():
            found[name] = json.loads(kept.read_text())
        else:
            found[name] = scored(system, pairs)
            if kept:
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_text(json.dumps(found[name]))
        print(f"{name:<12}" + "".join(f"{key:>9}{mean(values):>16}" for key, values in found[name].items()), flush=True)
    for one, other in CLAIMS:
        if one in found and other in found:
            gains = {key: np.subtract(found[one][key], found[other][key]).tolist() for key in ("si_sdr_i", "pesq")}
            print(f"{one} - {other}: " + ", ".join(f"{key} {mean(values)}" for key, values in gains.items()))


def systems(runs: Path, bloom: str) -> Iterator[tuple[str, System]]:
    """Name and function of all that is there."""
    for run, name in ((bloom, "bloom"), ("diffuse", "diffuse")):
        if (runs / run / "checkpoint.pt").is_file():
            net = load_run(runs / run)[0]
            for level in range(net.n_levels):
                yield f"{name} {level + 1}", played(net.at_level(level))
    for run, name in (("bloom-rival-1", "rival 1"), ("bloom-rival-3", "rival 3"), ("gru-256", "gru-256")):
        if (runs / run / "checkpoint.pt").is_file():
            yield name, played(load_run(runs / run)[0])
    one = runs / "bloom-rival-1"
    if (one / "checkpoint.pt").is_file():
        one_shot = played(load_run(one)[0])
        for step, left in enumerate(Diffuse().left[:-1]):
            yield f"mixed {step + 1}", lambda spec, left=left: torch.lerp(one_shot(spec), spec, left)
    if (runs / "diffuse-ordinary" / "checkpoint.pt").is_file():
        net = load_run(runs / "diffuse-ordinary")[0]
        for stride in (6, 3, 2, 1):
            yield f"ordinary {6 // stride}", lambda spec, stride=stride: net.in_strides(spec, stride)


def played(net: torch.nn.Module) -> System:
    """A network from a fresh state."""
    return lambda spec: net(spec, net.zero_states(1))[0]


@torch.no_grad()
def scored(system: System, pairs: list[Pair]) -> Rows:
    """For each clip the gain in SI-SDR, PESQ-WB, and the noise that is left, dB."""
    rows: Rows = {"si_sdr_i": [], "pesq": [], "noise_db": []}
    for pair in pairs:
        noisy, noise = _spectra(pair.noisy), _spectra(pair.noisy - pair.clean)
        clean = system(noisy)
        out = signals(clean).numpy()[0, : len(pair.noisy)]
        rows["si_sdr_i"].append(si_sdr(out, pair.clean) - si_sdr(pair.noisy, pair.clean))
        try:
            rows["pesq"].append(float(pesq(16000, pair.clean, out, "wb")))
        except PesqError:
            rows["pesq"].append(1.0)
        gains = clean.square().sum(-1) / noisy.square().sum(-1).clamp(min=1e-20)
        left = (gains * noise.square().sum(-1)).sum() / noise.square().sum()
        rows["noise_db"].append(float(10 * torch.log10(left + 1e-10)))
    return rows


def _spectra(wave: Float32s) -> torch.Tensor:
    return spectra(torch.from_numpy(np.pad(wave, (0, -len(wave) % HOP + HOP)))[None].float())


def mean(values: list[float]) -> str:
    """And half of the 95 % interval."""
    return f"{np.mean(values):+.3f} ± {1.96 * np.std(values, ddof=1) / np.sqrt(len(values)):.3f}"


if __name__ == "__main__":
    main()
