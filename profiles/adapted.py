"""Adapted model packages of a profile: put one in, take it out again, open it as an engine.

    models/<id>/              a model package (engines/package.py), plus
    models/<id>/provenance.toml   what it was made from, how, and what was measured

A package counts only when `[adapted]` in profile.toml names it and the sha256 of its model.toml, which holds the
hashes of all its other files. Its engine's id is PROFILE.MODEL ("alice.2026-05-02a"): it can be set, shown and pinned
like any other. Whatever does not match is said, and the general engine is used.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tomlkit

from pse_stream.engines.contract import Engine
from pse_stream.engines.package import DESCRIPTION_FILE, Package, read_package
from pse_stream.engines.registry import open_engine as open_general
from pse_stream.errors import ConfigError, EngineError
from pse_stream.profiles.document import read_document, write_document
from pse_stream.profiles.profile import MODELS_FOLDER, PROFILE_FILE, Profile, rewrite_profile
from pse_stream.profiles.settings_table import Placed
from pse_stream.profiles.store import is_example, open_profile

PROVENANCE_FILE = "provenance.toml"
MODEL_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,30}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptedModel:
    """One adapted package in a profile."""

    id: str
    folder: Path
    active: bool
    provenance: dict[str, Any]  # sessions (ids that it learnt from), method, parent, measured gain, …


def install(profile: Profile, package: Path, provenance: Mapping[str, Any], *, id: str | None = None) -> Profile:
    """Copy a package into a profile and make it the one in use, in that order.

    Parameters
    ----------
    profile : Profile
        The person's own (`store.own_profile`).
    package : Path
        A model package; every hash is checked.
    provenance : mapping
        Of plain values for TOML. `sessions`: the ids that it learnt from. `parent`, `parent_sha256`, `method`,
        `made_from` and `verified` are repeated in profile.toml, for its reader.
    id : str or None
        Folder of the model; the date with a letter unless given.

    Returns
    -------
    Profile
        As it is now.

    Raises
    ------
    EngineError
        If the package is damaged.
    ConfigError
        If the profile cannot be written; then what was in use still is.
    """
    profile.insist_writable()
    if is_example(profile):
        raise ConfigError(
            f'"{profile.id}" is an example; nothing can be kept in it.',
            name="example_profile",
            hint=f"Make it yours: pse-stream profile new {profile.id}",
        )
    read_package(package).verify()
    models = profile.folder / MODELS_FOLDER
    name = id if id is not None else _free_id(models)
    if not MODEL_ID.fullmatch(name) or (models / name).exists():
        raise ConfigError(
            f'"{name}" cannot be the id of an adapted model: it is taken, or not of lower-case letters, digits, '
            "- and _ (at most 31).",
            name="bad_model_id",
        )
    _copy(package, models, name, provenance)
    told = {key: provenance[key] for key in ("parent_sha256", "made_from", "method", "verified") if key in provenance}
    return _choose(profile, name, previous=profile.adapted.active, told=told)


def revert(profile: Profile, *, to_general: bool = False) -> Profile:
    """Go back to what was active before, or to the general engine; the package stays in its folder.

    Raises
    ------
    ConfigError
        "not_adapted" if nothing is active.
    """
    if not profile.adapted.active:
        raise ConfigError(
            f'the profile "{profile.id}" uses the general engine already.', name="not_adapted", hint="Nothing changed."
        )
    earlier = "" if to_general else profile.adapted.previous
    if earlier and not (profile.folder / MODELS_FOLDER / earlier).is_dir():
        earlier = ""
    return _choose(profile, earlier, previous="", told={})


def remove(profile: Profile, id: str) -> None:
    """Delete a package from the profile; the one in use is put out of use first."""
    if profile.adapted.active == id:
        revert(profile, to_general=True)
    shutil.rmtree(_folder(profile, id), ignore_errors=True)


def models(profile: Profile) -> list[AdaptedModel]:
    """Every adapted package in the profile, by id; a provenance that cannot be read is empty."""
    folder = profile.folder / MODELS_FOLDER
    if not folder.is_dir():
        return []
    found = sorted(path for path in folder.iterdir() if path.is_dir() and MODEL_ID.fullmatch(path.name))
    return [
        AdaptedModel(
            id=path.name, folder=path, active=path.name == profile.adapted.active, provenance=_provenance(path)
        )
        for path in found
    ]


def mark_stale(profile: Profile, sessions: Iterable[str]) -> list[str]:
    """Note in each package that learnt from these sessions that they were deleted; the ids of those packages."""
    gone = set(sessions)
    marked = []
    for model in models(profile):
        of_these = gone & {str(name) for name in model.provenance.get("sessions", [])}
        if of_these:
            document = read_document(model.folder / PROVENANCE_FILE)
            before = set(document.unwrap().get("deleted_sessions", []))
            document["deleted_sessions"] = sorted(before | of_these)
            write_document(model.folder / PROVENANCE_FILE, document)
            marked.append(model.id)
    return marked


def active_package(profile: Profile) -> Package | None:
    """The package in use; None if the general engine is.

    Raises
    ------
    EngineError
        "profile_engine": it is missing or was changed since it was put there; the text says so.
    """
    id = profile.adapted.active
    return _verified(profile, id) if id else None


def engine_setting(profile: Profile) -> tuple[Placed | None, str]:
    """The engine that the profile stands for, and what is wrong with its adapted package ("" if nothing).

    A profile with an adapted package means that package, whatever engine it was made from.
    """
    written = profile.settings.get("engine")
    try:
        package = active_package(profile)
    except EngineError as error:
        return written, f"{error.text} The general engine is used."
    if package is None:
        return written, ""
    return Placed(f"{profile.id}.{profile.adapted.active}", f"{profile.folder / PROFILE_FILE}: adapted.active"), ""


def open_engine(id: str = "auto") -> Engine:
    """A fresh stream of an engine by id, adapted ones (PROFILE.MODEL) included.

    Raises
    ------
    EngineError
        As `registry.open_engine`; "profile_engine": an adapted package is missing or was changed.
    """
    owner, dot, model = id.partition(".")
    if not dot:
        return open_general(id)
    try:
        profile = open_profile(owner)
    except ConfigError as error:
        raise EngineError(f"there is no engine {id!r}: {error.text}", name="unknown_engine", hint=error.hint) from error
    package = _verified(profile, model)
    from pse_stream.engines.onnx import OnnxEngine

    return OnnxEngine(package)


def _verified(profile: Profile, id: str) -> Package:
    folder = _folder(profile, id)
    try:
        package = read_package(folder)
        package.verify()
    except EngineError as error:
        raise _unusable(profile, id, error.text) from error
    found = _digest(folder / DESCRIPTION_FILE)
    expected = profile.adapted.sha256 if id == profile.adapted.active else _provenance(folder).get("sha256", found)
    if found != expected:
        raise _unusable(profile, id, f"its {DESCRIPTION_FILE} was changed: sha256 {found[:12]}…, not {expected[:12]}….")
    return package


def _unusable(profile: Profile, id: str, why: str) -> EngineError:
    return EngineError(
        f'the adapted model "{id}" of profile "{profile.id}" cannot be used: {why}',
        name="profile_engine",
        hint=f"Without it: --engine auto; for good: pse-stream adapt {profile.id} --revert",
    )


def _folder(profile: Profile, id: str) -> Path:
    if not MODEL_ID.fullmatch(id):
        raise _unusable(profile, id, "this is no id of a model.")
    return profile.folder / MODELS_FOLDER / id


def _copy(package: Path, models: Path, name: str, provenance: Mapping[str, Any]) -> None:
    """The package's own files and its provenance, as one folder that appears whole."""
    models.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".draft-", dir=models) as draft:
        target = Path(draft) / name
        target.mkdir(mode=0o700)
        for file in (DESCRIPTION_FILE, *read_package(package).description.files):
            shutil.copyfile(package / file, target / file)
        document = tomlkit.document()
        document.update({**provenance, "sha256": _digest(target / DESCRIPTION_FILE)})
        write_document(target / PROVENANCE_FILE, document)
        read_package(target).verify()  # a copy that the disk has spoilt never comes into use
        os.rename(target, models / name)


def _choose(profile: Profile, id: str, *, previous: str, told: Mapping[str, Any]) -> Profile:
    digest = _digest(profile.folder / MODELS_FOLDER / id / DESCRIPTION_FILE) if id else ""
    values = {"parent_sha256": "", "made_from": "", "method": "", "verified": "", **told}
    values |= {"active": id, "sha256": digest, "previous": previous}
    return rewrite_profile(profile, {("adapted", key): value for key, value in values.items()})


def _free_id(models: Path) -> str:
    """2026-05-02a, then b, c, …"""
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    for number in range(26 * 26):
        letters = (chr(96 + number // 26) if number >= 26 else "") + chr(97 + number % 26)
        if not (models / f"{day}{letters}").exists():
            return f"{day}{letters}"
    raise ConfigError(f"{models} holds {26 * 26} models of today.", name="bad_model_id", hint="Delete some.")


def _provenance(folder: Path) -> dict[str, Any]:
    try:
        return read_document(folder / PROVENANCE_FILE).unwrap()
    except ConfigError:
        return {}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
