"""The facade: one object, one state, one snapshot. The only thing that the command line and the control channel use.

    with Denoiser(settings) as denoiser:
        denoiser.submit(SetBypass(True)).result()
        print(denoiser.snapshot.latency.total_ms)

Threads: the device's callbacks copy; the worker computes and applies what was submitted between two hops; the owner
opens devices, the builder opens engines; the watchdog looks ten times a second; the herald answers. None waits for
another, and a simulated device needs none of them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from queue import SimpleQueue
from types import TracebackType
from typing import Self

from pse_stream.dsp.spec import Float32s
from pse_stream.engines.contract import Engine
from pse_stream.engines.registry import open_engine
from pse_stream.errors import ControlError, PseError
from pse_stream.streaming.devices.base import Device
from pse_stream.streaming.ledger import Changed, Ledger
from pse_stream.streaming.links import Links
from pse_stream.streaming.owner import Owner
from pse_stream.streaming.pipeline import Pipeline
from pse_stream.streaming.process import run_thread_realtime
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
from pse_stream.streaming.snapshot import EngineStatus, Latency, Snapshot, State
from pse_stream.streaming.supervisor import Supervisor
from pse_stream.streaming.worker import Worker

log = logging.getLogger(__name__)

ALGORITHM_MS = 16.0  # one hop to fill, one of overlap (dsp.spec)
EVENTS_KEPT = 20
TICK_S = 0.1  # the watchdog's period

#: What waits for a feature that is not there yet.
_UNSUPPORTED: dict[type, str] = {SetProfile: "profiles", SetGate: "the gate", SetRecording: "recording"}
#: What takes effect at once even while an engine is being opened.
_IMMEDIATE = (SetBypass, SetMute, SetAttenuation, Shutdown)


@dataclass(frozen=True, slots=True)
class _Order:
    """A wish on its way."""

    command: Command
    origin: Origin
    if_revision: int | None
    future: Future[Applied]


class Denoiser:
    """From a microphone to a virtual microphone, denoised.

    Parameters
    ----------
    settings : Settings
        How to begin.
    device : Device or None
        Where sound comes from and goes to; None: the microphone and virtual microphone of this machine.
    origins : dict or None
        Who chose each setting; unnamed ones are defaults.
    engines : callable
        Opens an engine by id; `engines.registry.open_engine` unless a test brings its own.
    realtime : bool
        Ask for real-time scheduling of the three threads that carry sound; a refusal is an event, never an error.

    Raises
    ------
    EngineError
        If the engine cannot be opened.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        device: Device | None = None,
        origins: dict[str, Origin] | None = None,
        engines: Callable[[str], Engine] = open_engine,
        realtime: bool = False,
    ) -> None:
        if device is None:
            from pse_stream.streaming.devices.live import open_device

            device = open_device()
        self.device = device
        self._engines = engines
        # Freeing a network's session takes up to 11 ms (measured), more than a hop: whatever the worker lets go of is
        # still held here, and freed by the builder's thread. At most three engines run during a change.
        self._held: deque[Engine] = deque(maxlen=4)
        self._ledger = Ledger(settings, origins)
        self._held.append(engines(settings.engine))
        pipeline = Pipeline(
            device.sample_rate,
            self._held[-1],
            level=settings.level,
            attenuation_db=settings.attenuation_db,
            bypass=settings.bypass,
            mute=settings.mute,
        )
        self._worker = Worker()
        self._runner = Runner(
            pipeline,
            now=device.now,
            settle_hops=device.settle_hops,
            slack_s=device.slack_s,
            wake=self._worker.wake,
        )
        self._realtime = realtime
        self._links = Links(device, self._runner, on_thread=self._hurry if realtime else None)
        self._answers: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._events: deque[str] = deque(maxlen=EVENTS_KEPT)
        self._condition: tuple[State, str] = ("starting", "")
        self._pending: set[Future[Applied]] = set()
        self._threads: list[threading.Thread] = []
        self._leaving = threading.Event()
        self._supervised = False
        self._began = device.now()
        self._driven = device.drive(self._runner.step, self._tick)
        self._owner = Owner("pse-owner", threaded=not self._driven)
        self._builder = Owner("pse-builder", threaded=not self._driven)
        self._supervisor = Supervisor(
            device,
            self._links,
            self._runner,
            self._owner,
            settings=lambda: self._ledger.page.settings,
            tell=self._set_condition,
            note=self._events.append,
        )

    # --- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the devices and let sound flow.

        Raises
        ------
        DeviceError
            If a device is missing, refused or our own output; nothing is left open then.
        """
        self._owner.start()
        self._builder.start()
        if not self._driven:
            self._worker.start(self._runner.step)
            if self._realtime:
                self._runner.post(lambda _pipeline, _hop: self._hurry())
        try:
            settings = self._ledger.page.settings
            self._links.open(settings)
            if not self._driven and self.device.settle_hops:
                self._links.choose_phase(settings)
        except BaseException:
            self._end()
            raise
        if not self._driven:
            self._threads = [
                threading.Thread(target=self._herald, name="pse-herald", daemon=True),
                threading.Thread(target=self._watch, name="pse-watchdog", daemon=True),
            ]
            for thread in self._threads:
                thread.start()
        self._supervised = True
        self._set_condition("running", "")

    def stop(self) -> None:
        """Stop, put the devices back, end; safe to call twice."""
        if self._condition[0] == "stopped":
            return
        self._leaving.set()
        self._supervised = False
        self._set_condition("stopped", "")
        self._end()

    def _end(self) -> None:
        """End every thread, then give the device back."""
        self._owner.run(self._links.close)
        self._owner.stop()
        self._builder.stop()
        self._worker.stop()
        self._answers.put(None)
        for future in list(self._pending):
            future.set_exception(ControlError("the denoiser stopped before this took effect.", name="stopped"))
        self._pending.clear()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(2.0)
        self.device.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until somebody stops the denoiser or its device has nothing more to give; True when it is so."""
        end = None if timeout is None else time.monotonic() + timeout
        while not self._leaving.is_set():
            left = TICK_S if end is None else min(TICK_S, end - time.monotonic())
            if self.device.wait(0) or left <= 0:
                break
            self._leaving.wait(left)
        return self._leaving.is_set() or self.device.wait(0)

    # --- commands -----------------------------------------------------------------------------------------------

    @staticmethod
    def supports(command: type[Command]) -> bool:
        """False for commands that wait for a feature which is not there yet."""
        return command not in _UNSUPPORTED

    def submit(self, command: Command, origin: Origin = "command", if_revision: int | None = None) -> Future[Applied]:
        """Have a setting changed at the next hop boundary; returns at once, from any thread.

        The future ends with `Applied`, or with the error that says why not:

        - ControlError: "not_supported" (no such feature yet), "conflict" (`if_revision` is not the present one),
          "pinned" (a person pinned the level), "stopped";
        - SpecError, EngineError, DeviceError: the value, the engine or the device cannot be had. Nothing changed.
        """
        order = _Order(command, origin, if_revision, Future())
        order.future.set_running_or_notify_cancel()
        self._pending.add(order.future)
        missing = _UNSUPPORTED.get(type(command))
        if self._leaving.is_set() or self._condition[0] == "stopped":
            self._refuse(order, ControlError("the denoiser has stopped.", name="stopped"))
        elif missing is not None:
            self._refuse(order, ControlError(f"{missing} cannot be used yet.", name="not_supported"))
        elif isinstance(command, SetDevices):
            self._owner.run(lambda: self._prepare(order))
        elif isinstance(command, SetEngine):
            self._builder.run(lambda: self._prepare(order))
        elif isinstance(command, _IMMEDIATE) or not self._builder.busy:
            self._post(order)
        else:  # keep the order of what depends on the engine
            self._builder.run(lambda: self._post(order))
        return order.future

    def _prepare(self, order: _Order) -> None:
        """On the owner's or builder's thread: what takes time, then the change itself."""
        engine = None
        try:
            self._ledger.insist_revision(order.if_revision)
            wanted, changed = self._ledger.plan(order.command, order.origin)
            if isinstance(order.command, SetEngine) and changed:
                engine = self._engines(order.command.id)
                self._held.append(engine)
            elif changed:
                self._reconnect(wanted, changed)
        except Exception as error:
            self._refuse(order, error)
            return
        self._post(order, engine)

    def _reconnect(self, wanted: Settings, changed: Changed) -> None:
        """Open other devices; a name that means nothing is refused before anything is closed."""
        for name in changed:
            self.device.resolve("input" if name == "input" else "output", getattr(wanted, name))
        try:
            if "output" in changed:
                self._links.open_output(wanted)
            if "input" in changed:
                self._links.open_input(wanted)
        except PseError:
            self._links.open(self._ledger.page.settings)
            raise

    def _post(self, order: _Order, engine: Engine | None = None) -> None:
        def change(pipeline: Pipeline, hop: int) -> None:
            try:
                self._ledger.insist_revision(order.if_revision)
                if isinstance(order.command, SetLevel) and order.origin == "governor":
                    changed = self._govern(pipeline, order.command.level)
                    revision = self._ledger.page.revision
                else:
                    settings, changed = self._ledger.plan(order.command, order.origin)
                    _follow(pipeline, settings, changed, engine)
                    revision = self._ledger.keep(settings, changed, order.origin).revision
            except Exception as error:
                self._refuse(order, error)
                return
            applied = Applied(revision, hop, changed)
            self._answer(lambda: self._accept(order, applied))

        self._runner.post(change)

    def _govern(self, pipeline: Pipeline, level: int | None) -> Changed:
        """The governor moves the running level where nobody chose one."""
        if self._ledger.page.settings.level is not None:
            return {}
        old = pipeline.level
        pipeline.set_level(level)
        return {} if old == pipeline.level else {"running_level": (old, pipeline.level)}

    # --- answers ------------------------------------------------------------------------------------------------

    def _answer(self, tell: Callable[[], None]) -> None:
        """Have a future ended by the herald: whoever waits for it may do anything, and not on the worker's time."""
        if self._driven:
            tell()
        else:
            self._answers.put(tell)

    def _accept(self, order: _Order, applied: Applied) -> None:
        self._pending.discard(order.future)
        if not order.future.done():
            order.future.set_result(applied)
        if isinstance(order.command, Shutdown):
            self._leaving.set()

    def _refuse(self, order: _Order, error: Exception) -> None:
        def tell() -> None:
            self._pending.discard(order.future)
            if not order.future.done():
                order.future.set_exception(error)

        if self._driven or self._leaving.is_set() or not self._threads:
            tell()
        else:
            self._answers.put(tell)

    def _herald(self) -> None:
        while (tell := self._answers.get()) is not None:
            try:
                tell()
            except Exception:
                log.exception("an answer could not be given")

    # --- state --------------------------------------------------------------------------------------------------

    @property
    def snapshot(self) -> Snapshot:
        """What is true now; made of immutable parts, from any thread, without a lock."""
        report, page = self._runner.report, self._ledger.page
        state, reason = self._condition
        if state == "running" and report.engine_error:
            state, reason = "degraded", f"{report.engine_error}; you are heard without noise removal"
        if state == "running" and page.settings.bypass:
            state, reason = "bypassed", "bypass is on: the microphone is heard as it is"
        links = self._links
        source, target = links.input, links.output
        engine = report.engine
        return Snapshot(
            state=state,
            reason=reason,
            revision=page.revision,
            hop_index=report.hop_index,
            uptime_s=self.device.now() - self._began,
            sample_rate=self.device.sample_rate,
            input_device=source.name if source is not None else "",
            output_device=target.name if target is not None else "",
            virtual_mic=self.device.virtual_mic,
            readers=self.device.facts().readers,
            settings=page.settings,
            origins=dict(page.origins),
            engine=EngineStatus(
                id=engine.id,
                title=engine.title,
                level=engine.level,
                level_name=engine.level_name,
                level_count=engine.level_count,
                level_pinned=page.settings.level_pinned,
                switching=engine.switching,
            ),
            latency=Latency(
                algorithm_ms=ALGORITHM_MS,
                lookahead_ms=report.lookahead_ms,
                buffer_ms=report.buffer_ms,
                device_ms=links.latency_ms,
            ),
            meter_in=report.meter_in,
            meter_out=report.meter_out,
            removed_db=report.removed_db,
            counters=replace(report.counters, reopened=self._supervisor.reopened),
            load=report.load,
            drift_ppm=report.drift_ppm,
            events=tuple(self._events),
        )

    def spectrum(self) -> tuple[Float32s, Float32s] | None:
        """Magnitudes of the newest frames, noisy and clean, two (257,) float32; None while no sound flows."""
        return self._runner.spectrum()

    def _set_condition(self, state: State, reason: str) -> None:
        if (state, reason) != self._condition and self._condition[0] != "stopped":
            self._condition = (state, reason)
            self._events.append(f"{state}: {reason}" if reason else state)

    def _hurry(self) -> None:
        """In a thread that carries sound: ask for real-time scheduling."""
        refused = run_thread_realtime()
        if refused and not any(refused in event for event in self._events):
            self._events.append(f"no real-time scheduling: {refused}")

    def _tick(self) -> None:
        """Ten times a second, in real or simulated time, and whenever the device has news."""
        if self._supervised:
            self._supervisor.tick()

    def _watch(self) -> None:
        while not self._leaving.wait(TICK_S):
            self._tick()


def _follow(pipeline: Pipeline, settings: Settings, changed: Changed, engine: Engine | None) -> None:
    """On the worker's thread, between two hops: let the pipeline follow the settings."""
    if engine is not None and "engine" in changed:
        level = settings.level if settings.level is None else min(settings.level, engine.info.best_level)
        pipeline.set_engine(engine, level)
    elif "level" in changed:
        pipeline.set_level(settings.level)
    if changed.keys() & {"attenuation_db", "bypass", "mute"}:
        pipeline.set_mix(attenuation_db=settings.attenuation_db, bypass=settings.bypass, mute=settings.mute)
