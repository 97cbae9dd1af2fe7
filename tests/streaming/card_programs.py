"""Other programs on the virtual sound card: one that speaks, one that listens."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import Self

import numpy as np

from pse_stream.dsp.spec import Float32s

from .stubs import RATE

PATIENCE_S = 20.0
RAW = ("--raw", "--format=float32le", f"--rate={RATE}", "--channels=1", "--latency-msec=200")


def until(true: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> float:
    """Wait for something to become true; how long it took, seconds."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < patience_s, f"waited {patience_s} s for: {what}"
        time.sleep(0.02)
    return time.monotonic() - began


class Recording:
    """While entered: another program that records a source, into a file, as a pipe that nobody reads would stop it."""

    def __init__(self, source: str = "pse_mic") -> None:
        self.source = source

    def __enter__(self) -> Self:
        self._file = tempfile.TemporaryFile()
        self._process = subprocess.Popen(["parec", "-d", self.source, *RAW], stdout=self._file)
        return self

    def __exit__(self, *_exc: object) -> None:
        _end(self._process)
        self._file.close()

    def heard(self) -> Float32s:
        """End it; everything that it heard."""
        self._process.terminate()
        self._process.wait(10.0)
        self._file.seek(0)
        data = self._file.read()
        return np.frombuffer(data[: len(data) // 4 * 4], np.float32)


class Speaking:
    """While entered: another program that plays one sound into a cable again and again."""

    def __init__(self, sink: str, sound: Float32s, seconds: float = 30.0) -> None:
        self.sink, self.sound = sink, np.tile(sound, int(seconds * RATE / len(sound)) + 1)

    def __enter__(self) -> Self:
        self._file = tempfile.NamedTemporaryFile()
        self._file.write(self.sound.tobytes())
        self._file.flush()
        self._process = subprocess.Popen(["pacat", "-d", self.sink, *RAW, self._file.name])
        return self

    def __exit__(self, *_exc: object) -> None:
        _end(self._process)
        self._file.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """At once; what went on would listen to the next test's microphone."""
    process.kill()
    process.wait()


def speak(sound: Float32s, sink: str) -> None:
    """Play this into a cable, to its end."""
    subprocess.run(["pacat", "-d", sink, *RAW], input=sound.tobytes(), check=True, timeout=60.0)


def found_in(heard: Float32s, wanted: Float32s) -> bool:
    """True if `wanted` is in `heard`, every bit of it; `any_stretch_in` where a busy server may leave gaps."""
    return any(np.array_equal(heard[at : at + len(wanted)], wanted) for at in np.flatnonzero(heard == wanted[0]))


def any_stretch_in(heard: Float32s, wanted: Float32s, length: int) -> bool:
    """True if some stretch of `wanted`, `length` samples long, is in `heard` bit for bit.

    A server that is not given the processor leaves gaps, in the cable as well as in our path; what lies between two of
    them must be exact all the same.
    """
    starts = range(0, len(wanted) - length + 1, length // 2)
    return any(found_in(heard, wanted[at : at + length]) for at in starts)
