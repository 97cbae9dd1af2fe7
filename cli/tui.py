"""`pse-stream tui`: see and change a running denoiser on one screen."""

from __future__ import annotations

import importlib.util
import os
import sys

import click

from pse_stream.cli import flags
from pse_stream.cli.console import Console
from pse_stream.errors import UsageError

SMALLEST = (60, 16)  # columns, rows; lines below that


@click.command(name="tui")
@click.option("--instance", default="default", metavar="NAME", help="Which denoiser of this machine.")
@click.option("--connect", metavar="ADDRESS", help="A denoiser elsewhere, tcp://host[:port].")
@click.option("--key", metavar="NAME", help="Our key for --connect (pse-stream keys).")
@click.option("--server-key", metavar="KEY", help="The public key expected at --connect.")
@click.option("--plain", is_flag=True, help="Lines instead of a screen: only changes, at most one a second.")
@flags.common(json=False)
def command(
    *,
    console: Console,
    instance: str,
    connect: str | None,
    key: str | None,
    server_key: str | None,
    plain: bool,
) -> None:
    """Show a running pse-stream on one screen: levels, spectrograms, load; and change everything.

    It is a program of its own: leaving it with q leaves the denoiser running.
    """
    from pse_stream.control.client import ControlClient

    client = ControlClient(connect, instance=instance, key=key, server_key=server_key, name="tui")
    if plain or not _is_screen():
        from pse_stream.control.tui.plain import follow

        follow(client)
        return
    if importlib.util.find_spec("textual") is None:
        raise UsageError(
            "the screen needs the package textual.",
            name="not_installed",
            hint="pip install 'pse-stream[tui]', or --plain",
        )
    os.environ.setdefault("TEXTUAL_FPS", "15")  # frames a second at most; read when Textual is imported
    from pse_stream.control.tui.app import TuiApp

    TuiApp(client, colour=console.colour).run()


def _is_screen() -> bool:
    """A terminal that can be drawn on, and large enough to be."""
    if os.environ.get("TERM") == "dumb" or not sys.stdout.isatty() or not sys.stderr.isatty():
        return False
    columns, rows = os.get_terminal_size(sys.stderr.fileno())
    return columns >= SMALLEST[0] and rows >= SMALLEST[1]
