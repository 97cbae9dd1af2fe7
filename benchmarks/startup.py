"""How soon the command line answers: CPU time of whole processes.

    python benchmarks/startup.py

Wanted: `--help` in less than 0.3 s of CPU time, interpreter included. The interpreter alone is printed beside it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from statistics import median

RUNS = 9
WANTED_S = 0.3


def main() -> None:
    """Print a table."""
    print(f"{'command':<28}{'CPU s':>8}{'x interpreter':>16}   (wanted: --help below {WANTED_S:g})")
    bare = cpu_s("-c", "pass")
    for name, words in {
        "python -c pass": ("-c", "pass"),
        "pse-stream --version": ("-m", "pse_stream.main", "--version"),
        "pse-stream --help": ("-m", "pse_stream.main", "--help"),
        "pse-stream enhance --help": ("-m", "pse_stream.main", "enhance", "--help"),
        "pse-stream engines": ("-m", "pse_stream.main", "engines"),
    }.items():
        used = cpu_s(*words)
        print(f"{name:<28}{used:>8.3f}{used / bare:>16.1f}")


def cpu_s(*words: str) -> float:
    """Median user and system time of a Python process."""
    times = []
    for _ in range(RUNS):
        before = os.times()
        subprocess.run([sys.executable, *words], check=True, capture_output=True)
        after = os.times()
        times.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return median(times)


if __name__ == "__main__":
    main()
