"""What one hop of the whole pipeline costs on this machine, in CPU time of the thread that does it."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from pse_stream.engines.contract import Engine
from pse_stream.streaming.pipeline import Pipeline

HOP_S = 0.008
WARM_HOPS = 40  # state has settled, and libraries have chosen their kernels


@dataclass(frozen=True, slots=True)
class HopCost:
    """Milliseconds of CPU time per hop."""

    median_ms: float
    p99_ms: float


def hop_cost(
    engine: Engine, *, level: int | None = None, rate: int = 48_000, hops: int = 500, paced: bool = False
) -> HopCost:
    """Time a pipeline on noise.

    Parameters
    ----------
    engine : Engine
        Used up: its state is not reset.
    level : int or None
        None: its best.
    rate : int
        Hz, of the grid.
    hops : int
        How many to time.
    paced : bool
        One every 8 ms, as in life, with cold caches; else back to back.
    """
    pipeline = Pipeline(rate, engine, level=level)
    samples = np.random.default_rng(0).normal(0.0, 0.05, (8, pipeline.hop)).astype(np.float32)
    out = np.empty(pipeline.hop, np.float32)
    costs = np.empty(hops)
    due = time.monotonic()
    for index in range(-WARM_HOPS, hops):
        if paced:
            due += HOP_S
            time.sleep(max(0.0, due - time.monotonic()))
        began = time.thread_time_ns()
        pipeline.process(samples[index % len(samples)], out=out)
        if index >= 0:
            costs[index] = time.thread_time_ns() - began
    return HopCost(float(np.median(costs)) / 1e6, float(np.percentile(costs, 99)) / 1e6)
