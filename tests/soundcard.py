"""A virtual sound card for tests: a private PulseAudio daemon with named cables.

PortAudio opens the cables as ALSA devices, browsers see them as PulseAudio devices, and nothing of the user's own
audio set-up is touched. A cable `room` is a null sink `room_sink` (write here) whose monitor is published as a source
`room` (read here). Samples are float32 and come back bit for bit as long as the stream has the cable's rate and
channel count, all volumes are 100 % and nobody was late (a late stream gets a gap of zeros, with or without a flag).
The first cable is the default microphone, the last one the default loudspeaker.

    with VirtualSoundcard([Cable("room"), Cable("ear")]) as card:
        pa = pyaudio.PyAudio()          # only now: PortAudio scans the devices once
        ...                             # devices "room_sink", "room", "ear_sink", "ear"

Debian: pulseaudio pulseaudio-utils libasound2-plugins libportaudio2 (pipewire-alsa excludes them).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

OWNER = "pse-stream-test"  # marks the modules as ours
_CLEARED = ("PULSE_SINK", "PULSE_SOURCE", "PULSE_LATENCY_MSEC", "PULSE_PROP", "DISPLAY")


def available() -> bool:
    """True where the daemon and its tools are installed."""
    return all(shutil.which(program) for program in ("pulseaudio", "pactl", "setpriv"))


@dataclass(frozen=True)
class Cable:
    """One named cable: sink `<name>_sink` -> source `<name>`."""

    name: str
    description: str = ""
    rate: int = 48_000
    channels: int = 1

    @property
    def sink(self) -> str:
        """Where to write."""
        return f"{self.name}_sink"

    def modules(self) -> list[list[str]]:
        """The arguments of the two `pactl load-module` calls, sink first.

        norewinds=1 is essential: a plain null sink renders up to 2 s ahead, so streams start up to 2 s late and the
        monitor loses or repeats audio.
        """
        text = self.description or self.name.replace("_", " ").title()
        layout = "channel_map=" + {1: "mono", 2: "stereo"}[self.channels]
        spec = [f"rate={self.rate}", f"channels={self.channels}", layout]
        props = "{}_properties=\"device.description='{}' application.id='" + OWNER + "'\""
        return [
            ["module-null-sink", f"sink_name={self.sink}", "format=float32le", *spec, "norewinds=1",
             props.format("sink", text + " (feed)")],
            ["module-remap-source", f"source_name={self.name}", f"master={self.sink}.monitor", *spec, "remix=no",
             props.format("source", text)],
        ]  # fmt: skip


class VirtualSoundcard:
    """Context manager owning the daemon, its directory and the environment variables."""

    def __init__(self, cables: Sequence[Cable], timeout: float = 15.0) -> None:
        self.cables, self.timeout, self.dir = tuple(cables), timeout, Path()
        self.env: dict[str, str] = {}
        self._saved: dict[str, str | None] = {}
        self._proc: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.dir = Path(tempfile.mkdtemp(prefix="vsc-"))  # 0700; a socket path is <= 107 bytes
        for sub in ("state", "rt", "home"):
            (self.dir / sub).mkdir(mode=0o700)
        self._write_configuration()
        self.env = {
            "XDG_RUNTIME_DIR": f"{self.dir}",
            "PULSE_SERVER": f"unix:{self.dir}/native",
            "PULSE_RUNTIME_PATH": f"{self.dir}/rt",
            "PULSE_STATE_PATH": f"{self.dir}/state",
            "PULSE_COOKIE": f"{self.dir}/rt/cookie",
            "PULSE_CLIENTCONFIG": f"{self.dir}/client.conf",
            "ALSA_CONFIG_PATH": f"{self.dir}/asound.conf",  # instead of the system's alsa.conf: no noise
            "JACK_NO_START_SERVER": "1",
        }
        self._saved = {key: os.environ.pop(key, None) for key in (*self.env, *_CLEARED)}
        os.environ.update(self.env)
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()
        for key in self._saved:
            os.environ.pop(key, None)
        os.environ.update({k: v for k, v in self._saved.items() if v is not None})
        shutil.rmtree(self.dir, ignore_errors=True)

    def _write_configuration(self) -> None:
        folder, first, last = self.dir, self.cables[0], self.cables[-1]
        (folder / "client.conf").write_text("autospawn = no\nenable-shm = no\n")
        (folder / "daemon.conf").write_text(  # the format that browsers take for every device
            "default-sample-format = float32le\ndefault-sample-rate = 48000\n"
            "default-sample-channels = 1\ndefault-channel-map = mono\nflat-volumes = no\n"
        )
        socket = f"load-module module-native-protocol-unix socket={folder}/native auth-anonymous=1"
        modules = ["load-module " + " ".join(words) for cable in self.cables for words in cable.modules()]
        defaults = [f"set-default-sink {last.sink}", f"set-default-source {first.name}"]
        (folder / "start.pa").write_text("\n".join([socket, *modules, *defaults]) + "\n")
        # One PCM per device. `default` must exist: PortAudio 19.6 aborts in BuildDeviceList (assertion
        # devIdx < numDeviceNames) when every PCM opens and none is named default.
        names = [name for cable in self.cables for name in (cable.sink, cable.name)]
        (folder / "asound.conf").write_text(
            "".join(f'pcm.{name} {{ type pulse device "{name}" }}\n' for name in names)
            + f'pcm.default {{ type asym playback.pcm "{last.sink}" capture.pcm "{first.name}" }}\n'
        )

    def start(self) -> None:
        """Start (after stop() or kill(): restart) the daemon and wait until it answers."""
        (self.dir / "native").unlink(missing_ok=True)
        with (self.dir / "log").open("ab") as log:
            self._proc = subprocess.Popen(  # setpriv: the daemon dies with the thread that made it
                ["setpriv", "--pdeathsig", "KILL", "pulseaudio", "-n", "-F", f"{self.dir}/start.pa",
                 "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--disable-shm=yes",
                 "--realtime=yes", "--high-priority=yes", "--log-target=stderr"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, **self.env, "HOME": f"{self.dir}/home",
                     "PULSE_CONFIG": f"{self.dir}/daemon.conf"},
            )  # fmt: skip
        end = time.monotonic() + self.timeout
        while time.monotonic() < end:
            if self._proc.poll() is not None:
                raise RuntimeError(f"pulseaudio ended, {self._proc.returncode}: {self.log()}")
            try:
                if {source["name"] for source in self.list("sources")} >= {cable.name for cable in self.cables}:
                    return
            except (subprocess.SubprocessError, ValueError):
                pass
            time.sleep(0.05)
        raise TimeoutError(f"no answer from pulseaudio in {self.timeout} s: {self.log()}")

    def stop(self, sig: int = signal.SIGTERM) -> None:
        """End the daemon, with SIGKILL when it does not go by itself."""
        if self._proc is not None:
            self._proc.send_signal(sig)
            try:
                self._proc.wait(3.0)
            except subprocess.TimeoutExpired:
                self._proc.kill()
                self._proc.wait()
            self._proc = None

    def kill(self) -> None:
        """The sound server crashes; start() brings it back."""
        self.stop(signal.SIGKILL)

    def freeze(self, seconds: float) -> None:
        """The sound server hangs for a while."""
        assert self._proc is not None
        self._proc.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._proc.send_signal(signal.SIGCONT)

    def log(self) -> str:
        """The end of what the daemon wrote."""
        return (self.dir / "log").read_text(errors="replace")[-3000:]

    def pactl(self, *args: str) -> str:
        """Run pactl against this daemon; its output."""
        environment = {**os.environ, **self.env, "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            ["pactl", *args], env=environment, check=True, capture_output=True, text=True, timeout=self.timeout
        )
        return done.stdout

    def list(self, kind: str) -> list[dict[str, Any]]:
        """kind: sinks, sources, sink-inputs, source-outputs, clients (JSON needs pactl >= 16)."""
        return list(json.loads(self.pactl("--format=json", "list", kind)))

    def modules(self) -> list[str]:
        """One line per loaded module: index, name, arguments."""
        return self.pactl("list", "short", "modules").splitlines()

    def listeners(self, source: str) -> int:
        """How many streams read the source and are not corked (paused)."""
        index = next(s["index"] for s in self.list("sources") if s["name"] == source)
        return sum(o["source"] == index and not o["corked"] for o in self.list("source-outputs"))

    def unplug(self, cable: Cable) -> None:
        """Take the cable away while streams run: unload its sink, the source goes with it."""
        row = next(r for r in self.modules() if f"sink_name={cable.sink} " in r)
        self.pactl("unload-module", row.split("\t")[0])

    def plug(self, cable: Cable) -> None:
        """Bring an unplugged cable back."""
        for words in cable.modules():
            self.pactl("load-module", *words)
