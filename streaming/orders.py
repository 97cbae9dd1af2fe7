"""The path of a command: planned, built where it takes time, applied between two hops, answered.

    submit -> (owner: devices | builder: engines) -> worker, between two hops -> herald -> the future of whoever asked

The worker only swaps what is ready, and does not end futures itself: whoever waits for one may do anything, and not on
the worker's time. Only who promises to do next to nothing (`prompt`) is spared the way over the herald, 0.5 ms. Under simulated time there are no threads and all of it happens in place.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue

from pse_stream.engines.contract import Engine
from pse_stream.errors import ControlError
from pse_stream.streaming.ledger import Changed, Ledger
from pse_stream.streaming.owner import Owner
from pse_stream.streaming.pipeline import Pipeline
from pse_stream.streaming.runner import Runner
from pse_stream.streaming.settings import (
    Applied,
    Command,
    Origin,
    SetAttenuation,
    SetBypass,
    SetDevices,
    SetEngine,
    SetGate,
    SetLevel,
    SetMute,
    SetProfile,
    SetRecording,
    Settings,
    Shutdown,
)

log = logging.getLogger(__name__)

#: What waits for a feature that is not there yet.
UNSUPPORTED: dict[type, str] = {SetProfile: "profiles", SetGate: "the gate", SetRecording: "recording"}
#: What takes effect at once even while an engine is being opened.
IMMEDIATE = (SetBypass, SetMute, SetAttenuation, Shutdown)
HELD_ENGINES = 4  # at most three run during a change


@dataclass(frozen=True, slots=True)
class Order:
    """A wish on its way."""

    command: Command
    origin: Origin
    if_revision: int | None
    future: Future[Applied]
    prompt: bool  # the future is ended by the worker itself


class Orders:
    """Take commands, have them carried out, answer.

    Parameters
    ----------
    ledger, runner, owner
        Of the denoiser.
    engines : callable
        Opens an engine by id.
    reconnect : callable
        Opens other devices: (settings wanted, what changes); called on the owner's thread.
    leave : callable
        Called when a shutdown was answered.
    threaded : bool
        False under simulated time.
    """

    def __init__(
        self,
        ledger: Ledger,
        runner: Runner,
        owner: Owner,
        *,
        engines: Callable[[str], Engine],
        reconnect: Callable[[Settings, Changed], None],
        leave: Callable[[], None],
        threaded: bool,
    ) -> None:
        self._ledger, self._runner, self._owner = ledger, runner, owner
        self._engines, self._reconnect, self._leave = engines, reconnect, leave
        self._threaded = threaded
        self._builder = Owner("pse-builder", threaded=threaded)
        self._pending: set[Future[Applied]] = set()
        self._answers: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._herald: threading.Thread | None = None
        self._closed = False
        # Freeing a network's session takes up to 11 ms (measured), more than a hop: whatever the worker lets go of is
        # still held here, and freed by the builder's thread.
        self._held: deque[Engine] = deque([runner.pipeline.engine], maxlen=HELD_ENGINES)

    def start(self) -> None:
        """Begin to build and to answer."""
        self._builder.start()
        if self._threaded:
            self._herald = threading.Thread(target=self._tell_all, name="pse-herald", daemon=True)
            self._herald.start()

    def stop(self) -> None:
        """Answer everything that still waits: it did not take effect."""
        self._closed = True
        self._builder.stop()
        self._answers.put(None)
        if self._herald is not None and self._herald is not threading.current_thread():
            self._herald.join(2.0)
        for future in list(self._pending):
            if not future.done():
                future.set_exception(ControlError("the denoiser stopped before this took effect.", name="stopped"))
        self._pending.clear()

    def submit(
        self, command: Command, origin: Origin, if_revision: int | None, prompt: bool = False
    ) -> Future[Applied]:
        """See `Denoiser.submit`."""
        order = Order(command, origin, if_revision, Future(), prompt)
        order.future.set_running_or_notify_cancel()
        self._pending.add(order.future)
        missing = UNSUPPORTED.get(type(command))
        if self._closed:
            self._refuse(order, ControlError("the denoiser has stopped.", name="stopped"))
        elif missing is not None:
            self._refuse(order, ControlError(f"{missing} cannot be used yet.", name="not_supported"))
        elif isinstance(command, SetDevices):
            self._owner.run(lambda: self._prepare(order))
        elif isinstance(command, SetEngine):
            self._builder.run(lambda: self._prepare(order))
        elif isinstance(command, IMMEDIATE) or not self._builder.busy:
            self._post(order)
        else:  # keep the order of what depends on the engine
            self._builder.run(lambda: self._post(order))
        return order.future

    def _prepare(self, order: Order) -> None:
        """On the owner's or builder's thread: what takes time, then the change itself."""
        engine = None
        try:
            self._ledger.insist_revision(order.if_revision)
            wanted, changed = self._ledger.plan(order.command, order.origin)
            if isinstance(order.command, SetEngine):
                # The engine that is set already may have been taken out: then this is the wish to try it again.
                if changed or self._runner.relieved:
                    engine = self._engines(order.command.id)
                    self._held.append(engine)
            elif changed:
                self._reconnect(wanted, changed)
        except Exception as error:
            self._refuse(order, error)
            return
        self._post(order, engine)

    def _post(self, order: Order, engine: Engine | None = None) -> None:
        def change(_pipeline: Pipeline, hop: int) -> None:
            try:
                revision, changed = self._apply(order, engine)
            except Exception as error:
                self._refuse(order, error)
                return
            applied = Applied(revision, hop, changed)
            self._answer(lambda: self._accept(order, applied), prompt=order.prompt)

        self._runner.post(change)

    def _apply(self, order: Order, engine: Engine | None) -> tuple[int, Changed]:
        """On the worker's thread, between two hops: the revision and what changed."""
        self._ledger.insist_revision(order.if_revision)
        if isinstance(order.command, SetLevel) and order.origin == "governor":
            return self._ledger.page.revision, self._govern(order.command.level)
        settings, changed = self._ledger.plan(order.command, order.origin)
        if engine is not None:
            level = settings.level if settings.level is None else min(settings.level, engine.info.best_level)
            self._runner.use_engine(engine, level)
        elif "level" in changed:
            self._runner.use_level(settings.level)
        if changed.keys() & {"attenuation_db", "bypass", "mute"}:
            self._runner.pipeline.set_mix(
                attenuation_db=settings.attenuation_db, bypass=settings.bypass, mute=settings.mute
            )
        return self._ledger.keep(settings, changed, order.origin).revision, changed

    def _govern(self, level: int | None) -> Changed:
        """The governor moves the running level where nobody chose one."""
        if self._ledger.page.settings.level is not None:
            return {}
        old = self._runner.pipeline.level
        self._runner.use_level(level)
        new = self._runner.pipeline.level
        return {} if old == new else {"running_level": (old, new)}

    # --- answers ------------------------------------------------------------------------------------------------

    def _accept(self, order: Order, applied: Applied) -> None:
        self._pending.discard(order.future)
        if not order.future.done():
            order.future.set_result(applied)
        if isinstance(order.command, Shutdown):
            self._leave()

    def _refuse(self, order: Order, error: Exception) -> None:
        def tell() -> None:
            self._pending.discard(order.future)
            if not order.future.done():
                order.future.set_exception(error)

        self._answer(tell, prompt=order.prompt)

    def _answer(self, tell: Callable[[], None], *, prompt: bool = False) -> None:
        if self._herald is None or self._closed or prompt:
            tell()
        else:
            self._answers.put(tell)

    def _tell_all(self) -> None:
        while (tell := self._answers.get()) is not None:
            try:
                tell()
            except Exception:
                log.exception("an answer could not be given")
