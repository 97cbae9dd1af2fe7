"""What a process that carries sound should set once; for the `run` command, never done behind a caller's back.

Measured with one busy Python thread beside the sound: at the usual switch interval of 5 ms hops came up to 170 ms late,
at 0.5 ms they did not. A full garbage collection with numpy and an engine loaded takes 12 ms, longer than a hop; after
freezing what will live for ever, 5 us. With four busy programs on two cores a thread that works for 1 ms of every 8 was
woken 2.1 ms late (median; p99 7.3 ms), with a short slice, for which no right is needed, 0.1 ms (p99 2.6 ms).
"""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

SLICE_NS = 100_000  # the shortest that the scheduler takes: who asks for little at a time is served at once
#: Of sched_setattr(2), which the C library has only since 2024, by machine.
SETATTR_CALL = {"x86_64": 314, "aarch64": 274}
SWITCH_S = 0.0005  # how long a Python thread may keep the interpreter while another waits
REALTIME_PRIORITY = 10  # below the sound server's own (12 where it is given one)
NICENESS = -11  # of the threads beside a real-time one: what rtkit gives to desktop programs as high priority


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


def run_thread_promptly() -> bool:
    """Have the calling thread served in short slices, so that it preempts others when it wakes; True if that was taken.

    Linux since 6.12 lets every thread choose its slice (include/uapi/linux/sched/types.h, sched_runtime); older ones
    take the call and ignore it. The share of the processor stays what it was.
    """
    call = SETATTR_CALL.get(platform.machine())
    if call is None or platform.system() != "Linux" or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return False
    niceness = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())  # the call would set it too
    words = struct.pack("IIQiIQQQ", 48, os.SCHED_OTHER, 0, niceness, 0, SLICE_NS, 0, 0)
    return bool(ctypes.CDLL(None).syscall(call, 0, ctypes.create_string_buffer(words), 0) == 0)


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


def favour_process() -> int:
    """Lift the threads of this process that have ordinary scheduling above other programs; how many were lifted.

    A real-time thread still waits for the interpreter's lock, and whoever holds that may have lost its core to a busy
    program: then the sound waits with it. Threads begun later inherit the niceness of the one that begins them. Where
    it is not allowed nothing changes.
    """
    if platform.system() != "Linux":
        return 0
    lifted = 0
    for name in os.listdir("/proc/self/task"):
        with suppress(OSError):  # it has ended, or it is not allowed
            if os.sched_getscheduler(int(name)) & ~os.SCHED_RESET_ON_FORK == os.SCHED_OTHER:
                os.setpriority(os.PRIO_PROCESS, int(name), min(NICENESS, os.getpriority(os.PRIO_PROCESS, int(name))))
                lifted += 1
    return lifted
