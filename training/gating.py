"""Slices of the problem, one specialist each: SNR classes, gender, groups of similar voices, and a random control.

Groups of voices: K-means of the speakers' mean vectors, as the voice network gives them for noisy clips. Gender: labels
of the corpus where there are any; a logistic head learnt from them tells the others.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pse_stream.dsp.spec import Float32s
from pse_stream.engines.gate.gates import centroid_head, snr_head
from pse_stream.training.corpus import CorpusError
from pse_stream.training.embedding import CLIPS, side_by_side
from pse_stream.training.loop import load_checkpoint
from pse_stream.training.models.voice import FRAMES, SNR_SCALE_DB, VoiceNet, bands
from pse_stream.training.simulate import Mixer

SNR_CENTRES_DB = (-5.0, 0.0, 5.0, 10.0)
GENDERS = ("f", "m")
SIZES = (2, 5, 10)  # groups of voices
RANDOM_SIZE = 5  # of the control
_CLIPS, _CLIP_SAMPLES = 4, 3 * 16384  # per speaker, for the mean vectors: 3 s each


@dataclass(frozen=True, slots=True)
class Partition:
    """One way to slice the problem into K classes."""

    name: str
    members: tuple[str, ...]  # names of the K specialists
    of_speaker: NDArray[np.int64] | None  # class of each speaker of the mixer, -1: leave out; None: the SNR decides
    head: Float32s  # (K, dim + 2) the gate before joint fine-tuning

    def labels(self, speakers: NDArray[np.int64], snr_db: NDArray[np.float64]) -> NDArray[np.int64]:
        """Class of each mixture."""
        if self.of_speaker is None:
            return np.abs(snr_db[:, None] - np.array(SNR_CENTRES_DB)).argmin(axis=1)
        return self.of_speaker[speakers]


def load_voice(run: Path) -> VoiceNet:
    """The averaged weights of a run of the voice network."""
    saved = load_checkpoint(run / "checkpoint.pt")
    net = VoiceNet(saved["recipe"]["width"], saved["recipe"]["dim"])
    net.load_state_dict(saved["average"])
    return net.eval()


@torch.no_grad()
def evidence(net: VoiceNet, noisy: torch.Tensor, blocks: int = 0) -> torch.Tensor:
    """What a gate knows after (the first `blocks` of) each clip: (batch, samples) -> (batch, dim + 2)."""
    power = bands(side_by_side(noisy).square().sum(-1))
    n = FRAMES * (blocks or power.shape[1] // FRAMES)
    voice, presence, snr = net.frames(power[:, :n].unflatten(1, (-1, FRAMES)))
    weight = torch.sigmoid(presence)
    vector = torch.nn.functional.normalize((voice * weight.unsqueeze(-1)).sum(1), dim=-1)
    mean_snr = (snr * weight).sum(1) / (weight.sum(1) + 1e-6)
    return torch.cat([vector, mean_snr[:, None] * 10.0 / SNR_SCALE_DB, torch.ones(len(noisy), 1)], dim=1)


def make_partitions(
    mixer: Mixer, net: VoiceNet, data: Path, seed: int = 1, sizes: tuple[int, ...] = SIZES
) -> list[Partition]:
    """All partitions of the speakers of a mixer; those of shared labels (`_unlabelled`) belong to no group."""
    usable = np.array([not name.endswith("_unlabelled") for name in mixer.speakers])
    clips = _clip_vectors(mixer, net, seed)  # (speakers, clips, dim)
    means = clips.mean(axis=1)
    means /= np.linalg.norm(means, axis=1, keepdims=True) + 1e-9
    made = [
        Partition("snr", tuple(f"snr-{c:g}".replace("--", "-minus-") for c in SNR_CENTRES_DB), None,
                  snr_head(list(SNR_CENTRES_DB), net.dim)),
        _gender(mixer, clips, _genders(data), usable),
    ]  # fmt: skip
    for size in sizes:
        groups, centres = kmeans(means[usable], size, seed)
        whole = np.full(len(usable), -1)
        whole[usable] = groups
        made.append(Partition(f"voice-{size}", _numbered("voice", size), whole, centroid_head(centres)))
    size, whole = min(RANDOM_SIZE, int(usable.sum())), np.full(len(usable), -1)
    whole[usable] = np.random.default_rng(seed).permutation(int(usable.sum())) % size
    centres = np.stack([means[whole == k].mean(axis=0) for k in range(size)])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    made.append(Partition(f"random-{size}", _numbered("random", size), whole, centroid_head(centres)))
    return made


def kmeans(points: Float32s, k: int, seed: int, *, starts: int = 20, rounds: int = 50) -> tuple[NDArray, Float32s]:
    """Spherical K-means: (groups of the points, unit centres (k, dim)); the best of some random starts.

    Groups are numbered by size, largest first, so that names mean the same from run to run.
    """
    rng, best, found = np.random.default_rng(seed), -np.inf, None
    for _ in range(starts):
        centres = points[rng.choice(len(points), k, replace=False)]
        for _ in range(rounds):
            groups = (points @ centres.T).argmax(axis=1)
            sums = np.stack([points[groups == j].sum(axis=0) if (groups == j).any() else centres[j] for j in range(k)])
            centres = sums / (np.linalg.norm(sums, axis=1, keepdims=True) + 1e-9)
        fit = float((points @ centres.T).max(axis=1).sum())
        if fit > best:
            best, found = fit, centres
    assert found is not None
    sizes = np.bincount((points @ found.T).argmax(axis=1), minlength=k)
    centres = found[np.argsort(-sizes, kind="stable")]
    return (points @ centres.T).argmax(axis=1), np.asarray(centres, np.float32)


def logistic(points: Float32s, labels: NDArray[np.int64], *, updates: int = 500) -> Float32s:
    """Weights (dim + 1,) of a logistic regression for label 1, the bias last; ridge of 1e-3."""
    x = torch.tensor(np.concatenate([points, np.ones((len(points), 1))], axis=1), dtype=torch.float32)
    y, w = torch.tensor(labels, dtype=torch.float32), torch.zeros(x.shape[1], requires_grad=True)
    weight = torch.where(y > 0, 0.5 / y.mean(), 0.5 / (1 - y.mean()))  # both sides count alike
    optim = torch.optim.Adam([w], lr=0.1)
    for _ in range(updates):
        optim.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(x @ w, y, weight=weight) + 1e-3 * w.square().sum()
        loss.backward()
        optim.step()
    return np.asarray(w.detach().numpy(), np.float32)


def save_partitions(partitions: list[Partition], mixer: Mixer, folder: Path) -> None:
    """Keep groups by speaker name and heads, for the card and for another look."""
    table = {
        p.name: {mixer.speakers[i]: int(k) for i, k in enumerate(p.of_speaker)}
        for p in partitions
        if p.of_speaker is not None
    }
    (folder / "groups.json").write_text(json.dumps(table), encoding="utf-8")


def _numbered(name: str, size: int) -> tuple[str, ...]:
    return tuple(f"{name}-{k + 1}" for k in range(size))


def _clip_vectors(mixer: Mixer, net: VoiceNet, seed: int) -> Float32s:
    rows = []
    for who in range(len(mixer.speakers)):
        noisy = [mixer.mix(seed + 5, who * _CLIPS + k, _CLIP_SAMPLES, who)[0] for k in range(_CLIPS)]
        audio = torch.from_numpy(np.nan_to_num(np.stack(noisy)).astype(np.float32))
        rows.append(evidence(net, audio)[:, : net.dim].numpy())
    return np.stack(rows)


def _genders(data: Path) -> dict[str, str]:
    with (data / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return {row["speaker"]: row["gender"] for row in csv.DictReader(file) if row["gender"] in GENDERS}


def _gender(mixer: Mixer, clips: Float32s, told: dict[str, str], usable: NDArray[np.bool_]) -> Partition:
    known = np.array([GENDERS.index(told[n]) if n in told else -1 for n in mixer.speakers])
    n_clips = clips.shape[1]
    labelled = np.flatnonzero((known >= 0) & usable)
    if len(set(known[labelled])) < len(GENDERS):
        raise CorpusError(f"{len(labelled)} speakers have a gender in manifest.csv; expected some of each of {GENDERS}")
    weights = logistic(clips[labelled].reshape(-1, clips.shape[2]), np.repeat(known[labelled], n_clips))
    logits = clips.mean(axis=1) @ weights[:-1] + weights[-1]
    whole = np.where(known >= 0, known, logits > 0)
    head = np.zeros((2, clips.shape[2] + 2), np.float32)
    head[1, :-2], head[1, -1] = weights[:-1], weights[-1]
    return Partition("gender", ("female", "male"), np.where(usable, whole, -1), head)


def mixer_of(store, split: str = "train") -> Mixer:  # type: ignore[no-untyped-def]
    """The mixer whose speakers are grouped."""
    return Mixer(store, CLIPS, split=split)
