"""Play sound through a loudspeaker, from start to end: for hearing what was recorded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import numpy as np

from pse_stream.dsp.resample import Resampler
from pse_stream.dsp.ring import Ring
from pse_stream.dsp.spec import HOP_MS, Float32s
from pse_stream.streaming.devices.base import Device

AHEAD_S = 1.0  # how much is kept ready for the loudspeaker
LOOK_S = 0.05


def play(
    device: Device,
    blocks: Iterable[Float32s],
    sample_rate: int,
    *,
    name: str = "auto",
    skip_s: float = 0.0,
    wait: Callable[[float], object] = time.sleep,
) -> None:
    """Play blocks of one channel; returns when the last was heard.

    Parameters
    ----------
    blocks : iterable of (n,) float32
    sample_rate : int
        Hz, of the blocks.
    name : str
        Of the output: a part of it, or "auto".
    skip_s : float
        Leave out the beginning.
    wait : callable
        Lets time pass.

    Raises
    ------
    DeviceError
        If the output is missing or refused.
    """
    rate = device.sample_rate
    ring = Ring(round(4 * AHEAD_S * rate))
    block = round(rate * HOP_MS / 1000.0)
    silence = np.zeros(block, np.float32)

    def give(count: int, _status: int) -> bytes:
        out = silence[:count] if count <= block else np.zeros(count, np.float32)
        played = out.copy()
        short = min(count, ring.available)
        ring.read(played[:short])
        return played.tobytes()

    stream = device.open_output(name, block, give)
    try:
        stream.start()
        for samples in _at_rate(_skipped(blocks, round(skip_s * sample_rate)), sample_rate, rate):
            for at in range(0, len(samples), rate):
                while ring.available > AHEAD_S * rate:
                    wait(LOOK_S)
                ring.write(samples[at : at + rate])
        while ring.available > 0:
            wait(LOOK_S)
        wait(stream.latency_s + LOOK_S)
    finally:
        stream.close()


def _skipped(blocks: Iterable[Float32s], count: int) -> Iterable[Float32s]:
    for samples in blocks:
        if count < len(samples):
            yield samples[count:]
        count = max(0, count - len(samples))


def _at_rate(blocks: Iterable[Float32s], found: int, wanted: int) -> Iterable[Float32s]:
    if found == wanted:
        yield from blocks
        return
    converter = Resampler(found, wanted)
    for samples in blocks:
        yield converter.process(np.ascontiguousarray(samples))
    yield converter.flush()
