"""From a typed request to commands of the denoiser: the only place where the two vocabularies meet.

Everything goes through `Denoiser.submit`, which applies it between two hops; this file knows neither sockets nor JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import msgspec

from pse_stream.control import commands as wire
from pse_stream.control.contract import DenoiserLike
from pse_stream.control.faults import fault_of
from pse_stream.control.messages import Refusal, Request
from pse_stream.control.patch import Patch, difference
from pse_stream.errors import PseError
from pse_stream.streaming import settings as local
from pse_stream.streaming.settings import Applied, Command

_Number = TypeVar("_Number", int, float)


class Catalog(Protocol):
    """Questions that take long enough to be asked outside the server's thread."""

    def devices(self) -> dict[str, Any]:
        """`{"inputs": [{"name", ...}], "outputs": [...]}`."""
        ...

    def engines(self) -> list[dict[str, Any]]:
        """A row per engine: id, title, levels, lookahead_hops, licence, quality."""
        ...

    def profiles(self) -> list[dict[str, Any]]:
        """A row per profile: name, title."""
        ...

    def doctor(self) -> dict[str, Any]:
        """The report of `pse-stream doctor --json`."""
        ...


#: Methods whose feature may be missing, and the command that they need.
_NEEDS: dict[str, type[Command]] = {
    "profile.use": local.SetProfile,
    "gate.set": local.SetGate,
    "gate.pin": local.SetGate,
    "governor.set": local.SetGovernor,
    "record.start": local.SetRecording,
    "record.stop": local.SetRecording,
}


class Desk:
    """Carries requests out."""

    def __init__(self, denoiser: DenoiserLike, catalog: Catalog) -> None:
        self.denoiser = denoiser
        self._catalog = catalog
        self._unsupported = {name for name, command in _NEEDS.items() if not denoiser.supports(command)}
        self._slow: dict[str, Callable[[], object]] = {
            "devices.list": catalog.devices,
            "engine.list": catalog.engines,
            "profile.list": self._profiles,
            "doctor": catalog.doctor,
        }

    @property
    def capabilities(self) -> list[str]:
        """Methods that this server can carry out."""
        return [name for name in wire.METHODS if name not in self._unsupported]

    def is_slow(self, request: Request) -> bool:
        """True for what looks at hardware or disk: to be asked outside the server's thread."""
        return request.method.name in self._slow or isinstance(request.params, wire.DevicesSet)

    def answer(self, request: Request) -> object:
        """Carry out what changes nothing.

        Raises
        ------
        Refusal
            If it cannot be done.
        """
        self._insist_supported(request)
        name = request.method.name
        if name in self._slow:
            return self._slow[name]()
        if name == "status":
            return self.denoiser.snapshot  # a struct: becomes JSON in one step
        if name == "config.get":
            return self._config()
        if isinstance(request.params, wire.ConfigPatch):
            self._commands(request)
            return {"valid": True}
        raise Refusal("internal_error", f"{name} has no answer", request_id=request.id)

    def submit(self, request: Request, *, prompt: bool = False) -> Future[Applied]:
        """Hand a change to the denoiser; the future ends when it took effect or was refused.

        `prompt`: its callbacks do next to nothing and may run in the thread that carries the sound.

        Raises
        ------
        Refusal
            If it is known at once that it cannot be done.
        """
        self._insist_supported(request)
        if isinstance(request.params, wire.DevicesSet):
            self._check_devices(request.params)
        orders = self._commands(request)
        condition = request.params.if_revision if isinstance(request.params, wire.Change) else None
        if len(orders) == 1:
            return self.denoiser.submit(orders[0], "command", condition, prompt=prompt)
        return Patch(self.denoiser, orders, condition).result

    def _insist_supported(self, request: Request) -> None:
        if request.method.name in self._unsupported:
            raise Refusal(
                "not_supported",
                f"{request.method.name} is not supported by this server.",
                hint="What is supported is listed in `caps` of hello.",
            )

    def _config(self) -> dict[str, Any]:
        snapshot = self.denoiser.snapshot
        values = msgspec.to_builtins(snapshot.settings)
        origins = {name: snapshot.origins.get(name, "default") for name in local.SETTING_NAMES}
        return {"revision": snapshot.revision, "settings": values, "origins": origins}

    def _profiles(self) -> dict[str, Any]:
        return {"in_use": self.denoiser.snapshot.settings.profile, "profiles": self._catalog.profiles()}

    def _check_devices(self, params: wire.DevicesSet) -> None:
        """A device is chosen from the list, so that a name cannot be a path or a program."""
        known = self._catalog.devices()
        for kind, wanted in (("input", params.input), ("output", params.output)):
            choices = ["auto", *(row["name"] for row in known[f"{kind}s"])]
            if wanted is not None and wanted not in choices:
                raise Refusal(
                    "bad_value",
                    f"no {kind} device is called {wanted!r}.",
                    hint="Names are those of devices.list, or auto.",
                    data={"choices": choices},
                )

    def _commands(self, request: Request) -> list[Command]:
        """The denoiser's commands for a request, checked against what is running."""
        match request.params:
            case wire.EngineSet(id=name):
                return [local.SetEngine(name)]
            case wire.LevelSet(level=level):
                return [local.SetLevel(self._level(level))]
            case wire.LevelPin(level=level):
                return [local.SetLevel(self._level(level), pin=True)]
            case wire.GateSet(mode=mode) | wire.GatePin(specialist=mode):
                return [local.SetGate(mode)]
            case wire.GovernorSet(mode=governor):
                return [local.SetGovernor(governor)]
            case wire.ProfileUse(name=profile):
                return [local.SetProfile(profile)]
            case wire.AttenuationSet(db=db):
                return [local.SetAttenuation(_ranged("db", db, 0.0, local.NO_LIMIT_DB))]
            case wire.Switch(on=on):
                return [local.SetBypass(on) if request.method.name == "bypass.set" else local.SetMute(on)]
            case wire.DevicesSet(input=microphone, output=output, channels=channels):
                return [local.SetDevices(microphone, output, channels)]
            case wire.ConfigPatch():
                return self._patch(request.params)
        return [_plain(request.method.name)]

    def _level(self, wanted: int | None) -> int:
        """A level that the engine has; None is the present one."""
        now = self.denoiser.snapshot
        engine = now.engine
        level = engine.level if wanted is None else wanted
        count = now.governor.levels or engine.level_count  # of the chosen one, if another stands in for it
        return _ranged("level", level, 0, max(1, count) - 1)

    def _patch(self, patch: wire.ConfigPatch) -> list[Command]:
        now = self.denoiser.snapshot.settings
        given = {
            name: value
            for name in local.SETTING_NAMES
            if (value := getattr(patch, name, msgspec.UNSET)) is not msgspec.UNSET
        }
        if "level_pinned" in given and "level" not in given:
            given["level"] = self.denoiser.snapshot.engine.level if given["level_pinned"] else None
        for name in ("input", "output"):
            if name in given and given[name] != "auto":
                self._check_devices(wire.DevicesSet(**{name: given[name]}))
        wanted = replace(now, **given)  # SpecError: out of range
        return difference(now, wanted, frozenset(given))


def _plain(method: str) -> Command:
    """Commands without a value."""
    plain: dict[str, Command] = {
        "level.release": local.SetLevel(None),
        "bypass.toggle": local.SetBypass(None),
        "mute.toggle": local.SetMute(None),
        "record.start": local.SetRecording(True),
        "record.stop": local.SetRecording(False),
        "shutdown": local.Shutdown(),
    }
    return plain[method]


def _ranged(name: str, value: _Number, low: _Number, high: _Number) -> _Number:
    if not low <= value <= high:
        raise Refusal(
            "bad_value",
            f"{name}={value} is out of range; expected {low:g} to {high:g}",
            data={"min": low, "max": high},
        )
    return value


def refusal_of(error: BaseException) -> Refusal:
    """What to tell a client about a failure inside."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, PseError):
        fault = fault_of(error.name, error.exit_code)
        data: dict[str, object] = {} if error.name == fault.name else {"local_name": error.name}
        return Refusal(fault.name, error.text, hint=error.hint, data=data)
    return Refusal("internal_error", f"{type(error).__name__} inside the denoiser.", hint="Its log says more.")


def plain_result(applied: Applied) -> dict[str, Any]:
    """What a change is answered with."""
    changed = {name: [old, new] for name, (old, new) in applied.changed.items()}
    return {"revision": applied.revision, "hop_index": applied.hop_index, "changed": changed}
