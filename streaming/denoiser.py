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
from types import TracebackType
from typing import Self

import msgspec

from pse_stream.dsp.spec import Float32s
from pse_stream.engines.contract import Engine
from pse_stream.engines.gate.gated import use_gate
from pse_stream.engines.registry import available
from pse_stream.errors import PseError
from pse_stream.profiles.adapted import open_engine
from pse_stream.streaming.configuration import Ground, ground
from pse_stream.streaming.devices.base import Device
from pse_stream.streaming.ledger import Changed, Ledger
from pse_stream.streaming.links import Links
from pse_stream.streaming.orders import UNSUPPORTED, Orders
from pse_stream.streaming.overseer import Overseer
from pse_stream.streaming.owner import Owner
from pse_stream.streaming.pipeline import Pipeline
from pse_stream.streaming.process import favour_process, run_thread_promptly, run_thread_realtime
from pse_stream.streaming.runner import Runner
from pse_stream.streaming.settings import (
    Applied,
    Command,
    Origin,
    Settings,
)
from pse_stream.streaming.snapshot import Latency, Meters, Snapshot, State
from pse_stream.streaming.steering import Clocks, Steering
from pse_stream.streaming.supervisor import Supervisor
from pse_stream.streaming.surroundings import Surroundings
from pse_stream.streaming.worker import Worker

log = logging.getLogger(__name__)

ALGORITHM_MS = 16.0  # one hop to fill, one of overlap (dsp.spec)
EVENTS_KEPT = 20
TICK_S = 0.1  # the watchdog's period


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
    ground : callable
        What a profile makes of the settings that nobody chose for this run (`configuration.ground`).
    engines : callable
        Opens an engine by id; `profiles.adapted.open_engine` unless a test brings its own.
    realtime : bool
        Ask for real-time scheduling of the three threads that carry sound; a refusal is an event, never an error.
    record : bool
        Record from the start into the profile of `settings`; a refusal is an event too.
    calibrate : bool
        Measure what engines cost here, once, in a child process, and let smaller ones stand in under load. Without it
        the governor knows only what it has seen.

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
        ground: Callable[[str | None], Ground] = ground,
        realtime: bool = False,
        record: bool = False,
        calibrate: bool = False,
    ) -> None:
        if device is None:
            from pse_stream.streaming.devices.live import open_device

            device = open_device()
        self.device = device
        self._ledger = Ledger(settings, origins)
        engine = engines(settings.engine)
        use_gate(engine, settings.gate)
        pipeline = Pipeline(
            device.sample_rate,
            engine,
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
            steering=Steering(pipeline, mode=settings.governor, pinned=settings.level_pinned),
        )
        self._realtime = realtime
        self._record = record
        self._links = Links(device, self._runner, on_thread=self._hurry)
        self._events: deque[str] = deque(maxlen=EVENTS_KEPT)
        self._condition: tuple[State, str] = ("starting", "")
        self._watchdog: threading.Thread | None = None
        self._leaving = threading.Event()
        self._supervised = False
        self._began = device.now()
        self._driven = device.drive(self._runner.step, self._tick)
        if self._driven:
            self._runner.clocks = Clocks.simulated(device.now)
        self._owner = Owner("pse-owner", threaded=not self._driven)
        self._orders = Orders(
            self._ledger,
            self._runner,
            self._owner,
            engines=engines,
            reconnect=self._reconnect,
            ground=ground,
            note=self._events.append,
            leave=self._leaving.set,
            threaded=not self._driven,
        )
        self._supervisor = Supervisor(
            device,
            self._links,
            self._runner,
            self._owner,
            settings=lambda: self._ledger.page.settings,
            tell=self._set_condition,
            note=self._events.append,
            fault=lambda: self._worker.fault,
        )
        self._overseer = Overseer(
            self._runner,
            rate=device.sample_rate,
            engines=engines,
            entries=available if calibrate else None,
            hold=self._orders.hold,
            note=self._note_decision,
            hints=None if self._driven else Surroundings().look,
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
        self._orders.start()
        if not self._driven:
            self._worker.start(self._runner.step)
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
            self._watchdog = threading.Thread(target=self._watch, name="pse-watchdog", daemon=True)
            self._watchdog.start()
        self._supervised = True
        self._set_condition("running", "")
        self._orders.begin_profile(record=self._record)

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
        self._overseer.stop()
        self._owner.run(self._links.close)
        closed = self._owner.stop()
        self._orders.stop()
        self._worker.stop()
        if self._watchdog is not None and self._watchdog is not threading.current_thread():
            self._watchdog.join(2.0)
        if closed:
            self.device.close()
        else:  # whatever is called in the audio library now would hang too; the next start cleans up
            log.error("the audio library hangs; the devices could not be closed")

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
        return command not in UNSUPPORTED

    def submit(
        self, command: Command, origin: Origin = "command", if_revision: int | None = None, *, prompt: bool = False
    ) -> Future[Applied]:
        """Have a setting changed at the next hop boundary; returns at once, from any thread.

        With `prompt` the future's callbacks run in the thread that carries the sound, at once: they must not wait and
        may do no more than leave a note for another thread.

        The future ends with `Applied`, or with the error that says why not:

        - ControlError: "not_supported" (no such feature yet), "conflict" (`if_revision` is not the present one),
          "pinned" (a person pinned the level), "stopped";
        - SpecError, EngineError, DeviceError: the value, the engine or the device cannot be had. Nothing changed.
        """
        return self._orders.submit(command, origin, if_revision, prompt)

    def _reconnect(self, wanted: Settings, changed: Changed) -> None:
        """Open other devices; a name that means nothing is refused before anything is closed."""
        if "input" in changed:
            self.device.resolve("input", wanted.input)
        if "output" in changed:
            self.device.resolve("output", wanted.output)
        try:
            if "output" in changed:
                self._links.open_output(wanted)
            if changed.keys() & {"input", "channels"}:
                self._links.open_input(wanted)
        except PseError:
            self._links.open(self._ledger.page.settings)
            raise

    # --- state --------------------------------------------------------------------------------------------------

    @property
    def snapshot(self) -> Snapshot:
        """What is true now; made of immutable parts, from any thread, without a lock."""
        report, page = self._runner.report, self._ledger.page
        state, reason = self._condition
        if state in ("running", "degraded") and report.stand_in:
            state, reason = "degraded", report.stand_in
        if state in ("running", "degraded") and report.engine_error:
            state, reason = "degraded", f"{report.engine_error}; you are heard without noise removal"
        if state == "running" and page.settings.bypass:
            state, reason = "bypassed", "bypass is on: the microphone is heard as it is"
        links = self._links
        source, target = links.input, links.output
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
            engine=msgspec.structs.replace(report.engine, level_pinned=page.settings.level_pinned),
            gate=report.gate,
            governor=report.governor,
            latency=Latency(
                algorithm_ms=ALGORITHM_MS,
                lookahead_ms=report.lookahead_ms,
                buffer_ms=report.buffer_ms,
                device_ms=links.latency_ms,
            ),
            meter_in=report.meter_in,
            meter_out=report.meter_out,
            removed_db=report.removed_db,
            counters=msgspec.structs.replace(report.counters, reopened=self._supervisor.reopened),
            load=report.load,
            drift_ppm=report.drift_ppm,
            recording=self._orders.recording.on,
            recorded_s=self._orders.recording.seconds,
            events=tuple(self._events),
        )

    @property
    def meters(self) -> Meters:
        """The levels alone, at a third of the price of a snapshot."""
        report = self._runner.report
        return Meters(
            uptime_s=self.device.now() - self._began,
            meter_in=report.meter_in,
            meter_out=report.meter_out,
            removed_db=report.removed_db,
        )

    def spectrum(self) -> tuple[Float32s, Float32s] | None:
        """Magnitudes of the newest frames, noisy and clean, two (257,) float32; None while no sound flows."""
        return self._runner.spectrum()

    def _set_condition(self, state: State, reason: str) -> None:
        if (state, reason) != self._condition and self._condition[0] != "stopped":
            self._condition = (state, reason)
            self._events.append(f"{state}: {reason}" if reason else state)

    def _note_decision(self, sentence: str) -> None:
        log.info("%s", sentence)
        self._events.append(sentence)

    def _hurry(self) -> None:
        """In a thread that carries sound: ask to be served promptly, and for real-time scheduling if it is wanted."""
        if self._driven:  # by simulated time, in whatever thread lets it pass
            return
        run_thread_promptly()
        if not self._realtime:
            return
        refused = run_thread_realtime()
        if not refused:
            favour_process()
        elif not any(refused in event for event in self._events):
            self._events.append(f"no real-time scheduling: {refused}")

    def _tick(self) -> None:
        """Ten times a second, in real or simulated time, and whenever the device has news."""
        self._orders.look_after_recording()
        self._overseer.tick(self.device.now())
        if self._supervised:
            self._supervisor.tick()

    def _watch(self) -> None:
        while not self._leaving.wait(TICK_S):
            self._tick()
