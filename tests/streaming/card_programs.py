"""Other programs on the virtual sound card: one that speaks, one that listens."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable

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
    """Another program that records a source, into a file: a pipe that nobody reads would stop it."""

    def __init__(self, source: str = "pse_mic") -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(["parec", "-d", source, *RAW], stdout=self._file)

    def end(self) -> Float32s:
        """Everything it heard."""
        self._process.terminate()
        self._process.wait(10.0)
        with self._file as file:
            file.seek(0)
            data = file.read()
        return np.frombuffer(data[: len(data) // 4 * 4], np.float32)


class Speaking:
    """Another program that plays one sound into a cable again and again until it is ended."""

    def __init__(self, sink: str, sound: Float32s, seconds: float = 30.0) -> None:
        self._file = tempfile.NamedTemporaryFile()  # noqa: SIM115
        self._file.write(np.tile(sound, int(seconds * RATE / len(sound)) + 1).tobytes())
        self._file.flush()
        self._process = subprocess.Popen(["pacat", "-d", sink, *RAW, self._file.name])

    def end(self) -> None:
        """Stop at once."""
        self._process.kill()
        self._process.wait()
        self._file.close()


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
