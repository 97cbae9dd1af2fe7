"""Where words go: results on stdout, all else on stderr, colour only where it can be seen, JSON without any.

A command gets one `Console` and never writes to a stream itself.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TextIO

import click

from pse_stream.errors import UsageError

Colour = Literal["auto", "always", "never"]
JSON_SCHEMA = 1  # of every object that --json prints; grows when a member changes its meaning


def colour_wanted(stream: TextIO, colour: Colour, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether to colour what goes to `stream`; `--color` beats the environment."""
    if colour != "auto":
        return colour == "always"
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


class Console:
    """Results and remarks of one command."""

    def __init__(
        self, *, quiet: bool = False, verbose: int = 0, colour: Colour = "auto", as_json: bool = False
    ) -> None:
        self.quiet, self.verbose, self.colour, self.as_json = quiet, verbose, colour, as_json

    def result(self, text: str = "") -> None:
        """What was asked for; on stdout."""
        if not self.as_json:
            click.echo(text, color=colour_wanted(sys.stdout, self.colour))

    def object(self, values: Mapping[str, Any]) -> None:
        """The same as one JSON object; on stdout, only with `--json`."""
        if self.as_json:
            click.echo(json.dumps({"schema": JSON_SCHEMA, **values}, ensure_ascii=False, allow_nan=False), color=False)

    def note(self, text: str) -> None:
        """What is going on; on stderr, not with `--quiet`."""
        if not self.quiet:
            click.echo(text, err=True, color=colour_wanted(sys.stderr, self.colour))

    def detail(self, text: str) -> None:
        """What only somebody who looks for a fault wants; with `--verbose`."""
        if self.verbose:
            self.note(text)

    def warn(self, text: str) -> None:
        """What is not as it should be, though the work goes on; on stderr."""
        word = click.style("warning:", fg="yellow", bold=True)
        click.echo(f"{word} {text}", err=True, color=colour_wanted(sys.stderr, self.colour))

    def agrees(self, question: str, *, yes: bool, flag: str = "--yes") -> bool:
        """Ask for a yes; no is the default.

        Raises
        ------
        UsageError
            If nobody can be asked: names the flag that would have answered.
        """
        if yes:
            return True
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError(f"{question} Nobody can be asked here.", name="not_asked", hint=f"Answer with {flag}.")
        return click.confirm(question, default=False, err=True)

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Columns as wide as they must be; on stdout."""
        lines = [list(head), *(list(row) for row in rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
        for number, line in enumerate(lines):
            cells = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            self.result(click.style(cells, bold=True) if number == 0 else cells)

    @property
    def live(self) -> bool:
        """Whether stderr is a screen that lines may be redrawn on."""
        return sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not self.quiet


def show_error(name: str, text: str, hint: str, *, colour: Colour = "auto") -> None:
    """`error[name]: what was found and expected. What to do.` on stderr."""
    word = click.style(f"error[{name}]:", fg="red", bold=True)
    click.echo(f"{word} {text}{' ' + hint if hint else ''}", err=True, color=colour_wanted(sys.stderr, colour))


def size_words(count: int) -> str:
    """Bytes as a person says them."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
