"""What one hop (8 ms) of the whole live path costs, for every engine: CPU time of the thread that does it.

    python benchmarks/hop_cost.py [--rates 48000,16000] [--engines a,b] [--hops 1000] [--rounds 3]

"hot" is back to back; "paced" is one hop every 8 ms as in life, with caches and branch predictors cold: the true
figure. Engines take turns in rounds and the median round counts, so that other programs on the machine hit all alike.
Wanted for gru-256 at 48 kHz: at most 0.35 ms hot and 1.0 ms paced (medians). Nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np

from pse_stream.dsp.highband import HighBand
from pse_stream.dsp.limiter import Limiter
from pse_stream.dsp.mixing import Mixer
from pse_stream.dsp.spec import ENGINE_BINS, STFTSpec
from pse_stream.dsp.stft import Analysis, Synthesis
from pse_stream.engines.registry import available, open_engine
from pse_stream.streaming.health.cost import HopCost, hop_cost

HOP_MS = 8.0
PACED_HOPS = 250  # 2 s
REFERENCE = "bypass"  # ratios are to this


def main() -> None:
    """Print the machine, a table of engines and a table of stages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", default="48000,16000", help="Hz, with commas")
    parser.add_argument("--engines", default="", help="ids, with commas; all if none")
    parser.add_argument("--hops", type=int, default=1000, help="back to back, per round")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    ids = [id for id in asked.engines.split(",") if id] or [entry.id for entry in available() if entry.usable]
    print(machine())
    for rate in map(int, asked.rates.split(",")):
        engine_table(rate, ids, asked.hops, asked.rounds)
        stage_table(rate, asked.hops)


def machine() -> str:
    """What the figures depend on."""
    import onnxruntime

    model = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    load = os.getloadavg()[0]
    return (
        f"{model or platform.processor()}, {os.cpu_count()} cores, load {load:.1f}; "
        f"Python {platform.python_version()}, numpy {np.__version__}, onnxruntime {onnxruntime.__version__}"
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def engine_table(rate: int, ids: list[str], hops: int, rounds: int) -> None:
    """One row per engine and level; every figure is the median of the rounds."""
    wanted = [(id, level) for id in dict.fromkeys([REFERENCE, *ids]) for level in _levels(id)]
    hot: dict[tuple[str, int], list[HopCost]] = {which: [] for which in wanted}
    paced: dict[tuple[str, int], list[HopCost]] = {which: [] for which in wanted}
    for _ in range(rounds):
        for id, level in wanted:
            engine = open_engine(id)
            hot[id, level].append(hop_cost(engine.fork(), level=level, rate=rate, hops=hops))
            paced[id, level].append(hop_cost(engine.fork(), level=level, rate=rate, hops=PACED_HOPS, paced=True))
    print(f"\n{rate} Hz: ms of CPU per hop, budget {HOP_MS:g} ms; x: times {REFERENCE}")
    print(f"{'engine':<20}{'hot p50':>9}{'p99':>8}{'x':>7}{'paced p50':>12}{'p99':>8}{'x':>7}{'% of a core':>13}")
    base = median(c.median_ms for c in hot[REFERENCE, 0]), median(c.median_ms for c in paced[REFERENCE, 0])
    for id, level in wanted:
        h, p = hot[id, level], paced[id, level]
        h50, h99 = median(c.median_ms for c in h), median(c.p99_ms for c in h)
        p50, p99 = median(c.median_ms for c in p), median(c.p99_ms for c in p)
        name = f"{id}:{level}" if len(_levels(id)) > 1 else id
        print(
            f"{name:<20}{h50:>9.3f}{h99:>8.3f}{h50 / base[0]:>7.2f}{p50:>12.3f}{p99:>8.3f}{p50 / base[1]:>7.2f}"
            f"{100 * p50 / HOP_MS:>13.1f}"
        )


def _levels(id: str) -> range:
    info = next(entry.info for entry in available() if entry.id == id)
    if info is None:
        raise SystemExit(f"engine {id!r} cannot be used; `pse-stream engines` says why")
    return range(len(info.levels))


def stage_table(rate: int, hops: int) -> None:
    """Where the time of everything but the engine goes, back to back."""
    print(f"{'stage, hot':<20}{'p50':>9}{'p99':>8}")
    for name, stage in stages(rate):
        costs = np.empty(hops)
        for k in range(-20, hops):
            began = time.thread_time_ns()
            stage()
            if k >= 0:
                costs[k] = time.thread_time_ns() - began
        print(f"{name:<20}{np.median(costs) / 1e6:>9.3f}{np.percentile(costs, 99) / 1e6:>8.3f}")


def stages(rate: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each stage of the path on its own, fed with noise."""
    spec = STFTSpec(rate)
    rng = np.random.default_rng(0)
    hop = rng.normal(0.0, 0.05, spec.hop).astype(np.float32)
    frame, wave = np.zeros(spec.n_bins, np.complex64), np.zeros(spec.hop, np.float32)
    analysis, synthesis, high = Analysis(spec), Synthesis(spec), HighBand(spec)
    mixer, limiter = Mixer(spec.hop, attenuation_db=30.0), Limiter(spec.hop)
    for _ in range(4):
        analysis.process(hop, out=frame)
    clean = np.zeros(ENGINE_BINS, np.complex64)
    clean[: spec.n_engine_bins] = 0.5 * frame[:ENGINE_BINS]
    out = frame.copy()
    yield "clock", lambda: None
    yield "analysis", lambda: analysis.process(hop, out=frame)
    yield "high band", lambda: high.process(frame, clean, out=out)
    yield "synthesis", lambda: synthesis.process(frame, out=wave)
    yield "mixer", lambda: mixer.process(wave, hop, out=wave)
    yield "limiter", lambda: limiter.process(wave)


if __name__ == "__main__":
    main()
