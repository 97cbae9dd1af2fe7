"""Take a profile out of an archive (archive.py) that a stranger may have made.

Every name, size and hash is checked before a file counts. What is unpacked is a draft; only when all of it is sound
does it become a profile, in one step, under a name that is free.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from pse_stream.engines.package import read_package
from pse_stream.errors import ConfigError, EngineError
from pse_stream.profiles.adapted import active_package
from pse_stream.profiles.archive import MANIFEST, SCHEMA, FileEntry, Manifest, allowed
from pse_stream.profiles.migration import SCHEMA as PROFILE_SCHEMA
from pse_stream.profiles.profile import MODELS_FOLDER, PROFILE_FILE, Profile, read_profile
from pse_stream.profiles.store import draft, settle_free

MAX_FILES = 100_000
MAX_MANIFEST_BYTES = 32 << 20
MAX_SMALL_BYTES = 1 << 20  # a page of settings, a voice vector
MAX_FILE_BYTES = 512 << 20
MAX_TOTAL_BYTES = 16 << 30  # sound of a few days; more is a mistake or malice
_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What came of an archive."""

    profile: Profile
    asked_for: str  # the name in the archive; another one if that was taken
    files: int
    bytes: int


def import_profile(archive: Path) -> Imported:
    """Unpack an archive under the first free of NAME, NAME-2, …

    Raises
    ------
    ConfigError
        "bad_archive": it is damaged, half copied, hostile or of a later version; what it holds that it may not is
        named. Nothing was kept of it.
    """
    try:
        with archive.open("rb") as file, draft() as folder:
            manifest = _unpack(file, folder, archive)
            _check_profile(folder, archive)
            size = sum(entry.bytes for entry in manifest.files.values())
            profile = settle_free(folder, manifest.profile)
            return Imported(profile=profile, asked_for=manifest.profile, files=len(manifest.files), bytes=size)
    except FileNotFoundError as error:
        raise ConfigError(f'there is no file "{archive}".', name="no_file", hint="Check the name.") from error
    except IsADirectoryError as error:
        raise ConfigError(f'"{archive}" is a folder; expected an archive.', name="no_file") from error
    except OSError as error:
        raise _bad(archive, f"it cannot be read ({error.strerror})") from error


def _unpack(file: BinaryIO, folder: Path, archive: Path) -> Manifest:
    """Every file of the archive, checked before it is written."""
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            manifest = _manifest(tar, archive)
            left = dict(manifest.files)
            while (member := tar.next()) is not None:
                name = _checked_member(member, archive)
                if name not in left:
                    told = "twice in it" if name in manifest.files else "not in its manifest"
                    raise _bad(archive, f'"{name}" is {told}')
                _store(tar, member, left.pop(name), folder, archive)
            if left:
                raise _bad(archive, f'"{min(left)}" is missing; was it copied only in part?')
            _insist_end(file, archive)
    except (tarfile.TarError, EOFError, UnicodeDecodeError, ValueError) as error:
        raise _bad(archive, f"it is damaged or no archive of a profile ({error})") from error
    return manifest


def _manifest(tar: tarfile.TarFile, archive: Path) -> Manifest:
    member = tar.next()
    if member is None or member.name != MANIFEST or not member.isreg():
        raise _bad(archive, f"it does not begin with {MANIFEST}")
    if member.size > MAX_MANIFEST_BYTES:
        raise _bad(archive, f"its manifest has {member.size} bytes")
    data = tar.extractfile(member)
    text = b"" if data is None else data.read()
    try:
        schema = json.loads(text).get("schema")
        if isinstance(schema, int) and schema > SCHEMA:
            raise _bad(archive, f"it is of a later version ({schema}); update pse-stream")
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, AttributeError, RecursionError) as error:
        raise _bad(archive, f"its manifest makes no sense ({error})") from error
    _check_manifest(manifest, archive)
    return manifest


def _check_manifest(manifest: Manifest, archive: Path) -> None:
    files = manifest.files
    if not _ID.fullmatch(manifest.profile):
        raise _bad(archive, f"{manifest.profile!r} cannot be the name of a profile")
    if PROFILE_FILE not in files:
        raise _bad(archive, f"there is no {PROFILE_FILE} in it")
    if len(files) > MAX_FILES or sum(entry.bytes for entry in files.values()) > MAX_TOTAL_BYTES:
        raise _bad(archive, f"it claims {len(files)} files of {sum(e.bytes for e in files.values())} bytes: too much")
    for name, entry in files.items():
        if not allowed(name):
            raise _bad(archive, f"{name!r} is nothing that belongs into a profile")
        if not manifest.audio and name.startswith(("sessions/", "enrolment/clips/")):
            raise _bad(archive, f'"{name}" is sound, and the manifest says that there is none')
        limit = MAX_SMALL_BYTES if name.endswith(("profile.toml", "voice.toml")) else MAX_FILE_BYTES
        if not 0 <= entry.bytes <= limit or not _SHA256.fullmatch(entry.sha256):
            raise _bad(archive, f'the manifest says of "{name}": {entry.bytes} bytes, sha256 {entry.sha256[:80]!r}')


def _checked_member(member: tarfile.TarInfo, archive: Path) -> str:
    """Its name, if it is a plain file of a name that may be; PAX and GNU tricks end up in type or name as well."""
    kinds = {
        "a link": member.issym() or member.islnk(),
        "a device or pipe": member.isdev(),
        "a folder": member.isdir(),
        "a sparse file": member.issparse(),
    }
    for kind, holds in kinds.items():
        if holds:
            raise _bad(archive, f"{member.name!r} is {kind}; expected plain files only")
    if member.type != tarfile.REGTYPE or member.pax_headers:
        raise _bad(archive, f"{member.name!r} is of a kind that no archive of ours has")
    if not allowed(member.name):
        raise _bad(archive, f"{member.name!r} is nothing that belongs into a profile")
    return member.name


def _store(tar: tarfile.TarFile, member: tarfile.TarInfo, entry: FileEntry, folder: Path, archive: Path) -> None:
    if member.size != entry.bytes:
        raise _bad(archive, f'"{member.name}" has {member.size} bytes, its manifest says {entry.bytes}')
    data = tar.extractfile(member)
    assert data is not None  # a plain file
    target = folder / member.name
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        while block := data.read(1 << 20):
            digest.update(block)
            size += len(block)
            file.write(block)
    if size != entry.bytes:
        raise _bad(archive, f'"{member.name}" is cut short; was the archive copied only in part?')
    if digest.hexdigest() != entry.sha256:
        raise _bad(archive, f'the hash of "{member.name}" differs from the manifest: damaged or changed')


def _insist_end(file: BinaryIO, archive: Path) -> None:
    """After the last file there is only the tar's own padding."""
    size = file.seek(0, os.SEEK_END)
    file.seek(-2 * tarfile.BLOCKSIZE, os.SEEK_END)
    if size % tarfile.RECORDSIZE or file.read().strip(b"\0"):
        raise _bad(archive, "it does not end as a whole archive does; was it copied only in part?")


def _check_profile(folder: Path, archive: Path) -> None:
    """What was unpacked is a profile that this version can keep, and its adapted package is sound."""
    try:
        profile = read_profile(folder)
        if profile.schema > PROFILE_SCHEMA:
            raise _bad(archive, f"its profile is of a later version (schema {profile.schema}); update pse-stream")
        if profile.logging.consent:
            raise _bad(archive, "it would switch recording on; consent does not travel")
        active_package(profile)
        models = folder / MODELS_FOLDER
        for package in models.iterdir() if models.is_dir() else ():
            read_package(package).verify()
    except ConfigError as error:
        if error.name == "bad_archive":
            raise
        text = error.text.replace(str(folder), archive.name).replace(folder.name, archive.stem)
        raise _bad(archive, text.rstrip(".")) from error
    except EngineError as error:
        text = error.text.replace(str(folder), archive.name).replace(folder.name, archive.stem)
        raise _bad(archive, text.rstrip(".")) from error


def _bad(archive: Path, why: str) -> ConfigError:
    return ConfigError(
        f'"{archive.name}" was refused: {why}.',
        name="bad_archive",
        hint="Nothing of it was kept. Export or copy it again.",
    )
