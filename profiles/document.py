"""Files that a person reads and we rewrite: comments and unknown fields stay, and a write is whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import tomlkit
from tomlkit import TOMLDocument
from tomlkit.exceptions import TOMLKitError

from pse_stream.errors import ConfigError
from pse_stream.profiles.settings_table import parse, read_text

PRIVATE = 0o600  # what is kept about a person is nobody else's business


def read_document(path: Path) -> TOMLDocument:
    """A TOML file with its comments.

    Raises
    ------
    ConfigError
        If it cannot be read or is damaged; names the line.
    """
    text = read_text(path)
    parse(text, path)  # the complaints of tomllib name line and key
    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        raise ConfigError(f'"{path}" is not valid TOML: {error}.', name="bad_toml", hint="Mend that line.") from error


def write_document(path: Path, document: TOMLDocument) -> None:
    """Replace a file by a document, in one step."""
    write_whole(path, tomlkit.dumps(document).encode())


def write_whole(path: Path, data: bytes, mode: int = PRIVATE) -> None:
    """Replace a file in one step: whoever reads it, and a crash, finds the old one or the new one.

    Raises
    ------
    ConfigError
        "unwritable": the folder or the disk refuses; the old file is as it was.
    """
    temporary = None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path.resolve() if path.is_symlink() else path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise ConfigError(
            f'"{path}" could not be written: {error.strerror}; what was there is unchanged.',
            name="unwritable",
            hint="Check free space and permissions.",
        ) from error
