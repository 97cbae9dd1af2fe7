"""The whole program on the virtual sound card: run, ctl, the screen in a real terminal, kill and start again."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from pse_stream.control.audit import AuditLog
from pse_stream.control.catalog import SystemCatalog
from pse_stream.control.client import ControlClient
from pse_stream.control.desk import Desk
from pse_stream.control.faults import NoAnswerError
from pse_stream.control.instance import control_path, running_pid, runtime_dir
from pse_stream.control.messages import decode
from pse_stream.control.reception import LOCAL, Reception
from pse_stream.control.sessions import Peer
from pse_stream.dsp.spec import Float32s
from pse_stream.streaming.denoiser import Denoiser
from pse_stream.streaming.devices.fake import FakeDevice
from pse_stream.streaming.settings import Settings

from ..soundcard import VirtualSoundcard
from .bad_messages import DeafRouter, bad_message

PROGRAM = [sys.executable, "-m", "pse_stream.main"]


def until(true: Callable[[], object], what: str, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"{what}: waited in vain"
        time.sleep(0.05)


def state(client: ControlClient) -> str:
    """Of a denoiser that may still be starting."""
    try:
        return str(client.status()["state"])
    except NoAnswerError:
        return ""


def ctl(*words: str) -> tuple[int, str]:
    done = subprocess.run([*PROGRAM, "ctl", *words], capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's configuration; the runtime folder is the sound card's."""
    for name in ("CONFIG", "STATE", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))


@pytest.fixture
def hum(soundcard: VirtualSoundcard, tmp_path: Path) -> Iterator[None]:
    """Somebody hums into the microphone."""
    t = np.arange(48_000 * 60) / 48_000
    path = tmp_path / "hum.raw"
    path.write_bytes((0.2 * np.sin(2 * np.pi * 220.0 * t) * (np.sin(2 * np.pi * t) > 0)).astype(np.float32).tobytes())
    words = [
        "pacat",
        "--playback",
        "--device=room_sink",
        "--format=float32le",
        "--rate=48000",
        "--channels=1",
        str(path),
    ]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as player:
        yield
        player.terminate()


@pytest.fixture
def running(soundcard: VirtualSoundcard, folders: None, hum: None, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`pse-stream run` in a process of its own."""
    with (tmp_path / "run.log").open("wb") as log:
        process = subprocess.Popen([*PROGRAM, "run", "--engine", "wiener"], stdout=log, stderr=log)
    try:
        until(lambda: running_pid("default") and control_path("default").exists(), "start")
        yield process
    finally:
        process.terminate()
        process.wait(15)


@pytest.fixture
def listener(running: subprocess.Popen[bytes]) -> Iterator[None]:
    """A program that uses the virtual microphone: without one the denoiser pauses, however long the screen takes."""
    words = ["parec", "--device=pse_mic", "/dev/null"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as recorder:
        yield
        recorder.terminate()


@pytest.mark.soundcard
def test_a_running_denoiser_is_seen_changed_and_stopped(running: subprocess.Popen[bytes]) -> None:
    with ControlClient() as client:
        until(lambda: client.status()["meter_in"]["rms_db"] > -40.0, "sound")
        assert "room" in client.status()["input_device"]
        assert client.set_attenuation(12.0).changed == {"attenuation_db": (30.0, 12.0)}
        first = client.toggle_bypass()
        time.sleep(0.1)
        assert client.toggle_bypass().hop_index > first.hop_index
        names = [row["name"] for row in client.devices()["inputs"]]
        assert "desk" in names
        assert client.set_devices("desk").changed["input"][1] == "desk"
        assert client.set_devices("room").changed
        assert "wiener" in [row["id"] for row in client.engines()]
        assert client.doctor()["findings"]
        before = client.status()["latency"]["total_ms"]
        client.set_mute(True)
        until(lambda: client.status()["meter_out"]["rms_db"] < -100.0, "mute")
        client.set_mute(False)
        assert abs(client.status()["latency"]["total_ms"] - before) < 16.0
    code, said = ctl("status", "--json")
    status: dict[str, Any] = json.loads(said)
    assert (code, status["settings"]["attenuation_db"]) == (0, 12.0)
    assert ctl("quit") == (0, "stopping\n")
    assert running.wait(15) == 0
    assert not list(runtime_dir().glob("default.*"))


@pytest.mark.soundcard
@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
@pytest.mark.usefixtures("listener")
def test_the_screen_in_a_real_terminal(running: subprocess.Popen[bytes], tmp_path: Path) -> None:
    pytest.importorskip("textual")
    tmux = ["tmux", "-S", str(tmp_path / "tmux")]

    def show() -> str:
        return subprocess.run([*tmux, "capture-pane", "-p"], capture_output=True, text=True, check=True).stdout

    def press(*keys: str) -> None:
        subprocess.run([*tmux, "send-keys", *keys], check=True)

    with ControlClient() as client:
        until(lambda: client.status()["meter_in"]["rms_db"] > -40.0, "sound")
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}
        subprocess.run(
            [*tmux, "-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", *PROGRAM, "tui"],
            env=environment,
            check=True,
        )
        try:
            until(lambda: "wiener level 0/0" in show() and "▀" in show(), "the screen")
            press("b")
            until(
                lambda: "bypass  ON" in show(), "bypass on the screen"
            )  # the state may be DEGRADED, if others compute
            assert client.status()["settings"]["bypass"] is True
            press("b", "m")
            until(lambda: "mute  ON" in show(), "mute on the screen")
            press("m")
            press("?")
            until(lambda: "Esc goes back" in show(), "help")
            press("Escape")
            until(lambda: "Esc goes back" not in show(), "help closed")
            press("q")
            until(
                lambda: subprocess.run([*tmux, "has-session"], capture_output=True, check=False).returncode, "leaving"
            )
            assert client.status()["state"] in ("running", "degraded", "paused")
        finally:
            subprocess.run([*tmux, "kill-server"], capture_output=True, check=False)


@pytest.mark.soundcard
def test_after_a_kill_the_client_says_so_and_a_new_start_works(
    running: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    with ControlClient(timeout_s=0.5) as client:
        client.status()
        running.send_signal(signal.SIGKILL)
        running.wait(10)
        with pytest.raises(NoAnswerError) as caught:
            client.status()
        assert caught.value.name == "not_running"
        with (tmp_path / "again.log").open("wb") as log:
            again = subprocess.Popen([*PROGRAM, "run", "--engine", "wiener"], stdout=log, stderr=log)
        try:
            until(lambda: running_pid("default") == again.pid, "start")
            until(lambda: state(client) in ("running", "degraded", "paused"), "sound")
            second = subprocess.run([*PROGRAM, "run"], capture_output=True, text=True, timeout=30, check=False)
            assert (second.returncode, f"pid {again.pid}" in second.stderr) == (8, True)
        finally:
            again.terminate()
            assert again.wait(15) == 143


# -- changes under simulated time -------------------------------------------------------------------


def tone(first: int, count: int) -> Float32s:
    """Harmonics of 150 Hz: nothing above 3 kHz, so that any click shows there."""
    t = (first + np.arange(count)) / 48_000
    return (0.1 * sum(np.sin(2 * np.pi * 150.0 * k * t + k * k) / k for k in range(1, 21))).astype(np.float32)


def test_random_changes_do_not_click_and_leave_the_delay_as_it_was() -> None:
    device, source = FakeDevice(source=tone), random.Random(3)
    denoiser = Denoiser(Settings(engine="wiener"), device=device)
    desk = Desk(denoiser, SystemCatalog(denoiser, device))

    def ask(method: str, **params: object) -> None:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        future = desk.submit(decode(json.dumps(body).encode()))
        device.advance(0.01)
        future.result(0.0)

    with denoiser:
        device.advance(2.0)
        delays = {denoiser.snapshot.latency.total_ms}
        for _ in range(60):
            kind = source.randrange(4)
            if kind == 0:
                ask("bypass.toggle")
            elif kind == 1:
                ask("mute.toggle")
            elif kind == 2:
                ask("attenuation.set", db=source.choice([0, 6, 18, 100]))
            else:
                ask("engine.set", id=source.choice(["wiener", "bypass"]))
            device.advance(source.uniform(0.03, 0.1))
            delays.add(round(denoiser.snapshot.latency.total_ms, 3))
        ask("config.patch", mute=False, bypass=True, attenuation_db=30.0, engine="wiener")
        device.advance(1.0)
        output, settings = device.output, denoiser.snapshot.settings
    hiss = np.abs(sosfilt(butter(6, 6_000.0, "highpass", fs=48_000, output="sos"), output))[48_000:]
    assert 20.0 * np.log10(hiss.max()) < -65.0  # a hard cut of this tone makes -33 dBFS
    assert max(delays) - min(delays) < 0.5
    assert settings == Settings(engine="wiener", bypass=True)


def heard(bad_messages: int) -> Float32s:
    """Two seconds of sound while somebody sends nonsense."""
    device, source, router = FakeDevice(source=tone, sample_rate=16_000), random.Random(5), DeafRouter()
    denoiser = Denoiser(Settings(engine="bypass"), device=device)
    reception = Reception(Desk(denoiser, SystemCatalog(denoiser, device)), "default", AuditLog(None), None)
    with denoiser:
        for hop in range(250):
            for _ in range(bad_messages):
                reception.take(Peer(router, b"x"), LOCAL, bad_message(source), now=hop * 10.0)
            device.advance(0.008)
        reception.close()
        return device.output


def test_nonsense_is_not_heard() -> None:
    quiet, noisy = heard(0), heard(8)
    assert np.abs(quiet).max() > 0.1
    assert np.array_equal(quiet, noisy)
