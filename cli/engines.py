"""`pse-stream engines list|info|check`: what can be played, what it costs, whether it is intact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pse_stream.cli import flags
from pse_stream.cli.console import Console

if TYPE_CHECKING:
    from pse_stream.engines.contract import EngineInfo
    from pse_stream.engines.registry import EngineEntry

EXIT_WORSE = 9  # checked and found bad
ALGORITHM_MS = 16.0  # the grid's own delay; an engine's look-ahead comes on top
HOP_MS = 8.0


class Engines(click.Group):
    """`engines` alone, or with `--json`, is `engines list`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put in `list` where no command is named."""
        named = args and (not args[0].startswith("-") or args[0] in ("-h", "--help"))
        return super().parse_args(ctx, args if named or ctx.resilient_parsing else ["list", *args])


@click.group(name="engines", cls=Engines)
def command() -> None:
    """List, describe and check the engines (default: list)."""


@command.command(name="list")
@flags.common()
def list_(*, console: Console) -> None:
    """List every engine with levels, delay, cost, quality and licence."""
    from pse_stream.engines.registry import DEFAULT_ENGINE, available

    entries = available()
    rows = [_row(entry, entry.id == DEFAULT_ENGINE) for entry in entries]
    console.table(["id", "levels", "delay ms", "MMAC/s", "quality", "licence", "from", "title"], rows)
    for entry in entries:
        if not entry.usable:
            console.note(f"{entry.id} cannot be used: {entry.problem}")
    console.result("* what auto means")
    console.object({"default": DEFAULT_ENGINE, "engines": [as_json(entry) for entry in entries]})


@command.command(name="info")
@click.argument("id", required=False, shell_complete=flags.engine_names)
@flags.common()
def info(*, console: Console, id: str | None) -> None:
    """Print an engine's card: data, recipe, measured quality, limits."""
    from pse_stream.engines.registry import available, open_engine, resolve

    engine = open_engine(id or "auto")
    entry = next(entry for entry in available() if entry.usable and entry.id == resolve(id or "auto"))
    about = engine.info
    console.result(f"{about.id}: {about.title} (version {about.version}, {about.family}, {entry.origin})")
    console.result(f"delay {_delay_ms(about):g} ms, licence {about.licence}")
    for index, level in enumerate(about.levels):
        cost = f"{level.macs_per_second / 1e6:.1f} MMAC/s, {level.parameters} parameters" if level.parameters else "-"
        console.result(f"level {index}: {level.name:<12} {cost}")
    for name, value in about.quality.items():
        console.result(f"{name:<12} {value:g}")
    if about.card:
        console.result(f"\n{about.card}")
    console.object({**as_json(entry), "card": about.card or None})


@command.command(name="check")
@click.argument("ids", metavar="[ID]…", nargs=-1, shell_complete=flags.engine_names)
@flags.common()
def check(*, console: Console, ids: tuple[str, ...]) -> int:
    """Open engines, verify their files and play their golden frames; exit 9 if one fails."""
    from pse_stream.engines.registry import available
    from pse_stream.streaming.health.engines import check_engine

    wanted = ids or tuple(entry.id for entry in available())
    findings = [check_engine(id) for id in wanted]
    for finding in findings:
        console.result(finding.line())
    console.object({"findings": [finding.as_dict() for finding in findings]})
    return EXIT_WORSE if any(finding.verdict == "fail" for finding in findings) else 0


def as_json(entry: EngineEntry) -> dict[str, Any]:
    """One engine as `--json` prints it; absent values are null."""
    about = entry.info
    return {
        "id": entry.id,
        "title": about.title if about else None,
        "version": about.version if about else None,
        "family": about.family if about else None,
        "origin": entry.origin,
        "usable": entry.usable,
        "problem": entry.problem or None,
        "delay_ms": _delay_ms(about) if about else None,
        "lookahead_hops": about.lookahead_hops if about else None,
        "licence": about.licence if about else None,
        "quality": about.quality if about else None,
        "levels": [
            {
                "index": index,
                "name": level.name,
                "macs_per_second": level.macs_per_second or None,
                "parameters": level.parameters or None,
            }
            for index, level in enumerate(about.levels)
        ]
        if about
        else None,
    }


def _row(entry: EngineEntry, default: bool) -> list[str]:
    mark = f"{entry.id}{' *' if default else ''}"
    about = entry.info
    if about is None:
        return [mark, "-", "-", "-", "-", "-", entry.origin, "cannot be used (see below)"]
    macs = [level.macs_per_second / 1e6 for level in about.levels if level.macs_per_second]
    cost = "-" if not macs else f"{min(macs):.0f}" if len(macs) == 1 else f"{min(macs):.0f} to {max(macs):.0f}"
    quality = ", ".join(f"{name} {value:.3g}" for name, value in list(about.quality.items())[:2]) or "-"
    return [
        mark,
        str(len(about.levels)),
        f"{_delay_ms(about):g}",
        cost,
        quality,
        about.licence,
        entry.origin,
        about.title,
    ]


def _delay_ms(about: EngineInfo) -> float:
    return ALGORITHM_MS + HOP_MS * about.lookahead_hops
