"""From what a person typed to one device. Pure.

A stable name or a title, whole or a part of it that fits only one; never an index, because indexes move.
"""

from __future__ import annotations

from collections.abc import Sequence

from pse_stream.errors import DeviceError
from pse_stream.streaming.devices.base import DeviceInfo, Direction

_MISSING: dict[Direction, str] = {"input": "no_mic", "output": "no_output"}


def match(devices: Sequence[DeviceInfo], wanted: str, direction: Direction) -> DeviceInfo:
    """The device that is meant.

    Parameters
    ----------
    devices : sequence of DeviceInfo
        What there is in this direction.
    wanted : str
        A name, a title, a part of either, or "auto": the default one, but never our own and, as a microphone, no
        recording of a loudspeaker.

    Raises
    ------
    DeviceError
        "no_mic" or "no_output": nothing fits; "ambiguous": more than one does; "own_source": our own output.
    """
    if wanted == "auto":
        return _default(devices, direction)
    exact = [d for d in devices if wanted in (d.name, d.title)]
    word = wanted.casefold()
    found = exact or [d for d in devices if word in d.name.casefold() or word in d.title.casefold()]
    if not exact and direction == "input" and len(found) > 1:
        found = [d for d in found if not d.is_monitor] or found  # "Yeti" means the microphone, not its headphones
    if not found:
        raise DeviceError(
            f'no {direction} device matches "{wanted}". Found: {_listed(devices)}.',
            name=_MISSING[direction],
            hint="Try: pse-stream devices",
        )
    if len(found) > 1:
        raise DeviceError(
            f'"{wanted}" fits {len(found)} {direction} devices: {_listed(found)}.',
            name="ambiguous",
            hint="Give more of the name, or all of it.",
        )
    return _insist_not_ours(found[0], direction)


def _default(devices: Sequence[DeviceInfo], direction: Direction) -> DeviceInfo:
    usable = [d for d in devices if not d.is_ours and not (direction == "input" and d.is_monitor)]
    if not usable:
        raise DeviceError(
            f"there is no {direction} device" + (" besides our own." if devices else "."),
            name=_MISSING[direction],
            hint="Plug one in, then look: pse-stream devices",
        )
    return next((d for d in usable if d.is_default), usable[0])


def _insist_not_ours(device: DeviceInfo, direction: Direction) -> DeviceInfo:
    if direction == "input" and device.is_ours:
        raise DeviceError(
            f'"{device.title}" is our own output and cannot be the input.',
            name="own_source",
            hint="Choose another: pse-stream devices",
        )
    return device


def _listed(devices: Sequence[DeviceInfo]) -> str:
    return ", ".join(f'"{d.title}"' for d in devices) or "none"
