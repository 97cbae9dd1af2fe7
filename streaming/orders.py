"""The path of a command: planned, built where it takes time, applied between two hops, answered.

    submit -> (owner: devices | builder: engines) -> worker, between two hops -> herald -> the future of whoever asked

The worker only swaps what is ready, and does not end futures itself: whoever waits for one may do anything, and not on
the worker's time. Only who promises to do next to nothing (`prompt`) is spared the way over the herald, 0.5 ms. Under
simulated time there are no threads and all of it happens in place.
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
from pse_stream.engines.gate.gated import use_gate
from pse_stream.errors import ControlError, EngineError
from pse_stream.streaming.configuration import Ground
from pse_stream.streaming.ledger import Changed, Ledger
from pse_stream.streaming.owner import Owner
from pse_stream.streaming.pipeline import Pipeline
from pse_stream.streaming.recorder import Recorder
from pse_stream.streaming.recording import Recording, tidy
from pse_stream.streaming.runner import Runner
from pse_stream.streaming.settings import (
    Applied,
    Command,
    Origin,
    SetAttenuation,
    SetBypass,
    SetDevices,
    SetEngine,
    SetMute,
    SetProfile,
    SetRecording,
    Settings,
    Shutdown,
)

log = logging.getLogger(__name__)

#: What waits for a feature that is not there yet.
UNSUPPORTED: dict[type, str] = {}
#: What the worker's report says nothing about.
MIX = (SetBypass, SetMute, SetAttenuation)
#: What takes effect at once even while an engine is being opened.
IMMEDIATE = (*MIX, Shutdown)
DEVICE_SETTINGS = ("input", "output", "channels")
HELD_ENGINES = 4  # at most three run during a change
HELD_STAND_INS = 8  # two for each of these


@dataclass(frozen=True, slots=True)
class Order:
    """A wish on its way."""

    command: Command
    origin: Origin
    if_revision: int | None
    future: Future[Applied]
    prompt: bool  # the future is ended by the worker itself


@dataclass(frozen=True, slots=True)
class Prepared:
    """What took time and is ready to be swapped in."""

    engine: Engine | None = None
    ground: Ground | None = None  # of another profile
    recorder: Recorder | None = None


NOTHING = Prepared()


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
    ground : callable
        What a profile (None: nobody's) makes of the settings that nobody chose.
    note : callable
        Told what happens, as sentences.
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
        ground: Callable[[str | None], Ground],
        note: Callable[[str], None],
        leave: Callable[[], None],
        threaded: bool,
    ) -> None:
        self._ledger, self._runner, self._owner = ledger, runner, owner
        self._engines, self._reconnect, self._leave = engines, reconnect, leave
        self._ground, self._note = ground, note
        self.recording = Recording(runner, ledger, note=note, threaded=threaded)
        self._threaded = threaded
        self._builder = Owner("pse-builder", threaded=threaded)
        self._pending: set[Future[Applied]] = set()
        self._answers: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._herald: threading.Thread | None = None
        self._closed = False
        # Freeing a network's session takes up to 11 ms (measured), more than a hop: whatever the worker lets go of is
        # still held here, and freed by the builder's thread.
        self._held: deque[Engine] = deque([runner.pipeline.engine], maxlen=HELD_ENGINES)
        self._held_stand_ins: deque[Engine] = deque(maxlen=HELD_STAND_INS)

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
        if (recorder := self.recording.end()) is not None:
            recorder.stop("the denoiser stopped")
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
        elif isinstance(command, SetEngine | SetProfile | SetRecording):
            self._builder.run(lambda: self._prepare(order))
        elif isinstance(command, IMMEDIATE) or not self._builder.busy:
            self._post(order)
        else:  # keep the order of what depends on the engine
            self._builder.run(lambda: self._post(order))
        return order.future

    def _prepare(self, order: Order) -> None:
        """On the owner's or builder's thread: what takes time, then the change itself."""
        prepared = NOTHING
        try:
            self._ledger.insist_revision(order.if_revision)
            if isinstance(order.command, SetProfile):
                self._prepare_profile(order, order.command.name)
                return
            if isinstance(order.command, SetRecording):
                if order.command.on and not self.recording.on:
                    prepared = Prepared(recorder=self.recording.prepare())
            else:
                wanted, changed = self._ledger.plan(order.command, order.origin)
                # The engine that is set already may have been taken out: then this is the wish to try it again.
                if isinstance(order.command, SetEngine):
                    prepared = self._build(order.command.id if changed or self._runner.relieved else None)
                elif changed:
                    self._reconnect(wanted, changed)
        except Exception as error:
            self._refuse(order, error)
            return
        self._post(order, prepared)

    def _build(self, id: str | None, ground: Ground | None = None) -> Prepared:
        """With a fresh stream of an engine, if one is wanted."""
        if id is None:
            return Prepared(ground=ground)
        engine = self._engines(id)
        self._held.append(engine)
        return Prepared(engine=engine, ground=ground)

    def _prepare_profile(self, order: Order, name: str | None) -> None:
        """On the builder's thread: the engine; other devices are opened on the owner's."""
        ground = self._ground(name)
        wanted, changed = self._ledger.plan_profile(name, order.origin, ground.values)
        prepared = self._build(wanted.engine if "engine" in changed else None, ground)
        devices = {setting: change for setting, change in changed.items() if setting in DEVICE_SETTINGS}

        def reconnect() -> None:
            try:
                self._reconnect(wanted, devices)
            except Exception as error:
                self._refuse(order, error)
                return
            self._post(order, prepared)

        if devices:
            self._owner.run(reconnect)
        else:
            self._post(order, prepared)

    def _post(self, order: Order, prepared: Prepared = NOTHING) -> None:
        def change(_pipeline: Pipeline, hop: int) -> None:
            try:
                revision, changed = self._apply(order, prepared)
            except Exception as error:
                self._discard(prepared.recorder)
                self._refuse(order, error)
                return
            applied = Applied(revision, hop, changed)
            self._answer(lambda: self._accept(order, applied), prompt=order.prompt)

        self._runner.post(change, reported=not isinstance(order.command, MIX))

    def _apply(self, order: Order, prepared: Prepared) -> tuple[int, Changed]:
        """On the worker's thread, between two hops: the revision and what changed."""
        self._ledger.insist_revision(order.if_revision)
        if isinstance(order.command, SetRecording):
            return self._apply_recording(order, prepared.recorder)
        if isinstance(order.command, SetProfile) and prepared.ground is not None:
            settings, changed = self._ledger.plan_profile(order.command.name, order.origin, prepared.ground.values)
            self._carry_out(settings, changed, prepared.engine)
            page = self._ledger.keep_profile(settings, changed, order.origin, prepared.ground.origins)
            if "profile" in changed:
                self._discard(self.recording.end())  # what another person says is none of this one's business
                name = settings.profile
                self._answer(lambda: self._welcome(name, prepared.ground))
            return page.revision, changed
        settings, changed = self._ledger.plan(order.command, order.origin)
        self._carry_out(settings, changed, prepared.engine)
        return self._ledger.keep(settings, changed, order.origin).revision, changed

    def _carry_out(self, settings: Settings, changed: Changed, engine: Engine | None) -> None:
        """What the runner and the pipeline have to know."""
        if engine is not None:
            level = settings.level if settings.level is None else min(settings.level, engine.info.best_level)
            self._use_gate(engine, settings.gate)
            self._runner.use_engine(engine, level, pinned=settings.level_pinned)
        elif changed.keys() & {"level", "level_pinned"}:
            self._runner.use_level(settings.level, pinned=settings.level_pinned)
        if engine is None and "gate" in changed:
            use_gate(self._runner.pipeline.engine, settings.gate)
        if "governor" in changed:
            self._runner.steering.use_mode(settings.governor)
        if changed.keys() & {"attenuation_db", "bypass", "mute"}:
            self._runner.pipeline.set_mix(
                attenuation_db=settings.attenuation_db, bypass=settings.bypass, mute=settings.mute
            )

    def _use_gate(self, engine: Engine, mode: str) -> None:
        """The gate of a newcomer; a specialist that only the engine before it has is forgotten aloud."""
        try:
            use_gate(engine, mode)
        except EngineError as error:
            self._note(f"the gate chooses again: {error}")

    def _apply_recording(self, order: Order, recorder: Recorder | None) -> tuple[int, Changed]:
        """Begin or end between two hops; what is beneath is settled elsewhere."""
        assert isinstance(order.command, SetRecording)
        was, wanted = self.recording.on, order.command.on
        if recorder is not None:
            if was or recorder.profile.id != self._ledger.page.settings.profile:  # somebody was faster
                self._discard(recorder)
                return self._ledger.page.revision, {}
            self.recording.begin(recorder)
        elif not wanted:
            self._discard(self.recording.end())
        changed: Changed = {} if was == wanted else {"recording": (was, wanted)}
        return self._ledger.keep(self._ledger.page.settings, changed, order.origin).revision, changed

    def _discard(self, recorder: Recorder | None) -> None:
        """End a recorder where waiting for the disk disturbs nobody."""
        if recorder is not None:
            self._builder.run(recorder.stop)

    def _welcome(self, name: str | None, ground: Ground | None) -> None:
        """After a change of the profile: say what is to be said, and record if the person wants that."""
        page = self._ledger.page.settings
        self._note(f"profile {name} is in use, engine {page.engine}" if name else "nobody's profile is in use")
        for note in ground.notes if ground is not None else ():
            self._note(note)
        self.begin_profile(record=ground is not None and ground.logging)

    def begin_profile(self, *, record: bool) -> None:
        """A profile comes into use: old sessions go, a recording starts if it says so; a refusal is only told."""
        name = self._ledger.page.settings.profile
        self._builder.run(lambda: tidy(name))
        if not record:
            return

        def tell(future: Future[Applied]) -> None:
            error = future.exception()
            if error is not None:
                self._note(f"not recorded: {error}")

        self.submit(SetRecording(True), "profile", None).add_done_callback(tell)

    def hold(self, engine: Engine) -> None:
        """Keep an engine that may stand in for another from being freed by the worker."""
        self._held_stand_ins.append(engine)

    def look_after_recording(self) -> None:
        """A few times a second: a recording that ended by itself is told and put away."""
        problem = self.recording.problem()
        if problem:

            def end(_pipeline: Pipeline, _hop: int) -> None:
                self._discard(self.recording.end())
                self._ledger.keep(self._ledger.page.settings, {"recording": (True, False)}, "governor")

            self._note(f"recording stopped: {problem} Sound goes on.")
            self.recording.told()
            self._runner.post(end)

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
