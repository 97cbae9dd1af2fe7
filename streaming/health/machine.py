"""The machine around us: folders, keys, priorities, and what happens when the person logs out."""

from __future__ import annotations

import os
import resource
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from pse_stream.profiles.folders import config_folder, state_folder
from pse_stream.streaming.health.finding import Finding, fail, ok, warn

LOG_ROOM_BYTES = 100 * 2**20
ANSWER_S = 1.0

#: Runs a program and gives back what it printed; "" if it is not there or does not answer.
Ask = Callable[[list[str]], str]


def ask(words: list[str]) -> str:
    """Run a program of the system."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=ANSWER_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def check_machine(environ: Mapping[str, str] = os.environ, run: Ask = ask) -> Iterator[Finding]:
    """Everything that is neither sound nor an engine."""
    yield from _runtime_folder(environ)
    yield from _linger(environ, run)
    yield from _keys(config_folder() / "keys")
    yield from _disk(state_folder())
    yield _priority()


def _runtime_folder(environ: Mapping[str, str]) -> Iterator[Finding]:
    folder = environ.get("XDG_RUNTIME_DIR", "")
    if not folder:
        yield warn(
            "runtime dir",
            "XDG_RUNTIME_DIR is not set: the sound server of a login is not found",
            "log in with a session",
        )
    elif not os.access(folder, os.W_OK):
        yield fail("runtime dir", f"{folder} cannot be written to", f"ls -ld {folder}")


def _linger(environ: Mapping[str, str], run: Ask) -> Iterator[Finding]:
    """Without linger a user's services and sound server end with the last ssh session."""
    if not environ.get("SSH_CONNECTION"):
        return
    user = environ.get("USER", "") or str(os.getuid())
    said = run(["loginctl", "show-user", user, "--property=Linger"]).strip()
    if said == "Linger=no":
        yield warn("linger", "linger is off: audio will stop when you log out", f"loginctl enable-linger {user}")
    elif said == "Linger=yes":
        yield ok("linger", "on: audio goes on after you log out")


def _keys(folder: Path) -> Iterator[Finding]:
    """Secrets of the control channel that others can read."""
    for path in sorted(folder.glob("*secret*")) if folder.is_dir() else []:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            yield fail("key mode", f"{path} can be read by others ({mode:04o})", f"chmod 600 {path}", exit_code=6)


def _disk(folder: Path) -> Iterator[Finding]:
    there = next((path for path in (folder, *folder.parents) if path.is_dir()), None)
    if there is None:
        return
    free = shutil.disk_usage(there).free
    if free < LOG_ROOM_BYTES:
        yield warn("disk", f"{free / 2**20:.0f} MiB free for state and logs in {folder}", f"df -h {there}")


def _priority() -> Finding:
    """We run at ordinary priority; whether more could be had is worth knowing on a busy machine."""
    limit = resource.getrlimit(resource.RLIMIT_RTPRIO)[0] if hasattr(resource, "RLIMIT_RTPRIO") else 0
    policy = os.sched_getscheduler(0) if hasattr(os, "sched_getscheduler") else 0
    if policy != getattr(os, "SCHED_OTHER", 0):
        return warn("priority", "this shell runs in real time; the kernel ends such programs when they take too long")
    return ok("priority", f"ordinary; real time {'could be had' if limit else 'is not allowed, and not needed'}")
