"""`pse-stream devices`: what can be recorded from and played to."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from pse_stream.cli import flags
from pse_stream.cli.console import Console

if TYPE_CHECKING:
    from pse_stream.streaming.devices.base import DeviceInfo

KINDS = ("microphone", "output", "monitor")  # in the order of the list; a monitor records what a loudspeaker plays


@click.command(name="devices")
@flags.common()
def command(*, console: Console) -> None:
    """List microphones and outputs; any part of a name chooses one (--input, --output)."""
    from pse_stream.streaming.devices.live import open_device

    device = open_device(virtual_mic=False)
    try:
        found = [info for direction in ("input", "output") for info in device.names(direction)]
    finally:
        device.close()
    rows = []
    for info in sorted(found, key=lambda info: KINDS.index(_kind(info))):
        marks = [word for word, holds in (("default", info.is_default), ("ours", info.is_ours)) if holds]
        rate = f"{info.sample_rate / 1000:g} kHz" if info.sample_rate else "-"
        rows.append([_kind(info), info.title, rate, str(info.channels), ", ".join(marks) or "-", info.name])
    console.table(["kind", "title", "rate", "channels", "notes", "name"], rows)
    if not any(info.direction == "input" and not info.is_monitor and not info.is_ours for info in found):
        console.note("There is no microphone. Look for it with: pse-stream doctor")
    console.object({"devices": [asdict(info) for info in found]})


def _kind(info: DeviceInfo) -> str:
    return "output" if info.direction == "output" else "monitor" if info.is_monitor else "microphone"
