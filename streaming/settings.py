"""What a person can set, where each value came from, and the closed set of commands that change it.

The command line, the configuration file, a profile, the governor and the control channel all change settings
through the same commands (`Denoiser.submit`). Precedence: pin > command > flag > environment > profile > configuration
> default; `Value.origin` says which one won.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from pse_stream.errors import SpecError

Origin = Literal["default", "config", "profile", "environment", "flag", "command", "governor", "pin"]

#: Past this, a limit on attenuation is no limit: nothing of the noise is let through on purpose.
NO_LIMIT_DB = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can change while sound flows. Immutable: a change makes another one."""

    engine: str = "auto"  # an id of the registry; "auto" is registry.DEFAULT_ENGINE
    level: int | None = None  # index into the engine's levels; None: the governor's choice, else the best
    level_pinned: bool = False
    attenuation_db: float = 30.0  # how far noise may be turned down; 0: hear everything; 100: no limit
    bypass: bool = False
    mute: bool = False
    profile: str | None = None
    input: str = "auto"  # a device name, or "auto": the sound server's default microphone
    output: str = "auto"  # a device name, or "auto": our virtual microphone
    channels: Literal["auto", "left", "right", "mix"] = "auto"
    governor: Literal["off", "auto", "eco", "quality"] = "auto"
    gate: str = "auto"  # auto | off | the name of a specialist

    def __post_init__(self) -> None:
        if not 0.0 <= self.attenuation_db <= NO_LIMIT_DB:
            raise SpecError(
                f"attenuation_db={self.attenuation_db} is out of range; expected 0 (hear everything) "
                f"to {NO_LIMIT_DB:g} (no limit)"
            )
        if self.level is not None and self.level < 0:
            raise SpecError(f"level={self.level} is out of range; levels count from 0 (cheapest)")


SETTING_NAMES = tuple(f.name for f in fields(Settings))


@dataclass(frozen=True, slots=True)
class SetEngine:
    """Change to another engine, cross-faded."""

    id: str


@dataclass(frozen=True, slots=True)
class SetLevel:
    """Change the quality step; `pin` keeps the governor's hands off. None gives the choice back."""

    level: int | None
    pin: bool = False


@dataclass(frozen=True, slots=True)
class SetAttenuation:
    """Let noise be turned down by at most this many dB."""

    db: float


@dataclass(frozen=True, slots=True)
class SetBypass:
    """Hear the microphone as it is (same delay); None toggles."""

    on: bool | None = None


@dataclass(frozen=True, slots=True)
class SetMute:
    """Digital silence, last in line; None toggles."""

    on: bool | None = None


@dataclass(frozen=True, slots=True)
class SetDevices:
    """Change microphone, output, or which side of a stereo microphone is heard; None leaves one as it is."""

    input: str | None = None
    output: str | None = None
    channels: Literal["auto", "left", "right", "mix"] | None = None


@dataclass(frozen=True, slots=True)
class SetProfile:
    """Use a person's profile; None is nobody."""

    name: str | None


@dataclass(frozen=True, slots=True)
class SetGovernor:
    """How eagerly the level follows the load."""

    mode: Literal["off", "auto", "eco", "quality"]


@dataclass(frozen=True, slots=True)
class SetGate:
    """auto, off, or pin one specialist."""

    mode: str


@dataclass(frozen=True, slots=True)
class SetRecording:
    """Start or stop writing the session to disk; needs consent in the profile."""

    on: bool


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Stop, put the devices back, end."""


Command = (
    SetEngine
    | SetLevel
    | SetAttenuation
    | SetBypass
    | SetMute
    | SetDevices
    | SetProfile
    | SetGovernor
    | SetGate
    | SetRecording
    | Shutdown
)


@dataclass(frozen=True, slots=True)
class Applied:
    """The answer to a command that took effect."""

    revision: int  # counts accepted changes
    hop_index: int  # the first hop that ran with it
    changed: dict[str, tuple[object, object]]  # setting: (old, new); empty if nothing had to change
