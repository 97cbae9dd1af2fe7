"""Listening: every sample of a microphone once, at 16 kHz, one voice of two channels, and words when nothing comes."""

from __future__ import annotations

import numpy as np
import pytest

from pse_stream.errors import DeviceError
from pse_stream.streaming.devices.fake import FakeDevice
from pse_stream.streaming.listening import listen

from .stubs import noise, tone


def test_seconds_are_heard_at_the_rate_that_is_wanted() -> None:
    device = FakeDevice(source=tone())
    heard = np.concatenate(list(listen(device, 2.0, wait=device.advance)))
    assert len(heard) == pytest.approx(32_000, abs=32)
    spectrum = np.abs(np.fft.rfft(heard[4_000:20_000]))
    assert np.argmax(spectrum) == 1000  # Hz
    assert device.opened == {"input": 1, "output": 0}


def test_at_the_device_s_rate_every_sample_comes_once() -> None:
    sent = noise(1.0)
    device = FakeDevice(source=sent)
    heard = np.concatenate(list(listen(device, 0.8, sample_rate=48_000, wait=device.advance)))
    np.testing.assert_array_equal(heard, sent[: len(heard)])
    assert len(heard) == 38_400


def test_a_dead_side_of_a_stereo_microphone_is_left_out() -> None:
    side = noise(1.0)
    device = FakeDevice(source=np.stack([np.zeros_like(side), side], axis=1), channels=2)
    heard = np.concatenate(list(listen(device, 0.9, sample_rate=48_000, wait=device.advance)))
    np.testing.assert_allclose(heard[24_000:], side[24_000 : len(heard)], atol=1e-6)


def test_a_microphone_that_gives_nothing_is_an_error_in_time() -> None:
    device = FakeDevice()
    with pytest.raises(DeviceError, match="gives no sound"):
        list(listen(device, 1.0, wait=lambda _seconds: None))
