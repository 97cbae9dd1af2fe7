"""What a sound process sets, and puts back."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading

import pytest

from pse_stream.streaming.process import (
    NICENESS,
    SWITCH_S,
    run_thread_promptly,
    run_thread_realtime,
    sound_process,
)


def test_the_interpreter_is_set_up_for_sound_and_put_back() -> None:
    before = sys.getswitchinterval()
    with sound_process():
        assert abs(sys.getswitchinterval() - SWITCH_S) < 1e-6
        assert gc.get_freeze_count() > 1000
    assert abs(sys.getswitchinterval() - before) < 1e-6
    assert gc.get_freeze_count() == 0


def test_s40_real_time_is_asked_for_one_thread_and_a_refusal_is_a_sentence() -> None:
    found: list[tuple[str, int]] = []

    def ask() -> None:
        refused = run_thread_realtime()
        found.append((refused, os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    refused, policy = found[0]
    assert policy == (os.SCHED_OTHER if refused else os.SCHED_FIFO)
    assert not refused or "rtprio" in refused
    assert os.sched_getscheduler(0) == os.SCHED_OTHER  # ordinary priority by default


def test_a_process_that_does_not_exist_is_refused_in_words() -> None:
    assert "refused" in run_thread_realtime(2**22 + 1)


@pytest.mark.skipif(sys.platform != "linux", reason="slices are Linux's")
def test_a_prompt_thread_keeps_its_niceness_and_policy() -> None:
    seen: list[tuple[bool, int, int, int]] = []

    def run() -> None:
        thread = threading.get_native_id()
        before = os.getpriority(os.PRIO_PROCESS, thread)
        seen.append((run_thread_promptly(), before, os.getpriority(os.PRIO_PROCESS, thread), os.sched_getscheduler(0)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    ((taken, before, after, policy),) = seen
    assert isinstance(taken, bool)
    assert (before, policy) == (after, os.SCHED_OTHER)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a niceness of their own on Linux only")
def test_threads_beside_a_real_time_one_are_lifted_where_it_is_allowed() -> None:
    asked = """
import os, threading
from pse_stream.streaming.process import favour_process, run_thread_realtime
waits = threading.Event()
beside = threading.Thread(target=waits.wait, daemon=True)
beside.start()
refused = run_thread_realtime()
lifted = favour_process()
print(bool(refused), lifted, os.getpriority(os.PRIO_PROCESS, beside.native_id),
      os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO)
"""  # in a process of its own: an ordinary user could not take the niceness back
    printed = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout.split()
    refused, lifted, niceness, still_realtime = printed
    assert (int(lifted) > 0) == (int(niceness) == NICENESS)
    assert refused == "True" or (int(lifted) >= 1 and still_realtime == "True")
