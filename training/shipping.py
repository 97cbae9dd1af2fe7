"""From a run to a package that may be shipped: export, measure through the package itself, write the card."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pse_stream.engines.contract import Engine
from pse_stream.engines.timing import step_costs_ms
from pse_stream.training.corpus import SAMPLE_RATE, Recording, open_data
from pse_stream.training.evaluate import markdown, measure, read_pairs, save_rows, summarise
from pse_stream.training.export import export, licences, load_run
from pse_stream.training.loop import hours_learnt
from pse_stream.training.systems import open_engine, open_system

_KINDS = ("speech", "noise", "rir")  # in the order of the card
_QUALITY = ("si_sdr_i", "pesq", "stoi", "estoi", "sig", "bak", "ovrl")

_CARD = """\
# {title}

{note}

## What it is

Family `{family}`, {parameters:,} parameters, {macs:.0f} million multiply-adds per second. Causal, {waits}. One
frame of 257 bins (16 kHz, hop 8 ms) per call; the transform's latency is 16 ms. Level independent through a running
normaliser inside the graph. Input and output are spectra; state starts as zeros.
{levels}
## How it was trained

{updates} updates, {hours:.1f} hours of mixtures made on the fly, seed {seed}; recipe `training/recipes/{recipe}.toml`
(the resolved values are in model.toml's provenance and in the run folder). Target: the speaker's direct sound and
reflections up to {early:.0f} ms.

Data: {n_speech} speech recordings ({speech_hours:.1f} h), {n_noise} noise recordings ({noise_hours:.1f} h),
{n_rir} room responses, and computed noises. Recordings without a clear licence and GPL recordings were left out.
Licences:

{licences}

Sources (the author of every recording stands in the manifests of the data):

{sources}

## How good it is

Measured through this package and the streaming transform, {n} pairs with speakers and noises that were not trained on;
mean and half of the 95 % interval.

{table}

## Limits

- Trained on few hours of recordings, mostly English; other voices that talk in the background are often kept in part.
- Above 8 kHz it says nothing; full-band audio is handled by a rule outside the network.
- Music and singing are treated as noise.
"""


def ship(
    run: Path, folder: Path, *, title: str, version: str, data: Sequence[Path], cache: Path, pairs: Path | None,
    note: str = "", with_dnsmos: bool = True,
) -> dict[str, float]:  # fmt: skip
    """Export `run`, measure the package on `pairs`, then write it to `folder`; returns figures.

    The card names the sources and hours of all folders of `data`, so name every folder that the training had.
    The package is made twice: once in a temporary folder to be measured, once with its measured quality in place.
    """
    model, saved = load_run(run)
    recipe, updates = saved["recipe"], saved["update"] + saved.get("before", 0)
    store = open_data(data, cache, splits=("train",), all_licences=recipe["data"]["all_licences"])
    common: dict[str, Any] = {
        "identity": folder.name, "title": title, "version": version, "licence_data": licences(store.recordings),
    }  # fmt: skip
    quality: dict[str, float] = {}
    table, levels, n = "Not measured.", "", 0
    if pairs is not None:
        draft = Path(tempfile.mkdtemp()) / folder.name
        try:
            export(run, draft, card="draft", quality={}, **common)
            engine = open_engine(str(draft))
            measured = [_measured(engine, k, pairs, run, with_dnsmos) for k in range(model.n_levels)]
            levels = _levels_table(engine, measured) if model.n_levels > 1 else ""
        finally:
            shutil.rmtree(draft.parent, ignore_errors=True)
        table, n = markdown(measured[-1], "input SNR dB"), int(measured[-1]["all"]["n"])
        quality = measured_quality(measured)
    kinds = {kind: [r for r in store.recordings if r.kind == kind] for kind in _KINDS}
    hours = {kind: sum(r.n_samples for r in rows) / SAMPLE_RATE / 3600 for kind, rows in kinds.items()}
    card = _CARD.format(
        title=title, note=note, family=recipe["model"]["family"], parameters=sum(p.numel() for p in model.parameters()),
        macs=model.macs_per_frame() * 125 / 1e6, updates=updates, seed=recipe["seed"], recipe=recipe["name"],
        waits=f"{8 * model.lookahead} ms late (lookahead)" if model.lookahead else "no lookahead",
        hours=hours_learnt(saved),
        early=recipe["mix"]["early_ms"], n_speech=len(kinds["speech"]), speech_hours=hours["speech"],
        n_noise=len(kinds["noise"]), noise_hours=hours["noise"], n_rir=len(kinds["rir"]),
        licences="\n".join(f"- {line}" for line in common["licence_data"]),
        sources=sources_table(store.recordings), table=table, levels=levels, n=n,
    )  # fmt: skip
    figures = export(run, folder, card=card, quality=quality, **common)
    return figures | quality


def sources_table(recordings: Sequence[Recording]) -> str:
    """Where speech, noise and rooms come from: one row per kind and repository, most hours first.

    What a source says of one clip (its author and number) stays in the manifests.
    """
    found: dict[tuple[str, str], list[int]] = {}
    for row in recordings:
        count = found.setdefault((row.kind, _repository(row.source)), [0, 0])
        count[0] += 1
        count[1] += row.n_samples
    lines = ["| kind | source | recordings | hours |", "|---|---|---|---|"]
    for (kind, name), (n, samples) in sorted(found.items(), key=lambda item: (_KINDS.index(item[0][0]), -item[1][1])):
        lines.append(f"| {kind} | {name} | {n} | {samples / SAMPLE_RATE / 3600:.2f} |")
    return "\n".join(lines)


def _repository(source: str) -> str:
    """The repository that a manifest's source names, with the corpus that its audio is of, where it says one."""
    if source.startswith("mix of "):
        return "mixes of the train talkers"
    name = re.split(r" \(|, | by ", source, maxsplit=1)[0]
    corpus = re.search(r" \((?!Freesound)([^,)]+)", source)
    return (f"{name} ({corpus[1]})" if corpus else name) or "not stated"


def _measured(engine: Engine, level: int, pairs: Path, run: Path, with_dnsmos: bool) -> dict[str, dict[str, float]]:
    """Quality of one level by input SNR; every clip's scores stay in the run folder."""
    system = open_system(engine, level)
    rows = measure(read_pairs(pairs), system, with_dnsmos=with_dnsmos)
    save_rows(rows, run / ("rows.json" if len(engine.info.levels) == 1 else f"rows-{level}.json"))
    return summarise(rows, "snr_db")


def measured_quality(measured: list[dict[str, dict[str, float]]]) -> dict[str, float]:
    """Figures for model.toml: the best level's under their names, every level's with its number behind the name."""
    best, found = measured[-1]["all"], {}
    names = [name for name in _QUALITY if name in best]
    found |= {name: round(best[name], 4) for name in names} | {"n": best["n"]}
    if len(measured) > 1:
        for level, by_snr in enumerate(measured):
            for name in names:
                found[f"{name}_{level}"] = round(by_snr["all"][name], 4)
                found[f"{name}_{level}_ci"] = round(by_snr["all"][f"{name}_ci"], 4)
    return found


def _levels_table(engine: Engine, measured: list[dict[str, dict[str, float]]]) -> str:
    """What each level costs and gives, for the card."""
    costs = step_costs_ms([(engine.fork(), k) for k in range(len(engine.info.levels))])
    lines = ["", "| level | name | MMAC/s | parameters | ms per hop |", "|---|---|---|---|---|"]
    lines += [
        f"| {k} | {level.name} | {level.macs_per_second / 1e6:.1f} | {level.parameters:,} | {cost:.3f} |"
        for k, (level, cost) in enumerate(zip(engine.info.levels, costs, strict=True))
    ]
    names = {f"{k} ({level.name})": measured[k]["all"] for k, level in enumerate(engine.info.levels)}
    quality = markdown(names | {"all": measured[-1]["all"]}, "level").rsplit("\n", 1)[0]
    note = "Milliseconds of processor time of the engine alone, every frame at its quickest of eight, one core:"
    return "\n".join(["", note, *lines, "", "Quality on the test pairs told of below:", "", quality, ""])
