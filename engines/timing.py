"""What a step of an engine costs here and now, in processor time of the thread that does it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from pse_stream.dsp.spec import ENGINE_BINS
from pse_stream.engines.contract import Engine

ROUND_HOPS = 250  # 2 s of sound


def step_costs_ms(streams: Sequence[tuple[Engine, int]], hops: int = 2000) -> list[float]:
    """Milliseconds per hop of each engine at its level: the lowest tenth, which other programs disturb least.

    The streams take turns in short rounds of noise at about the level of speech, so that a machine that is busy for a
    while is busy for all. Their states are used up.
    """
    rng, out = np.random.default_rng(0), np.empty(ENGINE_BINS, np.complex64)
    shape = (ROUND_HOPS, ENGINE_BINS)
    frames = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)
    costs: list[list[int]] = [[] for _ in streams]
    for _ in range(-(-hops // ROUND_HOPS)):
        for (engine, level), found in zip(streams, costs, strict=True):
            for frame in frames:
                began = time.thread_time_ns()
                engine.step(frame, out, level)
                found.append(time.thread_time_ns() - began)
    return [float(np.percentile(found, 10)) / 1e6 for found in costs]
