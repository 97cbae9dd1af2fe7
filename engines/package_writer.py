"""Write a model package: the other end of `package.py`, used by `training/export`.

A package appears under its name complete and checked, or not at all.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import tomlkit

from pse_stream.dsp.spec import Complex64s
from pse_stream.engines.package import (
    CARD_FILE,
    DESCRIPTION_FILE,
    GOLDEN_FILE,
    NOISY_ARRAY,
    Description,
    Package,
    check_description,
    clean_array,
    read_package,
)
from pse_stream.errors import EngineError


def write_package(
    folder: Path,
    description: Description,
    *,
    graphs: Mapping[str, bytes],
    noisy: Complex64s,
    clean: Sequence[Complex64s],
    card: str,
    replace: bool = False,
) -> Package:
    """Write a package and read it back.

    Parameters
    ----------
    folder : Path
        Where it shall stand; its parent must exist.
    description : Description
        Its `files` are filled in here.
    graphs : mapping of file name to ONNX bytes
        One for each `file` of the levels and specialists, and what the choice needs.
    noisy : (n_frames, 257) complex64
        Golden input; about a second.
    clean : (n_frames, 257) complex64 for each level, then for each specialist
        Golden output, best computed by another program than the one that will play the graph (torch).
    card : str
        Markdown.
    replace : bool
        Take the place of a package that stands there.

    Returns
    -------
    Package
        As read back, hashes checked.

    Raises
    ------
    EngineError
        If the parts do not belong together, or `folder` exists and `replace` is false.
    """
    if folder.exists() and not replace:
        raise EngineError(f"{folder} exists already; ask to replace it or choose another folder", name="engine_exists")
    graphs_told = len(description.levels) + (len(description.ensemble.specialists) if description.ensemble else 0)
    if len(clean) != graphs_told:
        raise EngineError(f"{len(clean)} golden outputs for {graphs_told} graphs; expected one for each")
    if not (noisy.ndim == 2 and np.isfinite(noisy).all() and noisy.any(axis=1).all()):
        raise EngineError("the golden input holds a silent frame or a broken one, which no engine plays; choose others")
    golden = io.BytesIO()
    arrays: dict[str, Any] = {NOISY_ARRAY: noisy, **{clean_array(k): frames for k, frames in enumerate(clean)}}
    np.savez_compressed(golden, allow_pickle=False, **arrays)
    contents = {**graphs, GOLDEN_FILE: golden.getvalue(), CARD_FILE: card.encode()}
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(contents.items())}
    described = msgspec.structs.replace(description, files=hashes)
    check_description(described, folder)
    contents[DESCRIPTION_FILE] = _toml(described).encode()

    def check(draft: Path) -> None:
        package = read_package(draft)
        package.verify()
        for level in range(graphs_told):
            package.golden(level)

    write_folder(folder, contents, check)
    return read_package(folder)


def write_folder(folder: Path, contents: dict[str, bytes], check: Callable[[Path], object]) -> None:
    """Write files as one folder, replacing one that stands there: complete and passed by `check`, or not at all."""
    # Beside its final place, so that the last step is a rename within one file system.
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        draft.chmod(0o755)
        for name, data in contents.items():
            (draft / name).write_bytes(data)
        check(draft)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _toml(description: Description) -> str:
    """model.toml: plain values first, then levels, quality, provenance, files."""
    table: dict[str, Any] = msgspec.to_builtins(description)
    document = tomlkit.document()
    for key, value in table.items():
        if value is not None and not isinstance(value, dict) and key != "levels":
            document[key] = value
    levels = tomlkit.aot()
    for level in table["levels"]:
        levels.append(tomlkit.item(_inline(level)))
    document["levels"] = levels
    for key in ("ensemble", "quality", "provenance", "files"):
        if table[key] is not None:
            document[key] = table[key]
    return tomlkit.dumps(document)


def _inline(level: dict[str, Any]) -> dict[str, Any]:
    """A level's table with its tensors on one line each."""
    states = tomlkit.array()
    for state in level["states"]:
        states.append(_row(state))
    row = {**level, "input": _row(level["input"]), "states": states.multiline(True)}
    settings = row.pop("settings")
    return row | ({"settings": _row(settings)} if settings else {})


def _row(table: dict[str, Any]) -> Any:
    row = tomlkit.inline_table()
    row.update(table)
    return row
