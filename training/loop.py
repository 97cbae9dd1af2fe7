"""The training loop: recipe in, run folder out; stopped and resumed, it reaches the same numbers.

A run folder holds `recipe.json` (resolved), `metrics.jsonl` (one JSON object per line) and `checkpoint.pt` (weights,
averaged weights, optimisers, carried state, update number). The checkpoint is replaced only by a complete one.
"""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pse_stream.training.batches import Batches, Teach, drawing, mixtures
from pse_stream.training.corpus import Store
from pse_stream.training.distil import teaching
from pse_stream.training.losses import SpectralLoss
from pse_stream.training.models import Lesson, SpectralNet, build
from pse_stream.training.models.level import running_level
from pse_stream.training.muon import Muon
from pse_stream.training.parallel import World
from pse_stream.training.prefetch import mixed_ahead
from pse_stream.training.recipe import OptimSpec, Recipe, RecipeError, recipe_table
from pse_stream.training.simulate import Mixer, MixSpec

_VALIDATION_SEED, _STATISTICS_SEED, _LESSON_SEED = 777, 778, 779
_VALIDATION_SAMPLES = 4 * 16000


def schedule(spec: OptimSpec, update: int) -> float:
    """Factor on the learning rates at `update`, 0..1."""
    warm = min(1.0, (update + 1) / max(spec.warmup, 1))
    done = update / max(spec.updates, 1)
    if spec.schedule == "cosine":
        return warm * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))
    if spec.schedule == "hold":
        return warm * min(1.0, max(0.0, (1.0 - done) / max(spec.decay, 1e-9)))
    raise RecipeError(f"schedule {spec.schedule!r} is unknown; expected hold or cosine")


def optimisers(model: SpectralNet, spec: OptimSpec) -> list[torch.optim.Optimizer]:
    """Muon for inner matrices, AdamW for the rest (vectors, and matrices too thin to have directions)."""
    learning = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    inner = [p for n, p in learning if p.ndim == 2 and min(p.shape) >= 16 and n != "place"]
    chosen = {id(p) for p in inner}
    rest = [p for _, p in learning if id(p) not in chosen]
    made: list[torch.optim.Optimizer] = []
    if inner:
        made.append(Muon(inner, lr=spec.muon_lr, weight_decay=spec.weight_decay))
    if rest:
        made.append(torch.optim.AdamW(rest, lr=spec.adam_lr, weight_decay=0.0, betas=(0.9, 0.98)))
    return made


def train(
    recipe: Recipe, store: Store, runs: Path, *, device: str = "cpu", workers: int = 0, stop_after: int | None = None
) -> Path:
    """Train `recipe` to its last update, from its last checkpoint if there is one; returns the run folder.

    `workers` processes mix ahead (0: this one mixes). `stop_after` ends the call at that update as an interruption
    would (for tests and for planned pauses). Under torchrun every process calls this; the first one writes.
    """
    world = World(device)
    try:
        return _Trainer(recipe, store, runs, world).run(workers, min(recipe.optim.updates, stop_after or 2**31))
    finally:
        world.close()


class _Trainer:
    """Everything that changes during a run, and one update of it."""

    def __init__(self, recipe: Recipe, store: Store, runs: Path, world: World) -> None:
        if world.size > 1 and recipe.log.checkpoint_every % recipe.data.chunks:
            raise RecipeError(
                f"log.checkpoint_every is {recipe.log.checkpoint_every}; with several processes a checkpoint keeps no "
                f"carried state, so it must be a multiple of data.chunks ({recipe.data.chunks})"
            )
        self.recipe, self.store, self.world, self.device = recipe, store, world, world.device
        self.folder = runs / recipe.name
        self.table = recipe_table(recipe)
        if world.first:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "recipe.json").write_text(json.dumps(self.table, indent=1), encoding="utf-8")
        torch.manual_seed(recipe.seed)
        self.mixer = Mixer(store, recipe.mix)
        self.model = build(**recipe.model).to(self.device)
        self.loss = SpectralLoss(recipe.loss).to(self.device)
        self.optims = optimisers(self.model, recipe.optim)
        self.rates = [[g["lr"] for g in o.param_groups] for o in self.optims]
        self.states, self.update, self.skipped = self.model.zero_states(recipe.data.batch, self.device), 0, 0
        self.before, self.before_hours = 0, 0.0  # updates and hours of mixtures of the runs that this one started from
        self.teach: Teach | None = None
        if recipe.distil.run:
            known = load_checkpoint(runs / recipe.distil.run / "checkpoint.pt")
            self.teach = teaching(known, recipe.distil.share, self.device)
        self._begin(runs)

    def _begin(self, runs: Path) -> None:
        """Weights of the last checkpoint, of another run, or new ones fitted to the statistics of the features."""
        recipe, checkpoint = self.recipe, self.folder / "checkpoint.pt"
        if checkpoint.is_file():
            saved = load_checkpoint(checkpoint)
            if any(saved["recipe"][part] != self.table[part] for part in ("model", "data")):
                raise RecipeError(
                    f"{checkpoint}: belongs to another recipe (its model {saved['recipe']['model']}, its data "
                    f"{saved['recipe']['data']}); choose another name or move that run away"
                )
            self.model.load_state_dict(saved["model"])
            self.update, self.before = saved["update"], saved.get("before", 0)
            self.before_hours = hours_before(saved)
            self.states = [s.to(self.device) for s in saved["states"]]
            for optim, state in zip(self.optims, saved["optimisers"], strict=True):
                optim.load_state_dict(state)
            self.average = {k: v.to(self.device) for k, v in saved["average"].items()}
            return
        if recipe.start_from:
            start = load_checkpoint(runs / recipe.start_from / "checkpoint.pt")
            self.model.begin_with(start["average"])
            self.before = start.get("before", 0) + start.get("update", 0)
            self.before_hours = hours_learnt(start)
        else:
            count = range(recipe.data.statistics_mixtures)
            noisy, _ = mixtures(self.mixer, _STATISTICS_SEED, count, _VALIDATION_SAMPLES)
            level, _ = running_level(noisy, torch.zeros(len(noisy), 2))
            self.model.set_statistics(self.model.features(noisy, level).flatten(0, 1).to(self.device))
        self.average = {k: v.clone() for k, v in self.model.state_dict().items()}

    def run(self, workers: int, last: int) -> Path:
        """Updates until `last`, with the log, the validation and the checkpoints that the recipe asks for."""
        log, recipe = _Metrics(self.folder, self.recipe, self.update, self.world), self.recipe
        valid = validation_set(self.store, recipe) if self.world.first else None
        draw = self.world.share(drawing(self.mixer, recipe.data, recipe.seed))
        with mixed_ahead(draw, workers) as ahead:
            batches = Batches(ahead, recipe.data, self.device, teach=self.teach)
            while self.update < last:
                factor = schedule(recipe.optim, self.update)
                log.count(self._learn(*batches.at(self.update), factor))
                self.update += 1
                log.progress(self.update, factor, batches.seconds * self.world.size, self.skipped)
                at_end = self.update == recipe.optim.updates
                if valid and (self.update % recipe.log.validate_every == 0 or at_end):
                    log.write({
                        "update": self.update, "valid": validate(recipe, self.average, self.loss, valid, self.device),
                    })  # fmt: skip
                if self.world.first and (self.update % recipe.log.checkpoint_every == 0 or self.update == last):
                    self._save()
        return self.folder

    def _learn(self, noisy: Tensor, target: Tensor, fresh: bool, factor: float) -> dict[str, Tensor]:
        """One update; returns the terms of the loss, still on the device."""
        for optim, rates in zip(self.optims, self.rates, strict=True):
            for group, rate in zip(optim.param_groups, rates, strict=True):
                group["lr"] = rate * factor
        states = self.model.zero_states(len(noisy), self.device) if fresh else self.states
        kind = torch.device(self.device).type
        with torch.autocast(kind, torch.bfloat16, enabled=self.recipe.optim.bf16):
            chance = np.random.default_rng([self.recipe.seed, self.update, _LESSON_SEED])
            lessons, states = self.model.lessons(noisy, target, states, chance)
        total, terms = judged(self.loss, lessons)
        total.backward()
        self.world.average(p.grad for p in self.model.parameters() if p.grad is not None)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.optim.clip_norm)
        if math.isfinite(float(norm)):
            for optim in self.optims:
                optim.step()
            _follow(self.average, self.model, min(self.recipe.optim.ema, (self.update + 1) / (self.update + 10)))
            self.states = [s.detach() for s in states]
        else:  # one bad batch must not end a night of training; it is counted and left out
            self.skipped += 1
            self.states = self.model.zero_states(len(noisy), self.device)
        self.model.zero_grad(set_to_none=True)
        return {"loss": total.detach(), "norm": norm, **terms}

    def _save(self) -> None:
        save_checkpoint(self.folder / "checkpoint.pt", {
            "recipe": self.table, "update": self.update, "model": self.model.state_dict(), "average": self.average,
            "optimisers": [o.state_dict() for o in self.optims], "states": self.states, "before": self.before,
            "before_hours": self.before_hours,
        })  # fmt: skip


class _Metrics:
    """Means of the loss terms as JSON lines, with rate and time left; only the first process of a world writes."""

    def __init__(self, folder: Path, recipe: Recipe, update: int, world: World) -> None:
        self._path = folder / "metrics.jsonl" if world.first else None
        self._recipe, self._began, self._first = recipe, time.monotonic(), update
        self._sums: dict[str, Tensor] = {}
        self._counted = 0

    def count(self, terms: dict[str, Tensor]) -> None:
        """Add the terms of one update; they stay on their device until they are written."""
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value
        self._counted += 1

    def progress(self, update: int, factor: float, seconds: float, skipped: int) -> None:
        """Every `metrics_every` updates: one line. `seconds` is the audio per update."""
        if update % self._recipe.log.metrics_every:
            return
        rate = (update - self._first) / (time.monotonic() - self._began)
        self.write({
            "update": update, **{k: round(float(v) / self._counted, 5) for k, v in self._sums.items()},
            "lr": round(factor, 4), "hours": round(update * seconds / 3600, 3), "realtime": round(rate * seconds, 1),
            "minutes_left": round((self._recipe.optim.updates - update) / rate / 60, 1), "skipped": skipped,
        })  # fmt: skip
        self._sums, self._counted = {}, 0

    def write(self, line: dict[str, Any]) -> None:
        """Append one line, whole."""
        if self._path:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def judged(loss: SpectralLoss, lessons: list[Lesson]) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean of the loss and of its terms over the lessons of an update."""
    verdicts = [loss(lesson.clean.float(), lesson.target, lesson.noisy) for lesson in lessons]
    terms = {name: torch.stack([terms[name] for _, terms in verdicts]).mean() for name in verdicts[0][1]}
    return torch.stack([total for total, _ in verdicts]).mean(), terms


def validation_set(store: Store, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Fixed mixtures of the validation split, or of the training split where a corpus has none."""
    split = "valid" if store.select(split="valid", kind="speech") else "train"
    spec = MixSpec(p_clean=0.0, p_noise_only=0.0, snr_db=(-5.0, 15.0), p_high_snr=0.0, keep_room=recipe.mix.keep_room)
    return mixtures(
        Mixer(store, spec, split=split), _VALIDATION_SEED, range(recipe.log.validation_mixtures), _VALIDATION_SAMPLES
    )


@torch.no_grad()
def validate(
    recipe: Recipe, weights: dict[str, Tensor], loss: SpectralLoss, data: tuple[Tensor, Tensor], device: str
) -> dict[str, float]:
    """Loss terms of the averaged weights on the fixed validation mixtures.

    Of a network with several levels: those of the best one, and some of each (`snr_0` is the cheapest level's).
    """
    model = build(**recipe.model).to(device)
    model.load_state_dict(weights)
    found: dict[str, float] = {}
    for level in range(model.n_levels):
        terms = _validated(model.at_level(level), loss, data, device)
        found |= terms
        if model.n_levels > 1:
            found |= {f"{name}_{level}": terms[name] for name in ("loss", "snr", "perceptual") if name in terms}
    return {k: round(v, 5) for k, v in found.items()}


def _validated(net: SpectralNet, loss: SpectralLoss, data: tuple[Tensor, Tensor], device: str) -> dict[str, float]:
    sums: dict[str, float] = {}
    for k in range(0, len(data[0]), 16):
        noisy, target = data[0][k : k + 16].to(device), data[1][k : k + 16].to(device)
        lesson = net.lesson(net(noisy, net.zero_states(len(noisy), device))[0], target, noisy)
        total, terms = loss(lesson.clean, lesson.target, lesson.noisy)
        for name, value in {"loss": total, **terms}.items():
            sums[name] = sums.get(name, 0.0) + float(value) * len(noisy) / len(data[0])
    return sums


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running anything inside it."""
    if not path.is_file():
        raise RecipeError(f"{path}: no checkpoint found; train that run first")
    return torch.load(path, map_location="cpu", weights_only=True)


def hours_before(saved: dict[str, Any]) -> float:
    """Hours of mixtures of the runs that a checkpoint's run started from; of older files by its own batches."""
    found: float = saved.get("before_hours", saved.get("before", 0) * _update_hours(saved))
    return found


def hours_learnt(saved: dict[str, Any]) -> float:
    """Hours of mixtures that the weights of a checkpoint have learnt from, in all."""
    return hours_before(saved) + saved.get("update", 0) * _update_hours(saved)


def _update_hours(saved: dict[str, Any]) -> float:
    if "recipe" not in saved:  # weights alone tell nothing
        return 0.0
    data = saved["recipe"]["data"]
    return float(data["batch"] * data["segment_s"] / 3600)


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write beside the old checkpoint and replace it at once, so that a full disk or a crash leaves a good one."""
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        torch.save(content, partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _follow(average: dict[str, Tensor], model: SpectralNet, decay: float) -> None:
    with torch.no_grad():
        for name, value in model.state_dict().items():
            average[name].lerp_(value, 1.0 - decay)
