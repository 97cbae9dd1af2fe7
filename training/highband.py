"""Train the head that finds the gains above 8 kHz, and fold it into `dsp/highband.npz`.

    python -m pse_stream.training.highband make FOLDER EXAMPLES.npz [--count 500] [--seed 1] [--only a,b | --without a]
    python -m pse_stream.training.highband train EXAMPLES.npz ... [--held-out EXAMPLES.npz] [--head dsp/highband.npz]

FOLDER holds speech/<speaker>/ and noise/<category>/ at 48 kHz (`train48` of the full-band pack); 500 mixtures take ten
minutes of one core, the training two. To see how it does on strangers, make a second file with `--only` speakers that
the first was made `--without`, and give it as `--held-out`.

The loss is what the benchmark measures, all above 8 kHz: a mixture's gain in SI-SDR, how far its pauses fall, what
is missing of the voice's energy, and the distance of compressed powers. benchmarks/fullband.py measures the result
through the whole live path.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pse_stream.dsp.clues import BANDS, KEPT, LOW_BANDS, N_CLUES, WIDE_BANDS
from pse_stream.dsp.highband import LEAST_GAIN, MEMORIES, SILENT, TOUCHED
from pse_stream.engines.registry import open_engine
from pse_stream.training.wideband import SPOILED, TRUTH, hear, mixture, read_groups

ENGINES = ("gru-256", "house-m", "wiener")
SHARES = {"gru-256": 0.4, "house-m": 0.25, "wiener": 0.2, TRUTH: 0.15}  # of what is trained on
SPOILED_SHARE = 0.6
HIGH_BANDS = BANDS - LOW_BANDS
LOW_GROUPS = ((0, 2), (2, 4), (4, 8), (8, 12), (12, 16))  # bands: 0, 1, 2, 4 and 6 to 8 kHz
BATCH, CROP_HOPS = 12, 320
RATE, DECAY, SHAKE = 1e-2, 1e-2, 0.15  # of the optimiser; of the inputs, per mixture
PAUSE_DB, VOICE_DB = -45.0, -20.0  # as in benchmarks/fullband.py


@dataclass(frozen=True, slots=True)
class Examples:
    """Many mixtures; see `wideband.Example`."""

    noisy: Tensor  # (n, hops, HIGH_BANDS)
    voice: Tensor
    shared: Tensor
    pause: Tensor  # (n, hops) bool: nobody speaks
    speaks: Tensor  # (n, hops) bool: the voice has energy above 8 kHz
    voiced: Tensor  # (n,) bool: it has any
    clues: dict[str, Tensor]  # by engine: (n, hops, len(MEMORIES) + 1, N_CLUES)


class HeadNet(nn.Module):
    """The head as it learns: one small network for all bands, that knows the frame and its own band."""

    def __init__(self, size: int, mid: int) -> None:
        super().__init__()
        times = len(MEMORIES) + 1
        self.register_buffer("about_frame", torch.tensor(_about_frame()))
        n_frame, n_band = times * len(_about_frame()), times * 4
        self.frame = nn.Linear(n_frame, size)
        self.band = nn.Linear(n_band, size, bias=False)
        self.mid = nn.Linear(size, mid)
        self.tell = nn.Linear(mid, 1)
        for name, n in (("frame", n_frame), ("band", n_band)):
            self.register_buffer(f"{name}_mean", torch.zeros(n))
            self.register_buffer(f"{name}_spread", torch.ones(n))

    def settle(self, clues: Tensor) -> None:
        """Learn mean and spread of the inputs."""
        for name, values in zip(("frame", "band"), self._inputs(clues), strict=True):
            flat = values.reshape(-1, values.shape[-1])
            getattr(self, f"{name}_mean").copy_(flat.mean(0))
            getattr(self, f"{name}_spread").copy_(flat.std(0) + 0.05)

    def _inputs(self, clues: Tensor) -> tuple[Tensor, Tensor]:
        frame = (clues @ self.about_frame.T).flatten(-2)  # (..., times * rows)
        high, usual = slice(LOW_BANDS, BANDS), 2 * BANDS + LOW_BANDS
        least = clues[..., BANDS + LOW_BANDS : 2 * BANDS]
        noise, voice = (
            clues[..., usual + k * WIDE_BANDS : usual + (k + 1) * WIDE_BANDS].repeat_interleave(2, -1) for k in (0, 1)
        )
        level = clues[..., high]
        band = torch.stack([level, level - least, level - noise, voice - noise], -1)  # (..., times, HIGH_BANDS, 4)
        return frame, band.transpose(-3, -2).flatten(-2)

    def forward(self, clues: Tensor, shake: float = 0.0) -> Tensor:
        """Gains, (n, hops, HIGH_BANDS), of clues, (n, hops, times, N_CLUES)."""
        frame, band = self._inputs(clues)
        frame = (frame - self.frame_mean) / self.frame_spread
        band = (band - self.band_mean) / self.band_spread
        if shake:
            frame = frame + shake * torch.randn(len(frame), 1, frame.shape[-1])
            band = band + shake * torch.randn(len(band), 1, 1, band.shape[-1])
        hidden = torch.tanh(self.frame(frame)[..., None, :] + self.band(band))
        gains = torch.sigmoid(self.tell(torch.tanh(self.mid(hidden)))[..., 0])
        return bounded(LEAST_GAIN + (1.0 - LEAST_GAIN) * gains, clues[..., 0, KEPT])

    def fold(self) -> dict[str, NDArray[np.float32]]:
        """The arrays of `dsp.highband.Head`: everything linear before the first tanh in one matrix per input."""
        times = len(MEMORIES) + 1
        frame = (self.frame.weight / self.frame_spread).double()
        band = (self.band.weight / self.band_spread).double()
        bias = self.frame.bias.double() - frame @ self.frame_mean.double() - band @ self.band_mean.double()
        frame = (frame.reshape(len(frame), times, -1) @ self.about_frame.double()).clone()
        frame[:, 0, -1] += bias  # the last clue is one
        parts = band.reshape(len(band), times, 4)
        # Of level, level - least, level - noise and voice - noise to: of level, least, noise and voice.
        unfolded = torch.stack(
            [parts[..., :3].sum(-1), -parts[..., 1], -parts[..., 2] - parts[..., 3], parts[..., 3]], -1
        )
        mid = torch.cat([self.mid.weight, self.mid.bias[:, None]], 1)
        tell = torch.cat([self.tell.weight[0], self.tell.bias]) / 2.0  # the sigmoid is read off a tanh
        arrays = {"frame": frame.flatten(1), "band": unfolded.flatten(1), "mid": mid, "tell": tell}
        return {name: array.detach().float().numpy() for name, array in arrays.items()}


def bounded(gains: Tensor, kept: Tensor) -> Tensor:
    """As `HighBand` bounds them: what the engine does not touch stays, what it silences is silent."""
    touched = ((1.0 - kept) / TOUCHED).clamp(0.0, 1.0)
    loud = torch.sqrt((kept / SILENT).clamp(1e-12, 1.0))
    return gains ** touched[..., None] * loud[..., None]


def _about_frame() -> NDArray[np.float32]:
    """(rows, N_CLUES) what every band knows of the frame, as sums over clues."""
    rows: list[dict[int, float]] = []
    for start in (2 * BANDS, BANDS, 0):  # kept, above its minimum, level
        for first, last in LOW_GROUPS:
            row = {start + k: 1.0 / (last - first) for k in range(first, last)}
            if start == BANDS:
                row = {k: -w for k, w in row.items()} | {k - BANDS: w for k, w in row.items()}
            rows.append(row)
    high = {k: 1.0 / HIGH_BANDS for k in range(LOW_BANDS, BANDS)}
    usual = 2 * BANDS + LOW_BANDS
    less_noise = {k: -1.0 / WIDE_BANDS for k in range(usual, usual + WIDE_BANDS)}
    voice = {k: 1.0 / WIDE_BANDS for k in range(usual + WIDE_BANDS, usual + 2 * WIDE_BANDS)}
    rows += [high, high | {k + BANDS: -w for k, w in high.items()}, high | less_noise, voice | less_noise]
    rows += [{KEPT: 1.0}, {KEPT + 1: 1.0}, {KEPT + 2: 1.0}]
    matrix = np.zeros((len(rows), N_CLUES), np.float32)
    for filled, row in zip(matrix, rows, strict=True):
        for k, weight in row.items():
            filled[k] += weight
    return matrix


def si_sdr(gains: Tensor, of: Examples) -> Tensor:
    """(n,) dB above 8 kHz, from sums over bands."""
    over = (1, 2)
    shared, made = (gains * of.shared).sum(over), (gains**2 * of.noisy).sum(over)
    target = shared**2 / (of.voice.sum(over) + 1e-20)
    return 10.0 * torch.log10((target + 1e-16) / ((made - target).clamp(min=0.0) + 1e-16))


def loss(gains: Tensor, of: Examples) -> Tensor:
    """Mean over the mixtures; in dB but for the last term."""
    voiced = of.voiced.float()
    better = (si_sdr(gains, of).clamp(-30.0, 40.0) - si_sdr(torch.ones_like(gains), of).clamp(-30.0, 40.0)) * voiced
    made = gains**2 * of.noisy
    fall, long = _ratio_db(made, of.noisy, of.pause), of.pause.sum(1) > 8
    energy = _ratio_db(made, of.voice, of.speaks)
    wrong = (torch.relu(-0.5 - energy) + 0.2 * torch.relu(energy - 1.0).clamp(max=6.0)) * voiced
    scale = of.noisy.mean((1, 2), keepdim=True) + 1e-20
    distance = ((made / scale + 1e-5) ** 0.15 - (of.voice / scale + 1e-5) ** 0.15) ** 2
    rewarded = better.clamp(max=15.0) + 0.3 * (better - 15.0).clamp(min=0.0)
    return (wrong - rewarded + 0.15 * fall * long.float()).mean() + 20.0 * distance.mean()


def _ratio_db(above: Tensor, below: Tensor, where: Tensor) -> Tensor:
    """(n,) dB of the energies in the hops that are marked."""
    marked = where[..., None].float()
    return 10.0 * torch.log10((above * marked).sum((1, 2)) / ((below * marked).sum((1, 2)) + 1e-20) + 1e-3)


def train(examples: Examples, *, size: int, mid: int, updates: int, seed: int) -> HeadNet:
    """A head that was trained on random crops heard through random engines."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    names = [spoiled + name for spoiled in ("", SPOILED) for name in SHARES]
    odds = np.outer([1.0 - SPOILED_SHARE, SPOILED_SHARE], list(SHARES.values())).reshape(-1)
    net = HeadNet(size, mid)
    net.settle(torch.cat([examples.clues[name][::5, ::9] for name in names]).float())
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=updates, pct_start=0.15)
    for update in range(updates):
        chosen, heard = rng.permutation(len(examples.noisy))[:BATCH], rng.choice(len(names), BATCH, p=odds)
        first = int(rng.integers(examples.noisy.shape[1] - CROP_HOPS + 1))
        crop = slice(first, first + CROP_HOPS)
        of = _crop(examples, torch.tensor(chosen), crop)
        clues = torch.stack([examples.clues[names[k]][i, crop] for k, i in zip(heard, chosen, strict=True)])
        value = loss(net(clues.float(), SHAKE), of)
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        plan.step()
        if update % 50 == 49:
            print(f"{update + 1:>6} {float(value.detach()):8.2f}", flush=True)
    return net


def _crop(examples: Examples, which: Tensor, crop: slice) -> Examples:
    cut = {name: getattr(examples, name)[which][:, crop] for name in ("noisy", "voice", "shared", "pause", "speaks")}
    return Examples(**cut, voiced=examples.voiced[which], clues={})


def report(net: HeadNet, examples: Examples) -> None:
    """The figures of benchmarks/fullband.py, from sums over bands, per engine."""
    for name in SHARES:
        with torch.no_grad():
            gains = net(examples.clues[name].float())
        voiced, long = examples.voiced, examples.pause.sum(1) > 8
        better = (si_sdr(gains, examples) - si_sdr(torch.ones_like(gains), examples))[voiced]
        made = gains**2 * examples.noisy
        fall = _ratio_db(made, examples.noisy, examples.pause)[long]
        energy = _ratio_db(made, examples.voice, examples.speaks)[voiced]
        print(
            f"{name:<10} SI-SDR {float(better.mean()):+.2f} dB (worst {float(better.min()):+.1f}), pauses "
            f"{float(fall.mean()):.1f} dB, voice {float(energy.mean()):+.2f} dB "
            f"(a tenth below {float(energy.quantile(0.1)):+.1f})",
            flush=True,
        )


def read_examples(paths: list[Path]) -> Examples:
    """Files that `make` wrote, together."""
    files = [np.load(path) for path in paths]
    hops = min(file["noisy"].shape[1] for file in files)

    def joined(name: str) -> Tensor:
        return torch.tensor(np.concatenate([file[name][:, :hops] for file in files]))

    noisy, voice, low = joined("noisy"), joined("voice"), joined("voice_low")
    treble = voice.sum(-1)
    loud = low + treble
    voiced = voice.sum((1, 2)) > 1e-5 * noisy.sum((1, 2))
    pause = loud < loud.quantile(0.95, dim=1, keepdim=True) * 10.0 ** (PAUSE_DB / 10.0)
    speaks = (treble > treble.quantile(0.97, dim=1, keepdim=True) * 10.0 ** (VOICE_DB / 10.0)) & (treble > 0.0)
    clues = {
        name.removeprefix("clues "): with_memories(joined(name)) for name in files[0].files if name.startswith("clues ")
    }
    return Examples(noisy, voice, joined("shared"), pause | ~voiced[:, None], speaks, voiced, clues)


def with_memories(clues: Tensor) -> Tensor:
    """(n, hops, len(MEMORIES) + 1, N_CLUES) the clues and their running means, as `Head` keeps them."""
    kept = [clues.float()]
    for memory in MEMORIES:
        state, means = kept[0][:, 0], torch.empty_like(kept[0])
        for hop in range(clues.shape[1]):
            state = kept[0][:, hop] + memory * (state - kept[0][:, hop])
            means[:, hop] = state
        kept.append(means)
    return torch.stack(kept, 2).half()


def make(folder: Path, target: Path, *, count: int, seed: int, only: set[str], without: set[str]) -> None:
    """Write `count` examples."""
    speech, noise = read_groups(folder / "speech"), read_groups(folder / "noise")
    speech = {name: files for name, files in speech.items() if name not in without and (not only or name in only)}
    engines = {name: open_engine(name) for name in ENGINES}
    rows: dict[str, list[NDArray[np.floating]]] = {}
    for index in range(count):
        example = hear(*mixture(speech, noise, seed, index), engines, np.random.default_rng((seed, index, 1)))
        for name in ("noisy", "voice", "shared", "voice_low"):
            rows.setdefault(name, []).append(getattr(example, name))
        for name, clues in example.clues.items():
            rows.setdefault(f"clues {name}", []).append(clues.astype(np.float16))
        if index % 20 == 19:
            print(f"{index + 1:>6} of {count}", flush=True)
    np.savez(target, **{name: np.stack(values) for name, values in rows.items()})  # type: ignore[arg-type]


def main() -> None:
    """Make examples, or train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("folder", type=Path)
    making.add_argument("target", type=Path)
    making.add_argument("--count", type=int, default=500)
    making.add_argument("--seed", type=int, default=1)
    making.add_argument("--only", default="", help="speakers, with commas")
    making.add_argument("--without", default="", help="speakers, with commas")
    training = commands.add_parser("train")
    training.add_argument("examples", type=Path, nargs="+")
    training.add_argument("--held-out", type=Path)
    training.add_argument("--head", type=Path, help="write it here")
    training.add_argument("--updates", type=int, default=1500)
    training.add_argument("--size", type=int, default=24)
    training.add_argument("--mid", type=int, default=12)
    training.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    if asked.command == "make":
        only, without = (set(filter(None, names.split(","))) for names in (asked.only, asked.without))
        make(asked.folder, asked.target, count=asked.count, seed=asked.seed, only=only, without=without)
        return
    torch.set_num_threads(1)
    net = train(read_examples(asked.examples), size=asked.size, mid=asked.mid, updates=asked.updates, seed=asked.seed)
    if asked.head:
        np.savez(asked.head, **net.fold())  # type: ignore[arg-type]
    if asked.held_out:
        report(net, read_examples([asked.held_out]))


if __name__ == "__main__":
    main()
