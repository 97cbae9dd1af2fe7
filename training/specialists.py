"""Train the specialists of all ensembles at once, then each ensemble jointly with its gate.

Stage 1: every specialist starts from the generalist of its size and is fine-tuned on its own slice (`gating`); mixtures
are shared, because a mixture belongs to one class of every partition. Stage 2: masks are mixed softly by
softmax(g * head . evidence), g rises until the choice is hard, and specialists and heads learn together (after
Sivaraman and Kim 2020 and 2021, on sparse and speaker-informed mixtures of local experts). The controls run in the same
batches: the generalist with the same extra updates, and a random partition.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pse_stream.training.corpus import Store, open_packs
from pse_stream.training.frames import HOP, spectra
from pse_stream.training.gating import (
    SIZES,
    Partition,
    evidence,
    load_voice,
    make_partitions,
    mixer_of,
    save_partitions,
)
from pse_stream.training.loop import load_checkpoint, save_checkpoint
from pse_stream.training.models import build
from pse_stream.training.models.base import log_features
from pse_stream.training.models.grouped import GroupedMaskers, MaskError
from pse_stream.training.models.level import running_level
from pse_stream.training.simulate import Mixer, MixSpec

SAME = "same"  # the control: one generalist, as many extra updates as a specialist
_FRAMES = 375  # 3 s
_PER_DB = 0.04  # weight of a dB: only the limit on the gradient's norm knows it
_BLOCKS = (2, 11)  # of the clip that the gate has heard, in stage 2

MIXTURES = MixSpec(snr_db=(-7.5, 12.5), p_high_snr=0.1, p_clean=0.02, p_noise_only=0.02, p_tempo=0.0, p_babble=0.06)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialistsRecipe:
    """Everything that decides the weights."""

    name: str = "specialists"
    seed: int = 1
    generalist: str = "gru-32"  # a run
    voice: str = "voice-embedding"  # a run
    batch: int = 16  # mixtures per specialist and update
    updates: int = 200
    tune_updates: int = 100
    tune_batch: int = 20  # mixtures per update; every specialist of an ensemble hears all of them
    lr: float = 1.5e-3
    tune_lr: float = 5e-4
    decay: float = 0.5
    ema: float = 0.97
    sharpness: tuple[float, float] = (0.5, 4.0)  # of the softmax, from first to last update
    sizes: tuple[int, ...] = SIZES  # numbers of groups of voices


class Terms:
    """What the loss needs of some mixtures, relative to the active level; see `MaskError`."""

    def __init__(self, noisy: Tensor, target: Tensor) -> None:
        """Both (clips, time, 257, 2)."""
        power, wanted = noisy.square().sum(-1), target.square().sum(-1)
        frame = wanted.mean(-1)
        active = (frame > 1e-4 * frame.amax(1, keepdim=True)).float()
        speech = (frame * active).sum(1) / active.sum(1).clamp(min=1)
        sound = power.mean((1, 2)) + 1e-10
        self.speaks = (speech > 1e-5 * sound).float()
        scale = 1.0 / torch.where(self.speaks > 0, speech, sound)
        self.wanted = wanted.sum((1, 2)) * scale  # sum of |S|^2
        self.noisy = power * scale[:, None, None]  # |X|^2
        self.common = (noisy * target).sum(-1) * scale[:, None, None]  # Re(S conj X)

    def snr_db(self) -> np.ndarray:
        """Of the mixtures as they are; -99 without speech."""
        error = (self.wanted + (self.noisy - 2 * self.common).sum((1, 2))).clamp(min=1e-9)
        snr = 10 * torch.log10(self.wanted / error + 1e-9)
        return torch.where(self.speaks > 0, snr, torch.full_like(snr, -99.0)).double().numpy()

    def loss(self, error: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of each of the clips `rows` from its error, both alike in shape, and the mean SNR in dB.

        SNR bounded to 30 dB; where nobody speaks, what is left of the noise.
        """
        wanted, speaks = self.wanted[rows], self.speaks[rows]
        snr = 10 * torch.log10((wanted + 1e-3) / (error.clamp(min=0) + 1e-3))
        left = 10 * torch.log10(error.clamp(min=0) / self.noisy.sum((1, 2))[rows] + 1e-3)
        total = -_PER_DB * torch.where(speaks > 0, snr.clamp(-30, 30), -left)
        return total, (snr.detach() * speaks).sum() / speaks.sum().clamp(min=1)


class Source:
    """Mixtures with their labels: a pure function of seed and update number."""

    def __init__(self, store: Store, partitions: list[Partition], seed: int, split: str = "train") -> None:
        self.mixer, self._seed = Mixer(store, MIXTURES, split=split), seed
        finest = max((p for p in partitions if p.of_speaker is not None), key=lambda p: len(p.members))
        assert finest.of_speaker is not None
        odds = self.mixer._speaker_odds
        self._groups = []
        for k in range(len(finest.members)):
            members = np.flatnonzero(finest.of_speaker == k)
            self._groups.append((members, odds[members] / odds[members].sum()))

    def at(self, update: int, clips: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Noisy and target (clips, samples) and the speakers (clips,); all groups of voices alike often."""
        rng = np.random.default_rng([self._seed, update])
        groups = [self._groups[k % len(self._groups)] for k in range(clips)]
        who = np.array([rng.choice(members, p=odds) for members, odds in groups])
        n = _FRAMES * HOP
        pairs = [self.mixer.mix(self._seed, update * 1000 + k, n, int(w)) for k, w in enumerate(who)]
        both = np.nan_to_num(np.array(pairs, np.float32))
        return both[:, 0], both[:, 1], who


def features_of(nets: GroupedMaskers, noisy: Tensor) -> Tensor:
    """What a masker sees, standardised, (clips, time, 257)."""
    level, _ = running_level(noisy, torch.zeros(len(noisy), 2))
    return (log_features(noisy, level) - nets.mean) / nets.spread


def train(recipe: SpecialistsRecipe, store: Store, data: Path, runs: Path, *, until: float) -> Path:
    """Both stages, from the last checkpoint if there is one; stage 1 ends early at `until` (seconds since the epoch).

    The learning rate follows the share of updates or of time that is gone, whichever is more, so that a run on a busy
    machine ends as softly as one on an idle machine.
    """
    run = runs / recipe.name
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    generalist = load_checkpoint(runs / recipe.generalist / "checkpoint.pt")
    voice = load_voice(runs / recipe.voice)
    start = build(**generalist["recipe"]["model"])
    start.load_state_dict(generalist["average"])
    partitions = make_partitions(mixer_of(store), voice, data, recipe.seed, recipe.sizes)
    save_partitions(partitions, mixer_of(store), run)
    _say(run, {"groups": {p.name: np.bincount(p.of_speaker[p.of_speaker >= 0]).tolist()
                          for p in partitions if p.of_speaker is not None}})  # fmt: skip
    source = Source(store, partitions, recipe.seed)
    classes = [(p.name, k) for p in partitions for k in range(len(p.members))] + [(SAME, 0)]
    nets = GroupedMaskers([start] * len(classes))
    _stage_one(recipe, nets, classes, partitions, source, run, until)
    return run


def _stage_one(  # noqa: PLR0917 - the loop needs all that `train` made
    recipe: SpecialistsRecipe, nets: GroupedMaskers, classes: list[tuple[str, int]], partitions: list[Partition],
    source: Source, run: Path, until: float,
) -> None:  # fmt: skip
    optim = torch.optim.Adam(nets.parameters(), lr=recipe.lr, betas=(0.9, 0.98))
    average = [p.detach().clone() for p in nets.stacked]
    clips, began = recipe.batch * max(len(p.members) for p in partitions), time.time()
    by_name = {p.name: p for p in partitions}
    update, gone = 0, 0.0
    while gone < 1.0:
        optim.param_groups[0]["lr"] = recipe.lr * min(1.0, (update + 1) / 10) * min(1.0, (1 - gone) / recipe.decay)
        noisy, target, who = source.at(update, clips)
        x = spectra(torch.from_numpy(noisy))
        terms, features = Terms(x, spectra(torch.from_numpy(target))), features_of(nets, x)
        snr, rng = terms.snr_db(), np.random.default_rng([recipe.seed, update, 1])
        labels = {name: p.labels(who, snr) for name, p in by_name.items()} | {SAME: np.zeros(clips, int)}
        rows = torch.from_numpy(np.stack([_draw(rng, labels[n] == k, recipe.batch) for n, k in classes]))
        error = MaskError.apply(nets(features[rows]), rows, terms.wanted, terms.common, terms.noisy)
        each, heard = terms.loss(error, rows)
        optim.zero_grad(set_to_none=True)
        each.mean(1).sum().backward()
        norm = _clip(nets)
        if bool(torch.isfinite(norm).all()):
            optim.step()
        update += 1
        _follow(average, nets, min(recipe.ema, (update + 1) / (update + 10)))
        gone = max(update / recipe.updates, (time.time() - began) / max(until - began, 1.0))
        if update % 5 == 0 or gone >= 1.0:
            told = {"update": update, "loss": round(float(each.detach().mean()), 4), "snr": round(float(heard), 3)}
            _say(run, {**told, "seconds": round(time.time() - began, 1), "gone": round(gone, 3)})
        if update % 25 == 0 or gone >= 1.0:
            save_checkpoint(run / "stage1.pt", {
                "recipe": asdict(recipe), "update": update, "names": nets.names, "average": average,
                "mean": nets.mean, "spread": nets.spread, "classes": [list(c) for c in classes],
                "partitions": _plain(partitions),
            })  # fmt: skip


def tune(recipe: SpecialistsRecipe, store: Store, runs: Path, *, until: float) -> Path:
    """Stage 2: specialists and heads of each ensemble together; the control goes on with its own updates."""
    run = runs / recipe.name
    saved = load_checkpoint(run / "stage1.pt")
    voice, start = load_voice(runs / recipe.voice), build(family="gru", width=saved["average"][1].shape[-1])
    partitions = [_partition(row) for row in saved["partitions"]]
    nets = GroupedMaskers([start] * len(saved["classes"]))  # type: ignore[list-item]
    nets.mean.copy_(saved["mean"])
    nets.spread.copy_(saved["spread"])
    for parameter, value in zip(nets.stacked, saved["average"], strict=True):
        parameter.data.copy_(value)
    heads = torch.nn.ParameterList([torch.tensor(p.head) for p in partitions])
    source = Source(store, partitions, recipe.seed + 1000)
    optim = torch.optim.Adam(
        [{"params": list(nets.parameters()), "lr": recipe.tune_lr}, {"params": list(heads), "lr": 20 * recipe.tune_lr}],
        betas=(0.9, 0.98),
    )
    rates = [group["lr"] for group in optim.param_groups]
    average = [p.detach().clone() for p in nets.stacked] + [h.detach().clone() for h in heads]
    sizes = [len(p.members) for p in partitions] + [1]
    began, update, gone = time.time(), 0, 0.0
    low, high = recipe.sharpness
    while gone < 1.0:
        for group, rate in zip(optim.param_groups, rates, strict=True):
            group["lr"] = rate * min(1.0, (update + 1) / 10) * min(1.0, (1 - gone) / recipe.decay)
        noisy, target, _ = source.at(update, recipe.tune_batch)
        audio = torch.from_numpy(noisy)
        x = spectra(audio)
        terms, features = Terms(x, spectra(torch.from_numpy(target))), features_of(nets, x)
        heard = evidence(voice, audio, int(np.random.default_rng(update).integers(_BLOCKS[0], _BLOCKS[1] + 1)))
        sharp, rows = low * (high / low) ** gone, torch.arange(recipe.tune_batch)
        masks = torch.sigmoid(nets(features.unsqueeze(0).expand(len(saved["classes"]), -1, -1, -1)))
        total, used = torch.zeros(()), {}
        for head, p, part in zip([*heads, None], [*partitions, None], masks.split(sizes), strict=True):
            share = torch.ones(1, len(heard)) if head is None else torch.softmax(sharp * head @ heard.T, dim=0)
            mask = torch.einsum("kb,kbtf->btf", share, part)
            error = terms.wanted + (mask * (mask * terms.noisy - 2 * terms.common)).sum((1, 2))
            each, snr = terms.loss(error, rows)
            total = total + each.mean() * len(part)  # as much weight per network as in stage 1
            mean = share.detach().mean(1)
            used[p.name if p else SAME] = (round(float(snr), 2), round(float(-(mean * mean.log()).sum()), 2))
        optim.zero_grad(set_to_none=True)
        total.backward()
        norm = _clip(nets)
        torch.nn.utils.clip_grad_norm_(list(heads), 1.0)
        if bool(torch.isfinite(norm).all()):
            optim.step()
        update += 1
        _follow(average, [*nets.stacked, *heads], min(recipe.ema, (update + 1) / (update + 10)))
        gone = max(update / recipe.tune_updates, (time.time() - began) / max(until - began, 1.0))
        if update % 5 == 0 or gone >= 1.0:
            _say(run, {"tune": update, "snr and entropy": used, "gone": round(gone, 3), "sharp": round(sharp, 2)})
        if update % 25 == 0 or gone >= 1.0:
            tuned = _plain(partitions, [h.detach() for h in average[len(nets.stacked) :]])
            save_checkpoint(run / "stage2.pt", saved | {
                "recipe": asdict(recipe), "tune_update": update, "average": average[: len(nets.stacked)],
                "partitions": tuned,
            })  # fmt: skip
    return run


def average_with_start(recipe: SpecialistsRecipe, runs: Path, *, share: float = 0.5) -> Path:
    """Stage 1 brought back part of the way to the generalist that all started from: what chance taught goes first.

    After Wortsman 2022 (robust fine-tuning by averaging weights): with few updates it is worth more than the updates.
    """
    run = runs / recipe.name
    saved = load_checkpoint(run / "stage1.pt")
    start = load_checkpoint(runs / recipe.generalist / "checkpoint.pt")["average"]
    mean = [share * now + (1 - share) * start[name] for name, now in zip(saved["names"], saved["average"], strict=True)]
    save_checkpoint(run / "stage1-half.pt", saved | {"average": mean, "start_share": 1 - share})
    return run


def fit_gates(
    recipe: SpecialistsRecipe, store: Store, runs: Path, *, stage: str = "stage2", mixtures: int = 480,
    checks: int = 120,
) -> Path:  # fmt: skip
    """Stage 3: the heads alone, for the specialists as they are; specialists run forwards only, so it takes minutes.

    What a choice costs is known: the loss of every specialist on every mixture. The head minimises the expected loss of
    its soft choice; it replaces the one that was there where its hard choice is better on mixtures of unseen speakers.
    """
    run = runs / recipe.name
    voice = load_voice(runs / recipe.voice)
    nets, classes, partitions, saved = load_stage(run / f"{stage}.pt")
    speakers = Mixer(store, MIXTURES)
    seen = _costs(speakers, recipe.seed + 2000, mixtures, nets, voice)
    unseen = _costs(Mixer(store, MIXTURES, split="valid"), recipe.seed + 3000, checks, nets, voice)
    heads, told = [], {}
    for p in partitions:
        columns = [classes.index((p.name, k)) for k in range(len(p.members))]
        fitted = _fit(torch.tensor(p.head), seen[0], seen[1][:, columns])

        def cost(head: Tensor, columns: list[int] = columns) -> float:
            choice = (unseen[0] @ head.T).argmax(1)
            return float(unseen[1][:, columns].gather(1, choice[:, None]).mean()) / _PER_DB

        old, new = cost(torch.tensor(p.head)), cost(fitted)
        told[p.name] = {"before": round(old, 3), "fitted": round(new, 3),
                        "best fixed": round(float(unseen[1][:, columns].mean(0).min()) / _PER_DB, 3),
                        "oracle": round(float(unseen[1][:, columns].min(1).values.mean()) / _PER_DB, 3)}  # fmt: skip
        heads.append(fitted if new < old else torch.tensor(p.head))
    told[SAME] = round(float(unseen[1][:, classes.index((SAME, 0))].mean()) / _PER_DB, 3)
    _say(run, {"fit": stage, "loss in dB on unseen speakers": told})
    save_checkpoint(run / f"{stage}-fitted.pt", saved | {"partitions": _plain(partitions, heads)})
    return run


@torch.no_grad()
def _costs(mixer: Mixer, seed: int, count: int, nets: GroupedMaskers, voice: Any) -> tuple[Tensor, Tensor]:
    """Evidence (count, dim + 2) and the loss of every network (count, networks) on mixtures of a split."""
    known, losses, step = [], [], 20
    for first in range(0, count, step):
        pairs = np.nan_to_num(np.array([mixer.mix(seed, first + k, _FRAMES * HOP) for k in range(step)], np.float32))
        audio = torch.from_numpy(pairs[:, 0].copy())
        x = spectra(audio)
        terms, features = Terms(x, spectra(torch.from_numpy(pairs[:, 1].copy()))), features_of(nets, x)
        logits = nets(features.unsqueeze(0).expand(len(nets.stacked[0]), -1, -1, -1))
        rows = torch.arange(step).expand(len(logits), -1).contiguous()
        each, _ = terms.loss(MaskError.apply(logits, rows, terms.wanted, terms.common, terms.noisy), rows)
        blocks = int(np.random.default_rng([seed, first]).integers(_BLOCKS[0], _BLOCKS[1] + 1))
        known.append(evidence(voice, audio, blocks))
        losses.append(each.T)
    return torch.cat(known), torch.cat(losses)


def _fit(start: Tensor, known: Tensor, losses: Tensor, *, updates: int = 400, ridge: float = 0.02) -> Tensor:
    """A head (K, dim + 2) of least expected loss, not far from where it starts."""
    head = start.clone().requires_grad_()
    excess = (losses - losses.min(1, keepdim=True).values) / _PER_DB  # dB lost by each choice
    optim = torch.optim.Adam([head], lr=0.05)
    for _ in range(updates):
        optim.zero_grad()
        expected = (torch.softmax(known @ head.T, dim=1) * excess).sum(1).mean()
        (expected + ridge * (head - start).square().mean()).backward()
        optim.step()
    return head.detach()


def load_stage(path: Path) -> tuple[GroupedMaskers, list[tuple[str, int]], list[Partition], dict[str, Any]]:
    """The averaged networks of a stage, their (partition, class) and the partitions."""
    saved = load_checkpoint(path)
    start = build(family="gru", width=saved["average"][1].shape[-1])
    nets = GroupedMaskers([start] * len(saved["classes"]))  # type: ignore[list-item]
    nets.mean.copy_(saved["mean"])
    nets.spread.copy_(saved["spread"])
    for parameter, value in zip(nets.stacked, saved["average"], strict=True):
        parameter.data.copy_(value)
    classes = [(str(name), int(k)) for name, k in saved["classes"]]
    return nets, classes, [_partition(row) for row in saved["partitions"]], saved


def _draw(rng: np.random.Generator, mine: np.ndarray, batch: int) -> np.ndarray:
    """`batch` clips of a class, some twice where there are too few; any clips where there is none."""
    rows = np.flatnonzero(mine)
    rows = rows if len(rows) else np.arange(len(mine))
    return np.asarray(rng.choice(rows, batch, replace=len(rows) < batch))


def _clip(nets: GroupedMaskers, limit: float = 1.0) -> Tensor:
    """Clip the gradient of each network to a norm of its own; returns the norms, (groups,)."""
    squares = sum(p.grad.flatten(1).square().sum(1) for p in nets.stacked if p.grad is not None)
    norms = torch.as_tensor(squares).sqrt()
    factor = (limit / (norms + 1e-9)).clamp(max=1.0)
    for p in nets.stacked:
        if p.grad is not None:
            p.grad.mul_(factor.view(-1, *[1] * (p.ndim - 1)))
    return norms


def _follow(average: list[Tensor], now: Any, decay: float) -> None:
    with torch.no_grad():
        for kept, value in zip(average, now.stacked if isinstance(now, GroupedMaskers) else now, strict=True):
            kept.lerp_(value.detach(), 1.0 - decay)


def _plain(partitions: list[Partition], heads: list[Tensor] | None = None) -> list[dict[str, Any]]:
    return [
        {
            "name": p.name, "members": list(p.members),
            "of_speaker": None if p.of_speaker is None else torch.from_numpy(np.asarray(p.of_speaker)),
            "head": torch.from_numpy(p.head) if heads is None else heads[k],
        }
        for k, p in enumerate(partitions)
    ]  # fmt: skip


def _partition(row: dict[str, Any]) -> Partition:
    of = None if row["of_speaker"] is None else row["of_speaker"].numpy()
    return Partition(row["name"], tuple(row["members"]), of, row["head"].numpy())


def _say(run: Path, line: dict[str, Any]) -> None:
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=("train", "average", "tune", "fit"))
    for name in ("data", "cache", "runs"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=math.inf, help="end softly after so long")
    parser.add_argument("--updates", type=int, default=SpecialistsRecipe().updates)
    parser.add_argument("--tune-updates", type=int, default=SpecialistsRecipe().tune_updates)
    parser.add_argument("--name", default=SpecialistsRecipe().name)
    parser.add_argument("--generalist", default=SpecialistsRecipe().generalist)
    parser.add_argument("--fit", default="stage2", choices=("stage1", "stage2"), help="whose gates to fit")
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = SpecialistsRecipe(
        name=options.name, updates=options.updates, tune_updates=options.tune_updates, generalist=options.generalist
    )
    store, until = open_packs(options.data, options.cache), time.time() + 60 * options.minutes
    if options.stage == "train":
        print(train(recipe, store, options.data, options.runs, until=until))
    elif options.stage == "average":
        print(average_with_start(recipe, options.runs))
    elif options.stage == "tune":
        print(tune(recipe, store, options.runs, until=until))
    else:
        print(fit_gates(recipe, store, options.runs, stage=options.fit))


if __name__ == "__main__":
    main()
