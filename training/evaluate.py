"""Measure engines on pairs of noisy and clean recordings, through the streaming path that people run.

Every clip goes hop by hop through `dsp.stft` and the engine of a package, exactly as live. Results are grouped by
input SNR and by noise category, with the number of clips and 95 % intervals of the mean.
"""

from __future__ import annotations

import csv
import io
import json
import math
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pse_stream.dsp.spec import ENGINE_BINS, ENGINE_RATE, STFTSpec
from pse_stream.dsp.stft import Analysis, Synthesis
from pse_stream.engines.contract import Engine
from pse_stream.training.metrics import judge

Float32s = NDArray[np.float32]


class EvaluationError(ValueError):
    """A test set or system that cannot be measured; the text says what was found and expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One test clip at 16 kHz."""

    id: str
    noisy: Float32s
    clean: Float32s
    snr_db: float  # NaN where unknown
    category: str


def read_pairs(source: Path, *, prefix: str = "") -> Iterator[Pair]:
    """Pairs of a tar pack or a folder.

    A tar or folder with `pairs.csv` (columns id, snr_db, noise_category) holds `pairs/<id>/noisy.flac` and
    `clean.flac` beside it; a folder without one holds `noisy/` and `clean/` with files of the same names.
    """
    read = _tar_reader(source) if source.is_file() else _folder_reader(source)
    listing = next((name for name in read if name.endswith("pairs.csv")), None)
    if listing is None:
        names = sorted(name.removeprefix("noisy/") for name in read if name.startswith("noisy/"))
        if not names:
            raise EvaluationError(f"{source}: neither pairs.csv nor a folder noisy/ found; expected one of them")
        for name in names:
            noisy, clean = _audio(read[f"noisy/{name}"]()), _audio(read[f"clean/{name}"]())
            yield Pair(id=name, noisy=noisy, clean=clean, snr_db=float("nan"), category="")
        return
    folder = listing.removesuffix("pairs.csv")
    for row in csv.DictReader(io.StringIO(read[listing]().decode())):
        if row["id"].startswith(prefix):
            stem = f"{folder}pairs/{row['id']}/"
            yield Pair(
                id=row["id"], noisy=_audio(read[stem + "noisy.flac"]()), clean=_audio(read[stem + "clean.flac"]()),
                snr_db=float(row["snr_db"]), category=row["noise_category"],
            )  # fmt: skip


def enhance(engine: Engine, noisy: Float32s, level: int | None = None) -> Float32s:
    """`noisy` through analysis, `engine` and synthesis hop by hop; the delay of the transform is taken off again."""
    grid = STFTSpec(ENGINE_RATE)
    level = engine.info.best_level if level is None else level
    engine.reset()
    analysis, synthesis = Analysis(grid), Synthesis(grid)
    lead = 1 + engine.info.lookahead_hops
    n_hops = -(-len(noisy) // grid.hop) + lead
    padded = np.zeros(n_hops * grid.hop, np.float32)
    padded[: len(noisy)] = noisy
    out, frame = np.empty_like(padded), np.empty(ENGINE_BINS, np.complex64)
    for k in range(n_hops):
        part = slice(k * grid.hop, (k + 1) * grid.hop)
        analysis.process(padded[part], out=frame)
        engine.step(frame, frame, level)
        synthesis.process(frame, out=out[part])
    return out[lead * grid.hop :][: len(noisy)]


def measure(pairs: Iterable[Pair], system: Callable[[Float32s], Float32s], *, with_dnsmos: bool = True) -> list[dict]:
    """One row per pair: id, snr_db, category, every metric and `si_sdr_i`, the gain over the noisy input."""
    from pse_stream.training.metrics import si_sdr

    rows = []
    for pair in pairs:
        enhanced = system(pair.noisy)
        if enhanced.shape != pair.noisy.shape or not np.isfinite(enhanced).all():
            raise EvaluationError(
                f"{pair.id}: {enhanced.shape} values came out, perhaps not all finite; expected {pair.noisy.shape}"
            )
        scores = judge(enhanced, pair.clean, with_dnsmos=with_dnsmos)
        scores["si_sdr_i"] = scores["si_sdr"] - si_sdr(pair.noisy, pair.clean)
        rows.append({"id": pair.id, "snr_db": pair.snr_db, "category": pair.category, **scores})
    return rows


def summarise(rows: list[dict], key: str | None = None) -> dict[str, dict[str, float]]:
    """Mean, half-width of its 95 % interval (`<name>_ci`) and number of clips `n`, per value of `key` and for all."""
    groups: dict[str, list[dict]] = {"all": rows}
    if key:
        for row in rows:
            value = row[key]
            name = f"{round(value):d}" if isinstance(value, float) and math.isfinite(value) else str(value)
            groups.setdefault(name, []).append(row)
    names = [n for n in rows[0] if n not in ("id", "snr_db", "category")]
    table = {}
    for group, members in groups.items():
        table[group] = {"n": float(len(members))}
        for name in names:
            values = np.array([m[name] for m in members])
            values = values[np.isfinite(values)]
            spread = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
            table[group][name] = float(values.mean()) if len(values) else float("nan")
            table[group][f"{name}_ci"] = 1.96 * spread / math.sqrt(len(values)) if len(values) > 1 else float("nan")
    return table


_COLUMNS = (("si_sdr_i", "SI-SDR gain dB", 2), ("pesq", "PESQ-WB", 2), ("stoi", "STOI", 3), ("estoi", "ESTOI", 3),
            ("sig", "SIG", 2), ("bak", "BAK", 2), ("ovrl", "OVRL", 2))  # fmt: skip


def markdown(table: dict[str, dict[str, float]], title: str) -> str:
    """`table` as a Markdown table, one line per group, mean ± half-width."""
    columns = [c for c in _COLUMNS if c[0] in table["all"]]
    lines = [f"| {title} | n | " + " | ".join(c[1] for c in columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for group, means in table.items():
        cells = [f"{means[c]:.{d}f} ± {means[c + '_ci']:.{d}f}" for c, _, d in columns]
        lines.append(f"| {group} | {means['n']:.0f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def save_rows(rows: list[dict], path: Path) -> None:
    """Keep every clip's scores as JSON, so that tables can be made again and systems compared clip by clip."""
    path.write_text(json.dumps(rows, indent=0), encoding="utf-8")


def _tar_reader(path: Path) -> dict[str, Callable[[], bytes]]:
    archive = tarfile.open(path)  # noqa: SIM115 - read lazily, closed with the process
    return {m.name: (lambda m=m: archive.extractfile(m).read()) for m in archive if m.isfile()}  # type: ignore[union-attr]


def _folder_reader(path: Path) -> dict[str, Callable[[], bytes]]:
    if not path.is_dir():
        raise EvaluationError(f"{path}: no such file or folder; expected a test pack or a folder of pairs")
    return {str(p.relative_to(path)): p.read_bytes for p in sorted(path.rglob("*")) if p.is_file()}


def _audio(data: bytes) -> Float32s:
    import soundfile

    audio, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    if rate != ENGINE_RATE:
        raise EvaluationError(f"a test file has {rate} Hz; expected {ENGINE_RATE} Hz: resample the test set once")
    return np.ascontiguousarray(audio[:, 0])
