"""When adaptation may work: behind everything else; if wished, only on mains power or while nobody needs the machine.

A laptop on battery and a machine in use are left alone; the work goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass

BUSY_SHARE = 0.5  # of the processor, by others: somebody is at work
LOWEST = 19  # niceness
LOOK_S = 2.0


@dataclass(frozen=True, slots=True)
class Machine:
    """What is asked of the machine; a test brings its own."""

    on_mains: Callable[[], bool]
    others_busy: Callable[[], float]  # share of all processors that other programs use


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """What a job waits for."""

    mains: bool = False
    idle: bool = False

    def reason(self, machine: Machine) -> str:
        """Why to wait, in words; empty if there is none."""
        if self.mains and not machine.on_mains():
            return "the computer runs on battery"
        if self.idle and machine.others_busy() > BUSY_SHARE:
            return "the computer is in use"
        return ""


def step_back() -> None:
    """Let everything else go first: lowest priority for processor and disk, one thread."""
    with contextlib.suppress(OSError):
        os.nice(LOWEST - os.nice(0))
    with contextlib.suppress(OSError, AttributeError, ValueError):
        import psutil

        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)


def this_machine() -> Machine:
    """Ask psutil; a machine without a battery is on mains."""
    import psutil

    psutil.cpu_percent()  # the first answer is about nothing
    me = psutil.Process()
    me.cpu_percent()

    def on_mains() -> bool:
        battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
        return battery is None or battery.power_plugged is not False

    def others_busy() -> float:
        own = me.cpu_percent() / (100.0 * (psutil.cpu_count() or 1))
        return max(0.0, psutil.cpu_percent() / 100.0 - own)

    return Machine(on_mains, others_busy)
