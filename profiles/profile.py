"""A person's profile: what `profile.toml` says.

    schema = 1
    name = "Alice"             # shown; the folder's name is the id
    [sound] … [devices] …      settings, as in settings_table.py
    [logging]
    consent = false            # true: sessions are recorded; needs consent.toml
    keep_days = 30
    max_gib = 2.0
    [adapted]
    active = ""                # a folder of models/; "" is the general engine
    sha256 = ""                # of its model.toml, which holds the hashes of the rest

What else stands there is left alone. A file of a later version is read as far as it is understood, and never written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pse_stream.errors import ConfigError
from pse_stream.profiles.document import read_document, write_document
from pse_stream.profiles.migration import SCHEMA, Document, migrate
from pse_stream.profiles.settings_table import Placed, line_of, parse, read_text, settings_of

PROFILE_FILE = "profile.toml"
CONSENT_FILE = "consent.toml"
ENROLMENT_FOLDER = "enrolment"
MODELS_FOLDER = "models"
SESSIONS_FOLDER = "sessions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Logging:
    """Whether sessions are recorded, and how much of them is kept."""

    consent: bool = False  # recorded whenever this profile is in use; needs consent.toml as well
    keep_days: float = 30.0
    max_gib: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptedChoice:
    """Which adapted package is used instead of the general engine."""

    active: str = ""  # folder in models/; empty: the general engine
    sha256: str = ""  # of its model.toml
    previous: str = ""  # what was active before it


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A folder that its owner can read, copy and delete."""

    id: str  # the folder's name
    folder: Path
    settings: dict[str, Placed]  # by the name of the setting
    title: str = ""
    schema: int = SCHEMA  # of the file
    logging: Logging = Logging()
    adapted: AdaptedChoice = AdaptedChoice()

    @property
    def read_only(self) -> bool:
        """True for a profile of a later version."""
        return self.schema > SCHEMA

    @property
    def sessions(self) -> Path:
        """Where its recordings lie."""
        return self.folder / SESSIONS_FOLDER

    def insist_writable(self) -> None:
        """Raise `ConfigError` ("newer_profile") for a profile of a later version."""
        if self.read_only:
            raise ConfigError(
                f'the profile "{self.id}" is of schema {self.schema}; this version writes schema {SCHEMA} and would '
                "lose what it does not know.",
                name="newer_profile",
                hint="Update pse-stream; nothing was changed.",
            )


def read_profile(folder: Path) -> Profile:
    """Read a profile's folder.

    Raises
    ------
    ConfigError
        If its `profile.toml` is missing or makes no sense; names line and key.
    """
    path = folder / PROFILE_FILE
    if not path.is_file():
        raise ConfigError(f'the profile "{folder.name}" has no {PROFILE_FILE} in {folder}.', name="bad_profile")
    text = read_text(path)
    document = parse(text, path)
    page = _Page(path, text, document)
    schema = page.schema()
    migrate(document, schema)
    settings = settings_of(document, text, path, ignore_unknown=True)
    settings.pop("profile", None)
    return Profile(
        id=folder.name,
        folder=folder,
        settings=settings,
        title=page.words("", "name", folder.name),
        schema=schema,
        logging=Logging(
            consent=page.switch("logging", "consent", False),
            keep_days=page.number("logging", "keep_days", 30.0, "days above 0", high=36_500.0),
            max_gib=page.number("logging", "max_gib", 2.0, "GiB above 0", high=1e6),
        ),
        adapted=AdaptedChoice(
            active=page.words("adapted", "active", ""),
            sha256=page.words("adapted", "sha256", ""),
            previous=page.words("adapted", "previous", ""),
        ),
    )


def rewrite_profile(profile: Profile, changes: Mapping[tuple[str, str], Any]) -> Profile:
    """Change values in `profile.toml`; comments and unknown fields stay, an older file becomes a present one.

    Parameters
    ----------
    changes : mapping
        (table, key) -> value; table "" is the top of the file.

    Raises
    ------
    ConfigError
        "newer_profile", or as reading and writing raise.
    """
    profile.insist_writable()
    document = read_document(profile.folder / PROFILE_FILE)
    migrate(document, profile.schema)
    for (table, key), value in changes.items():
        place: Document = document if table == "" else document.setdefault(table, {})
        place[key] = value
    write_document(profile.folder / PROFILE_FILE, document)
    return read_profile(profile.folder)


class _Page:
    """A parsed profile.toml whose wrong values are named with their line."""

    def __init__(self, path: Path, text: str, document: dict[str, Any]) -> None:
        self._path, self._text, self._document = path, text, document

    def schema(self) -> int:
        """The version of the file; 0 if it does not say."""
        value = self._document.get("schema", 0)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self._wrong("", "schema", value, "a whole number from 1")
        return value

    def words(self, table: str, name: str, default: str) -> str:
        """A text."""
        value = self._get(table, name, default)
        if not isinstance(value, str):
            raise self._wrong(table, name, value, "text in quotes")
        return value

    def switch(self, table: str, name: str, default: bool) -> bool:
        """True or false."""
        value = self._get(table, name, default)
        if not isinstance(value, bool):
            raise self._wrong(table, name, value, "true or false")
        return value

    def number(self, table: str, name: str, default: float, expects: str, *, high: float) -> float:
        """A number above zero."""
        value = self._get(table, name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 < value <= high:
            raise self._wrong(table, name, value, expects)
        return float(value)

    def _get(self, table: str, name: str, default: Any) -> Any:
        place = self._document if table == "" else self._document.get(table, {})
        if not isinstance(place, dict):
            raise self._wrong("", table, place, f"a table [{table}]")
        return place.get(name, default)

    def _wrong(self, table: str, name: str, value: Any, expects: str) -> ConfigError:
        key = f"{table}.{name}" if table else name
        line = line_of(self._text, table, name)
        return ConfigError(f"{self._path}:{line}: {key} = {value!r}; expected {expects}.", name="bad_value")
