"""`pse-stream bench`: what a hop costs on this machine, per engine and level."""

from __future__ import annotations

from typing import Any

import click

from pse_stream.cli import flags
from pse_stream.cli.console import Console

HOP_MS = 8.0
RATES = (16_000, 48_000)  # Hz
TRIED_HOPS = 500


@click.command(name="bench")
@click.argument("ids", metavar="[ENGINE]…", nargs=-1, shell_complete=flags.engine_names)
@click.option("--hops", type=click.IntRange(min=10), default=TRIED_HOPS, show_default=True, help="Hops to time.")
@flags.common()
def command(*, console: Console, ids: tuple[str, ...], hops: int) -> None:
    """Time one hop (8 ms of sound) of the whole pipeline, back to back and paced as in life.

    Thread CPU time, so that other programs on the machine do not count. Paced figures are the true ones: between two
    hops of a call the processor's caches go cold.
    """
    from pse_stream.engines.registry import available, open_engine
    from pse_stream.streaming.health.cost import hop_cost

    wanted = ids or tuple(entry.id for entry in available() if entry.usable)
    rows: list[list[str]] = []
    results: list[dict[str, Any]] = []
    for id in wanted:
        about = open_engine(id).info
        for level, step in enumerate(about.levels):
            for rate in RATES:
                console.note(f"{id}, level {level}, {rate} Hz …")
                hot = hop_cost(open_engine(id), level=level, rate=rate, hops=hops)
                paced = hop_cost(open_engine(id), level=level, rate=rate, hops=min(hops, 250), paced=True)
                rows.append([
                    id, f"{level} {step.name}", f"{rate / 1000:g}", f"{hot.median_ms:.3f}", f"{hot.p99_ms:.3f}",
                    f"{paced.median_ms:.3f}", f"{paced.p99_ms:.3f}", f"{HOP_MS / hot.median_ms:.0f}",
                ])  # fmt: skip
                results.append({
                    "engine": id, "level": level, "sample_rate": rate,
                    "timing": {
                        "hot_median_ms": hot.median_ms, "hot_p99_ms": hot.p99_ms,
                        "paced_median_ms": paced.median_ms, "paced_p99_ms": paced.p99_ms,
                    },
                })  # fmt: skip
    head = ["engine", "level", "kHz", "hot ms", "p99", "paced ms", "p99", "x real time"]
    console.table(head, rows)
    console.object({"hop_ms": HOP_MS, "engines": results})
