"""What a step of an engine costs here and now, in processor time of the thread that does it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from pse_stream.dsp.spec import ENGINE_BINS
from pse_stream.engines.contract import Engine

ROUND_HOPS = 250  # 2 s of sound


def step_costs_ms(streams: Sequence[tuple[Engine, int]], hops: int = 2000) -> list[float]:
    """Milliseconds per hop of each engine at its level: every frame's quickest play, mean over the frames.

    The streams take turns in short rounds of noise at about the level of speech, so that a machine that is busy for a
    while is busy for all. Every round is the same sound from a fresh state, because frames may differ in cost (a gate
    computes some in full), and a quickest play leaves out what other programs disturbed. The states are used up.
    """
    rng, out = np.random.default_rng(0), np.empty(ENGINE_BINS, np.complex64)
    shape = (ROUND_HOPS, ENGINE_BINS)
    frames = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)
    costs: list[list[list[int]]] = [[] for _ in streams]
    for _ in range(-(-hops // ROUND_HOPS)):
        for (engine, level), rounds in zip(streams, costs, strict=True):
            engine.reset()
            rounds.append([])
            for frame in frames:
                began = time.thread_time_ns()
                engine.step(frame, out, level)
                rounds[-1].append(time.thread_time_ns() - began)
    return [float(np.min(rounds, axis=0).mean()) / 1e6 for rounds in costs]
