"""Hearing a recording: every sample once, at the loudspeaker's rate, from where one wants."""

from __future__ import annotations

import numpy as np
import pytest

from pse_stream.streaming.devices.fake import FakeDevice
from pse_stream.streaming.playback import play

from .stubs import RATE, noise


def test_everything_is_heard_once_and_in_order() -> None:
    device = FakeDevice()
    sent = noise(3.3)
    play(device, iter([sent[:50_000], sent[50_000:]]), RATE, wait=device.advance)
    heard = device.output
    start = int(np.flatnonzero(heard)[0])
    np.testing.assert_array_equal(heard[start : start + len(sent)], sent)
    assert not heard[start + len(sent) :].any()


def test_the_beginning_can_be_left_out_and_the_rate_is_the_loudspeaker_s() -> None:
    device = FakeDevice()
    tone = np.sin(2 * np.pi * 1000.0 * np.arange(32_000) / 16_000).astype(np.float32)
    play(device, iter([tone[:10], tone[10:]]), 16_000, skip_s=1.5, wait=device.advance)
    heard = device.output[np.flatnonzero(device.output)[0] :]
    heard = heard[: np.flatnonzero(heard)[-1] + 1]
    assert len(heard) / RATE == pytest.approx(0.5, abs=0.01)
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    assert np.argmax(spectrum) * RATE / len(heard) == pytest.approx(1000.0, abs=4.0)
