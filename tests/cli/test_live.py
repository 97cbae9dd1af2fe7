"""The command line on a real sound server: what a person sees when it runs, stops, is killed or is refused."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

Cli = Callable[..., Any]  # arguments -> (code, out, err)
Card = Any  # tests.soundcard.VirtualSoundcard

pytestmark = pytest.mark.soundcard


@pytest.fixture
def voice(soundcard: Card, tmp_path: Path) -> Iterator[None]:
    """Hiss in front of the default microphone."""
    path = tmp_path / "voice.wav"
    noise = np.random.default_rng(3).normal(0.0, 0.1, 48_000 * 60).astype(np.float32)
    soundfile.write(path, noise, 48_000)
    player = subprocess.Popen(["paplay", "--device=room_sink", str(path)])
    yield
    player.kill()
    player.wait()


@pytest.fixture
def running(soundcard: Card, voice: None) -> Iterator[subprocess.Popen[str]]:
    """A pse-stream on the default microphone, with sound flowing."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pse_stream.main", "--engine", "bypass"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TERM": "dumb"},
    )
    assert process.stderr is not None
    for said in process.stderr:
        if "Ctrl-C stops" in said:
            break
    yield process
    process.kill()
    process.communicate()


def sources(card: Card) -> set[str]:
    return {row["name"] for row in card.list("sources")}


def eventually(holds: Callable[[], bool], timeout_s: float = 15.0) -> bool:
    end = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def test_devices_are_listed_by_title_and_kind_and_as_json(cli: Cli, soundcard: Card) -> None:
    rows = cli("devices").out.splitlines()
    assert rows[0].split() == ["kind", "title", "rate", "channels", "notes", "name"]
    assert re.match(r"microphone +Room +48 kHz +1 +default +room$", next(row for row in rows if row.endswith(" room")))
    assert re.match(r"output +Speaker", next(row for row in rows if row.endswith(" speaker_sink")))
    found = json.loads(cli("devices", "--json").out)["devices"]
    assert {"room", "desk", "speaker_sink"} <= {entry["name"] for entry in found}


def test_check_before_a_start_makes_no_sound_and_no_microphone(cli: Cli, soundcard: Card) -> None:
    before = sources(soundcard)
    ran = cli("--check", "--input", "desk")
    assert ran.code == 0
    assert "ok    microphone   Desk" in ran.out
    assert sources(soundcard) == before


@pytest.mark.parametrize(
    ("arguments", "name", "says"),
    [
        (["--input", "Yeti"], "no_mic", '"Room"'),
        (["--input", "s"], "ambiguous", "Give more of the name"),
        (["--output", "Yeti"], "no_output", '"Speaker (feed)"'),
    ],
)
def test_device_that_cannot_be_meant_is_exit_4_and_leaves_no_microphone(
    cli: Cli, soundcard: Card, arguments: list[str], name: str, says: str
) -> None:
    ran = cli(*arguments)
    assert ran.code == 4
    assert f"error[{name}]: " in ran.err
    assert says in ran.err
    assert not any(source.startswith("pse_mic") for source in sources(soundcard))


def test_running_it_is_listed_seen_by_doctor_and_never_its_own_input(
    cli: Cli, soundcard: Card, running: subprocess.Popen[str]
) -> None:
    row = next(row for row in soundcard.list("sources") if row["name"] == "pse_mic")
    assert row["description"] == "Denoised Microphone"
    own = cli("--input", "pse_mic", "--instance", "two")
    assert (own.code, "error[own_source]" in own.err) == (4, True)

    def healthy() -> bool:
        found = {entry["name"]: entry["verdict"] for entry in json.loads(cli("doctor", "--json").out)["findings"]}
        return all(found.get(f"tap {tap}") == "ok" for tap in ("mic", "in", "out", "virtual"))

    assert eventually(healthy)  # the first try may come before the first meter reading


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_it_takes_its_microphone_away_and_touches_no_default(
    soundcard: Card, running: subprocess.Popen[str], number: signal.Signals, code: int
) -> None:
    defaults = [line for line in soundcard.pactl("info").splitlines() if line.startswith("Default S")]
    running.send_signal(number)
    running.communicate(timeout=20)
    assert running.returncode == code
    assert not any("pse_mic" in row for row in soundcard.modules())
    assert [line for line in soundcard.pactl("info").splitlines() if line.startswith("Default S")] == defaults


def test_killed_it_leaves_what_doctor_names_and_clean_removes_and_nothing_else(
    cli: Cli, soundcard: Card, running: subprocess.Popen[str]
) -> None:
    assert cli("clean").err.strip() == "Nothing was left."  # it lives: not ours to take
    assert "pse_mic" in sources(soundcard)
    others = [row.split("\t")[1:] for row in soundcard.modules() if "pse_mic" not in row]
    running.kill()
    running.wait()
    sick = cli("doctor")
    assert sick.code == 9
    assert re.search(r"fail  leftovers +.*-> pse-stream clean", sick.out)
    assert cli("clean", "--dry-run").out == f"would remove pse_mic of process {running.pid}\n"
    assert "pse_mic" in sources(soundcard)
    assert cli("clean").out == f"removed pse_mic of process {running.pid}\n"
    assert "pse_mic" not in sources(soundcard)
    assert [row.split("\t")[1:] for row in soundcard.modules()] == others


def test_muted_microphone_is_the_complaint_of_doctor(cli: Cli, soundcard: Card, voice: None) -> None:
    soundcard.pactl("set-source-mute", "room", "1")
    try:
        ran = cli("doctor")
    finally:
        soundcard.pactl("set-source-mute", "room", "0")
    assert ran.code == 9
    assert "pactl set-source-mute room 0" in ran.out


def test_report_to_send_is_shown_and_saved(cli: Cli, soundcard: Card, voice: None) -> None:
    ran = cli("doctor", "--bundle", "report.txt")
    text = Path("report.txt").read_text()
    assert text in ran.err
    assert "microphone   Room" in text
    assert str(Path.home()) not in text


def test_s30_a_sound_server_that_comes_later_than_we_is_waited_for(soundcard: Card, voice: None) -> None:
    soundcard.stop()
    up = False
    process = subprocess.Popen(
        [sys.executable, "-m", "pse_stream.main", "--engine", "bypass", "--wait-s", "60"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TERM": "dumb"},
    )
    try:
        assert process.stderr is not None
        assert "Starting" in process.stderr.readline()
        time.sleep(2.0)
        assert process.poll() is None
        soundcard.start()
        up = True
        assert eventually(lambda: "pse_mic" in sources(soundcard), 30.0)
    finally:
        process.kill()
        process.communicate()
        if not up:
            soundcard.start()
