"""Hours of live sound in simulated time: does memory grow, does the delay stay, is anything lost?

    python benchmarks/soak.py [--hours 2] [--engine ID] [--ppm 100]

Two clocks that differ by --ppm, callbacks that jitter by a millisecond, a change of bypass, limit and engine every ten
minutes. Wanted over two hours: memory (RSS) grows by less than 2 MB after the first ten minutes, and the delay stays
within one hop (8 ms) of where it settled. Prints a line for every ten minutes.
"""

from __future__ import annotations

import argparse
import gc
import time

import numpy as np
import psutil

from pse_stream.dsp.spec import Float32s
from pse_stream.streaming.denoiser import Denoiser
from pse_stream.streaming.devices.fake import FakeDevice
from pse_stream.streaming.settings import Command, SetAttenuation, SetBypass, SetEngine, Settings

LOOK_S = 600.0
STEP_S = 10.0
WANTED_MB, WANTED_MS = 2.0, 8.0
NOISE = np.random.default_rng(0).normal(0.0, 0.05, 48_000 * 7 + 1).astype(np.float32)  # odd: never in step with a hop


def main() -> None:
    """Print a table."""
    arguments = parsed()
    device = FakeDevice(
        source=hiss, input_ppm=arguments.ppm, output_ppm=-arguments.ppm / 2, jitter_ms=1.0, keep_output=False
    )
    process = psutil.Process()
    print(f"{'simulated':>10}{'RSS MB':>9}{'growth':>8}{'delay ms':>17}{'lost hops':>11}{'ppm':>7}{'x real time':>13}")
    with Denoiser(Settings(engine=arguments.engine), device=device) as denoiser:
        for id in ("bypass", arguments.engine):  # every library that a change brings in is loaded before we look
            denoiser.submit(SetEngine(id))
            device.advance(STEP_S)
        first_mb, settled, began = 0.0, (0.0, 0.0), time.process_time()
        for look in range(1, round(arguments.hours * 3600.0 / LOOK_S) + 1):
            low, high = ten_minutes(denoiser, device, wishes(look, arguments.engine))
            gc.collect()
            memory = process.memory_info().rss / 1e6
            if look == 1:
                first_mb, settled = memory, (low, high)
            now = denoiser.snapshot
            lost = now.counters.dropped_hops + now.counters.underruns + now.counters.overruns
            speed = look * LOOK_S / (time.process_time() - began)
            print(
                f"{look * LOOK_S / 60:>6.0f} min{memory:>9.1f}{memory - first_mb:>+8.2f}{low:>8.1f} to {high:<5.1f}"
                f"{lost:>11}{now.drift_ppm:>+7.0f}{speed:>13.1f}",
                flush=True,
            )
        print(f"wanted: growth below {WANTED_MB:g} MB; delay within {WANTED_MS:g} ms of {settled[1]:.1f} ms")


def ten_minutes(denoiser: Denoiser, device: FakeDevice, wishes: list[Command]) -> tuple[float, float]:
    """Let time pass and the wishes come true; lowest and highest delay in ms after the first minute."""
    for wish in wishes:
        denoiser.submit(wish)
    seen = []
    for step in range(round(LOOK_S / STEP_S)):
        device.advance(STEP_S)
        if step * STEP_S >= 60.0:
            seen.append(denoiser.snapshot.latency.total_ms)
    return min(seen), max(seen)


def wishes(look: int, engine: str) -> list[Command]:
    """What a person might do in ten minutes."""
    return [SetBypass(look % 3 == 0), SetAttenuation(12.0 + look % 4), SetEngine("bypass" if look % 4 == 3 else engine)]


def hiss(start: int, samples: int) -> Float32s:
    """Seven seconds of noise, over and over."""
    return NOISE.take(np.arange(start, start + samples), mode="wrap")


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--ppm", type=float, default=100.0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
