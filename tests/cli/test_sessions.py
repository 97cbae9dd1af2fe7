"""`pse-stream sessions`: agreed to before it is on, listed, taken, erased; and a real run that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from pse_stream.cli.sessions import span
from pse_stream.control.client import ControlClient
from pse_stream.control.faults import RemoteError
from pse_stream.control.instance import running_pid
from pse_stream.errors import UsageError
from pse_stream.profiles.sessions import list_sessions, open_session
from pse_stream.profiles.store import open_profile

from ..profiles.people import record

Cli = Callable[..., Any]  # arguments -> (code, out, err)


@pytest.fixture
def bob(cli: Cli) -> str:
    assert cli("profile", "new", "bob").code == 0
    return "bob"


def test_on_needs_an_answer_and_off_takes_it_back(cli: Cli, bob: str, home: Path) -> None:
    folder = open_profile(bob).folder
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    asked = cli("sessions", "on", "-p", bob)
    assert asked.code == 2
    assert "Nothing leaves this computer" in " ".join(asked.err.split())
    assert "--agree" in asked.err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    agreed = cli("sessions", "on", "-p", bob, "--agree")
    assert agreed.code == 0
    assert open_profile(bob).logging.consent
    state = json.loads(cli("sessions", "status", "-p", bob, "--json").out)
    assert state["recording"]
    assert datetime.fromisoformat(state["expires"]) - datetime.now(UTC) > timedelta(days=364)
    assert cli("sessions", "off", "-p", bob).out == '"bob" is not recorded.\n'
    assert not open_profile(bob).logging.consent
    assert not (folder / "consent.toml").exists()


def test_by_hand_agrees_without_switching_on(cli: Cli, bob: str) -> None:
    cli("sessions", "on", "-p", bob, "--agree", "--by-hand")
    assert not open_profile(bob).logging.consent
    assert (open_profile(bob).folder / "consent.toml").is_file()


def test_an_example_becomes_the_person_s_own_when_it_agrees(cli: Cli) -> None:
    assert cli("sessions", "off", "-p", "alice").code == 0
    assert cli("sessions", "on", "-p", "alice", "--agree").code == 0
    assert open_profile("alice").logging.consent
    assert "own" in cli("profile", "list").out


def test_list_export_delete_work_while_recording_is_off(cli: Cli, bob: str) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    for days in (40, 3, 1):
        record(open_profile(bob), began=now - timedelta(days=days), count=125)
    listed = cli("sessions", "list", "-p", bob)
    assert "too old" in listed.err  # 40 days
    assert len(listed.out.splitlines()) == 3
    found = json.loads(cli("sessions", "list", "-p", bob, "--json").out)["sessions"]
    assert [row["seconds"] for row in found] == [1.0, 1.0]
    written = cli("sessions", "export", "last", "-p", bob, "-o", "taken").out.split()
    assert soundfile.info(written[0]).duration == pytest.approx(1.0)
    assert cli("sessions", "delete", "-p", bob).code == 2
    assert cli("sessions", "delete", "--all", "-p", bob).code == 2  # nobody can be asked
    assert cli("sessions", "delete", "--since", "2d", "-p", bob, "--dry-run").out == "nothing was deleted\n"
    gone = json.loads(cli("sessions", "delete", "--since", "2d", "-p", bob, "--yes", "--json").out)
    assert gone["deleted"] == [found[1]["id"]]
    assert cli("sessions", "delete", found[0]["id"][:10], "-p", bob, "--yes").code == 0
    assert list_sessions(open_profile(bob)) == []
    assert cli("sessions", "delete", "--all", "-p", bob, "--yes").code == 0
    assert "error[no_session]" in cli("sessions", "export", "2026", "-p", bob).err


def test_whose_sessions_is_asked_when_nobody_is_named(cli: Cli, bob: str) -> None:
    assert "whose?" in cli("sessions", "list").err
    cli("profile", "use", bob)
    assert cli("sessions", "list").code == 0
    assert "error[no_profile]" in cli("sessions", "list", "-p", "bbo").err


@pytest.mark.parametrize(("words", "length"), [("30min", 1800), ("2h", 7200), ("3d", 259_200), ("1w", 604_800)])
def test_lengths_of_time(words: str, length: int) -> None:
    assert span(words).total_seconds() == length


@pytest.mark.parametrize("words", ["", "2", "d", "-1d", "2 years"])
def test_what_is_no_length_of_time_is_said(words: str) -> None:
    with pytest.raises(UsageError, match="no length of time"):
        span(words)


def until(holds: Callable[[], object], seconds: float = 40.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.1)


@pytest.mark.slow
def test_a_run_that_is_killed_leaves_what_it_recorded(cli: Cli, bob: str, tmp_path: Path) -> None:
    sound = np.random.default_rng(0).normal(0.0, 0.05, 16_000 * 60).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", sound, 16_000)
    words = [
        "run",
        "-p",
        bob,
        "--engine",
        "bypass",
        "--play",
        str(tmp_path / "long.wav"),
        "--save",
        str(tmp_path / "o"),
    ]
    with (tmp_path / "log").open("wb") as log:
        run = subprocess.Popen(
            [sys.executable, "-c", "from pse_stream.main import main; main()", *words],
            stderr=log,
            stdout=log,
            env=os.environ,
        )
    try:
        until(lambda: running_pid("default") == run.pid)
        with ControlClient(timeout_s=5.0) as client:
            with pytest.raises(RemoteError) as caught:
                client.start_recording()
            assert (caught.value.name, caught.value.exit_code) == ("consent_needed", 10)
            assert not open_profile(bob).sessions.exists()
            cli("sessions", "on", "-p", bob, "--agree", "--by-hand")
            assert client.start_recording().changed == {"recording": (False, True)}
            assert client.status()["recording"]
        until(lambda: (found := list_sessions(open_profile(bob))) and found[0].segments >= 1)
        assert open_session(open_profile(bob), "last").state == "recording"
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait(10)
    session = open_session(open_profile(bob), "last")
    assert session.state == "cut short"
    heard = session.read("input")
    assert len(heard) >= 160_000
    assert np.std(heard) == pytest.approx(0.05, rel=0.05)
    assert next(iter(session.decisions()))["engine"] == "bypass"
    assert cli("sessions", "delete", "--all", "-p", bob, "-y").code == 0
