"""The slow questions, answered from this machine: devices, engines, profiles, and how the running denoiser is.

Asked in the server's job thread. Nothing here records, opens a network or runs what a caller names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from pse_stream.control.contract import DenoiserLike
from pse_stream.control.self_check import check_running
from pse_stream.engines.registry import EngineEntry, available
from pse_stream.errors import ConfigError
from pse_stream.profiles.store import open_profile, profile_names
from pse_stream.streaming.devices.base import DeviceInfo

_ALGORITHM_MS, _HOP_MS = 16.0, 8.0  # the grid's own delay; an engine's look-ahead comes on top


class Names(Protocol):
    """The part of a device that lists."""

    def names(self, direction: Literal["input", "output"]) -> list[DeviceInfo]:
        """What can be opened now."""
        ...


class SystemCatalog:
    """What this machine has, for a denoiser that runs on it."""

    def __init__(self, denoiser: DenoiserLike, device: Names) -> None:
        self._denoiser, self._device = denoiser, device

    def devices(self) -> dict[str, Any]:
        """Inputs and outputs with the names to choose them by."""
        return {
            "inputs": _device_rows(self._device.names("input")),
            "outputs": _device_rows(self._device.names("output")),
        }

    def engines(self) -> list[dict[str, Any]]:
        """A row per engine that is known here, usable or not."""
        return [_engine_row(entry) for entry in available()]

    def profiles(self) -> list[dict[str, Any]]:
        """A row per profile, with the reason if it cannot be used."""
        return [_profile_row(name) for name in profile_names()]

    def doctor(self) -> dict[str, Any]:
        """What the running denoiser can tell of itself; `pse-stream doctor` on its machine looks further."""
        findings = check_running(self._denoiser.snapshot)
        return {
            "findings": [finding.as_dict() for finding in findings],
            "failed": sum(finding.verdict == "fail" for finding in findings),
        }


def _device_rows(devices: Sequence[DeviceInfo]) -> list[dict[str, Any]]:
    return [
        {
            "name": device.name,
            "title": device.title,
            "channels": device.channels,
            "sample_rate": device.sample_rate or None,
            "is_default": device.is_default,
            "is_monitor": device.is_monitor,
            "is_ours": device.is_ours,
        }
        for device in devices
    ]


def _engine_row(entry: EngineEntry) -> dict[str, Any]:
    about = entry.info
    row: dict[str, Any] = {"id": entry.id, "origin": entry.origin, "usable": entry.usable}
    row["problem"] = entry.problem or None
    row["title"] = about.title if about else None
    row["delay_ms"] = _ALGORITHM_MS + _HOP_MS * about.lookahead_hops if about else None
    row["licence"] = about.licence if about else None
    row["quality"] = about.quality if about else None
    row["levels"] = (
        [{"name": level.name, "macs_per_second": level.macs_per_second or None} for level in about.levels]
        if about
        else []
    )
    return row


def _profile_row(name: str) -> dict[str, Any]:
    try:
        open_profile(name)
    except ConfigError as error:
        return {"name": name, "problem": error.text}
    return {"name": name, "problem": None}
