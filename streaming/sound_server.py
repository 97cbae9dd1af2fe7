"""Facts from the sound server (PulseAudio, or PipeWire's stand-in for it), asked through `pactl --format=json`.

PortAudio says nothing of what matters here: which source a stream really records from, whether it is muted, who
listens. `pactl` says all of it on both servers, needs no binding of ours, and when it hangs it hangs alone.
Each question starts a process (about 7 ms): ask on events (`Watcher`), not in a loop.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pse_stream.errors import DeviceError

log = logging.getLogger(__name__)

OUR_ID = "pse-stream"  # application.id of every module of ours
ANSWER_S = 3.0  # a healthy server answers within 20 ms
RETRY_S = (0.2, 0.5, 1.0, 2.0)  # while the server is away; the last one for ever
PAUSE_S = 0.1  # between two rounds of questions; events come in volleys: a volume wheel makes a hundred a second

#: Runs pactl with these arguments and gives back what it printed; raises `DeviceError`.
Run = Callable[[Sequence[str]], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A source or a sink of the server."""

    index: int
    name: str
    description: str
    channels: int
    sample_rate: int
    muted: bool
    volume_percent: float
    state: str  # RUNNING, IDLE, SUSPENDED
    monitor_of: str = ""  # the sink that this source records
    properties: dict[str, str] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        """Made by this program, or the recording of something that was."""
        return self.properties.get("application.id") == OUR_ID or self.monitor_of.startswith("pse_mic")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A program's stream: it records from a source, or plays to a sink."""

    index: int
    endpoint: int  # index of the source or sink
    pid: int  # 0: a module of the server
    program: str
    corked: bool  # paused by its program


class SoundServer:
    """Questions and the few orders that we give."""

    def __init__(self, run: Run | None = None) -> None:
        self._run = run or run_pactl

    def info(self) -> dict[str, str]:
        """`pactl info`: server_name, default_source_name, default_sink_name and more.

        Raises
        ------
        DeviceError
            "server_down": nobody answers.
        """
        answer: dict[str, str] = self._ask("info")
        return answer

    def sources(self) -> list[Endpoint]:
        """Microphones, monitors, and virtual microphones."""
        return [_endpoint(row) for row in self._ask("list", "sources")]

    def sinks(self) -> list[Endpoint]:
        """Loudspeakers and virtual sinks."""
        return [_endpoint(row) for row in self._ask("list", "sinks")]

    def recordings(self) -> list[Connection]:
        """Who records from where."""
        return [_connection(row, "source") for row in self._ask("list", "source-outputs")]

    def playbacks(self) -> list[Connection]:
        """Who plays to where."""
        return [_connection(row, "sink") for row in self._ask("list", "sink-inputs")]

    def modules(self) -> list[tuple[int, str, str]]:
        """Index, name and arguments of every module."""
        rows = (line.split("\t") for line in self._run(["list", "short", "modules"]).splitlines())
        return [(int(row[0]), row[1], row[2] if len(row) > 2 else "") for row in rows if len(row) > 1]

    def load_module(self, name: str, *arguments: str) -> int:
        """Load a module; its index."""
        return int(self._run(["load-module", name, *arguments]).strip())

    def unload_module(self, index: int) -> None:
        """Unload one module by its index (never by name: that takes everybody's)."""
        self._run(["unload-module", str(index)])

    def _ask(self, *words: str) -> Any:
        text = self._run(["--format=json", *words])
        try:
            return json.loads(text)
        except ValueError as error:
            raise DeviceError(
                f"pactl {' '.join(words)} answered {text[:60]!r}; expected JSON.",
                name="server",
                hint="pulseaudio-utils 16 or newer is needed.",
            ) from error


def run_pactl(words: Sequence[str]) -> str:
    """Run pactl, without a shell.

    Raises
    ------
    DeviceError
        "no_pactl", "server_down", or "server": it refused.
    """
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}  # other locales print decimal commas into the JSON
    try:
        done = subprocess.run(
            ["pactl", *words], env=environment, capture_output=True, text=True, timeout=ANSWER_S, check=False
        )
    except FileNotFoundError as error:
        raise DeviceError(
            "the program pactl is not installed; the sound server cannot be asked.",
            name="no_pactl",
            hint="Install it: apt install pulseaudio-utils",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise _down(f"the sound server does not answer (waited {ANSWER_S:g} s)") from error
    if done.returncode == 0:
        return done.stdout
    said = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
    if "onnection" in said[0]:  # "Connection failure: Connection refused", "Connection terminated"
        raise _down(f"no sound server answers at {_address()}")
    raise DeviceError(f"the sound server refused {' '.join(words[:2])}: {said[0]}", name="server")


def _down(what: str) -> DeviceError:
    return DeviceError(f"{what}.", name="server_down", hint="Over ssh? Try: loginctl enable-linger $USER")


def _address() -> str:
    return os.environ.get("PULSE_SERVER") or "$XDG_RUNTIME_DIR/pulse/native"


def _endpoint(row: dict[str, Any]) -> Endpoint:
    _, channels, rate = row["sample_specification"].split()
    volumes = [float(v["value_percent"].rstrip("%")) for v in row.get("volume", {}).values()]
    return Endpoint(
        index=row["index"],
        name=row["name"],
        description=row.get("description") or row["name"],
        channels=int(channels.removesuffix("ch")),
        sample_rate=int(rate.removesuffix("Hz")),
        muted=bool(row["mute"]),
        volume_percent=max(volumes, default=100.0),
        state=row["state"],
        monitor_of=row.get("monitor_source", "") if row["name"].endswith(".monitor") else "",
        properties=row.get("properties", {}),
    )


def _connection(row: dict[str, Any], kind: Literal["source", "sink"]) -> Connection:
    properties = row.get("properties", {})
    pid = properties.get("application.process.id", "0")
    return Connection(
        index=row["index"],
        endpoint=row[kind],
        pid=int(pid) if pid.isdigit() else 0,
        program=properties.get("application.process.binary") or properties.get("application.name", ""),
        corked=bool(row["corked"]),
    )


class Watcher:
    """Call back when anything about sources, sinks and their streams changes, or the server comes and goes.

    `changed(True)` after a volley of events, `changed(False)` when the server is away. Client events are ignored:
    our own questions make them, and answering those would never end.
    """

    _KINDS = ("source", "sink", "server")  # also source-output and sink-input

    def __init__(self, changed: Callable[[bool], None]) -> None:
        self._changed = changed
        self._leave = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._dirty = threading.Event()
        self._threads = [
            threading.Thread(target=self._listen, name="pse-subscribe", daemon=True),
            threading.Thread(target=self._tell, name="pse-server-facts", daemon=True),
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the subscription."""
        self._leave.set()
        self._dirty.set()
        process = self._process
        if process is not None:
            process.terminate()
        for thread in self._threads:
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(2.0)

    def _listen(self) -> None:
        tries = 0
        while not self._leave.is_set():
            began = time.monotonic()
            self._subscribe()
            if self._leave.is_set():
                return
            tries = 0 if time.monotonic() - began > RETRY_S[-1] else tries + 1
            self._changed(False)
            self._leave.wait(RETRY_S[min(tries, len(RETRY_S) - 1)])

    def _subscribe(self) -> None:
        """Read events until the server goes away."""
        try:
            process = subprocess.Popen(
                ["pactl", "subscribe"],
                env={**os.environ, "LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        except OSError:
            return
        self._process = process
        if self._leave.is_set():  # stopped meanwhile, and nobody else knows of the process
            process.terminate()
        self._dirty.set()  # whatever happened before we listened
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                kind = line.partition(" on ")[2]
                if kind.startswith(self._KINDS):
                    self._dirty.set()
        self._process = None

    def _tell(self) -> None:
        while not self._leave.is_set():
            self._dirty.wait()
            self._dirty.clear()
            if self._leave.is_set():
                return
            self._changed(True)  # the first event of a volley at once, the rest of it together
            self._leave.wait(PAUSE_S)
