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
from pse_stream.control.commands import Refusal, Request
from pse_stream.control.faults import fault_of
from pse_stream.errors import PseError
from pse_stream.streaming import settings as local
from pse_stream.streaming.settings import Applied, Command, Origin, Settings
from pse_stream.streaming.snapshot import Snapshot

_Number = TypeVar("_Number", int, float)


class DenoiserLike(Protocol):
    """What the control channel needs of `streaming.denoiser.Denoiser`."""

    @property
    def snapshot(self) -> Snapshot:
        """What is true now; immutable, never blocks."""
        ...

    def submit(self, command: Command, origin: Origin = "command", if_revision: int | None = None) -> Future[Applied]:
        """Queue a change for the next hop boundary."""
        ...

    def supports(self, command: type[Command]) -> bool:
        """False for commands whose feature is not there yet."""
        ...


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
            return _status(self.denoiser.snapshot)
        if name == "config.get":
            return self._config()
        if isinstance(request.params, wire.ConfigPatch):
            self._commands(request)
            return {"valid": True}
        raise Refusal("internal_error", f"{name} has no answer", request_id=request.id)

    def submit(self, request: Request) -> Future[Applied]:
        """Hand a change to the denoiser; the future ends when it took effect or was refused.

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
            return self.denoiser.submit(orders[0], "command", condition)
        return _Patch(self.denoiser, orders, condition).result

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
        snapshot = self.denoiser.snapshot
        level_count = max(1, snapshot.engine.level_count)
        match request.params:
            case wire.EngineSet(id=name):
                return [local.SetEngine(name)]
            case wire.LevelSet(level=level):
                return [local.SetLevel(_ranged("level", level, 0, level_count - 1))]
            case wire.LevelPin(level=level):
                level = snapshot.engine.level if level is None else level
                return [local.SetLevel(_ranged("level", level, 0, level_count - 1), pin=True)]
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
            case wire.DevicesSet(input=microphone, output=output):
                return [local.SetDevices(microphone, output)]
            case wire.ConfigPatch():
                return self._patch(request.params, snapshot.settings)
        return [_plain(request.method.name)]

    def _patch(self, patch: wire.ConfigPatch, now: Settings) -> list[Command]:
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
        return _difference(now, wanted, frozenset(given))


def _status(snapshot: Snapshot) -> dict[str, Any]:
    """`Snapshot.as_dict`, at a tenth of its price: a display asks often."""
    plain: dict[str, Any] = msgspec.to_builtins(snapshot)
    plain["latency"]["total_ms"] = snapshot.latency.total_ms
    return plain


def _difference(now: Settings, wanted: Settings, names: frozenset[str]) -> list[Command]:
    """Commands from one state to another; those that may fail come first, so that least has to be undone."""
    orders: list[Command] = []
    if names & {"input", "output"}:
        orders.append(
            local.SetDevices(wanted.input if "input" in names else None, wanted.output if "output" in names else None)
        )
    if "profile" in names:
        orders.append(local.SetProfile(wanted.profile))
    if "engine" in names:
        orders.append(local.SetEngine(wanted.engine))
    if names & {"level", "level_pinned"}:
        orders.append(local.SetLevel(wanted.level, pin=wanted.level_pinned and wanted.level is not None))
    if "gate" in names:
        orders.append(local.SetGate(wanted.gate))
    if "governor" in names:
        orders.append(local.SetGovernor(wanted.governor))
    if "attenuation_db" in names:
        orders.append(local.SetAttenuation(wanted.attenuation_db))
    if "bypass" in names:
        orders.append(local.SetBypass(wanted.bypass))
    if "mute" in names:
        orders.append(local.SetMute(wanted.mute))
    if not orders:
        raise Refusal("invalid_params", f"the patch names no setting out of {', '.join(local.SETTING_NAMES)}")
    return orders


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


class _Patch:
    """Several commands, one after the other, answered once; a refusal takes back what was changed before it."""

    def __init__(self, denoiser: DenoiserLike, orders: list[Command], if_revision: int | None) -> None:
        self.result: Future[Applied] = Future()
        self._denoiser = denoiser
        self._left = orders
        self._before = denoiser.snapshot.settings
        self._changed: dict[str, tuple[object, object]] = {}
        self._next(if_revision)

    def _next(self, if_revision: int | None = None) -> None:
        try:
            future = self._denoiser.submit(self._left.pop(0), "command", if_revision)
        except PseError as error:
            self._take_back(error)
        else:
            future.add_done_callback(self._done)

    def _done(self, future: Future[Applied]) -> None:
        error = future.exception()
        if error is not None:
            self._take_back(error)
            return
        applied = future.result()
        self._changed.update(applied.changed)
        if self._left:
            self._next()
        else:
            self.result.set_result(Applied(applied.revision, applied.hop_index, self._changed))

    def _take_back(self, error: BaseException) -> None:
        if self._changed:
            now = replace(self._before, **{name: new for name, (_, new) in self._changed.items()})  # type: ignore[arg-type]
            for order in _difference(now, self._before, frozenset(self._changed)):
                self._denoiser.submit(order, "command")
        self.result.set_exception(error)


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
