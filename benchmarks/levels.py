"""Quality against measured cost, for every level of every scalable engine, the fixed networks and published denoisers.

    python benchmarks/levels.py [--markdown docs/levels.md] [--plot docs/images/levels.png] [--hops 2000]

Cost is measured here and now: processor time of the engine alone per hop of 8 ms, levels and engines taking turns.
Quality is what each package says of itself (`training/shipping.py` measured it on the test pairs, through the very
package); an engine that says nothing is left out. With `--markdown` the part of the page between the two marks is
replaced, the rest stays.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, field
from pathlib import Path

from pse_stream.dsp.spec import HOP_MS
from pse_stream.engines.contract import EngineInfo
from pse_stream.engines.registry import available, open_engine
from pse_stream.engines.timing import step_costs_ms

BEGIN, END = "<!-- levels: generated -->", "<!-- levels: end -->"
METRICS = (("si_sdr_i", "SI-SDR gain dB", 2), ("pesq", "PESQ-WB", 2), ("estoi", "ESTOI", 3))


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One row of the table, one mark of the plot."""

    family: str
    name: str
    mmacs: float | None  # millions of multiply-adds per second
    ms: float  # processor time per 8 ms of sound
    quality: dict[str, float] = field(default_factory=dict)


#: Measured on the same 140 pairs before this project began, on another day and with other programs running: ms per
#: block, scaled here to 8 ms of sound. (name, ms, block in ms, SI-SDR gain, PESQ, ESTOI)
PUBLISHED = (
    ("UL-UNAS", 1.19, 16, 6.84, 1.94, 0.724),
    ("DeepFilterNet3", 0.83, 10, 6.33, 1.91, 0.713),
    ("DTLN", 0.32, 8, 6.89, 1.81, 0.699),
    ("NSNet2", 0.39, 10, 5.16, 1.84, 0.703),
    ("FastEnhancer-T", 0.15, 16, 5.73, 1.81, 0.685),
    ("GTCRN", 0.98, 16, 5.59, 1.78, 0.692),
    ("RNNoise 0.2", 0.52, 10, 4.24, 1.56, 0.665),
    ("RNNoise 0.1.1", 0.17, 10, 2.76, 1.56, 0.654),
)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markdown", type=Path, help="page whose marked part is replaced")
    parser.add_argument("--plot", type=Path, help="PNG to write; needs matplotlib")
    parser.add_argument("--hops", type=int, default=2000, help="to time, per level")
    asked = parser.parse_args()
    points = ours(asked.hops)
    load = os.getloadavg()[0]
    text = table(points) + f"\n\nLoad of the machine while costs were measured: {load:.1f} on {os.cpu_count()} cores."
    print(text)
    if asked.markdown:
        asked.markdown.write_text(replaced(asked.markdown.read_text(encoding="utf-8"), text), encoding="utf-8")
    if asked.plot:
        plot([*points, *published()], asked.plot)


def ours(hops: int) -> list[Point]:
    """Every level of every usable engine whose quality is known."""
    found = [e.info for e in available() if e.info is not None and any(known(e.info, level) for level in (0, None))]
    which = [(info, level) for info in found for level in range(len(info.levels))]
    costs = step_costs_ms([(open_engine(info.id), level) for info, level in which], hops)
    return [
        Point(
            family=info.family if len(info.levels) > 1 else "fixed",
            name=f"{info.id}, {info.levels[level].name}" if len(info.levels) > 1 else info.id,
            mmacs=info.levels[level].macs_per_second / 1e6 or None,
            ms=cost,
            quality=known(info, level if len(info.levels) > 1 else None),
        )
        for (info, level), cost in zip(which, costs, strict=True)
    ]


def known(info: EngineInfo, level: int | None) -> dict[str, float]:
    """What a package says of one of its levels (None: of its best), with `<name>_ci` where it says that."""
    tail = "" if level is None else f"_{level}"
    names = {f"{name}{ci}": f"{name}{tail}{ci}" for name, _, _ in METRICS for ci in ("", "_ci")}
    return {name: info.quality[key] for name, key in names.items() if key in info.quality}


def published() -> list[Point]:
    """The denoisers that others have trained, per 8 ms of sound."""
    return [
        Point(family="published", name=name, mmacs=None, ms=ms * HOP_MS / block,
              quality={"si_sdr_i": gain, "pesq": pesq, "estoi": estoi})
        for name, ms, block, gain, pesq, estoi in PUBLISHED
    ]  # fmt: skip


def table(points: list[Point]) -> str:
    """Markdown: ours as measured now, then the published ones."""
    head = "| engine | MMAC/s | ms per 8 ms | " + " | ".join(title for _, title, _ in METRICS) + " |"
    lines = [head, "|---" * (3 + len(METRICS)) + "|"]
    for point in [*points, *published()]:
        macs = f"{point.mmacs:.1f}" if point.mmacs else "–"
        cells = [_cell(point.quality, name, digits) for name, _, digits in METRICS]
        lines.append(f"| {point.name} | {macs} | {point.ms:.3f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(quality: dict[str, float], name: str, digits: int) -> str:
    if name not in quality:
        return "–"
    width = quality.get(f"{name}_ci")
    return f"{quality[name]:.{digits}f}" + (f" ± {width:.{digits}f}" if width is not None else "")


def replaced(page: str, text: str) -> str:
    """`page` with `text` between its marks."""
    if BEGIN not in page or END not in page:
        raise SystemExit(f"the page has no marks {BEGIN} and {END}")
    return page.partition(BEGIN)[0] + f"{BEGIN}\n{text}\n{END}" + page.partition(END)[2]


def plot(points: list[Point], path: Path) -> None:
    """Three panels over the measured cost, one colour per family, intervals of 95 % where they are known."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    ticks = (0.05, 0.1, 0.2, 0.4, 0.8)
    figure, panels = pyplot.subplots(1, len(METRICS), figsize=(15, 5), constrained_layout=True)
    for panel, (metric, title, _) in zip(panels, METRICS, strict=True):
        for family in dict.fromkeys(point.family for point in points):
            own = [point for point in points if point.family == family and metric in point.quality]
            scalable = family not in ("fixed", "published")
            panel.errorbar(
                [p.ms for p in own], [p.quality[metric] for p in own],
                yerr=[p.quality.get(f"{metric}_ci", 0.0) for p in own] if scalable else None,
                fmt="o-" if scalable else "s" if family == "fixed" else "x", label=family, capsize=2, alpha=0.85,
            )  # fmt: skip
            for p in [] if scalable else own:
                panel.annotate(p.name, (p.ms, p.quality[metric]), fontsize=7, xytext=(4, 3), textcoords="offset points")
        panel.set_xscale("log")
        panel.set_xlim(0.04, 1.3)
        panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        panel.minorticks_off()
        panel.set_xlabel("ms of one core per 8 ms of sound")
        panel.set_title(title)
        panel.grid(alpha=0.3, which="both")
    panels[0].legend(loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
