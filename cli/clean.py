"""`pse-stream clean`: remove what a killed run left in the sound server, and nothing else."""

from __future__ import annotations

import click

from pse_stream.cli import flags
from pse_stream.cli.console import Console


@click.command(name="clean")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be removed.")
@flags.common()
def command(*, console: Console, dry_run: bool) -> None:
    """Remove virtual microphones whose owner was killed; those of running programs stay."""
    from pse_stream.streaming import virtual_mic
    from pse_stream.streaming.sound_server import SoundServer

    server = SoundServer()
    found = virtual_mic.leftovers(server) if dry_run else virtual_mic.clean(server)
    for leftover in found:
        console.result(f"{'would remove' if dry_run else 'removed'} {leftover.name} of process {leftover.pid}")
    if not found:
        console.note("Nothing was left.")
    console.object(
        {"removed": [] if dry_run else [left.name for left in found], "found": [left.name for left in found]}
    )
