"""Train the voice network contrastively: two noisy clips of one speaker are near, of two speakers far.

Siamese: both clips of a pair go through the same network, each with its own noise (-5..20 dB), room, microphone and
level, and with one random length per update (0.5 to 5 s). The other speakers of the batch are the strangers (InfoNCE
over cosines, in both directions). Frames also learn whether somebody speaks and at what SNR, from the same mixtures.

`python -m pse_stream.training.embedding train|export|report ...`; see docs/specialists.md.
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
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pse_stream.dsp.spec import ENGINE_RATE, STFTSpec
from pse_stream.training.corpus import Store, open_packs
from pse_stream.training.loop import load_checkpoint, save_checkpoint
from pse_stream.training.models.voice import BLOCK_HOPS, FRAMES, SNR_SCALE_DB, VoiceNet, bands, pooled
from pse_stream.training.simulate import Mixer, MixSpec

BLOCK_SAMPLES = BLOCK_HOPS * 128
BLOCKS = (2, 20)  # 0.5 to 5.1 s, drawn once per update
_SNR_DB = (-10.0, 25.0)  # beyond, differences do not matter
_ACTIVE = 1e-3  # of the loudest speech frames (-30 dB): somebody speaks
_WINDOW = torch.from_numpy(STFTSpec(ENGINE_RATE).analysis_window)

CLIPS = MixSpec(
    snr_db=(-5.0, 20.0), p_high_snr=0.1, p_clean=0.03, p_noise_only=0.0, p_room=0.3, p_tempo=0.0, p_babble=0.04,
    p_second_noise=0.2, p_change=0.1, p_microphone=0.8, p_level_jump=0.1, level_jump_db=10.0,
)  # fmt: skip
NOISES = MixSpec(p_noise_only=1.0, p_clean=0.0, p_babble=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceRecipe:
    """Everything that decides the weights."""

    name: str = "voice-embedding"
    seed: int = 1
    width: int = 48
    dim: int = 32
    speakers: int = 48  # per update, two clips each
    noises: int = 8  # per update, clips in which nobody speaks
    clips: int = 7000  # mixed once, 5 s each; drawn from again and again
    noise_clips: int = 500
    updates: int = 3000
    lr: float = 3e-3
    warmup: int = 50
    decay: float = 0.4
    presence_weight: float = 0.3
    snr_weight: float = 0.1
    scale: float = 10.0  # of cosines before the softmax; learnt from here
    ema: float = 0.99


def side_by_side(audio: Tensor) -> Tensor:
    """Every fourth frame, the first one after four hops: (batch, samples) -> (batch, samples // 512, 257, 2)."""
    return torch.view_as_real(torch.fft.rfft(audio.unfold(1, 512, 512) * _WINDOW))


@dataclass(frozen=True, slots=True)
class Clips:
    """What the network is shown, computed once; a batch is drawn from it in no time."""

    bands: Tensor  # (clips, frames, 72) of the noisy sound
    speech: Tensor  # (clips, frames) power of the target
    error: Tensor  # (clips, frames) power of what is not target
    speaker: NDArray[np.int64]  # (clips,); -1 where nobody speaks


def make_clips(store: Store, *, split: str, seed: int, clips: int, noises: int) -> Clips:
    """Mix `clips` clips of 5 s of the speakers of a split, as many of each, and `noises` clips without speech.

    A pair needs two recordings, and a label that many people share says nothing about a voice: such are left out.
    """
    mixer, noise = Mixer(store, CLIPS, split=split), Mixer(store, NOISES, split=split)
    recordings: dict[str, int] = {}
    for i in store.select(split=split, kind="speech"):
        name = store.recordings[i].speaker
        recordings[name] = recordings.get(name, 0) + 1
    known = [k for k, n in enumerate(mixer.speakers) if recordings[n] > 1 and not n.endswith("_unlabelled")]
    n = BLOCKS[1] * BLOCK_SAMPLES
    speaker = np.array([known[k % len(known)] for k in range(clips)] + [-1] * noises)
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    for k, who in enumerate(speaker):
        x, s = mixer.mix(seed, k, n, int(who)) if who >= 0 else noise.mix(seed, k, n)
        pair = np.nan_to_num(np.stack([x, s if who >= 0 else np.zeros_like(s)])).astype(np.float32)
        x, s = torch.from_numpy(pair).split(1)
        power = [side_by_side(wave)[0].square().sum(-1) for wave in (x, s, x - s)]
        rows.append((bands(power[0]), power[1].mean(-1), power[2].mean(-1)))
    return Clips(*(torch.stack([row[i] for row in rows]) for i in range(3)), speaker)


class Pairs:
    """Batches of two clips of each of some speakers and of some noises: a pure function of seed and update number."""

    def __init__(self, clips: Clips, seed: int) -> None:
        self.clips, self._seed = clips, seed
        self._of = {int(who): np.flatnonzero(clips.speaker == who) for who in np.unique(clips.speaker)}
        self._noises = self._of.pop(-1, np.zeros(0, int))
        self._known = np.array(sorted(who for who, rows in self._of.items() if len(rows) > 1))

    def at(self, update: int, speakers: int, noises: int, blocks: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Bands (2 * speakers + noises, blocks, 8, 72), power of speech and of error (clips, frames).

        The clips k and speakers + k are of one speaker. One length for all, drawn if `blocks` is 0.
        """
        rng = np.random.default_rng([self._seed, update])
        n = FRAMES * (blocks or int(BLOCKS[0] + (BLOCKS[1] - BLOCKS[0]) * rng.random() ** 1.3))
        chosen = rng.choice(self._known, min(speakers, len(self._known)), replace=False)
        both = np.array([rng.choice(self._of[int(who)], 2, replace=False) for who in chosen]).reshape(-1, 2)
        rows = np.concatenate([both[:, 0], both[:, 1], rng.choice(self._noises, noises)])
        parts = [self._part(rng, int(row), n) for row in rows]
        power, speech, error = (torch.stack([part[i] for part in parts]) for i in range(3))
        return power.unflatten(1, (-1, FRAMES)), speech, error

    def _part(self, rng: np.random.Generator, row: int, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """Some frames of a clip: of four places the one with most speech."""
        clips = self.clips
        starts = rng.integers(0, clips.bands.shape[1] - n + 1, 4)
        at = max(starts, key=lambda start: float(clips.speech[row, start : start + n].sum()))
        part = slice(int(at), int(at) + n)
        return clips.bands[row, part], clips.speech[row, part], clips.error[row, part]


def losses(net: VoiceNet, scale: Tensor, batch: tuple[Tensor, Tensor, Tensor], noises: int) -> dict[str, Tensor]:
    """Contrastive, presence and SNR loss of one batch."""
    power, speech, error = batch
    voice, presence, estimate = net.frames(power)
    loudest = speech.amax(1, keepdim=True)
    active = ((speech > _ACTIVE * loudest) & (loudest > 1e-9)).float()
    n = (len(power) - noises) // 2
    e = pooled(voice[: 2 * n], presence[: 2 * n])
    cosines = scale.exp() * e[:n] @ e[n:].T
    same = torch.arange(n)
    snr = 10 * torch.log10(speech.sum(1) / (error.sum(1) + 1e-9) + 1e-3)[: 2 * n, None]
    off = (estimate[: 2 * n] - snr.clamp(*_SNR_DB) / SNR_SCALE_DB).square() * active[: 2 * n]
    return {
        "contrast": 0.5 * (functional.cross_entropy(cosines, same) + functional.cross_entropy(cosines.T, same)),
        "presence": functional.binary_cross_entropy_with_logits(presence, active),
        "snr": off.sum() / active[: 2 * n].sum().clamp(min=1),
    }


def train(recipe: VoiceRecipe, store: Store, runs: Path) -> Path:
    """Train to the last update, from the last checkpoint if there is one; returns the run folder."""
    run = runs / recipe.name
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    pairs = Pairs(make_clips(store, split="train", seed=recipe.seed, clips=recipe.clips, noises=recipe.noise_clips), 1)
    valid = Pairs(make_clips(store, split="valid", seed=777, clips=400, noises=40), 777)
    net, scale = VoiceNet(recipe.width, recipe.dim), torch.tensor(math.log(recipe.scale), requires_grad=True)
    with torch.no_grad():
        x = net.features(pairs.at(10**6, 400, 40)[0]).flatten(0, 1)
        net.mean.copy_(x.mean(0))
        net.spread.copy_(x.std(0).clamp(min=0.05))
    optim = torch.optim.AdamW([*net.parameters(), scale], lr=recipe.lr, betas=(0.9, 0.98), weight_decay=1e-3)
    average, update = {k: v.clone() for k, v in net.state_dict().items()}, 0
    checkpoint = run / "checkpoint.pt"
    if checkpoint.is_file():
        saved = load_checkpoint(checkpoint)
        net.load_state_dict(saved["model"])
        optim.load_state_dict(saved["optimiser"])
        scale.data.copy_(saved["scale"])
        average, update = saved["average"], saved["update"]
    held_out = [valid.at(k, 20, recipe.noises, blocks=12) for k in range(24)]
    began, sums = time.monotonic(), {}
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as log:
        while update < recipe.updates:
            warm = min(1.0, (update + 1) / recipe.warmup)
            optim.param_groups[0]["lr"] = recipe.lr * warm * min(1.0, (1 - update / recipe.updates) / recipe.decay)
            terms = losses(net, scale, pairs.at(update, recipe.speakers, recipe.noises), recipe.noises)
            total = terms["contrast"] + recipe.presence_weight * terms["presence"] + recipe.snr_weight * terms["snr"]
            optim.zero_grad(set_to_none=True)
            total.backward()
            norm = torch.nn.utils.clip_grad_norm_([*net.parameters(), scale], 5.0)
            if torch.isfinite(norm):
                optim.step()
            update += 1
            with torch.no_grad():
                for name, value in net.state_dict().items():
                    average[name].lerp_(value, 1 - min(recipe.ema, (update + 1) / (update + 10)))
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) / 50
            if update % 50 == 0:
                line = {"update": update, **{k: round(v, 4) for k, v in sums.items()}}
                line |= {"scale": round(float(scale.detach().exp()), 2), "seconds": round(time.monotonic() - began, 1)}
                log.write(json.dumps(line) + "\n")
                log.flush()
                sums = {}
            if update % 100 == 0 or update == recipe.updates:
                log.write(json.dumps({"update": update, "valid": validate(recipe, average, scale, held_out)}) + "\n")
                save_checkpoint(checkpoint, {
                    "recipe": asdict(recipe), "update": update, "model": net.state_dict(), "average": average,
                    "optimiser": optim.state_dict(), "scale": scale.detach(),
                })  # fmt: skip
    return run


@torch.no_grad()
def validate(recipe: VoiceRecipe, weights: dict[str, Tensor], scale: Tensor, batches: list[Any]) -> dict[str, float]:
    """Mean loss terms and equal error rate at 3 s on speakers that were not trained on."""
    net = VoiceNet(recipe.width, recipe.dim)
    net.load_state_dict(weights)
    sums: dict[str, float] = {}
    same, other = [], []
    for batch in batches:
        for name, value in losses(net, scale, batch, recipe.noises).items():
            sums[name] = sums.get(name, 0.0) + float(value) / len(batches)
        n = (len(batch[0]) - recipe.noises) // 2
        voice, presence, _ = net.frames(batch[0][: 2 * n])
        e = pooled(voice, presence)
        cosines = e[:n] @ e[n:].T
        same.append(cosines.diagonal())
        other.append(cosines[~torch.eye(n, dtype=torch.bool)])
    sums["eer"] = equal_error_rate(torch.cat(same).numpy(), torch.cat(other).numpy())
    return {k: round(v, 4) for k, v in sums.items()}


def equal_error_rate(same: np.ndarray, other: np.ndarray) -> float:
    """Where as many pairs of one speaker are told apart as pairs of two are taken for one; 0..1."""
    thresholds = np.sort(np.concatenate([same, other]))
    missed = np.searchsorted(np.sort(same), thresholds, side="left") / len(same)
    taken = 1.0 - np.searchsorted(np.sort(other), thresholds, side="left") / len(other)
    at = int(np.argmin(np.abs(missed - taken)))
    return float((missed[at] + taken[at]) / 2)


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--updates", type=int, default=VoiceRecipe().updates)
    parser.add_argument("--name", default=VoiceRecipe().name)
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = VoiceRecipe(updates=options.updates, name=options.name)
    print(train(recipe, open_packs(options.data, options.cache), options.runs))


if __name__ == "__main__":
    main()
