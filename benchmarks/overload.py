"""Other programs take the CPU: how much of what is heard is damaged, with the governor and without.

    python benchmarks/overload.py [--runs 2] [--hogs-per-core 3] [--hog-s 15] [--engine gru-256] [--root]

A private sound server with two cables; a sine goes in at one end, a denoiser in a process of its own (without the right
to raise its priority, unless --root) plays it on, another program records the virtual microphone. In the middle of each
run busy processes, all children of this one and ended by it, take every core. Runs with the governor off and on take
turns. The stand-in engine changes nothing and costs 0.4 to 3 ms per hop, by level: so every 1/8 s of the recording
that is no longer the sine is damage, whoever's. With `--engine` a real engine runs, and damage is what the denoiser
counts itself (holes, dropped hops).

The sound server and the two other programs run with real-time priority where this is allowed, as on a desktop with
rtkit: what is measured is the denoiser. Nothing here passes or fails; wanted: at least five times less damage with the
governor, full quality within 10 s after the load, delay back to where it was within a hop.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from pse_stream.dsp.spec import Complex64s, Float32s
from pse_stream.engines.bypass import BypassEngine
from pse_stream.engines.contract import Engine, EngineInfo, Level

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.soundcard import Cable, VirtualSoundcard

RATE = 48_000
TONE_HZ, LEVEL = 1000.0, 0.3
BLOCK_S = 0.125
BROKEN = 2e-3  # of the recurrence of a sine; float32 and resampling stay below 1e-4, a splice makes 1e-2 and more
CALM_S, AFTER_S = 5.0, 14.0  # before and after the load
COSTS_MS = (0.4, 0.8, 1.4, 2.0, 3.0)  # of the stand-in's levels; the rest of the path takes about 0.5 ms more
RAW = ("--raw", "--format=float32le", f"--rate={RATE}", "--channels=1", "--latency-msec=200")
PRIORITY = 12  # of the sound server; ours may have 10


class StandIn(BypassEngine):
    """Changes nothing, and takes its time."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self._costs_ms = [ms * scale for ms in COSTS_MS]
        levels = tuple(Level(name=f"{ms:.1f} ms") for ms in self._costs_ms)
        self.info = EngineInfo(id="stand-in", title="Stand-in", levels=levels)
        self._matrix = np.ones((96, 96), np.float32)

    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        """Multiply until the time is used up."""
        end = time.thread_time() + self._costs_ms[level] / 1000.0
        super().step(frame, out, level)
        while time.thread_time() < end:
            self._matrix @ self._matrix


@dataclass
class Result:
    """One run."""

    mode: str
    damaged: dict[str, float] = field(default_factory=dict)  # phase: share of blocks of 1/8 s
    cable: float = 0.0  # the same, in the cable that feeds the denoiser, under load
    back_s: float = float("nan")  # from the end of the load to the top rung
    lowest: str = ""
    changes: int = 0
    delay_ms: tuple[float, float] = (0.0, 0.0)  # before, at the end
    parts: str = ""  # of the delay at the end
    reasons: list[str] = field(default_factory=list)


def main() -> None:
    """Run, compare, print."""
    options = parsed()
    if options.child:
        denoise(options)
        return
    print(f"{os.cpu_count()} cores, {options.hogs_per_core} hogs each, load of others {os.getloadavg()[0]:.1f}")
    print(f"{'root, real time' if options.root else 'without rights'}; engine {options.engine or 'stand-in'}")
    print(f"{'governor':10}{'damaged calm':>14}{'load':>8}{'after':>8}{'cable':>8}{'back s':>8}{'changes':>9}"
          f"{'delay before':>14}{'after':>7}  lowest rung")  # fmt: skip
    results = []
    for _ in range(options.runs):
        for mode in ("off", options.governor):
            results.append(run(options, mode))
            line(results[-1])
    shares = {mode: median(r.damaged["load"] for r in results if (r.mode == "off") == (mode == "off"))
              for mode in ("off", "on")}  # fmt: skip
    print(f"damage under load, medians: off {shares['off']:.1%}, on {shares['on']:.1%}: "
          f"{shares['off'] / max(shares['on'], 1e-3):.1f} times less")  # fmt: skip
    for reason in next((r.reasons for r in results if r.mode != "off"), []):
        print("   ", reason)


def line(result: Result) -> None:
    """A row of the table."""
    widths = {"calm": 14, "load": 8, "after": 8}
    shares = "".join(f"{result.damaged[phase]:>{width}.1%}" for phase, width in widths.items())
    before, after = result.delay_ms
    print(f"{result.mode:10}{shares}{result.cable:>8.1%}{result.back_s:>8.1f}{result.changes:>9}"
          f"{before:>14.1f}{after:>7.1f}  {result.lowest} ({result.parts})", flush=True)  # fmt: skip


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2, help="of each kind")
    parser.add_argument("--hogs-per-core", type=int, default=3)
    parser.add_argument("--hog-s", type=float, default=15.0)
    parser.add_argument("--engine", default="", help="instead of the stand-in")
    parser.add_argument("--scale", type=float, default=1.0, help="of the stand-in's costs")
    parser.add_argument("--governor", default="auto")
    parser.add_argument("--root", action="store_true", help="keep the right to raise priorities, and use it")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


# --- one run ------------------------------------------------------------------------------------------------------


def run(options: argparse.Namespace, mode: str) -> Result:
    """A fresh server, a fresh denoiser, calm, load, calm."""
    cables = [Cable("room"), Cable("speaker")]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        card = stack.enter_context(VirtualSoundcard(cables))
        promote(card._proc.pid if card._proc else 0)
        log = folder / "log"
        denoiser = stack.enter_context(process(child_words(options, mode, log)))
        wait_for(lambda: "pse_mic" in card.pactl("list", "short", "sources"), denoiser)
        feed = stack.enter_context(process(["pacat", "-d", "room_sink", *RAW, str(tone(folder, options.hog_s + 45.0))]))
        heard, direct = folder / "heard", folder / "cable"
        listener = stack.enter_context(recorder("pse_mic", heard))
        for helper in (feed, listener, stack.enter_context(recorder("room", direct))):
            promote(helper.pid)
        wait_for(lambda: heard.stat().st_size > 0 and log.exists() and log.stat().st_size > 0, denoiser)
        time.sleep(3.0)  # streams settle
        marks = phases(options, heard)
        return judged(mode, marks, heard, direct, [json.loads(row) for row in log.read_text().splitlines() if row])


def phases(options: argparse.Namespace, heard: Path) -> dict[str, tuple[float, float, int, int]]:
    """Calm, load, calm: for each the times, and the samples recorded by then."""
    marks = {}
    for name, seconds in (("calm", CALM_S), ("load", options.hog_s), ("after", AFTER_S)):
        began, first = time.monotonic(), heard.stat().st_size // 4
        with hogs(options.hogs_per_core * (os.cpu_count() or 1) if name == "load" else 0, seconds):
            time.sleep(seconds)
        marks[name] = (began, time.monotonic(), first, heard.stat().st_size // 4)
    return marks


@contextlib.contextmanager
def hogs(count: int, seconds: float) -> Iterator[None]:
    """Busy processes; each ends by itself a little later, whatever happens to us."""
    code = f"import time\nend = time.monotonic() + {seconds + 2.0}\nwhile time.monotonic() < end: pass"
    children = [subprocess.Popen([sys.executable, "-S", "-c", code]) for _ in range(count)]
    try:
        yield
    finally:
        for child in children:
            child.kill()
            child.wait()


@contextlib.contextmanager
def process(words: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Another program, ended at the end."""
    child = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(5.0)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextlib.contextmanager
def recorder(source: str, path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Record a source into a file."""
    with path.open("wb") as file:
        child = subprocess.Popen(["parec", "-d", source, *RAW], stdout=file)
        try:
            yield child
        finally:
            child.terminate()
            child.wait()


def promote(pid: int) -> None:
    """Real time for all threads of a program, where that is allowed."""
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setscheduler(int(thread), os.SCHED_FIFO, os.sched_param(PRIORITY))


def wait_for(true: Any, child: subprocess.Popen[bytes]) -> None:
    """Wait up to 30 s."""
    end = time.monotonic() + 30.0
    while not true():
        if child.poll() is not None or time.monotonic() > end:
            raise RuntimeError("the denoiser did not start")
        time.sleep(0.1)


def tone(folder: Path, seconds: float) -> Path:
    """A file with a sine."""
    path = folder / "tone"
    wave = LEVEL * np.sin(2 * np.pi * TONE_HZ / RATE * np.arange(round(seconds * RATE)))
    path.write_bytes(wave.astype(np.float32).tobytes())
    return path


# --- judging ------------------------------------------------------------------------------------------------------


def judged(
    mode: str, marks: dict[str, tuple[float, float, int, int]], heard: Path, direct: Path, rows: list[dict[str, Any]]
) -> Result:
    """Figures of one run."""
    sound, cable = (np.frombuffer(path.read_bytes(), np.float32) for path in (heard, direct))
    result = Result(mode)
    real = any(row["engine"] != "stand-in" and row["own"] for row in rows)
    for name, (began, ended, first, last) in marks.items():
        lost = share_lost(rows, began, ended)
        result.damaged[name] = lost if real else share_broken(sound[first:last])
    _, end, first, last = marks["load"]
    result.cable = share_broken(cable[first:last])
    loaded = [row for row in rows if row["now"] >= marks["load"][0]]
    result.lowest = min(loaded, key=lambda row: row["index"])["rung"]
    after = [row for row in loaded if row["now"] >= end]
    if after and after[-1]["index"] == after[-1]["top"]:
        low = [row["now"] for row in after if row["index"] < row["top"]]
        result.back_s = max(0.0, low[-1] - end) if low else 0.0
    result.changes = rows[-1]["changes"]
    result.delay_ms = (
        median(row["delay"] for row in rows if marks["calm"][0] <= row["now"] < marks["load"][0]),
        median(row["delay"] for row in rows[-20:]),
    )
    result.parts = " ".join(f"{name} {rows[-1][name]:.1f}" for name in ("buffer", "device"))
    result.reasons = [row["reason"] for before, row in itertools.pairwise(rows) if row["changes"] != before["changes"]]
    return result


def share_broken(sound: Float32s) -> float:
    """Of blocks in which the sine is not the sine."""
    x = sound.astype(np.float64)
    off = np.abs(x[2:] - 2 * np.cos(2 * np.pi * TONE_HZ / RATE) * x[1:-1] + x[:-2])
    size = round(BLOCK_S * RATE)
    blocks = [
        off[at : at + size].max() > BROKEN or np.abs(x[at : at + size]).max() < LEVEL / 2
        for at in range(0, len(off) - size, size)
    ]
    return float(np.mean(blocks)) if blocks else float("nan")


def share_lost(rows: list[dict[str, Any]], began: float, ended: float) -> float:
    """Of looks a block apart between which the denoiser has counted holes or dropped hops."""
    seen = [row["lost"] for row in rows if began <= row["now"] <= ended]
    return float(np.mean(np.diff(seen) > 0)) if len(seen) > 1 else float("nan")


# --- the denoiser's process ---------------------------------------------------------------------------------------


def child_words(options: argparse.Namespace, mode: str, log: Path) -> list[str]:
    """How to start it: without the right to raise its priority, unless wanted."""
    words = [sys.executable, __file__, "--child", str(log), "--governor", mode, "--engine", options.engine,
             "--scale", str(options.scale)]  # fmt: skip
    if options.root:
        return [*words, "--root"]
    if shutil.which("setpriv") and os.geteuid() == 0:
        return ["setpriv", "--bounding-set=-sys_nice", "--inh-caps=-sys_nice", *words]
    return words


def denoise(options: argparse.Namespace) -> None:
    """Be the denoiser, and write down what it says of itself, eight times a second."""
    from pse_stream.engines.registry import open_engine
    from pse_stream.streaming.denoiser import Denoiser
    from pse_stream.streaming.devices.pulse import PulseDevice
    from pse_stream.streaming.process import run_thread_promptly, sound_process
    from pse_stream.streaming.settings import Settings

    def engines(id: str) -> Engine:
        return StandIn(options.scale) if id == "stand-in" else open_engine(id)

    run_thread_promptly()
    settings = Settings(engine=options.engine or "stand-in", attenuation_db=100.0, governor=options.governor)
    denoiser = Denoiser(
        settings, device=PulseDevice(), engines=engines, realtime=options.root, calibrate=bool(options.engine)
    )
    with Path(options.child).open("w", buffering=1) as log, denoiser, sound_process():
        while True:
            now = denoiser.snapshot
            row = {
                "now": time.monotonic(),
                "delay": now.latency.total_ms,
                "buffer": now.latency.buffer_ms,
                "device": now.latency.device_ms,
                "engine": now.engine.id,
                "own": now.engine.id == now.settings.engine,
                "rung": now.governor.rung,
                "index": now.governor.index,
                "top": now.governor.top,
                "changes": now.governor.changes,
                "reason": now.governor.reason,
                "lost": now.counters.underruns + now.counters.dropped_hops,
                "late": now.counters.late_hops,
            }
            log.write(json.dumps(row) + "\n")
            time.sleep(BLOCK_S)


if __name__ == "__main__":
    main()
