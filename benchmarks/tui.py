"""What the terminal screen costs: CPU and bytes a second, at two sizes, with and without spectrograms.

    python benchmarks/tui.py [--seconds 20]

The screen runs in a pseudo-terminal of its own, in front of a denoiser that plays a recording. Wanted: less than 5 % of
a core; at most 4 KiB/s with the spectrograms off, as over ssh. CPU time grows when other programs share the core and
its caches: the plain loop in the first line says how slow the machine is at this moment.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time
from pathlib import Path

from control import denoiser, loop_ms

SETTLE_S = 6.0  # the interpreter starts, the screen is drawn for the first time


def main() -> None:
    """Print a table."""
    arguments = parsed()
    print(f"load average {os.getloadavg()[0]:.1f}; a plain loop takes {loop_ms():.0f} ms of CPU time now")
    print(f"{'':32}{'CPU %':>8}{'KiB/s':>8}{'writes/s':>10}")
    with denoiser("auto"):
        for columns, rows in ((80, 24), (160, 48)):
            for ssh in (False, True):
                cpu, kib, writes = watch(columns, rows, ssh, arguments.seconds)
                name = f"{columns}x{rows}, {'no spectrograms (ssh)' if ssh else 'spectrograms'}"
                print(f"{name:32}{cpu:8.1f}{kib:8.1f}{writes:10.1f}", flush=True)


def watch(columns: int, rows: int, ssh: bool, seconds: float) -> tuple[float, float, float]:
    """CPU share, KiB and writes a second of one screen."""
    environment = {
        **os.environ,
        "TERM": "xterm-256color",
        "LC_ALL": "C.UTF-8",
        **({"SSH_CONNECTION": "x"} if ssh else {}),
    }
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.execvpe(sys.executable, [sys.executable, "-m", "pse_stream.main", "tui"], environment)
    try:
        drain(terminal, SETTLE_S)
        before, began = cpu_s(pid), time.monotonic()
        count, writes = drain(terminal, seconds)
        passed = time.monotonic() - began
        return 100.0 * (cpu_s(pid) - before) / passed, count / 1024.0 / passed, writes / passed
    finally:
        os.write(terminal, b"q")
        drain(terminal, 2.0)
        os.close(terminal)
        os.waitpid(pid, 0)


def drain(terminal: int, seconds: float) -> tuple[int, int]:
    """Read what the screen writes; bytes and reads."""
    end, count, reads = time.monotonic() + seconds, 0, 0
    while (left := end - time.monotonic()) > 0:
        if select.select([terminal], [], [], left)[0]:
            try:
                count += len(os.read(terminal, 65_536))
            except OSError:
                break  # it has left
            reads += 1
    return count, reads


def cpu_s(pid: int) -> float:
    """CPU time of a process's threads, s (Linux)."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="What the terminal screen costs.")
    parser.add_argument("--seconds", type=float, default=20.0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
