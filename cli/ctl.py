"""`pse-stream ctl`: listed and completed here, parsed in control/ctl.py, which main.py reaches without this file."""

from __future__ import annotations

import click


@click.command(name="ctl", context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def command(words: tuple[str, ...]) -> int:
    """Change and watch a running pse-stream."""
    from pse_stream.control.ctl import main

    return main(words)
