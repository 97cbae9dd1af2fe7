"""What a process that carries sound should set once; for the `run` command, never done behind a caller's back.

Measured with one busy Python thread beside the sound: at the usual switch interval of 5 ms hops came up to 170 ms late,
at 0.5 ms they did not. A full garbage collection with numpy and an engine loaded takes 12 ms, longer than a hop; after
freezing what will live for ever, 5 us.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SWITCH_S = 0.0005  # how long a Python thread may keep the interpreter while another waits
REALTIME_PRIORITY = 10  # below the sound server's own (12 where it is given one)


@contextmanager
def sound_process() -> Iterator[None]:
    """Set the interpreter up for sound, and put it back at the end. Enter it when everything is loaded and warm."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        sys.setswitchinterval(interval)


def run_thread_realtime(thread: int | None = None) -> str:
    """Ask for real-time scheduling of one thread (native id; the calling one by default): why not, or "".

    Ordinary users are usually refused; it is an improvement, never a need, so nothing is raised. The kernel's own
    throttling (95 % of a core) keeps a runaway from owning the machine.
    """
    if not hasattr(os, "sched_setscheduler"):
        return "this system has no real-time scheduling"
    target = threading.get_native_id() if thread is None else thread
    try:
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(target, policy, os.sched_param(REALTIME_PRIORITY))
    except (OSError, PermissionError) as error:
        return f"the system refused ({error.strerror}); allow it: @audio - rtprio 95 in /etc/security/limits.d"
    return ""
