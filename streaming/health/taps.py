"""The four places where sound can be lost, in the order that it passes them; the first silent one is named."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from pse_stream.dsp.spec import Float32s
from pse_stream.streaming.health.finding import Finding, fail, ok, warn

LISTEN_S = 0.6  # each; the whole check-up takes less than three seconds
PATIENCE_S = 0.4  # until the first block; a source that was asleep takes 0.1 s
RATE = 16_000
ROOM_DB = -75.0  # dBFS; no open microphone in a room is quieter
SILENCE_DB = -120.0

#: Record from a source of the sound server for so many seconds: samples, or None if it could not be heard.
Listen = Callable[[str, float], "Float32s | None"]


def listen(source: str, seconds: float) -> Float32s | None:
    """Record through `parec` (of pulseaudio-utils, as pactl is); None without it or when nothing comes."""
    words = ["parec", "--raw", f"--device={source}", "--format=float32le", f"--rate={RATE}", "--channels=1"]
    wanted = int(seconds * RATE) * 4
    try:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        return None
    try:
        data = _read(process, wanted, time.monotonic() + seconds + PATIENCE_S)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    return np.frombuffer(data[: len(data) // 4 * 4], np.float32) if data else None


def _read(process: subprocess.Popen[bytes], wanted: int, end: float) -> bytes:
    assert process.stdout is not None
    data = b""
    while len(data) < wanted and (left := end - time.monotonic()) > 0:
        if not select.select([process.stdout], [], [], left)[0]:
            break
        piece = os.read(process.stdout.fileno(), wanted - len(data))
        if not piece:
            break
        data += piece
    return data


def level_db(samples: Float32s) -> float:
    """RMS in dBFS; -120 for digital silence."""
    power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
    return max(SILENCE_DB, 10.0 * float(np.log10(power))) if power > 0 else SILENCE_DB


def check_taps(
    microphone: str | None, virtual: str | None, status: Mapping[str, Any] | None, hear: Listen = listen
) -> Iterator[Finding]:
    """Microphone, what the pipeline hears, what it gives, what programs get.

    Parameters
    ----------
    microphone : str or None
        The source's name in the sound server; None: there is none, which is said elsewhere.
    virtual : str or None
        Our source's name while pse-stream runs.
    status : mapping or None
        The snapshot of the running pse-stream (`Snapshot.as_dict`).
    hear : callable
        Records; a test brings its own.
    """
    if microphone is None:
        return
    heard = hear(microphone, LISTEN_S)
    if heard is None:
        yield warn("tap mic", "the microphone could not be listened to", "install parec: apt install pulseaudio-utils")
    else:
        yield _judge(
            "tap mic", level_db(heard), "the microphone gives digital silence", "its switch, its cable, its mute"
        )
    if status is None:
        return
    for name, key, words in (("tap in", "meter_in", "nothing reaches us"), ("tap out", "meter_out", "we give nothing")):
        db = float(status[key]["rms_db"])
        if status["settings"]["mute"] and key == "meter_out":
            yield warn(name, "mute is on", "pse-stream ctl mute off")
        else:
            yield _judge(name, db, f"{words}: state {status['state']}", "pse-stream ctl status")
    if virtual is None:
        return
    given = hear(virtual, LISTEN_S)
    if given is None:
        yield fail("tap virtual", "programs get nothing from the virtual microphone", "stop and start pse-stream")
    elif not status["settings"]["mute"]:
        yield _judge("tap virtual", level_db(given), "programs get digital silence", "pactl list sources")


def _judge(name: str, db: float, dead: str, command: str) -> Finding:
    if db <= SILENCE_DB:
        return fail(name, dead, command)
    if db < ROOM_DB:
        return warn(name, f"{db:.0f} dBFS: quieter than any room", command)
    return ok(name, f"{db:.0f} dBFS")
