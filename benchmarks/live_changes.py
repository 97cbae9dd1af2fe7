"""A thousand random live changes while sound flows: clicks, delay, and whether the end is what a fresh start would be.

    python benchmarks/live_changes.py [--changes 1000] [--seed 1]

A voice-like tone (harmonics of 150 Hz, slowly swelling, no consonants) goes through a denoiser under simulated time,
so that nothing but the changes can click. They arrive as protocol messages, one every 60 to 160 ms: bypass, mute,
limit, level, engine. Printed for each kind, against the same sound without changes:

    step     the largest difference between neighbouring samples; a click is a large one
    hiss     the largest peak above 6 kHz, where the tone has nothing: any break of the wave shows there
    jump     the largest change of loudness between neighbouring 10 ms, dB (a mute or a limit is a wanted one)

and for comparison the same sound with hard cuts, which is what a click would look like.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from scipy.signal import butter, sosfilt

from pse_stream.control.catalog import SystemCatalog
from pse_stream.control.desk import Desk
from pse_stream.control.messages import decode
from pse_stream.dsp.spec import Float32s
from pse_stream.engines.registry import available
from pse_stream.streaming.denoiser import Denoiser
from pse_stream.streaming.devices.fake import FakeDevice
from pse_stream.streaming.settings import Settings

RATE = 48_000
WINDOW_S = 0.06  # around a change: what it can be blamed for
SETTLE_S = 3.0
BYPASSED_S = 1.5  # at the very end, to compare sample for sample
HISS = butter(6, 6_000.0, "highpass", fs=RATE, output="sos")


def main() -> None:
    """Run, compare, print."""
    arguments = parsed()
    source = random.Random(arguments.seed)
    changed, marks, delays, settings = run(source, arguments.changes)
    plain, _, _, _ = run(random.Random(arguments.seed), arguments.changes, quiet=True)
    reference = figures(plain, [(i, "none") for i, _ in marks])["none"]
    print(f"{len(marks)} changes in {len(changed) / RATE:.0f} s of sound")
    print(f"{'':24}{'count':>7}{'step':>9}{'hiss dBFS':>11}{'jump dB':>9}")
    line(
        "the tone itself", 1, figures(tone(0, RATE * 10), [(i, "tone") for i in range(4_000, RATE * 9, 2_000)])["tone"]
    )
    line("without changes", len(marks), reference)
    for kind, found in sorted(figures(changed, marks).items()):
        line(kind, sum(name == kind for _, name in marks), found)
    line("hard cuts, for comparison", len(marks), figures(cut(plain, marks), [(i, "cut") for i, _ in marks])["cut"])
    print(f"delay said: {min(delays):.1f} to {max(delays):.1f} ms; delay heard under bypass: {heard_delays(source)}")
    print(f"settings at the end: {settings}")
    louder, apart = against_fresh(settings, changed)
    print(
        f"against a fresh start with these: loudness {louder:+.2f} dB; bypassed, samples differ by at most {apart:.1e}"
    )


def tone(first: int, count: int) -> Float32s:
    """Twenty harmonics of 150 Hz falling by 6 dB an octave, swelling twice a second."""
    t = (first + np.arange(count)) / RATE
    swell = 0.6 + 0.4 * np.sin(2 * np.pi * 2.0 * t)
    wave = sum(np.sin(2 * np.pi * 150.0 * k * t + k * k) / k for k in range(1, 21))
    return (0.1 * swell * wave).astype(np.float32)


class Stage:
    """A denoiser under simulated time, asked through the protocol."""

    def __init__(self, settings: Settings) -> None:
        self.device = FakeDevice(sample_rate=RATE, source=tone)
        self.denoiser = Denoiser(settings, device=self.device)
        self.desk = Desk(self.denoiser, SystemCatalog(self.denoiser, self.device))

    def ask(self, method: str, params: dict[str, object]) -> None:
        """One change; it takes effect at the next hop."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        future = self.desk.submit(decode(json.dumps(body).encode()))
        self.device.advance(0.01)
        future.result(0.0)


def run(
    source: random.Random, changes: int, *, quiet: bool = False
) -> tuple[Float32s, list[tuple[int, str]], list[float], Settings]:
    """What came out, where which change was made, the delays that were stated, and the settings at the end."""
    stage = Stage(Settings(engine=engines()[0]))
    marks, delays = [], []
    with stage.denoiser as denoiser:
        stage.device.advance(SETTLE_S)
        for _ in range(changes):
            method, params = wish(source, denoiser)
            marks.append((len(stage.device.output), kind_of(method)))
            if quiet:
                stage.device.advance(0.01)
            else:
                stage.ask(method, params)
            stage.device.advance(source.uniform(0.05, 0.15))
            delays.append(denoiser.snapshot.latency.total_ms)
        if not quiet:
            stage.ask("config.patch", {"mute": False, "bypass": False, "attenuation_db": 30.0})
        stage.device.advance(2 * SETTLE_S)
        settings = denoiser.snapshot.settings
        if not quiet:
            stage.ask("bypass.set", {"on": True})
        stage.device.advance(BYPASSED_S)
        return stage.device.output, marks, delays, settings


def engines() -> list[str]:
    """All that can be used, the classic first."""
    usable = [entry.id for entry in available() if entry.usable and entry.info and not entry.info.lookahead_hops]
    return sorted(usable, key=lambda id: (id != "wiener", id))


def wish(source: random.Random, denoiser: Denoiser) -> tuple[str, dict[str, object]]:
    """A random change that is possible now."""
    snapshot = denoiser.snapshot
    kind = source.choice(["bypass", "mute", "limit", "limit", "level", "engine"])
    if kind == "bypass":
        return "bypass.toggle", {}
    if kind == "mute":
        return ("mute.toggle", {}) if source.random() < 0.5 else ("mute.set", {"on": False})
    if kind == "limit":
        return "attenuation.set", {"db": source.choice([0.0, 6.0, 12.0, 18.0, 30.0, 100.0])}
    if kind == "level":
        return "level.set", {"level": source.randrange(max(1, snapshot.engine.level_count))}
    return "engine.set", {"id": source.choice(engines())}


def kind_of(method: str) -> str:
    """Name of a row."""
    return method.split(".", maxsplit=1)[0]


def figures(sound: Float32s, marks: Sequence[tuple[int, str]]) -> dict[str, tuple[float, float, float]]:
    """Largest step, hiss and jump near the marks of each kind."""
    steps = np.abs(np.diff(sound, prepend=sound[:1]))
    hiss = np.abs(sosfilt(HISS, sound))
    windows = sound[: len(sound) // 480 * 480].reshape(-1, 480)
    loud = 10.0 * np.log10(np.mean(windows.astype(np.float64) ** 2, axis=1) + 1e-6)
    jumps = np.abs(np.diff(loud, prepend=loud[:1]))
    found: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for at, kind in marks:
        near = slice(at, at + round(WINDOW_S * RATE))
        if sound[near].size:
            slow = slice(at // 480, at // 480 + round(WINDOW_S * 100))
            found[kind].append((float(steps[near].max()), float(hiss[near].max()), float(jumps[slow].max())))
    return {kind: tuple(max(column) for column in zip(*rows, strict=True)) for kind, rows in found.items()}  # type: ignore[misc]


def cut(sound: Float32s, marks: Sequence[tuple[int, str]]) -> Float32s:
    """Silence of 20 ms, without a ramp, at each mark."""
    broken = sound.copy()
    for at, _ in marks:
        broken[at + 100 : at + 1060] = 0.0
    return broken


def heard_delays(source: random.Random) -> str:
    """The delay found by correlation in stretches of bypass between other changes."""
    stage = Stage(Settings(engine=engines()[0]))
    found = set()
    with stage.denoiser as denoiser:
        stage.device.advance(SETTLE_S)
        for _ in range(10):
            for _ in range(5):
                stage.ask(*wish(source, denoiser))
            stage.ask("mute.set", {"on": False})
            stage.ask("bypass.set", {"on": True})
            stage.device.advance(1.0)
            end = len(stage.device.output)
            heard = stage.device.output[end - 9600 : end]
            lags = range(0, 6000, 1)
            sent = tone(end - 9600 - 6000, 9600 + 6000)
            errors = [float(np.abs(heard[::97] - sent[6000 - lag : 15600 - lag][::97]).max()) for lag in lags]
            found.add(int(np.argmin(errors)))
    return ", ".join(f"{lag * 1000 / RATE:.2f} ms" for lag in sorted(found))


def against_fresh(settings: Settings, used: Float32s) -> tuple[float, float]:
    """The end of the sound after all the changes against a denoiser that had these settings from the start.

    Loudness of the last second with the engine at work, dB; the largest difference of samples once both are bypassed
    (engines remember, so with them two histories are never quite the same).
    """
    fresh = Stage(settings)
    seconds = len(used) / RATE
    with fresh.denoiser:
        while len(fresh.device.output) < len(used) - round(BYPASSED_S * RATE):
            fresh.device.advance(min(1.0, seconds))
        fresh.ask("bypass.set", {"on": True})
        while len(fresh.device.output) < len(used):
            fresh.device.advance(0.1)
        new = fresh.device.output[: len(used)]
    engine = slice(len(used) - round((BYPASSED_S + 1.5) * RATE), len(used) - round((BYPASSED_S + 0.5) * RATE))
    dry = slice(len(used) - RATE // 2, len(used))
    return loudness(used[engine]) - loudness(new[engine]), float(np.abs(used[dry] - new[dry]).max())


def loudness(sound: Float32s) -> float:
    """dBFS."""
    return float(10.0 * np.log10(np.mean(sound.astype(np.float64) ** 2) + 1e-12))


def line(name: str, count: int, found: tuple[float, float, float]) -> None:
    """One row."""
    step, hiss, jump = found
    print(f"{name:24}{count:7}{step:9.4f}{20 * np.log10(hiss + 1e-9):11.1f}{jump:9.1f}")


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="A thousand random live changes.")
    parser.add_argument("--changes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
