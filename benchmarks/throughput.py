"""How many times faster than real time `enhance` is, on one core: sound seconds per second of CPU time.

    python benchmarks/throughput.py [SECONDS]

Wanted: at least 20 at 16 kHz with every engine. Prints medians of three runs; CPU time of the one thread that works,
so that other programs on the machine do not count.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
import soundfile

from pse_stream.engines.registry import available, open_engine
from pse_stream.streaming.offline import enhance_file

RUNS = 3
WANTED = 20.0  # times real time at 16 kHz


def main() -> None:
    """Print a table."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    print(
        f"{'engine':<16}{'rate':>8}{'channels':>10}{'x real time':>13}   (CPU time; wanted {WANTED:g} at 16 kHz mono)"
    )
    with tempfile.TemporaryDirectory() as folder:
        for entry in available():
            if not entry.usable:
                continue
            for rate, channels in ((16_000, 1), (44_100, 1), (48_000, 1), (48_000, 2)):
                times = speed(entry.id, rate, channels, seconds, Path(folder))
                print(f"{entry.id:<16}{rate:>8}{channels:>10}{times:>13.1f}")


def speed(id: str, rate: int, channels: int, seconds: float, folder: Path) -> float:
    """Seconds of sound per second of CPU time."""
    source = folder / "in.wav"
    noise = np.random.default_rng(0).normal(0.0, 0.05, (round(seconds * rate), channels)).astype(np.float32)
    soundfile.write(source, noise, rate, subtype="PCM_16")
    engine = open_engine(id)
    return median(seconds / enhance_file(source, folder / "out.wav", engine).cpu_s for _ in range(RUNS))


if __name__ == "__main__":
    main()
