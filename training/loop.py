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

import torch
from torch import Tensor

from pse_stream.training.batches import Batches, mixtures
from pse_stream.training.corpus import Store
from pse_stream.training.losses import SpectralLoss
from pse_stream.training.models import SpectralNet, build
from pse_stream.training.models.level import running_level
from pse_stream.training.muon import Muon
from pse_stream.training.recipe import OptimSpec, Recipe, RecipeError, recipe_table
from pse_stream.training.simulate import Mixer, MixSpec

_VALIDATION_SEED, _STATISTICS_SEED = 777, 778
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
    inner = [p for n, p in model.named_parameters() if p.ndim == 2 and min(p.shape) >= 16 and n != "place"]
    chosen = {id(p) for p in inner}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [
        Muon(inner, lr=spec.muon_lr, weight_decay=spec.weight_decay),
        torch.optim.AdamW(rest, lr=spec.adam_lr, weight_decay=0.0, betas=(0.9, 0.98)),
    ]


def train(recipe: Recipe, store: Store, runs: Path, *, device: str = "cpu", stop_after: int | None = None) -> Path:
    """Train `recipe` to its last update, from its last checkpoint if there is one; returns the run folder.

    `stop_after` ends the call at that update as an interruption would (for tests and for planned pauses).
    """
    run = runs / recipe.name
    run.mkdir(parents=True, exist_ok=True)
    table = recipe_table(recipe)
    (run / "recipe.json").write_text(json.dumps(table, indent=1), encoding="utf-8")
    torch.manual_seed(recipe.seed)
    model = build(**recipe.model).to(device)
    loss = SpectralLoss(recipe.loss).to(device)
    optims = optimisers(model, recipe.optim)
    mixer = Mixer(store, recipe.mix)
    batches = Batches(mixer, recipe.data, recipe.seed)
    average = {k: v.clone() for k, v in model.state_dict().items()}
    states, update, skipped = model.zero_states(recipe.data.batch, device), 0, 0
    checkpoint = run / "checkpoint.pt"
    if checkpoint.is_file():
        saved = load_checkpoint(checkpoint)
        if saved["recipe"]["model"] != table["model"] or saved["recipe"]["data"] != table["data"]:
            raise RecipeError(
                f"{checkpoint}: belongs to another recipe (its model {saved['recipe']['model']}, its data "
                f"{saved['recipe']['data']}); choose another name or move that run away"
            )
        model.load_state_dict(saved["model"])
        average, states, update = saved["average"], saved["states"], saved["update"]
        for optim, state in zip(optims, saved["optimisers"], strict=True):
            optim.load_state_dict(state)
    elif recipe.start_from:
        weights = load_checkpoint(runs / recipe.start_from / "checkpoint.pt")["average"]
        model.load_state_dict(weights)
        average = {k: v.clone() for k, v in model.state_dict().items()}
    else:
        noisy, _ = mixtures(mixer, _STATISTICS_SEED, range(recipe.data.statistics_mixtures), _VALIDATION_SAMPLES)
        level, _ = running_level(noisy, torch.zeros(len(noisy), 2))
        model.set_statistics(model.features(noisy, level).flatten(0, 1).to(device))
        average = {k: v.clone() for k, v in model.state_dict().items()}
    base = [[g["lr"] for g in o.param_groups] for o in optimisers(model, recipe.optim)]
    valid = validation_set(store, recipe)
    began, first, sums, count = time.monotonic(), update, {}, 0
    last = min(recipe.optim.updates, stop_after or recipe.optim.updates)
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as log:
        while update < last:
            factor = schedule(recipe.optim, update)
            for optim, rates in zip(optims, base, strict=True):
                for group, rate in zip(optim.param_groups, rates, strict=True):
                    group["lr"] = rate * factor
            noisy, target, fresh = batches.at(update)
            noisy, target = noisy.to(device), target.to(device)
            if fresh:
                states = model.zero_states(len(noisy), device)
            with torch.autocast(device, torch.bfloat16, enabled=recipe.optim.bf16):
                clean, states = model(noisy, states)
            total, terms = loss(clean.float(), target, noisy)
            states = [s.detach() for s in states]
            total.backward()
            norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.optim.clip_norm))
            if math.isfinite(norm):
                for optim in optims:
                    optim.step()
                _follow(average, model, min(recipe.optim.ema, (update + 1) / (update + 10)))
            else:  # one bad batch must not end a night of training; it is counted and left out
                skipped += 1
                states = model.zero_states(len(noisy), device)
            model.zero_grad(set_to_none=True)
            update += 1
            for name, value in {"loss": float(total.detach()), "norm": norm, **terms}.items():
                sums[name] = sums.get(name, 0.0) + value
            count += 1
            if update % recipe.log.metrics_every == 0:
                elapsed = time.monotonic() - began
                rate = (update - first) / elapsed
                _write(log, {
                    "update": update, **{k: round(v / count, 5) for k, v in sums.items()}, "lr": round(factor, 4),
                    "hours": round(update * batches.seconds / 3600, 3), "realtime": round(rate * batches.seconds, 1),
                    "minutes_left": round((recipe.optim.updates - update) / rate / 60, 1), "skipped": skipped,
                })  # fmt: skip
                sums, count = {}, 0
            if update % recipe.log.validate_every == 0 or update == recipe.optim.updates:
                _write(log, {"update": update, "valid": validate(recipe, average, loss, valid, device)})
            if update % recipe.log.checkpoint_every == 0 or update == last:
                save_checkpoint(checkpoint, {
                    "recipe": table, "update": update, "model": model.state_dict(), "average": average,
                    "optimisers": [o.state_dict() for o in optims], "states": states,
                })  # fmt: skip
    return run


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
    """Loss terms of the averaged weights on the fixed validation mixtures."""
    model = build(**recipe.model).to(device)
    model.load_state_dict(weights)
    sums: dict[str, float] = {}
    for k in range(0, len(data[0]), 16):
        noisy, target = data[0][k : k + 16].to(device), data[1][k : k + 16].to(device)
        total, terms = loss(model(noisy, model.zero_states(len(noisy), device))[0], target, noisy)
        for name, value in {"loss": float(total), **terms}.items():
            sums[name] = sums.get(name, 0.0) + value * len(noisy) / len(data[0])
    return {k: round(v, 5) for k, v in sums.items()}


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running anything inside it."""
    if not path.is_file():
        raise RecipeError(f"{path}: no checkpoint found; train that run first")
    return torch.load(path, map_location="cpu", weights_only=True)


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


def _write(log: Any, line: dict[str, Any]) -> None:
    log.write(json.dumps(line) + "\n")
    log.flush()
