"""What the machine says of itself, for the governor: cores that are idle, the battery, the heat.

Every figure may be missing; then it is not guessed. Background programs (nice above 0) count as idle: a scheduler
gives way to us before them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psutil

from pse_stream.streaming.governor import Hints

IDLE_S = 1.0  # between looks at the cores
POWER_S = 20.0  # between looks at battery and heat: slow, and reading sensors may take milliseconds
LOW_PERCENT, ENOUGH_PERCENT = 20.0, 25.0  # of the battery
NEAR_C, COOL_C = 2.0, 10.0  # below what a sensor calls high: hot from there, cool again from there


class Surroundings:
    """Look now and then; from one thread.

    Parameters
    ----------
    system : module or object
        `psutil`, or something with the same functions.
    """

    def __init__(self, system: Any = psutil) -> None:
        self._system = system
        self._times: tuple[float, float] | None = None  # (clock, idle seconds of all cores)
        self._idle: float | None = None
        self._power_at = float("-inf")
        self._low = self._hot = ""

    def look(self, now: float) -> Hints:
        """What is known now; reads the system only when it is time."""
        if self._times is None or now - self._times[0] >= IDLE_S:
            self._look_at_cores(now)
        if now - self._power_at >= POWER_S:
            self._power_at = now
            self._low = _quietly(self._battery, "")
            self._hot = _quietly(self._heat, "")
        return Hints(idle_cores=self._idle, saving=self._low or self._hot)

    def _look_at_cores(self, now: float) -> None:
        idle = _quietly(self._idle_s, None)
        if idle is not None and self._times is not None and now > self._times[0]:
            self._idle = max(0.0, (idle - self._times[1]) / (now - self._times[0]))
        self._times = None if idle is None else (now, idle)

    def _idle_s(self) -> float | None:
        times = self._system.cpu_times()
        return float(sum(getattr(times, name, 0.0) for name in ("idle", "iowait", "nice")))

    def _battery(self) -> str:
        battery = self._system.sensors_battery()
        if battery is None or battery.power_plugged is not False:
            return ""
        limit = ENOUGH_PERCENT if self._low else LOW_PERCENT
        return f"the battery is at {battery.percent:.0f} %" if battery.percent <= limit else ""

    def _heat(self) -> str:
        below = COOL_C if self._hot else NEAR_C
        for rows in self._system.sensors_temperatures().values():
            for row in rows:
                if row.high and row.high > below and row.current >= row.high - below:
                    return f"the machine is hot ({row.current:.0f} °C)"
        return ""


def _quietly(ask: Callable[[], Any], missing: Any) -> Any:
    """Sensors are missing, forbidden or broken in many ways; none of them is worth a word."""
    try:
        return ask()
    except (AttributeError, OSError, RuntimeError, ValueError, NotImplementedError):
        return missing
