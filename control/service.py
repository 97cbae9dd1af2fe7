"""`pse-stream service`: a systemd user unit that keeps the denoiser running, with its socket where `ctl` looks.

The user manager sets XDG_RUNTIME_DIR to /run/user/UID, which is where a client of the same user looks with or without
that variable. Nothing needs root, and nothing outside the user's own configuration is touched.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pse_stream.control.instance import DEFAULT_INSTANCE, check_instance, running_pid
from pse_stream.errors import ConfigError, PseError

#: Runs a command; gives its exit code and what it wrote.
Run = Callable[[Sequence[str]], tuple[int, str]]

SOUND_SERVER_WAIT_S = "60"  # at login the sound server may come later than we, whatever the order says

_UNIT = """\
# Written by `pse-stream service install`; removed by `pse-stream service remove`.
[Unit]
Description=pse-stream: a clean microphone for every program
After=pipewire.service pipewire-pulse.service wireplumber.service pulseaudio.service

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
Restart=on-failure
RestartSec=2
# Wrong usage, configuration or engine, or another one runs: trying again would not help.
RestartPreventExitStatus=2 3 5 8
SuccessExitStatus=130 143
WatchdogSec=30
TimeoutStartSec=90
TimeoutStopSec=10
NoNewPrivileges=yes
UMask=0077

[Install]
WantedBy=default.target
"""


class ServiceError(PseError):
    """systemd is not there, or refuses."""

    name = "service"


def run_command(words: Sequence[str]) -> tuple[int, str]:
    """Run one of systemd's tools."""
    try:
        done = subprocess.run(list(words), capture_output=True, text=True, timeout=20, check=False)
    except FileNotFoundError:
        return 127, f"{words[0]} is not installed"
    except subprocess.TimeoutExpired:
        return 124, f"{words[0]} did not answer"
    return done.returncode, (done.stdout + done.stderr).strip()


def unit_name(instance: str) -> str:
    """`pse-stream.service`, or `pse-stream-NAME.service`."""
    check_instance(instance)
    return "pse-stream.service" if instance == DEFAULT_INSTANCE else f"pse-stream-{instance}.service"


def unit_path(instance: str) -> Path:
    """Where the unit lies."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    root = Path(base) if os.path.isabs(base) else Path.home() / ".config"
    return root / "systemd" / "user" / unit_name(instance)


def unit_text(instance: str, flags: Sequence[str]) -> str:
    """The unit; `flags` are those of `pse-stream run`.

    Raises
    ------
    ConfigError
        If a flag cannot be written into a unit.
    """
    words = [sys.executable, "-m", "pse_stream.main", "run", "--quiet", "--wait-s", SOUND_SERVER_WAIT_S]
    if instance != DEFAULT_INSTANCE:
        words += ["--instance", instance]
    return _UNIT.format(command=" ".join(_quoted(word) for word in [*words, *flags]))


def _quoted(word: str) -> str:
    if any(ord(character) < 32 for character in word):
        raise ConfigError(f"{word!r} cannot be written into a unit file.", name="bad_value")
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


class Service:
    """The unit of one instance."""

    def __init__(self, instance: str = DEFAULT_INSTANCE, run: Run = run_command) -> None:
        self.instance, self._run = instance, run
        self.name, self.path = unit_name(instance), unit_path(instance)

    def install(self, flags: Sequence[str] = ()) -> str:
        """Write the unit and start it now and at each login; what to know about logging out.

        Raises
        ------
        ServiceError
            If there is no user manager, or it refuses; the unit is taken away again then.
        """
        text = unit_text(self.instance, flags)
        self._systemctl("is-system-running", tolerate=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(text, encoding="utf-8")
        try:
            self._systemctl("daemon-reload")
            self._systemctl("enable", "--now", self.name)
        except ServiceError:
            self.path.unlink()
            raise
        return self.linger_advice()

    def remove(self) -> bool:
        """Stop it and take the unit away; False if there was none."""
        if not self.path.exists():
            return False
        self._systemctl("disable", "--now", self.name)
        self.path.unlink()
        self._systemctl("daemon-reload")
        return True

    def status(self) -> dict[str, Any]:
        """Installed, enabled, active, answering; None where it cannot be known."""
        code, active = self._run(["systemctl", "--user", "is-active", self.name])
        _, enabled = self._run(["systemctl", "--user", "is-enabled", self.name])
        known = code in (0, 3, 4)  # 0 active, 3 not active, 4 no such unit; else there is no manager to ask
        pid = running_pid(self.instance)
        return {
            "unit": self.name,
            "installed": self.path.exists(),
            "enabled": enabled == "enabled" if known else None,
            "active": active if known else None,
            "pid": pid,
            "lingers": self._lingers(),
        }

    def linger_advice(self) -> str:
        """What to run if the service would end with the login; empty if it would not."""
        return "" if self._lingers() is not False else "loginctl enable-linger"

    def _lingers(self) -> bool | None:
        code, text = self._run(["loginctl", "show-user", str(os.getuid()), "--property=Linger", "--value"])
        return text == "yes" if code == 0 else None

    def _systemctl(self, *words: str, tolerate: bool = False) -> None:
        code, text = self._run(["systemctl", "--user", *words])
        lost = code in (124, 127) or "bus" in text.lower()
        if lost or (code != 0 and not tolerate):
            why = text.splitlines()[-1] if text else f"exit code {code}"
            raise ServiceError(
                f"systemd's user manager does not do `systemctl --user {' '.join(words)}`: {why}.",
                hint="Log in as that user (not with su), or start pse-stream run another way.",
            )
