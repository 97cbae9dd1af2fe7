"""From a run to a package that may be shipped: export, measure through the package itself, write the card."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from pse_stream.training.corpus import open_packs
from pse_stream.training.evaluate import markdown, measure, read_pairs, save_rows, summarise
from pse_stream.training.export import export, licences, load_run
from pse_stream.training.systems import open_system

_QUALITY = ("si_sdr_i", "pesq", "stoi", "estoi", "sig", "bak", "ovrl")

_CARD = """\
# {title}

{note}

## What it is

Family `{family}`, {parameters:,} parameters, {macs:.0f} million multiply-adds per second. Causal, no lookahead, one
frame of 257 bins (16 kHz, hop 8 ms) per call; the transform's latency is 16 ms. Level independent through a running
normaliser inside the graph. Input and output are spectra; state starts as zeros.

## How it was trained

{updates} updates, {hours:.1f} hours of mixtures made on the fly, seed {seed}; recipe `training/recipes/{recipe}.toml`
(the resolved values are in model.toml's provenance and in the run folder). Target: the speaker's direct sound and
reflections up to {early:.0f} ms.

Data: {n_speech} speech recordings ({speech_hours:.1f} h), {n_noise} noise recordings ({noise_hours:.1f} h),
{n_rir} room responses, and computed noises. Recordings without a clear licence and GPL recordings were left out.
Licences:

{licences}

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
    run: Path, folder: Path, *, title: str, version: str, data: Path, cache: Path, pairs: Path | None, note: str = "",
    with_dnsmos: bool = True,
) -> dict[str, float]:  # fmt: skip
    """Export `run`, measure the package on `pairs`, then write it to `folder`; returns figures.

    The package is made twice: once in a temporary folder to be measured, once with its measured quality in place.
    """
    model, saved = load_run(run)
    recipe = saved["recipe"]
    store = open_packs(data, cache, splits=("train",), all_licences=recipe["data"]["all_licences"])
    common: dict[str, Any] = {
        "identity": folder.name, "title": title, "version": version, "licence_data": licences(store.recordings),
    }  # fmt: skip
    quality: dict[str, float] = {}
    table, n = "Not measured.", 0
    if pairs is not None:
        draft = Path(tempfile.mkdtemp()) / folder.name
        try:
            export(run, draft, card="draft", quality={}, **common)
            rows = measure(read_pairs(pairs), open_system(str(draft)), with_dnsmos=with_dnsmos)
        finally:
            shutil.rmtree(draft.parent, ignore_errors=True)
        save_rows(rows, run / "rows.json")
        by_snr = summarise(rows, "snr_db")
        table, n = markdown(by_snr, "input SNR dB"), len(rows)
        quality = {k: round(by_snr["all"][k], 4) for k in _QUALITY if k in by_snr["all"]} | {"n": float(n)}
    kinds = {kind: [r for r in store.recordings if r.kind == kind] for kind in ("speech", "noise", "rir")}
    hours = {kind: sum(r.n_samples for r in rows) / 16000 / 3600 for kind, rows in kinds.items()}
    card = _CARD.format(
        title=title, note=note, family=recipe["model"]["family"], parameters=sum(p.numel() for p in model.parameters()),
        macs=model.macs_per_frame() * 125 / 1e6, updates=saved["update"], seed=recipe["seed"], recipe=recipe["name"],
        hours=saved["update"] * recipe["data"]["batch"] * recipe["data"]["segment_s"] / 3600,
        early=recipe["mix"]["early_ms"], n_speech=len(kinds["speech"]), speech_hours=hours["speech"],
        n_noise=len(kinds["noise"]), noise_hours=hours["noise"], n_rir=len(kinds["rir"]),
        licences="\n".join(f"- {line}" for line in common["licence_data"]), table=table, n=n,
    )  # fmt: skip
    figures = export(run, folder, card=card, quality=quality, **common)
    return figures | quality
