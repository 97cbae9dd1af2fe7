"""What is set, who set it, and whether a new wish may change it. Pure: no thread, no pipeline.

Precedence: pin > command > flag > environment > profile > configuration > default. A wish of lower rank than what it
would replace changes nothing and says so with an empty `changed`; a level that a person pinned is refused to everybody
until it is released. The governor moves what runs, never above what was chosen; that is not a setting, so it is not
kept here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pse_stream.errors import ControlError
from pse_stream.streaming.settings import (
    SETTING_NAMES,
    Command,
    Origin,
    SetAttenuation,
    SetBypass,
    SetDevices,
    SetEngine,
    SetGate,
    SetGovernor,
    SetLevel,
    SetMute,
    SetProfile,
    Settings,
)

RANK: dict[Origin, int] = {
    "default": 0,
    "governor": 0,
    "config": 1,
    "profile": 2,
    "environment": 3,
    "flag": 4,
    "command": 5,
    "pin": 6,
}
Changed = dict[str, tuple[object, object]]


@dataclass(frozen=True, slots=True)
class Page:
    """One state of the ledger; immutable, so that it can be read from anywhere."""

    revision: int
    settings: Settings
    origins: dict[str, Origin]


class Ledger:
    """Settings with their origins; used by the worker alone, read through `page` by all."""

    def __init__(self, settings: Settings, origins: dict[str, Origin] | None = None) -> None:
        known: dict[str, Origin] = dict.fromkeys(SETTING_NAMES, "default")
        self.page = Page(0, settings, known | (origins or {}))

    def insist_revision(self, wanted: int | None) -> None:
        """Raise `ControlError` ("conflict") unless `wanted` is the present revision or None."""
        found = self.page.revision
        if wanted is not None and wanted != found:
            raise ControlError(
                f"the settings are at revision {found}, not {wanted}: somebody changed them meanwhile.",
                name="conflict",
                hint="Read the status again and decide anew.",
            )

    def plan(self, command: Command, origin: Origin) -> tuple[Settings, Changed]:
        """The settings after `command` and what changes; nothing is kept yet.

        Raises
        ------
        SpecError
            If a value is out of range.
        ControlError
            "pinned": a person pinned the level.
        """
        now = self.page.settings
        wanted = _wanted(command, now)
        if isinstance(command, SetLevel) and command.level is not None and not command.pin and now.level_pinned:
            raise ControlError(
                f"level {now.level} is pinned; level {command.level} was not set.",
                name="pinned",
                hint="Release it first (level release), or pin the other level.",
            )
        changed: Changed = {}
        for name, value in wanted.items():
            old = getattr(now, name)
            releases = isinstance(command, SetLevel)  # whoever may speak of the level may take the pin off
            if old != value and (releases or RANK[origin] >= RANK[self.page.origins[name]]):
                changed[name] = (old, value)
        new: dict[str, Any] = {name: value for name, (_, value) in changed.items()}
        return replace(now, **new), changed

    def plan_profile(self, name: str | None, origin: Origin, ground: Mapping[str, object]) -> tuple[Settings, Changed]:
        """The settings with another profile: what nobody chose for this run is as the profile and the files say.

        Parameters
        ----------
        ground : mapping
            Setting names and the values that hold where no flag, variable or command says otherwise.
        """
        now = self.page.settings
        wanted: dict[str, object] = {"profile": name} if RANK[origin] >= RANK[self.page.origins["profile"]] else {}
        if wanted:
            wanted |= {setting: value for setting, value in ground.items() if self.is_ground(setting)}
        changed: Changed = {
            setting: (old, value) for setting, value in wanted.items() if (old := getattr(now, setting)) != value
        }
        new: dict[str, Any] = {setting: value for setting, (_, value) in changed.items()}
        return replace(now, **new), changed

    def is_ground(self, setting: str) -> bool:
        """True for a setting that no flag, variable or command decided."""
        of = "level" if setting == "level_pinned" else setting  # a step that is chosen is pinned: one decision
        return RANK[self.page.origins[of]] <= RANK["profile"]

    def keep(self, settings: Settings, changed: Changed, origin: Origin) -> Page:
        """Turn the page: the next revision, if anything changed."""
        if changed:
            origins = self.page.origins | {
                name: ("pin" if name.startswith("level") and settings.level_pinned else origin) for name in changed
            }
            self.page = Page(self.page.revision + 1, settings, origins)
        return self.page

    def keep_profile(self, settings: Settings, changed: Changed, origin: Origin, origins: Mapping[str, Origin]) -> Page:
        """As `keep`, for another profile: each setting remembers whether the profile or a file said so."""
        if changed:
            grounded = {name: who for name, who in origins.items() if self.is_ground(name)}
            self.page = Page(self.page.revision + 1, settings, self.page.origins | grounded | {"profile": origin})
        return self.page


def _wanted(command: Command, now: Settings) -> dict[str, object]:
    """Setting names and the values that a command asks for."""
    match command:
        case SetEngine(id=name):
            return {"engine": name}
        case SetLevel(level=level, pin=pin):
            return {"level": level, "level_pinned": pin and level is not None}
        case SetAttenuation(db=db):
            return {"attenuation_db": db}
        case SetBypass(on=on):
            return {"bypass": (not now.bypass) if on is None else on}
        case SetMute(on=on):
            return {"mute": (not now.mute) if on is None else on}
        case SetDevices(input=source, output=target, channels=channels):
            named = {"input": source, "output": target, "channels": channels}
            return {k: v for k, v in named.items() if v is not None}
        case SetProfile(name=profile):
            return {"profile": profile}
        case SetGovernor(mode=mode):
            return {"governor": mode}
        case SetGate(mode=gate):
            return {"gate": gate}
    return {}
