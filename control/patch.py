"""Several settings changed as one: planned, made one after the other, and taken back if one of them is refused."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace

from pse_stream.control.contract import DenoiserLike
from pse_stream.control.messages import Refusal
from pse_stream.errors import PseError
from pse_stream.streaming import settings as local
from pse_stream.streaming.settings import Applied, Command, Settings


def difference(now: Settings, wanted: Settings, names: frozenset[str]) -> list[Command]:
    """Commands from one state to another; those that may fail come first, so that least has to be undone."""
    orders: list[Command] = []
    if devices := {name: getattr(wanted, name) for name in names & {"input", "output", "channels"}}:
        orders.append(local.SetDevices(**devices))
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


class Patch:
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
            for order in difference(now, self._before, frozenset(self._changed)):
                self._denoiser.submit(order, "command")
        self.result.set_exception(error)
