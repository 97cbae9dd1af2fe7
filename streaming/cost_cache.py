"""What rungs cost on this machine, kept between runs: one small JSON file in the XDG cache folder.

A figure is believed for one computer with one set of libraries, one version of one package, at one sample rate. A file
that is damaged, or says what cannot be, is as good as none: it is measured again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import numpy as np

import pse_stream
from pse_stream.engines.contract import Engine, EngineInfo
from pse_stream.engines.package import DESCRIPTION_FILE
from pse_stream.errors import ConfigError
from pse_stream.profiles.document import write_whole
from pse_stream.profiles.folders import cache_folder
from pse_stream.streaming.costs import Key

SCHEMA = 1
LEAST_MS, MOST_MS = 0.005, 500.0  # of a hop; what is outside was not measured
FALLS = 0.5  # a higher level that costs less than this share of the one below it was not measured well


def sound(costs: Mapping[Key, float]) -> dict[Key, float]:
    """The costs that can be; of an engine whose levels contradict each other none."""
    kept = {key: ms for key, ms in costs.items() if math.isfinite(ms) and LEAST_MS <= ms <= MOST_MS}
    bad = {id for (id, level), ms in kept.items() if level and ms < FALLS * kept.get((id, level - 1), 0.0)}
    return {key: ms for key, ms in kept.items() if key[0] not in bad}


def fingerprint(info: EngineInfo, folder: str | Path | None = None) -> str:
    """Of exactly this engine: its version; of a package the hash of its description, which holds all the others."""
    if not folder:
        return info.version
    try:
        return hashlib.sha256((Path(folder) / DESCRIPTION_FILE).read_bytes()).hexdigest()[:16]
    except OSError:
        return info.version


def folder_of(engine: Engine) -> Path | None:
    """Where its package lies, if it is one."""
    folder = getattr(getattr(engine, "package", None), "folder", None)
    return folder if isinstance(folder, Path) else None


class CostCache:
    """Costs of engines at one sample rate; reading and writing never fail, they only forget.

    Parameters
    ----------
    rate : int
        Hz, of the grid.
    folder : Path or None
        None: the cache folder of this user.
    """

    def __init__(self, rate: int, folder: Path | None = None) -> None:
        self._rate = rate
        self.path = (folder or cache_folder()) / f"hop-costs-{machine()}.json"

    def read(self, id: str, mark: str) -> dict[Key, float]:
        """What is known of all levels of an engine with this fingerprint; empty if nothing."""
        rows = self._rows().get(self._name(id, mark))
        if not isinstance(rows, list):
            return {}
        costs = {(id, level): float(ms) for level, ms in enumerate(rows) if isinstance(ms, int | float)}
        return costs if len(sound(costs)) == len(rows) else {}

    def write(self, id: str, mark: str, costs: Mapping[Key, float]) -> None:
        """Keep what was measured of all levels of an engine."""
        levels = sorted(level for name, level in costs if name == id)
        if levels != list(range(len(levels))):  # interrupted
            return
        self._keep(self._rows() | {self._name(id, mark): [round(costs[id, level], 4) for level in levels]})

    def forget(self, id: str, mark: str) -> None:
        """It was wrong."""
        rows = self._rows()
        if rows.pop(self._name(id, mark), None) is not None:
            self._keep(rows)

    def _keep(self, rows: Mapping[str, object]) -> None:
        with contextlib.suppress(ConfigError):  # a home that cannot be written to: measured again next time
            write_whole(self.path, json.dumps({"schema": SCHEMA, "ms_per_hop": rows}, indent=1).encode())

    def _name(self, id: str, mark: str) -> str:
        return f"{id} {mark} {self._rate}"

    def _rows(self) -> dict[str, object]:
        try:
            found = json.loads(self.path.read_bytes())
            rows = found["ms_per_hop"] if found["schema"] == SCHEMA else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return dict(rows) if isinstance(rows, dict) else {}


def machine() -> str:
    """A short name of this computer and its libraries; changes when costs may."""
    model = platform.processor()
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
        model = next((line for line in text.splitlines() if line.startswith(("model name", "Model"))), model)
    except OSError:
        pass  # other systems
    parts = [
        platform.node(), platform.machine(), model, str(os.cpu_count()), platform.python_version(),
        np.__version__, _version("onnxruntime"), pse_stream.__version__,
    ]  # fmt: skip
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
