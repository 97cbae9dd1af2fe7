"""What a recording costs: the worker's share per hop, the recorder's own, bytes on disk; and changing the profile.

    python benchmarks/recording.py [--recording FILE] [--switches N]

Thread CPU time, medians; needs no sound card. The disk is the one of the temporary folder.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

HOP_US = 8_000.0


def main() -> None:
    """Print three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recording", type=Path, default=Path(__file__).parent.parent / "examples" / "noisy.flac")
    parser.add_argument("--switches", type=int, default=12)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(XDG_DATA_HOME=home, XDG_CONFIG_HOME=home)
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        for rate in (16_000, 48_000):
            recorder(rate, wanted.recording)
        switching(wanted.switches, wanted.recording)


def recorder(rate: int, recording: Path) -> None:
    """Cost per hop and size of a minute."""
    from pse_stream.dsp.resample import Resampler
    from pse_stream.profiles.session_writer import SessionWriter
    from pse_stream.profiles.store import new_profile
    from pse_stream.streaming.recorder import Recorder
    from pse_stream.streaming.soundfiles import read_sound

    samples, found = read_sound(recording)
    voice = np.ascontiguousarray(samples[:, 0])
    if found != rate:
        converter = Resampler(found, rate)
        voice = np.concatenate([converter.process(voice), converter.flush()])
    hop = rate // 125
    sound = np.resize(voice, 60 * rate)
    profile = new_profile(f"bench-{rate}")
    writer = SessionWriter(profile.sessions / "2026-01-01T000000Z", sample_rate=rate, facts={}, began=datetime.now(UTC))
    made = Recorder(profile, sample_rate=rate, hop=hop, describe=lambda _: {}, threaded=False, writer=writer)
    taps, drains = [], []
    drain, made._drain_safely = made._drain_safely, lambda: None  # timed apart
    for index in range(60 * 125):
        part = sound[index * hop : (index + 1) * hop]
        began = time.thread_time_ns()
        made.tap(index, part, part, None)
        taps.append(time.thread_time_ns() - began)
        if index % 31 == 30:
            began = time.thread_time_ns()
            drain()
            drains.append(time.thread_time_ns() - began)
    made._drain_safely = drain
    made.stop()
    tap_us, own_us = statistics.median(taps) / 1e3, sum(drains) / 1e3 / len(taps)
    print(
        f"{rate:6d} Hz: worker {tap_us:.1f} us per hop ({100 * tap_us / HOP_US:.2f} %), its thread {own_us:.0f} us "
        f"({100 * own_us / HOP_US:.1f} % of a core), {writer.bytes * 60 / 2**20:.0f} MiB an hour, both tracks"
    )


def switching(times: int, recording: Path) -> None:
    """From the wish to the hop that runs with the other profile's network, sound flowing in real time."""
    from pse_stream.profiles.store import new_profile
    from pse_stream.streaming.configuration import resolve
    from pse_stream.streaming.denoiser import Denoiser
    from pse_stream.streaming.devices.file import FileDevice
    from pse_stream.streaming.settings import SetProfile

    new_profile("one", settings={"engine": "gru-256", "attenuation_db": 12.0})
    new_profile("two", settings={"engine": "wiener"})
    took = []
    with Denoiser(resolve({}).settings, device=FileDevice(recording, loop=True)) as denoiser:
        time.sleep(1.0)
        for turn in range(times):
            began = time.monotonic()
            denoiser.submit(SetProfile(("one", "two")[turn % 2])).result(10.0)
            took.append(1e3 * (time.monotonic() - began))
            time.sleep(0.3)
        counters = denoiser.snapshot.counters
    for name, part in (("to gru-256", took[::2]), ("to wiener", took[1::2])):
        print(f"profile {name}: median {statistics.median(part):.0f} ms, slowest {max(part):.0f} ms")
    print(f"while switching: {counters.dropped_hops} hops dropped, {counters.underruns} underruns")


if __name__ == "__main__":
    main()
