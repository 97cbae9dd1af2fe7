"""From what a person typed to one device."""

from __future__ import annotations

import pytest

from pse_stream.errors import DeviceError
from pse_stream.streaming.devices.base import DeviceInfo
from pse_stream.streaming.devices.names import match


def source(name: str, title: str, *, monitor: bool = False, ours: bool = False, default: bool = False) -> DeviceInfo:
    return DeviceInfo(name=name, title=title, direction="input", is_monitor=monitor, is_ours=ours, is_default=default)


YETI = source("alsa_input.usb-Yeti-00.analog-stereo", "Yeti Analog Stereo")
PLAYED = source("alsa_output.usb-Yeti-00.monitor", "Monitor of Yeti", monitor=True)
LAPTOP = source("alsa_input.pci-0000_00_1f.3", "Built-in Audio", default=True)
OURS = source("pse_mic", "Denoised Microphone", ours=True)
FEED = source("pse_mic_sink.monitor", "Monitor of Denoised Microphone (feed)", monitor=True, ours=True)
ALL = [PLAYED, YETI, OURS, FEED, LAPTOP]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("auto", LAPTOP),
        ("alsa_input.pci-0000_00_1f.3", LAPTOP),
        ("Yeti Analog Stereo", YETI),
        ("yeti", YETI),  # the microphone, not the recording of its headphones
        ("monitor of yeti", PLAYED),
    ],
)
def test_a_name_a_title_or_a_part_means_one_device(wanted: str, found: DeviceInfo) -> None:
    assert match(ALL, wanted, "input") == found


def test_auto_is_never_our_own_even_if_somebody_made_it_the_default() -> None:
    ours = source("pse_mic", "Denoised Microphone", ours=True, default=True)
    assert match([ours, FEED, YETI], "auto", "input") == YETI


@pytest.mark.parametrize("wanted", ["pse_mic", "Denoised Microphone", "pse_mic_sink.monitor"])
def test_s41_our_own_output_is_refused_as_input(wanted: str) -> None:
    with pytest.raises(DeviceError, match="our own output") as caught:
        match(ALL, wanted, "input")
    assert (caught.value.name, caught.value.exit_code) == ("own_source", 4)


@pytest.mark.parametrize(
    ("devices", "wanted", "name", "words"),
    [
        (ALL, "Røde", "no_mic", 'no input device matches "Røde"'),
        (ALL, "alsa_", "ambiguous", "fits 2 input devices"),
        ([], "auto", "no_mic", "there is no input device"),
        ([OURS, FEED, PLAYED], "auto", "no_mic", "besides our own"),
    ],
)
def test_what_means_nothing_or_too_much_is_refused(
    devices: list[DeviceInfo], wanted: str, name: str, words: str
) -> None:
    with pytest.raises(DeviceError, match=words) as caught:
        match(devices, wanted, "input")
    assert caught.value.name == name
