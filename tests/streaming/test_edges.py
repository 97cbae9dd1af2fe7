"""The callbacks: they copy, never raise, never give a short block, never click (inlet and outlet)."""

from __future__ import annotations

import numpy as np
import pytest

from pse_stream.dsp.spec import Float32s
from pse_stream.streaming.inlet import Inlet
from pse_stream.streaming.outlet import Outlet

from .stubs import HOP, RATE, tone


def clock() -> float:
    return 1.0


def outlet(channels: int = 1) -> Outlet:
    made = Outlet(RATE, HOP, channels, clock)
    made.expecting = True
    return made


def heard(data: bytes) -> Float32s:
    return np.frombuffer(data, np.float32)


def test_an_inlet_takes_blocks_of_two_channels_apart() -> None:
    inlet = Inlet(RATE, 2, clock, lambda: None)
    block = np.arange(2 * HOP, dtype=np.float32)
    inlet.receive(block.tobytes(), HOP, 0)
    out = np.zeros((HOP, 2), np.float32)
    assert inlet.ring.read(out)
    assert np.array_equal(out, block.reshape(HOP, 2))
    assert inlet.mark == (HOP, 1.0)


def test_an_exception_inside_a_callback_stays_inside_and_is_kept() -> None:
    inlet = Inlet(RATE, 1, clock, lambda: None)
    inlet.receive(b"123", 1, 0)  # not whole samples
    assert isinstance(inlet.error, ValueError)

    def broken() -> float:
        raise RuntimeError("no clock")

    given = Outlet(RATE, HOP, 1, clock)
    given._now = broken
    assert given.give(HOP, 0) == bytes(4 * HOP)
    assert isinstance(given.error, RuntimeError)


@pytest.mark.parametrize("frames", [HOP, HOP - 1, 2 * HOP])
def test_a_block_always_has_its_full_length_because_a_short_one_ends_the_stream(frames: int) -> None:
    assert len(outlet().give(frames, 0)) == 4 * frames
    assert len(outlet(channels=2).give(frames, 0)) == 8 * frames


def test_s06_every_channel_gets_the_voice() -> None:
    given = outlet(channels=2)
    given.ring.write(np.full(HOP, 0.25, np.float32))
    sides = heard(given.give(HOP, 0)).reshape(HOP, 2)
    assert np.array_equal(sides[:, 0], sides[:, 1])
    assert sides[-1, 0] == np.float32(0.25)


@pytest.mark.parametrize("left", [0, 10, 96, 200, HOP - 1])
def test_s01_a_hole_fades_out_and_in_and_repeats_nothing(left: int) -> None:
    given, sine = outlet(), tone(300)
    given.ring.write(sine(0, 2 * HOP + left))
    blocks = [heard(given.give(HOP, 0)) for _ in range(4)]
    given.ring.write(sine(5 * HOP, 2 * HOP))
    blocks += [heard(given.give(HOP, 0)) for _ in range(2)]
    sound = np.concatenate(blocks)
    assert np.abs(np.diff(sound)).max() < 0.03  # the sine's own steps are below 0.012
    assert np.array_equal(blocks[1], sine(HOP, HOP))  # what is whole is untouched
    assert not sound[2 * HOP + left + 96 : 4 * HOP].any()  # silence, not a repetition
    assert given.underruns == 2


def test_nothing_is_counted_while_nothing_is_expected() -> None:
    given = Outlet(RATE, HOP, 1, clock)
    given.give(HOP, 0)
    assert given.underruns == 0


def test_shut_means_silence_whatever_waits_and_opening_fades_in() -> None:
    given = outlet()
    given.ring.write(np.full(4 * HOP, 0.5, np.float32))
    first = heard(given.give(HOP, 0))
    given.shut = True
    second, third = heard(given.give(HOP, 0)), heard(given.give(HOP, 0))
    given.shut = False
    fourth = heard(given.give(HOP, 0))
    assert first[-1] == 0.5
    assert not third.any()
    assert np.abs(np.diff(np.concatenate([first[HOP // 2 :], second, third, fourth]))).max() < 0.03
    assert given.underruns == 0
