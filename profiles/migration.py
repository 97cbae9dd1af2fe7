"""Profile files of earlier versions, brought up to date: in memory when they are read, on disk when they are rewritten.

schema 0   no `schema` in the file: written by hand before there were commands; settings may stand at the top
schema 1   settings in tables, [logging], [adapted]
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

import tomlkit

Document = MutableMapping[str, Any]

SCHEMA = 1

_TABLE_OF = {
    "engine": "sound",
    "level": "sound",
    "attenuation_limit_db": "sound",
    "attenuation_db": "sound",
    "input": "devices",
    "output": "devices",
    "channels": "devices",
}


def migrate(document: Document, found: int) -> None:
    """Bring a document of schema `found` up to `SCHEMA`, in place."""
    for step in range(found, SCHEMA):
        _STEPS[step](document)
        document["schema"] = step + 1


def _from_0(document: Document) -> None:
    """Move settings from the top into their tables; the flag's name of the limit was used in files too."""
    for name, table in _TABLE_OF.items():
        if name in document and not isinstance(document[name], MutableMapping):
            value = document.pop(name)
            document.setdefault(table, tomlkit.table())
            document[table].setdefault(name, value)
    sound = document.get("sound")
    if isinstance(sound, MutableMapping) and "attenuation_db" in sound:
        value = sound.pop("attenuation_db")
        sound.setdefault("attenuation_limit_db", value)


_STEPS: dict[int, Callable[[Document], None]] = {0: _from_0}
