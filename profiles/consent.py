"""What a person agreed to, when, and in which words: `consent.toml`. Absent: nothing was agreed, nothing is kept.

    schema = 1
    [record]                   # or [enrol]: one table for each purpose
    agreed = 2026-05-02T10:11:12Z
    expires = 2027-05-02T10:11:12Z
    text = 1                   # version of the text that was shown; another text asks again
    by = "the person, at a terminal"

It is written before the first byte that it allows, never travels in an archive, and is withdrawn before anything else
when a person changes their mind.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import tomlkit

from pse_stream.errors import ConfigError, ConsentError
from pse_stream.profiles.document import read_document, write_document
from pse_stream.profiles.profile import CONSENT_FILE, Profile

Purpose = Literal["record", "enrol"]
SCHEMA = 1
LASTS = timedelta(days=365)  # a voice sample is biometric data: ask again once a year


@dataclass(frozen=True, slots=True)
class Text:
    """What a person agrees to."""

    version: int  # counts up when the meaning changes
    words: str
    command: str  # how to read it and decide


TEXTS: dict[Purpose, Text] = {
    "record": Text(
        1,
        "While this profile is in use, your microphone and what was made of it are recorded into the profile's\n"
        "folder on this computer: everything that you, and people near you, say. It serves to adapt the noise removal\n"
        "to you. Nothing leaves this computer. REC is shown while it runs. Recordings are deleted after the days, and\n"
        "beyond the size, that profile.toml says (30 days, 2 GiB). People near you must agree too.\n"
        "Stop at any time: pse-stream sessions off. Erase: pse-stream sessions delete --all.",
        "pse-stream sessions on -p {name}",
    ),
    "enrol": Text(
        1,
        "The clips of your voice are kept in the profile's folder on this computer, besides the numbers that describe\n"
        "it. They let pse-stream adapt to your voice again when its networks change. Nothing leaves this computer.\n"
        "Erase them at any time: pse-stream enrol NAME --forget.",
        "pse-stream enrol {name} --keep-clips",
    ),
}


@dataclass(frozen=True, slots=True)
class Consent:
    """One thing that was agreed to."""

    purpose: Purpose
    agreed: datetime
    expires: datetime
    text: int

    def holds(self, now: datetime) -> bool:
        """Whether it still counts: in time, and for the words that are asked today."""
        return self.agreed <= now < self.expires and self.text == TEXTS[self.purpose].version


def read_consent(profile: Profile, purpose: Purpose) -> Consent | None:
    """What was agreed to, or None.

    Raises
    ------
    ConfigError
        If the file is damaged: what is agreed must be clear.
    """
    path = profile.folder / CONSENT_FILE
    if not path.is_file():
        return None
    table = read_document(path).unwrap().get(purpose)
    if table is None:
        return None
    try:
        agreed, expires, text = table["agreed"], table["expires"], table["text"]
        if isinstance(agreed, datetime) and isinstance(expires, datetime) and isinstance(text, int):
            return Consent(purpose, _utc(agreed), _utc(expires), text)
    except (KeyError, TypeError):
        pass
    raise ConfigError(
        f'"{path}": [{purpose}] makes no sense; expected agreed and expires (times) and text (a number).',
        name="bad_consent",
        hint=f"Decide anew: {_command(profile, purpose)}",
    )


def insist_consent(profile: Profile, purpose: Purpose, now: datetime | None = None) -> Consent:
    """The consent, if it holds.

    Raises
    ------
    ConsentError
        "consent", exit 10; nothing was written.
    """
    found = read_consent(profile, purpose)
    moment = now or datetime.now(UTC)
    if found is not None and found.holds(moment):
        return found
    doing = {"record": "recording", "enrol": "keeping clips"}[purpose]
    why = "was never agreed to" if found is None else "was agreed to, but that has run out or the text has changed"
    raise ConsentError(
        f'{doing} for "{profile.id}" {why}. Nothing was written.',
        hint=f"To read and decide: {_command(profile, purpose)}",
    )


def agree(profile: Profile, purpose: Purpose, *, by: str, now: datetime | None = None) -> Consent:
    """Write down that a person agreed.

    Parameters
    ----------
    by : str
        Who was asked and how, in words; no name of a user or computer.

    Raises
    ------
    ConfigError
        If it cannot be written; then nothing was agreed.
    """
    profile.insist_writable()
    moment = (now or datetime.now(UTC)).replace(microsecond=0)
    given = Consent(purpose, moment, moment + LASTS, TEXTS[purpose].version)
    path = profile.folder / CONSENT_FILE
    document = read_document(path) if path.is_file() else tomlkit.document()
    document["schema"] = SCHEMA
    table = tomlkit.table()
    table.update({"agreed": given.agreed, "expires": given.expires, "text": given.text, "by": by})
    document[purpose] = table
    write_document(path, document)
    return given


def withdraw(profile: Profile, purpose: Purpose) -> bool:
    """Forget that something was agreed to; False if it was not."""
    path = profile.folder / CONSENT_FILE
    if not path.is_file():
        return False
    document = read_document(path)
    if purpose not in document:
        return False
    del document[purpose]
    if set(document) <= {"schema"}:
        path.unlink()
    else:
        write_document(path, document)
    return True


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _command(profile: Profile, purpose: Purpose) -> str:
    return TEXTS[purpose].command.format(name=profile.id)
