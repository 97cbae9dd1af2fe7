"""A profile as one file, `NAME.psep`: take it to another computer, keep it somewhere safe.

An uncompressed tar with nothing in it but plain files, in the order of their names, without times, owners or modes, so
that the same profile is the same bytes; the first is `manifest.json` with the size and sha256 of each.

    manifest.json
    profile.toml                     recording switched off, serial numbers of devices cut off
    enrolment/voice.toml             the numbers that describe the voice
    models/<active>/*                the adapted package in use
    enrolment/clips/*, sessions/*/*  sound, only when it was asked for

Consent does not travel: the other computer asks again. An archive from a stranger is data: names are compared with the
few that can be, sizes and hashes with the manifest, and nothing is read as code (unpack.py).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import tomlkit

from pse_stream.errors import ConfigError
from pse_stream.profiles.adapted import active_package
from pse_stream.profiles.document import read_document
from pse_stream.profiles.migration import migrate
from pse_stream.profiles.profile import (
    ENROLMENT_FOLDER,
    MODELS_FOLDER,
    PROFILE_FILE,
    SESSIONS_FOLDER,
    Profile,
)

SUFFIX = ".psep"
SCHEMA = 1
MANIFEST = "manifest.json"
#: What may be in an archive, and nothing else.
_NAMES = tuple(
    re.compile(pattern)
    for pattern in (
        r"profile\.toml",
        r"enrolment/voice\.toml",
        r"models/[a-z0-9][a-z0-9_-]{0,30}/[A-Za-z0-9][A-Za-z0-9._-]{0,79}",
        r"enrolment/clips/[a-z0-9][a-z0-9-]{0,40}\.flac",
        r"sessions/\d{4}-\d\d-\d\dT\d{6}Z(-\d{1,4})?/(session\.toml|decisions\.jsonl|(input|output)-\d{6}\.flac)",
    )
)


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file in the manifest."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an archive says it holds."""

    schema: int
    profile: str
    audio: bool
    files: dict[str, FileEntry]


def export_profile(profile: Profile, target: Path, *, with_audio: bool = False) -> str:
    """Write an archive; it appears under its name when it is whole.

    Parameters
    ----------
    target : Path
        Must not exist.
    with_audio : bool
        Clips and sessions too.

    Returns
    -------
    str
        sha256 of the archive.

    Raises
    ------
    ConfigError
        If the profile is of a later version, a file is in the way, or the disk refuses.
    EngineError
        If the adapted package in use is damaged.
    """
    profile.insist_writable()
    if target.exists():
        raise ConfigError(f'"{target}" exists; nothing is overwritten.', name="file_exists", hint="Choose another: -o")
    active_package(profile)
    contents = list(_contents(profile, with_audio))
    files = {name: FileEntry(size, digest) for name, size, digest in map(_measured, contents)}
    manifest = Manifest(SCHEMA, profile.id, with_audio, files)
    head = _Content(MANIFEST, json.dumps(msgspec.to_builtins(manifest), indent=1, sort_keys=True).encode() + b"\n")
    handle, name = -1, ""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        with os.fdopen(handle, "wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                for content in (head, *contents):
                    with content.open() as data:
                        tar.addfile(_plain_member(content.name, content.size), data)
            file.flush()
            os.fsync(file.fileno())
        with open(name, "rb") as whole:
            digest = hashlib.file_digest(whole, "sha256").hexdigest()
        os.replace(name, target)
    except OSError as error:
        if name:
            Path(name).unlink(missing_ok=True)
        raise ConfigError(f'"{target}" could not be written: {error.strerror}.', name="unwritable") from error
    return digest


def portable_name(name: str) -> str:
    """A device's name as it may leave this computer: as a part of the name that no serial number is in.

    Bluetooth names are addresses and become "auto"; of USB names the serial number and what follows is cut off, and
    the rest still finds the same kind of microphone, because any part of a name chooses a device.
    """
    if "bluez" in name or re.search(r"([0-9A-Fa-f]{2}[:_]){5}[0-9A-Fa-f]{2}", name):
        return "auto"
    usb = re.match(r"(.*\busb-)(.+)", name)
    if usb is None:
        return name
    runs: list[list[str]] = [[]]
    for word in usb[2].split("-")[0].split("_"):
        if re.search(r"\d{3}|[0-9A-Fa-f]{8}", word):  # a vendor, a product, a serial number
            runs.append([])
        else:
            runs[-1].append(word)
    best = max(runs, key=len)
    return "auto" if not best else f"{usb[1]}{'_'.join(best)}" if best is runs[0] else "_".join(best)


@dataclass(frozen=True, slots=True)
class _Content:
    """A file that goes into the archive: from memory or from disk."""

    name: str
    source: bytes | Path

    @property
    def size(self) -> int:
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    def open(self) -> io.BufferedReader | io.BytesIO:
        return io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source.open("rb")


def _contents(profile: Profile, with_audio: bool) -> Iterator[_Content]:
    """In the order of their names; only what an import takes."""
    places = [f"{ENROLMENT_FOLDER}/voice.toml"]
    if profile.adapted.active:
        places.append(f"{MODELS_FOLDER}/{profile.adapted.active}/*")
    if with_audio:
        places += [f"{ENROLMENT_FOLDER}/clips/*", f"{SESSIONS_FOLDER}/*/*"]
    found = {
        str(path.relative_to(profile.folder)): path
        for place in places
        for path in profile.folder.glob(place)
        if path.is_file() and not path.is_symlink()
    }
    named = {name: _Content(name, path) for name, path in found.items() if allowed(name)}
    named[PROFILE_FILE] = _Content(PROFILE_FILE, _portable_settings(profile))
    yield from (named[name] for name in sorted(named))


def _portable_settings(profile: Profile) -> bytes:
    """profile.toml for another computer."""
    document: Any = read_document(profile.folder / PROFILE_FILE)
    migrate(document, profile.schema)
    logging = document.get("logging")
    if logging is not None and logging.get("consent"):
        logging["consent"] = False
    devices = document.get("devices", {})
    for key in ("input", "output"):
        if isinstance(devices.get(key), str) and portable_name(devices[key]) != devices[key]:
            devices[key] = portable_name(devices[key])
    adapted = document.get("adapted")
    if adapted is not None and adapted.get("previous"):
        adapted["previous"] = ""  # stays at home
    return tomlkit.dumps(document).encode()


def _measured(content: _Content) -> tuple[str, int, str]:
    with content.open() as data:
        return content.name, content.size, hashlib.file_digest(data, "sha256").hexdigest()


def _plain_member(name: str, size: int) -> tarfile.TarInfo:
    """A member that says nothing of when, where and by whom it was made."""
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o600, 0
    return member


def allowed(name: str) -> bool:
    """Whether a file of this name may be in an archive."""
    return any(pattern.fullmatch(name) for pattern in _NAMES) and ".." not in name
