"""What the sound server's answers mean, without a sound server."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from pse_stream.errors import DeviceError
from pse_stream.streaming.sound_server import SoundServer, run_pactl


def source(**changes: object) -> dict[str, object]:
    row: dict[str, object] = {
        "index": 3,
        "state": "RUNNING",
        "name": "alsa_input.usb",
        "description": "USB Microphone",
        "sample_specification": "s16le 2ch 44100Hz",
        "mute": False,
        "volume": {"front-left": {"value_percent": "50%"}, "front-right": {"value_percent": "100%"}},
        "monitor_source": "",
        "properties": {"device.class": "sound"},
    }
    return row | changes


def server(answer: object) -> SoundServer:
    def run(words: Sequence[str]) -> str:
        return answer if isinstance(answer, str) else json.dumps(answer)

    return SoundServer(run)


def test_a_source_is_read_with_its_own_rate_channels_and_volume() -> None:
    (found,) = server([source()]).sources()
    assert (found.sample_rate, found.channels, found.volume_percent, found.muted) == (44_100, 2, 100.0, False)
    assert not found.monitor_of
    assert not found.is_ours


@pytest.mark.parametrize(
    ("changes", "ours"),
    [
        ({"properties": {"application.id": "pse-stream"}}, True),
        ({"name": "pse_mic_sink.monitor", "monitor_source": "pse_mic_sink", "properties": {}}, True),
        ({"name": "speaker.monitor", "monitor_source": "speaker", "properties": {}}, False),
        ({"properties": {"application.id": "other"}}, False),
    ],
)
def test_our_own_output_is_known_by_its_owner_and_by_what_it_records(changes: dict[str, object], ours: bool) -> None:
    (found,) = server([source(**changes)]).sources()
    assert found.is_ours is ours


def test_a_stream_is_read_with_the_process_behind_it_if_there_is_one() -> None:
    rows = [
        {"index": 1, "source": 3, "corked": False, "properties": {"media.name": "Remapped Stream"}},
        {"index": 2, "source": 3, "corked": True,
         "properties": {"application.process.id": "812", "application.process.binary": "firefox"}},
    ]  # fmt: skip
    module, browser = server(rows).recordings()
    assert (module.pid, module.corked) == (0, False)
    assert (browser.pid, browser.program, browser.endpoint, browser.corked) == (812, "firefox", 3, True)


def test_modules_with_and_without_arguments_are_read() -> None:
    listed = "0\tmodule-null-sink\tsink_name=x rate=48000\t\n1\tmodule-native-protocol-unix\t\t\n"
    assert server(listed).modules() == [
        (0, "module-null-sink", "sink_name=x rate=48000"),
        (1, "module-native-protocol-unix", ""),
    ]


def test_an_answer_that_is_no_json_is_said_in_words() -> None:
    with pytest.raises(DeviceError, match="expected JSON"):
        server("Source #1\n").sources()


def test_a_machine_without_pactl_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(DeviceError, match="apt install pulseaudio-utils") as caught:
        run_pactl(["info"])
    assert caught.value.name == "no_pactl"
