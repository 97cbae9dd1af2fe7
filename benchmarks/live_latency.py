"""How long the voice takes from the microphone to the virtual microphone, on a private sound server.

Another program plays impulses into a cable and records; once straight from the cable, once through the denoiser, which
runs in a process of its own. The difference is the program's own share; issue 8 wants 40 ms at most. What the program
says of itself (snapshot.latency) stands beside it.

    python benchmarks/live_latency.py [--engine ID] [--hold SECONDS] [--realtime]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.soundcard import Cable, VirtualSoundcard, available  # noqa: E402

RATE, BLOCK = 48_000, 384
PERIOD_S = 0.5  # between impulses
BARE, ROOM, SPEAKER = Cable("bare"), Cable("room"), Cable("speaker")


class Probe:
    """Plays impulses into a sink and looks for them in a source; both in callbacks of this process."""

    def __init__(self, audio: Any, sink: str, source: str) -> None:
        import numpy as np

        from pse_stream.streaming.devices.portaudio import Queue

        self._np = np
        self.sent: list[float] = []  # when each impulse was handed over, s
        self.delays_ms: list[float] = []
        self.flags = 0
        self._queue = Queue()
        index = {audio.get_device_info_by_index(i)["name"]: i for i in range(audio.get_device_count())}
        form: dict[str, Any] = {"rate": RATE, "channels": 1, "format": 1, "frames_per_buffer": BLOCK}
        self._silence = bytes(4 * BLOCK)
        impulse = np.zeros(BLOCK, np.float32)
        impulse[0] = 0.5
        self._impulse = impulse.tobytes()
        self._next = time.monotonic() + 1.0
        self._waiting: float | None = None
        self._streams = [
            audio.open(input=True, input_device_index=index[source], stream_callback=self._record, **form),
            audio.open(output=True, output_device_index=index[sink], stream_callback=self._play, **form),
        ]

    def _play(self, _data: None, _frames: int, times: dict[str, float], flags: int) -> tuple[bytes, int]:
        self.flags += flags != 0
        self._queue.look(times["output_buffer_dac_time"] - times["current_time"])
        now = time.monotonic()
        if now < self._next:
            return self._silence, 0
        self._next = now + PERIOD_S
        self._waiting = now
        return self._impulse, 0

    def _record(self, data: bytes, _frames: int, _times: object, flags: int) -> tuple[None, int]:
        now = time.monotonic()
        block = self._np.frombuffer(data, self._np.float32)
        if self._waiting is not None and block.max() > 0.2:
            # Callback to callback, for both ways alike. After an underrun of the probe its own queue stands a block
            # longer: that is not the denoiser's.
            self.delays_ms.append((now - self._waiting - max(0.0, self._queue.growth_s)) * 1000.0)
            self._waiting = None
        return None, 0

    def close(self) -> None:
        """End both streams."""
        for stream in self._streams:
            stream.close()


def denoise(engine: str, realtime: bool) -> None:
    """The denoiser's own process: says what it believes, once a second, as JSON lines."""
    from pse_stream.streaming.denoiser import Denoiser
    from pse_stream.streaming.process import sound_process
    from pse_stream.streaming.settings import Settings

    bypass = engine == "bypass"
    with (
        Denoiser(Settings(engine=engine, bypass=bypass, input="room", attenuation_db=0.0)) as denoiser,
        sound_process(),
    ):
        if realtime:
            all_realtime()
        while True:
            time.sleep(1.0)
            plain = denoiser.snapshot.as_dict()
            said = {key: plain[key] for key in ("state", "reason", "latency", "counters", "load", "drift_ppm")}
            print(json.dumps(said), flush=True)


def all_realtime() -> None:
    """Every thread of this process, PortAudio's too."""
    from pse_stream.streaming.process import run_thread_realtime

    for thread in Path("/proc/self/task").iterdir():
        run_thread_realtime(int(thread.name))


def measure(audio: Any, cable: tuple[str, str], seconds: float, realtime: bool) -> Probe:
    """Impulses for a while."""
    probe = Probe(audio, *cable)
    if realtime:
        all_realtime()
    time.sleep(seconds)
    probe.close()
    return probe


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="bypass")
    parser.add_argument("--hold", type=float, default=10.0, metavar="SECONDS", help="how long to go on measuring")
    parser.add_argument("--realtime", action="store_true", help="ask for real-time scheduling (needs the right)")
    parser.add_argument("--denoise", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.denoise:
        denoise(options.engine, options.realtime)
    if not available():
        raise SystemExit("pulseaudio, pulseaudio-utils and util-linux are needed")
    with VirtualSoundcard([ROOM, BARE, SPEAKER]) as card:
        words = [sys.executable, __file__, "--denoise", "--engine", options.engine]
        words += ["--realtime"] if options.realtime else []
        program = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        try:
            assert program.stdout is not None
            first = json.loads(program.stdout.readline())
            said: list[dict[str, Any]] = [first]
            reader = threading.Thread(target=lambda: said.extend(map(json.loads, program.stdout or [])), daemon=True)
            reader.start()
            # The list of devices is as old as the library's first start: our own source must be in the configuration.
            with (card.dir / "asound.conf").open("a") as file:
                file.write('pcm.pse_mic { type pulse device "pse_mic" }\n')
            import pyaudio

            audio = pyaudio.PyAudio()
            bare = measure(audio, (BARE.sink, BARE.name), 8.0, options.realtime)
            through = measure(audio, (ROOM.sink, "pse_mic"), options.hold, options.realtime)
            audio.terminate()
        finally:
            program.terminate()
            program.wait()
    show(bare, through, said)


def show(bare: Probe, through: Probe, said: list[dict[str, Any]]) -> None:
    """One table."""

    def row(name: str, values: list[float]) -> str:
        ordered = sorted(values)
        return f"{name:34} {median(ordered):7.1f} {ordered[0]:7.1f} {ordered[-1]:7.1f}   n={len(ordered)}"

    last = said[-1]
    stated = [line["latency"]["total_ms"] for line in said if line["state"] in ("running", "bypassed", "degraded")]
    share = [delay - median(bare.delays_ms) for delay in through.delays_ms]
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; block {BLOCK} at {RATE} Hz")
    print(f"{'ms':34} {'median':>7} {'least':>7} {'most':>7}")
    print(row("bare cable", bare.delays_ms))
    print(row("through the denoiser", through.delays_ms))
    print(row("the denoiser's own share", share))
    print(row("what the denoiser says", stated))
    print(f"share / 40 ms: {median(share) / 40.0:.2f}   said - measured: {median(stated) - median(share):+.1f} ms")
    third = max(1, len(share) // 3)
    print(f"held: first third {median(share[:third]):.1f} ms, last third {median(share[-third:]):.1f} ms")
    print(f"at the end: {last['state']} {last['reason']}; drift {last['drift_ppm']:+.1f} ppm")
    print(f"counters {last['counters']}")
    print(f"load {last['load']}")


if __name__ == "__main__":
    main()
