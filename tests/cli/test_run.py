"""`pse-stream run`: a recording through the live path, what is shown, how it ends. Time is real; seconds are few."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from pse_stream.cli.demonstration import bundled_recording
from pse_stream.cli.run import Titles, Watch, fresh_events, screen_wanted
from pse_stream.cli.status import WIDTH, line, page
from pse_stream.errors import LimitError
from pse_stream.streaming.devices.base import DeviceInfo
from pse_stream.streaming.snapshot import Counters, EngineStatus, Latency, Meter, Snapshot

Cli = Callable[..., Any]  # arguments -> (code, out, err)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """One second of hiss, 16 kHz."""
    path = tmp_path / "hiss.wav"
    soundfile.write(path, np.random.default_rng(2).normal(0.0, 0.05, 16_000).astype(np.float32), 16_000)
    return path


def test_recording_is_played_and_before_after_and_picture_are_written(cli: Cli, recording: Path) -> None:
    ran = cli("run", "--play", recording, "--save", "out", "--engine", "wiener", "--attenuation-db", "100")
    assert ran.code == 0
    assert re.findall(r"(\w+): +(\S+)", ran.out) == [
        ("before", "out/before.wav"),
        ("after", "out/after.wav"),
        ("spectrogram", "out/spectrogram.png"),
    ]
    assert Path("out/spectrogram.png").read_bytes().startswith(b"\x89PNG")
    before, after = soundfile.read("out/before.wav")[0], soundfile.read("out/after.wav")[0]
    np.testing.assert_array_equal(before, soundfile.read(recording)[0])
    assert len(after) >= len(before)
    assert np.std(after[8_000:14_000]) < 0.7 * np.std(before[8_000:14_000])
    assert "Ctrl-C stops" in ran.err


def test_flags_without_a_command_belong_to_run_and_settings_reach_the_denoiser(cli: Cli, recording: Path) -> None:
    ran = cli("--play", recording, "--engine", "bypass", "--save", "out", "--profile", "alice")
    assert ran.code == 0
    assert "engine: bypass" in ran.err


def test_bundled_recording_is_there_and_is_speech_of_some_seconds() -> None:
    info = soundfile.info(bundled_recording())
    assert info.samplerate == 16_000
    assert 5.0 < info.duration < 30.0


@pytest.mark.parametrize(
    ("arguments", "code", "name"),
    [
        (["--play", "none.wav"], 3, "no_file"),
        (["--play", "{recording}", "--engine", "wienr"], 5, "unknown_engine"),
        (["--play", "{recording}", "--level", "7", "--engine", "wiener"], 5, "bad_level"),
        (["--play", "{recording}", "--save", "{recording}/x"], 3, "unwritable"),
        (["--channels", "both"], 2, "bad_value"),
        (["--max-latency-ms", "0"], 2, "usage"),
        (["--profile", "alcie"], 3, "no_profile"),
        (["run", "enhance"], 2, "usage"),
    ],
)
def test_what_cannot_start_is_one_sentence_with_its_code_and_leaves_nothing(
    cli: Cli, recording: Path, arguments: list[str], code: int, name: str
) -> None:
    ran = cli(*(word.format(recording=recording) for word in arguments))
    assert ran.code == code
    assert ran.err.splitlines()[-1].startswith(f"error[{name}]: ")
    assert "Traceback" not in ran.err
    assert not Path("out/after.wav").exists()


def test_without_a_sound_server_the_error_says_so_and_exits_4(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULSE_SERVER", "unix:/nowhere/native")
    ran = cli("run")
    assert ran.code == 4
    assert re.search(r"^error\[(server_down|no_pactl)\]: ", ran.err, re.MULTILINE)
    assert cli("devices").code == 4
    assert cli("clean").code == 4
    assert cli("--check").code == 4
    assert cli("doctor").code == 9


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "pse_stream.main", *map(str, arguments)]
    environment = {**os.environ, "TERM": "dumb"}
    running = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert running.stderr is not None
    for said in running.stderr:
        if "Ctrl-C stops" in said:
            return running
    raise AssertionError(f"it ended with {running.wait()}")


@pytest.fixture
def long_recording(tmp_path: Path) -> Path:
    """Long enough to be interrupted."""
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(8_000 * 120, np.float32), 8_000)
    return path


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_by_a_signal_it_ends_in_order(long_recording: Path, number: signal.Signals, code: int) -> None:
    running = start("--play", long_recording)
    running.send_signal(number)
    out, err = running.communicate(timeout=20)
    assert running.returncode == code
    assert "Traceback" not in out + err
    assert not list(Path(os.environ["XDG_RUNTIME_DIR"]).glob("pse-stream/*.sock"))


def test_second_start_under_one_name_exits_8_with_the_pid_and_another_name_is_free(
    cli: Cli, long_recording: Path, recording: Path
) -> None:
    running = start("--play", long_recording, "--save", "first")
    try:
        busy = cli("--play", recording, "--save", "second")
        assert busy.code == 8
        assert f"pid {running.pid}" in busy.err
        assert not Path("second").exists()
        assert cli("--play", recording, "--save", "second", "--instance", "two").code == 0
        assert cli("ctl", "quit").code == 0
        running.communicate(timeout=20)
        assert running.returncode == 0
    finally:
        running.kill()
        running.communicate()


@pytest.mark.parametrize(("environment", "drawn"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_on_a_terminal_the_page_is_drawn_unless_plain_text_is_asked_for(
    recording: Path, environment: dict[str, str], drawn: bool
) -> None:
    shown = on_a_terminal(["--play", str(recording), "--seconds", "1"], environment)
    assert ("\x1b[" in shown) is drawn
    assert ("lost  dropped" in shown) is drawn
    assert "Ctrl-C stops" in shown


def test_progress_of_enhance_is_a_bar_on_a_terminal(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", np.zeros(8_000 * 20, np.float32), 8_000)
    shown = on_a_terminal(["enhance", str(tmp_path / "in.wav"), "-o", str(tmp_path / "out.wav")], {})
    assert "100%" in shown
    assert "[#####" in shown


def on_a_terminal(arguments: list[str], environment: dict[str, str]) -> str:
    """Everything that a command line writes to a terminal of 80 by 24."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    plain = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    running = subprocess.Popen(
        [sys.executable, "-m", "pse_stream.main", *arguments],
        stdin=theirs, stdout=theirs, stderr=theirs, env=plain | {"TERM": "xterm-256color"} | environment,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65_536):
            shown += piece
    except OSError:  # the other end was closed
        pass
    finally:
        os.close(ours)
        assert running.wait(30) == 0, shown.decode(errors="replace")
    return shown.decode(errors="replace")


# --- the page and the line -------------------------------------------------------------------------------------------


def snapshot(**more: Any) -> Snapshot:
    return (
        Snapshot(
            state="running",
            sample_rate=48_000,
            uptime_s=3_725.0,
            input_device="USB PnP",
            virtual_mic="Denoised Microphone",
            readers=2,
            engine=EngineStatus(id="gru-256", title="GRU", level=1, level_name="full", level_count=3),
            latency=Latency(buffer_ms=8.0, device_ms=16.0),
            meter_in=Meter(rms_db=-21.0, peak_db=-4.0),
            meter_out=Meter(rms_db=-120.0, peak_db=-120.0),
            counters=Counters(dropped_hops=3),
        )
        if not more
        else Snapshot(**more)
    )


def test_a_recording_is_shown_with_its_length_wherever_the_state_is() -> None:
    now = snapshot(recording=True, recorded_s=65.0)
    assert "REC 0:01:05" in page(now).plain.splitlines()[0]
    assert "REC 0:01:05" in line(now)
    assert "REC" not in page(snapshot()).plain + line(snapshot())


def test_page_fits_80_by_24_and_says_everything_in_words() -> None:
    text = page(snapshot()).plain
    rows = text.splitlines()
    assert max(map(len, rows)) < WIDTH
    assert len(rows) <= 24
    for fact in (
        "RUNNING", "gru-256", "level 1 of 2 (full)", "1:02:05", "USB PnP", '"Denoised Microphone"', "listening: 2",
        "peak   -4.0", "-inf", "40.0 ms", "algorithm 16", "buffers 8.0", "devices 16.0", "dropped 3", "bypass off",
    ):  # fmt: skip
        assert fact in text, fact


def test_page_without_unicode_is_ascii_and_long_names_are_cut_not_wrapped() -> None:
    now = snapshot(input_device="x" * 200, events=tuple("event " * 40 for _ in range(9)), reason="why " * 60)
    text = page(now, unicode=False).plain.replace("…", "")
    assert text.isascii()
    assert len(text.splitlines()) <= 24
    assert max(map(len, text.splitlines())) < WIDTH


@pytest.mark.parametrize("state", ["starting", "running", "bypassed", "degraded", "stalled", "failed", "stopped"])
def test_every_state_has_its_word_and_its_reason(state: Any) -> None:
    text = page(snapshot(state=state, reason="the reason")).plain
    assert state.upper() in text
    assert "the reason" in text


@pytest.mark.parametrize(("db", "filled"), [(-200.0, 0), (-60.0, 0), (-30.0, 17), (0.0, 33), (6.0, 33)])
def test_meter_fills_from_minus_60_to_0(db: float, filled: int) -> None:
    text = page(snapshot(meter_in=Meter(rms_db=db)), unicode=False).plain
    meter = next(row for row in text.splitlines() if row.startswith(" in "))
    assert meter.count("#") == filled


def test_line_holds_state_levels_delay_and_losses() -> None:
    said = line(snapshot())
    assert said.startswith("1:02:05 running, engine gru-256 level 1")
    assert "delay 40 ms" in said
    assert "lost 3 hops" in said


class Named:
    """A device that knows one title, and is asked how often."""

    def __init__(self) -> None:
        self.asked = 0

    def names(self, direction: Any) -> list[DeviceInfo]:
        self.asked += 1
        return [DeviceInfo(name="alsa_input.usb-Yeti", title="Blue Yeti", direction=direction)]


def test_devices_are_shown_by_their_titles_and_asked_for_once() -> None:
    device: Any = Named()
    titles = Titles(device)
    for _ in range(3):
        shown = titles.put_into(snapshot(input_device="alsa_input.usb-Yeti", output_device="unknown"))
    assert (shown.input_device, shown.output_device) == ("Blue Yeti", "unknown")
    assert device.asked <= 4  # both directions, once for each name


@pytest.mark.parametrize(
    ("before", "now", "fresh"),
    [
        ((), ("a", "b"), ("a", "b")),
        (("a", "b"), ("a", "b"), ()),
        (("a", "b"), ("a", "b", "a"), ("a",)),  # the same sentence again
        (("a", "b", "c"), ("b", "c", "a"), ("a",)),  # the oldest was forgotten
        (("a", "b"), ("x", "y"), ("x", "y")),
    ],
)
def test_each_event_is_said_once_even_if_its_words_come_again(
    before: tuple[str, ...], now: tuple[str, ...], fresh: tuple[str, ...]
) -> None:
    assert fresh_events(before, now) == fresh


class Still:
    """A denoiser that only stands there."""

    def __init__(self, now: Snapshot) -> None:
        self.snapshot = now

    def wait(self, timeout: float | None = None) -> bool:
        time.sleep(min(timeout or 0.0, 0.01))
        return False


def test_delay_above_the_limit_is_exit_7_with_its_parts_once_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pse_stream.cli.run.SETTLE_S", 0.0)
    watch: Any = Watch
    titles = Titles(Named())
    assert watch(Still(snapshot()), titles, seconds=None, max_latency_ms=40.0).next(0.1) is not None
    with pytest.raises(LimitError, match=r"measured 40 ms, limit 39 ms \(engine 16, buffers 8, device 16\)") as caught:
        watch(Still(snapshot()), titles, seconds=None, max_latency_ms=39.0).next(0.1)
    assert caught.value.exit_code == 7


def test_plain_lines_are_chosen_without_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    from pse_stream.cli.console import Console

    assert not screen_wanted(Console())  # stderr is no terminal here
    monkeypatch.setattr(Console, "live", property(lambda _: True))
    assert not screen_wanted(Console(colour="never"))
    monkeypatch.setenv("NO_COLOR", "1")
    assert not screen_wanted(Console())
