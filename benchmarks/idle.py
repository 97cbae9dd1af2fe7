"""What the program costs while nobody listens, and how soon the voice is there when somebody does.

The denoiser runs in a process of its own on a private sound server; issue 8 wants < 2 % of a core while paused, and
sound within 100 ms of the first listener. CPU is counted over the whole process, threads and children (pactl) included.

    python benchmarks/idle.py [--engine ID] [--seconds SECONDS] [--times N]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.soundcard import Cable, VirtualSoundcard, available  # noqa: E402

RATE = 48_000
ROOM, SPEAKER = Cable("room"), Cable("speaker")
WANTED_PERCENT, WANTED_MS = 2.0, 100.0


def denoise(engine: str) -> None:
    """The denoiser's own process: one JSON line per line that it is asked with."""
    from pse_stream.streaming.denoiser import Denoiser
    from pse_stream.streaming.process import sound_process
    from pse_stream.streaming.settings import Settings

    with Denoiser(Settings(engine=engine, input="room")) as denoiser, sound_process():
        for _ in sys.stdin:
            snapshot = denoiser.snapshot
            print(json.dumps([snapshot.state, snapshot.reason, snapshot.counters.hops]), flush=True)


class Program:
    """The denoiser, from outside."""

    def __init__(self, engine: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--denoise", "--engine", engine],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._watched = psutil.Process(self._process.pid)

    def ask(self) -> list[Any]:
        """State, reason, hops."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer: list[Any] = json.loads(self._process.stdout.readline())
        return answer

    def wait(self, state: str) -> None:
        """Until it is in this state."""
        while self.ask()[0] != state:
            time.sleep(0.1)

    def cpu_s(self) -> float:
        """Seconds of CPU so far, threads and ended children included."""
        times = self._watched.cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)

    def end(self) -> None:
        """Stop it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


def percent(program: Program, seconds: float) -> float:
    """CPU of one core."""
    before, began = program.cpu_s(), time.monotonic()
    time.sleep(seconds)
    return 100.0 * (program.cpu_s() - before) / (time.monotonic() - began)


def resume_ms(loud: float) -> tuple[float, float]:
    """From a listener's first sample to the first sound in it, ms, and from its start to its first sample."""
    import numpy as np

    began = time.monotonic()
    listener = subprocess.Popen(
        ["parec", "-d", "pse_mic", "--raw", "--format=float32le", f"--rate={RATE}", "--channels=1",
         "--latency-msec=10"], stdout=subprocess.PIPE,
    )  # fmt: skip
    assert listener.stdout is not None
    first, samples = 0.0, 0
    while True:
        data = listener.stdout.read1(65_536)  # type: ignore[attr-defined]
        first = first or time.monotonic()
        block = np.frombuffer(data[: len(data) // 4 * 4], np.float32)
        found = np.flatnonzero(np.abs(block) > loud)
        if len(found) or samples > 5 * RATE:
            samples += int(found[0]) if len(found) else 0
            break
        samples += len(block)
    listener.terminate()
    listener.communicate()
    return samples / RATE * 1000.0, (first - began) * 1000.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to watch the pause")
    parser.add_argument("--times", type=int, default=5, help="how often to resume")
    parser.add_argument("--denoise", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.denoise:
        denoise(options.engine)
        return
    if not available():
        raise SystemExit("pulseaudio, pulseaudio-utils and util-linux are needed")
    import numpy as np

    noise = (np.random.default_rng(0).standard_normal(RATE * 300) * 0.1).astype(np.float32)
    with VirtualSoundcard([ROOM, SPEAKER]) as card:
        (card.dir / "voice.raw").write_bytes(noise.tobytes())
        speaker = subprocess.Popen(
            ["pacat", "-d", "room_sink", "--raw", "--format=float32le", f"--rate={RATE}", "--channels=1",
             str(card.dir / "voice.raw")]
        )  # fmt: skip
        program = Program(options.engine)
        try:
            active = percent(program, 4.0)
            program.wait("paused")
            time.sleep(1.0)
            hops = program.ask()[2]
            idle = percent(program, options.seconds)
            still = program.ask()[2] == hops
            resumes, starts = [], []
            for _ in range(options.times):
                program.wait("paused")
                sound, start = resume_ms(0.001)
                resumes.append(sound)
                starts.append(start)
        finally:
            program.end()
            speaker.kill()
            speaker.wait()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"CPU at work        {active:6.2f} % of a core, engine {options.engine}")
    print(
        f"CPU while paused   {idle:6.2f} %   of {WANTED_PERCENT} %: {idle / WANTED_PERCENT:.2f}   no hop ran: {still}"
    )
    print(f"sound after        {median(resumes):6.0f} ms of the listener's own time (least {min(resumes):.0f}, most "
          f"{max(resumes):.0f})   of {WANTED_MS:.0f} ms: {median(resumes) / WANTED_MS:.2f}")  # fmt: skip
    print(f"the listener itself took {median(starts):.0f} ms to get its first sample")


if __name__ == "__main__":
    main()
