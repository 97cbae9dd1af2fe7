"""A denoiser with the face of `streaming.denoiser.Denoiser`, and nothing behind it."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
from msgspec import structs

from pse_stream.errors import ControlError, EngineError
from pse_stream.streaming import settings as local
from pse_stream.streaming.settings import Applied, Command, Origin, Settings
from pse_stream.streaming.snapshot import EngineStatus, Latency, Meter, Meters, Snapshot

ENGINES = ("bypass", "wiener", "gru-256")


class FakeDenoiser:
    """Applies commands at once, in the caller's thread; `hold` makes it wait like a worker that is stuck."""

    def __init__(self) -> None:
        self.hold = False
        self.held: list[tuple[Command, Future[Applied]]] = []
        self.applied: list[Command] = []
        self.missing: set[type[Command]] = set()
        self._lock = threading.Lock()
        self.snapshot = Snapshot(
            state="running",
            sample_rate=48_000,
            input_device="USB PnP",
            output_device="pse-stream microphone",
            virtual_mic="pse-stream microphone",
            settings=Settings(engine="gru-256"),
            engine=EngineStatus(id="gru-256", title="GRU 256", level=2, level_name="full", level_count=3),
            latency=Latency(buffer_ms=8.0, device_ms=3.2),
            meter_in=Meter(peak_db=-18.4, rms_db=-30.0, max_db=-9.1),
            meter_out=Meter(peak_db=-21.0, rms_db=-33.0, max_db=-11.3),
        )

    @property
    def meters(self) -> Meters:
        now = self.snapshot
        return Meters(uptime_s=now.uptime_s, meter_in=now.meter_in, meter_out=now.meter_out, removed_db=now.removed_db)

    def supports(self, command: type[Command]) -> bool:
        return command not in self.missing

    def submit(
        self, command: Command, origin: Origin = "command", if_revision: int | None = None, *, prompt: bool = False
    ) -> Future[Applied]:
        future: Future[Applied] = Future()
        with self._lock:
            if self.hold:
                self.held.append((command, future))
                return future
            try:
                future.set_result(self._apply(command, origin, if_revision))
            except Exception as error:
                future.set_exception(error)
        return future

    def release(self) -> None:
        """Apply what was held, except what was given up in the meantime."""
        self.hold = False
        for command, future in self.held:
            if future.set_running_or_notify_cancel():
                future.set_result(self._apply(command, "command", None))
        self.held = []

    def _apply(self, command: Command, origin: Origin, if_revision: int | None) -> Applied:
        snapshot = self.snapshot
        if if_revision is not None and if_revision != snapshot.revision:
            raise ControlError(f"revision is {snapshot.revision}, not {if_revision}", name="conflict")
        changes = self._changes(command, snapshot.settings)
        now = snapshot.settings
        changed = {name: (getattr(now, name), new) for name, new in changes.items() if getattr(now, name) != new}
        self.applied.append(command)
        settings = replace(now, **changes)
        level = 2 if settings.level is None else settings.level
        pinned = settings.level_pinned
        engine = structs.replace(snapshot.engine, id=settings.engine, level=level, level_pinned=pinned)
        revision = snapshot.revision + bool(changed)
        origins = {**snapshot.origins, **dict.fromkeys(changed, origin)}
        state: Any = "stopped" if isinstance(command, local.Shutdown) else snapshot.state
        self.snapshot = structs.replace(
            snapshot,
            settings=settings,
            engine=engine,
            revision=revision,
            origins=origins,
            state=state,
            hop_index=snapshot.hop_index + 1,
        )
        return Applied(revision, self.snapshot.hop_index, changed)

    def _changes(self, command: Command, now: Settings) -> dict[str, Any]:
        match command:
            case local.SetEngine(id=name):
                if name not in ENGINES:
                    raise EngineError(f"no engine is called {name!r}; expected one of {', '.join(ENGINES)}")
                return {"engine": name}
            case local.SetLevel(level=level, pin=pin):
                return {"level": level, "level_pinned": pin}
            case local.SetAttenuation(db=db):
                return {"attenuation_db": db}
            case local.SetBypass(on=on):
                return {"bypass": not now.bypass if on is None else on}
            case local.SetMute(on=on):
                return {"mute": not now.mute if on is None else on}
            case local.SetProfile(name=name):
                return {"profile": name}
            case local.SetGovernor(mode=mode):
                return {"governor": mode}
            case local.SetGate(mode=mode):
                return {"gate": mode}
            case local.SetDevices(input=microphone, output=output, channels=channels):
                named = {"input": microphone, "output": output, "channels": channels}
                return {k: v for k, v in named.items() if v is not None}
            case local.SetRecording():
                raise ControlError("nobody agreed to a recording", name="consent")
        return {}

    def tap(self) -> tuple[Any, Any]:
        """A rising and a falling spectrum."""
        ramp = np.linspace(0.0, 10.0, 257, dtype=np.float32)
        return ramp, ramp[::-1].copy()


class FakeCatalog:
    """Answers the slow questions."""

    def devices(self) -> dict[str, Any]:
        return {"inputs": [{"name": "USB PnP"}, {"name": "Built-in"}], "outputs": [{"name": "Headphones"}]}

    def engines(self) -> list[dict[str, Any]]:
        return [{"id": name, "title": name} for name in ENGINES]

    def profiles(self) -> list[dict[str, Any]]:
        return [{"name": "alice"}]

    def doctor(self) -> dict[str, Any]:
        return {"findings": []}
