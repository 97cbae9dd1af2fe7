"""Listen to a microphone for some seconds, without a denoiser: for learning a voice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np

from pse_stream.dsp.resample import Resampler
from pse_stream.dsp.ring import Ring
from pse_stream.dsp.spec import HOP_MS, Float32s
from pse_stream.errors import DeviceError
from pse_stream.streaming.channels import ChannelPick
from pse_stream.streaming.devices.base import Device

LOOK_S = 0.05
STALL_S = 3.0  # a microphone that gives nothing for so long will give nothing at all
ROOM_S = 4.0


def listen(
    device: Device,
    seconds: float,
    *,
    name: str = "auto",
    sample_rate: int = 16_000,
    wait: Callable[[float], object] = time.sleep,
) -> Iterator[Float32s]:
    """What a microphone hears, as it comes.

    Parameters
    ----------
    name : str
        Of the microphone: a part of it, or "auto".
    sample_rate : int
        Hz, wanted.
    wait : callable
        Lets time pass.

    Yields
    ------
    (n,) float32
        Some 50 ms each; the louder channel.

    Raises
    ------
    DeviceError
        If the microphone is missing, refused, or gives nothing.
    """
    rate = device.sample_rate
    block = round(rate * HOP_MS / 1000.0)
    rings: list[Ring] = []

    def hear(data: bytes, count: int, _status: int) -> None:
        samples = np.frombuffer(data, np.float32)
        rings[0].write(samples if len(samples) == count else samples.reshape(count, -1))

    stream = device.open_input(name, block, hear)
    rings.append(Ring(round(ROOM_S * rate), stream.format.channels))
    hops = _Hops(rings[0], block, stream.format.channels)
    converter = Resampler(rate, sample_rate) if rate != sample_rate else None
    wanted, heard, quiet_s = round(seconds * rate), 0, 0.0
    try:
        stream.start()
        while heard < wanted:
            wait(LOOK_S)
            samples = hops.take()[: wanted - heard]
            quiet_s = 0.0 if len(samples) else quiet_s + LOOK_S
            if quiet_s > STALL_S:
                raise DeviceError(
                    f'the microphone "{stream.name}" gives no sound.', name="no_sound", hint="Try: pse-stream doctor"
                )
            heard += len(samples)
            if len(samples):
                yield samples if converter is None else converter.process(samples)
        if converter is not None:
            yield converter.flush()
    finally:
        stream.close()


class _Hops:
    """Whole hops out of a ring, as one voice."""

    def __init__(self, ring: Ring, hop: int, channels: int) -> None:
        self._ring, self._pick = ring, ChannelPick(hop)
        self._raw = np.zeros(hop if channels == 1 else (hop, channels), np.float32)
        self._hop = hop

    def take(self) -> Float32s:
        """All that wait, (n,)."""
        found = []
        while self._ring.read(self._raw):
            out = np.zeros(self._hop, np.float32)
            self._pick.process(self._raw, out=out)
            found.append(out)
        return np.concatenate(found) if found else np.zeros(0, np.float32)
