from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from pse_stream.control.instance import InstanceLock
from pse_stream.control.service import Service, ServiceError, unit_path, unit_text
from pse_stream.control.systemd import notify
from pse_stream.errors import ConfigError, ControlError


class Systemd:
    """Answers like systemctl and loginctl."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refuse = ""
        self.bus = True
        self.linger = "no"

    def __call__(self, words: Sequence[str]) -> tuple[int, str]:
        self.asked.append(" ".join(words))
        if words[0] == "loginctl":
            return 0, self.linger
        if not self.bus:
            return 1, "Failed to connect to bus: No medium found"
        if self.refuse and self.refuse in words:
            return 5, "Unit is masked."
        answers = {"is-active": (0, "active"), "is-enabled": (0, "enabled")}
        return answers.get(words[2], (0, ""))


@pytest.fixture
def systemd(home: Path) -> Systemd:
    return Systemd()


def test_install_writes_enables_and_starts(systemd: Systemd) -> None:
    advice = Service(run=systemd).install(["--profile", "alice"])
    text = unit_path("default").read_text()
    assert '"--profile" "alice"' in text
    assert "Type=notify" in text
    assert systemd.asked[-3:-1] == [
        "systemctl --user daemon-reload",
        "systemctl --user enable --now pse-stream.service",
    ]
    assert advice == "loginctl enable-linger"
    systemd.linger = "yes"
    assert Service(run=systemd).linger_advice() == ""


def test_without_a_user_manager_nothing_is_left(systemd: Systemd) -> None:
    systemd.bus = False
    with pytest.raises(ServiceError, match="No medium found"):
        Service(run=systemd).install()
    assert not unit_path("default").exists()


def test_a_unit_that_is_refused_is_taken_away(systemd: Systemd) -> None:
    systemd.refuse = "enable"
    with pytest.raises(ServiceError, match="masked"):
        Service(run=systemd).install()
    assert not unit_path("default").exists()


def test_remove_stops_and_takes_away(systemd: Systemd) -> None:
    service = Service(run=systemd)
    assert not service.remove()
    service.install()
    assert service.remove()
    assert not unit_path("default").exists()
    assert "systemctl --user disable --now pse-stream.service" in systemd.asked


def test_status_says_what_is_known_and_what_is_not(systemd: Systemd) -> None:
    with InstanceLock("default"):
        found = Service(run=systemd).status()
    assert (found["installed"], found["active"], found["enabled"], found["lingers"]) == (False, "active", True, False)
    assert found["pid"] is not None
    systemd.bus = False
    found = Service(run=systemd).status()
    assert (found["active"], found["enabled"], found["pid"]) == (None, None, None)


def test_two_instances_have_two_units(home: Path) -> None:
    assert unit_path("default") != unit_path("second")
    assert '"--instance" "second"' in unit_text("second", [])
    with pytest.raises(ControlError):
        unit_path("../x")


def test_flags_are_quoted_so_that_systemd_changes_nothing_in_them(home: Path) -> None:
    assert '"a \\"b\\" %%h $$HOME \\\\"' in unit_text("default", ['a "b" %h $HOME \\'])
    with pytest.raises(ConfigError):
        unit_text("default", ["a\nExecStartPre=/bin/x"])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_understands_the_unit(home: Path) -> None:
    path = home / "pse-stream.service"
    path.write_text(unit_text("default", ["--profile", "alice"]))
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", str(path)], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(home: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    name = str(home / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name if abstract else name)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name if abstract else name)
        assert notify("READY=1")
        assert listening.recv(100) == b"READY=1"


def test_nobody_is_told_where_nobody_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/at/all")
    assert not notify("READY=1")
