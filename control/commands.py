"""The closed set of things that may be asked of a running denoiser, protocol 1.0.

`METHODS` is the whole set: a name, the typed parameters, who may, and what it does; docs/protocol.md is made from it.
`messages.py` makes requests of bytes.

Nothing here can name a file or start a program: people, engines, specialists and devices are named by id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from pse_stream.control.allowed import Role

#: Ids of engines, profiles, specialists: never a path (no slash, no leading dot).
Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
#: What a sound server calls a device; checked against the list of devices, so it need not be pretty.
DeviceName = Annotated[str, Meta(min_length=1, max_length=256)]
Channels = Literal["auto", "left", "right", "mix"]
Revision = Annotated[int, Meta(ge=0)]
#: Ranges that depend on the engine or may widen are checked where they are known (control/desk.py): `bad_value`.
Decibels = float
LevelIndex = Annotated[int, Meta(ge=-(2**31), lt=2**31)]


class Params(Struct, frozen=True, forbid_unknown_fields=True):
    """No parameters."""


class Change(Params, frozen=True, kw_only=True):
    """Any change may be made on condition that nobody else changed something in the meantime."""

    if_revision: Revision | None = None


class Hello(Params, frozen=True, kw_only=True):
    """Who is asking, and in which protocol."""

    proto: Annotated[str, Meta(pattern=r"^[0-9]+\.[0-9]+$", max_length=16)]
    client: Annotated[str, Meta(max_length=64)] = ""
    token: Annotated[str, Meta(max_length=64)] = ""  # the same after a reconnect: answers given before are kept for it


class EngineSet(Change, frozen=True, kw_only=True):
    """An engine by id."""

    id: Id


class LevelSet(Change, frozen=True, kw_only=True):
    """A quality step, 0 is the cheapest."""

    level: LevelIndex


class LevelPin(Change, frozen=True, kw_only=True):
    """A step to stay on; null pins the present one."""

    level: LevelIndex | None = None


class GateSet(Change, frozen=True, kw_only=True):
    """Whether the gate chooses specialists."""

    mode: Literal["auto", "off"]


class GatePin(Change, frozen=True, kw_only=True):
    """One specialist, whoever speaks."""

    specialist: Id


class GovernorSet(Change, frozen=True, kw_only=True):
    """How eagerly the level follows the load."""

    mode: Literal["off", "auto", "eco", "quality"]


class ProfileUse(Change, frozen=True, kw_only=True):
    """A person's profile by id; null is nobody."""

    name: Id | None


class AttenuationSet(Change, frozen=True, kw_only=True):
    """How far noise may be turned down: 0 hears everything, 100 is no limit."""

    db: Decibels


class Switch(Change, frozen=True, kw_only=True):
    """On or off."""

    on: bool


class DevicesSet(Change, frozen=True, kw_only=True):
    """Devices by name or "auto", and the side of a stereo microphone; what is left out stays."""

    input: DeviceName | None = None
    output: DeviceName | None = None
    channels: Channels | None = None


class ConfigPatch(Change, frozen=True, kw_only=True):
    """Settings by name; what is left out stays."""

    engine: Id | UnsetType = UNSET
    level: LevelIndex | UnsetType | None = UNSET
    level_pinned: bool | UnsetType = UNSET
    attenuation_db: Decibels | UnsetType = UNSET
    bypass: bool | UnsetType = UNSET
    mute: bool | UnsetType = UNSET
    profile: Id | UnsetType | None = UNSET
    input: DeviceName | UnsetType = UNSET
    output: DeviceName | UnsetType = UNSET
    channels: Channels | UnsetType = UNSET
    governor: Literal["off", "auto", "eco", "quality"] | UnsetType = UNSET
    gate: Id | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class Method:
    """One row of the protocol."""

    name: str
    params: type[Params]
    role: Role  # the least that may call it
    changes: bool  # answered with revision, hop_index and what changed
    idempotent: bool  # twice is as good as once; a client may simply ask again
    summary: str


def _read(name: str, summary: str) -> Method:
    return Method(name, Params, "observe", changes=False, idempotent=True, summary=summary)


def _change(name: str, params: type[Params], summary: str, *, idempotent: bool = True) -> Method:
    return Method(name, params, "control", changes=True, idempotent=idempotent, summary=summary)


_ALL = (
    Method("hello", Hello, "observe", False, True, "The first message: versions, capabilities, limits, revision."),
    _read("status", "The whole snapshot: state and reason, settings, latency, meters, counters, load."),
    _read("devices.list", "Microphones and outputs that the sound system offers."),
    _change("devices.set", DevicesSet, "Change microphone or output."),
    _read("engine.list", "Engines with their levels, latency, cost, quality and licence."),
    _change("engine.set", EngineSet, "Change to another engine, cross-faded."),
    _change("level.set", LevelSet, "Change the quality step; the governor may go below it under load."),
    _change("level.pin", LevelPin, "Change the quality step and keep the governor's hands off."),
    _change("level.release", Change, "Give the choice of the step back to the governor."),
    _change("governor.set", GovernorSet, "How eagerly the level follows the load."),
    _change("gate.set", GateSet, "Let the gate choose specialists, or switch it off."),
    _change("gate.pin", GatePin, "Use one specialist, whoever speaks."),
    _read("profile.list", "The profiles on this machine, and the one in use."),
    _change("profile.use", ProfileUse, "Use a person's profile; null is nobody."),
    _change("attenuation.set", AttenuationSet, "Let noise be turned down by at most this many dB."),
    _change("bypass.set", Switch, "Hear the microphone as it is, with the same delay."),
    _change("bypass.toggle", Change, "The other way round.", idempotent=False),
    _change("mute.set", Switch, "Digital silence, last in line."),
    _change("mute.toggle", Change, "The other way round.", idempotent=False),
    _change("record.start", Change, "Write this session to disk; the profile must hold consent."),
    _change("record.stop", Change, "End the recording."),
    _read("config.get", "Every setting with the place it came from."),
    Method("config.validate", ConfigPatch, "observe", False, True, "Would this patch be accepted? Changes nothing."),
    _change("config.patch", ConfigPatch, "Change several settings; all are checked before the first is changed."),
    _read("doctor", "What is wrong with the sound path, stage by stage."),
    _change("shutdown", Change, "Stop, put the devices back, end."),
)

#: name -> method; the whole of protocol 1.0.
METHODS = {method.name: method for method in _ALL}
