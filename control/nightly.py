"""`pse-stream adapt NAME --install-timer`: a systemd user timer that adapts a profile every night.

It waits for mains power and an idle computer, steps behind everything else, and goes on the next night where it
stopped. Nothing needs root.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pse_stream.control.service import Run, ServiceError, run_command, unit_path
from pse_stream.profiles.store import open_profile

_SERVICE = """\
# Written by `pse-stream adapt {name} --install-timer`; removed by --remove-timer.
[Unit]
Description=pse-stream: adapt the noise removal to {name}
ConditionACPower=true

[Service]
Type=oneshot
ExecStart="{python}" -m pse_stream.main adapt {name} --on-mains --when-idle --quiet
# No better than before (9), nothing recorded yet (3), busy (8), stopped: no failure of the unit.
SuccessExitStatus=3 8 9 130 143
Nice=19
IOSchedulingClass=idle
CPUSchedulingPolicy=idle
TimeoutStartSec=8h
NoNewPrivileges=yes
UMask=0077
"""

_TIMER = """\
# Written by `pse-stream adapt {name} --install-timer`; removed by --remove-timer.
[Unit]
Description=pse-stream: adapt the noise removal to {name} every night

[Timer]
OnCalendar=*-*-* 02:00
RandomizedDelaySec=1h
Persistent=true

[Install]
WantedBy=timers.target
"""


def service_text(name: str) -> str:
    """The unit that does the work."""
    return _SERVICE.format(name=name, python=sys.executable)


def timer_text(name: str) -> str:
    """The unit that starts it."""
    return _TIMER.format(name=name)


class Nightly:
    """The two units of one profile."""

    def __init__(self, name: str, run: Run = run_command) -> None:
        open_profile(name)  # only names that a unit file can hold
        self._run = run
        folder = unit_path("default").parent
        self.timer = f"pse-stream-adapt-{name}.timer"
        self.paths = {
            folder / f"pse-stream-adapt-{name}.service": service_text(name),
            folder / self.timer: timer_text(name),
        }

    def install(self) -> None:
        """Write both and start the timer.

        Raises
        ------
        ServiceError
            If there is no user manager, or it refuses; the units are taken away again then.
        """
        for path, text in self.paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        try:
            self._systemctl("daemon-reload")
            self._systemctl("enable", "--now", self.timer)
        except ServiceError:
            self._unlink()
            raise

    def remove(self) -> bool:
        """Stop the timer and take both units away; False if there were none."""
        if not any(path.exists() for path in self.paths):
            return False
        self._systemctl("disable", "--now", self.timer)
        self._unlink()
        self._systemctl("daemon-reload")
        return True

    def _unlink(self) -> None:
        for path in self.paths:
            Path(path).unlink(missing_ok=True)

    def _systemctl(self, *words: str) -> None:
        code, text = self._run(["systemctl", "--user", *words])
        if code != 0:
            why = text.splitlines()[-1] if text else f"exit code {code}"
            raise ServiceError(
                f"systemd's user manager does not do `systemctl --user {' '.join(words)}`: {why}.",
                hint="Run `pse-stream adapt NAME --on-mains --when-idle` from another scheduler, such as cron.",
            )
