"""Every planted fault between microphone and programs is named with its command; a healthy desktop hears nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pse_stream.streaming.health.finding import Finding
from pse_stream.streaming.health.sound import SoundCheck

Paper = Any  # conftest.PaperServer
MIC, VIRTUAL, OUR_PID = 1, 4, 4711


def examined(paper: Paper, *, running: bool = True, wanted: str = "auto") -> list[Finding]:
    pids = frozenset({OUR_PID}) if running else frozenset()
    return list(SoundCheck(paper.server, running=pids, wanted=wanted).findings())


def complaints(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.verdict != "ok"]


def test_healthy_desktop_gets_no_complaint(paper: Paper) -> None:
    found = examined(paper)
    assert complaints(found) == []
    assert [f.name for f in found] == ["server", "microphone", "virtual mic"]
    assert "programs that listen: 1" in found[2].text


def down(paper: Paper) -> None:
    paper.down = True


def no_microphone(paper: Paper) -> None:
    paper.sources = [row for row in paper.sources if row["name"] != "usb_mic"]
    paper.recordings = []


def muted(paper: Paper) -> None:
    paper.sources[0]["mute"] = True


def turned_down(paper: Paper) -> None:
    paper.sources[0]["volume"]["mono"]["value_percent"] = "40%"


def phone_quality(paper: Paper) -> None:
    paper.sources[0] |= {"name": "bluez_input.headset", "properties": {"bluetooth.protocol": "headset_head_unit"}}
    paper.info["default_source_name"] = "bluez_input.headset"


def not_visible(paper: Paper) -> None:
    paper.sources = [row for row in paper.sources if row["name"] != "pse_mic"]


def virtual_muted(paper: Paper) -> None:
    paper.sources[2]["mute"] = True


def reader_on_the_raw_microphone(paper: Paper) -> None:
    paper.recordings.append(paper.reader("zoom", MIC))


def fed_with_our_own_output(paper: Paper) -> None:
    paper.recordings[1]["source"] = VIRTUAL


def played_to_loudspeakers(paper: Paper) -> None:
    paper.modules.append((9, "module-loopback", "source=pse_mic sink=speakers"))


def echo_canceller_after_us(paper: Paper) -> None:
    paper.modules.append((9, "module-echo-cancel", "source_master=pse_mic"))


def leftover_of_a_killed_run(paper: Paper) -> None:
    paper.add_leftover(2**22 + 1)  # above every process id of Linux


def feed_is_the_default_output(paper: Paper) -> None:
    paper.info["default_sink_name"] = "pse_mic_sink"


@pytest.mark.parametrize(
    ("plant", "verdict", "name", "command"),
    [
        (down, "fail", "server", "enable-linger"),
        (no_microphone, "fail", "microphone", "pse-stream devices"),
        (muted, "fail", "mute", "pactl set-source-mute usb_mic 0"),
        (turned_down, "warn", "volume", "pactl set-source-volume usb_mic 100%"),
        (phone_quality, "warn", "bluetooth", "another"),
        (not_visible, "fail", "virtual mic", "ctl status"),
        (virtual_muted, "fail", "mute", "pactl set-source-mute pse_mic 0"),
        (reader_on_the_raw_microphone, "warn", "raw reader", 'choose "Denoised Microphone" in zoom'),
        (fed_with_our_own_output, "fail", "loop", "ctl device"),
        (played_to_loudspeakers, "warn", "loop", "module-loopback"),
        (echo_canceller_after_us, "warn", "echo", "record from it"),
        (leftover_of_a_killed_run, "fail", "leftovers", "pse-stream clean"),
        (feed_is_the_default_output, "fail", "loudspeaker", "pactl set-default-sink"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_planted_fault_is_the_one_complaint_and_names_its_command(
    paper: Paper, plant: Callable[[Paper], None], verdict: str, name: str, command: str
) -> None:
    plant(paper)
    found = complaints(examined(paper))
    assert [(f.verdict, f.name) for f in found] == [(verdict, name)]
    assert command in found[0].command


def test_our_own_recording_of_the_microphone_is_no_raw_reader(paper: Paper) -> None:
    assert all(f.name != "raw reader" for f in examined(paper))
    assert any(f.name == "raw reader" for f in examined(paper, running=False))  # then it is a stranger


def test_wanted_microphone_is_found_by_a_part_of_its_name_and_missed_by_its_absence(paper: Paper) -> None:
    assert complaints(examined(paper, wanted="pnp")) == []
    missing = complaints(examined(paper, wanted="Yeti"))[0]
    assert missing.text.startswith('no input device matches "Yeti". Found: "USB PnP"')


def test_living_owner_of_a_virtual_microphone_is_no_leftover(paper: Paper) -> None:
    import os

    from pse_stream.streaming.virtual_mic import start_time

    owner = f"application.id='pse-stream' pse.pid='{os.getpid()}' pse.start='{start_time(os.getpid())}'"
    paper.modules.append((30, "module-null-sink", f'sink_name=pse_mic_sink sink_properties="{owner}"'))
    assert complaints(examined(paper)) == []
