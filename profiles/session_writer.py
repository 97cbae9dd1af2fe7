"""Write one session: what came from the microphone, what was made of it, and what was decided.

    sessions/2026-05-02T101112Z/
      session.toml        when, at which rate, with which version; [ended] once it ended in order
      input-000000.flac   ten seconds as they came from the microphone, mono, the device's rate, 16 bit
      output-000000.flac  the same hops as they were heard
      decisions.jsonl     a line for each change of engine, level, gate, …, with the hop at which it held

A segment is encoded in memory and appears whole, so a run that is killed loses its last ten seconds at most and never
leaves a file that cannot be read. Nothing exists before the first segment or decision is written.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile
import tomlkit

import pse_stream
from pse_stream.dsp.spec import HOP_MS, Float32s
from pse_stream.errors import ConfigError
from pse_stream.profiles.document import PRIVATE, write_document

SCHEMA = 1
SEGMENT_HOPS = 1250  # 10 s: what a killed run loses at most
TRACKS = ("input", "output")
SESSION_FILE = "session.toml"
DECISIONS_FILE = "decisions.jsonl"
MIN_FREE_BYTES = 1 << 30  # 1 GiB: a full disk hurts more than a recording that ends


class RecordingStopped(ConfigError):
    """Nothing more can be written; the text says why. What was written before is whole."""

    name = "recording_stopped"


class SessionWriter:
    """Append hops and decisions to a new session.

    Parameters
    ----------
    folder : Path
        Of the session; must not exist. Made at the first write.
    sample_rate : int
        Hz.
    facts : mapping
        More for session.toml: plain values.
    began : datetime
        UTC, of the first hop.
    free : callable
        Free bytes on the disk of a folder; a test brings its own.
    """

    def __init__(
        self,
        folder: Path,
        *,
        sample_rate: int,
        facts: Mapping[str, Any],
        began: datetime,
        free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        self.folder, self.sample_rate, self.began = folder, sample_rate, began
        self.hop = round(sample_rate * HOP_MS / 1000.0)
        self.bytes = 0  # on disk
        self.hops = 0
        self._facts, self._free = dict(facts), free
        self._segment = 0
        self._in_segment = 0  # hops
        self._encoders: dict[str, tuple[io.BytesIO, Any]] = {}
        self._log: BinaryIO | None = None

    def write(self, noisy: Float32s, clean: Float32s) -> None:
        """Append whole hops of both tracks, (n * hop,) float32 each.

        Raises
        ------
        RecordingStopped
            If the disk is full or fails, or the session's folder was taken away.
        """
        self._open()
        done, count = 0, len(noisy) // self.hop
        while done < count:
            take = min(count - done, SEGMENT_HOPS - self._in_segment)
            part = slice(done * self.hop, (done + take) * self.hop)
            for track, samples in zip(TRACKS, (noisy, clean), strict=True):
                self._encoder(track).write(np.nan_to_num(samples[part], posinf=1.0, neginf=-1.0))
            done += take
            self._in_segment += take
            self.hops += take
            if self._in_segment == SEGMENT_HOPS:
                self._finish_segment()

    def note(self, decision: Mapping[str, Any]) -> None:
        """Append a line about the next hop to be written.

        Raises
        ------
        RecordingStopped
            As `write`.
        """
        log = self._open()
        line = {"hop": self.hops, "s": round(self.hops * HOP_MS / 1000.0, 3), **decision}
        data = json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        try:
            log.write(data)
        except OSError as error:
            raise self._stopped(error) from error
        self.bytes += len(data)

    def close(self, reason: str) -> None:
        """Write what is left, and that it ended in order; nothing at all if nothing was ever written."""
        if self._log is None:
            return
        try:
            if self._in_segment:
                self._finish_segment()
            self._describe({"at": datetime.now(UTC).replace(microsecond=0), "hops": self.hops, "reason": reason})
        except (OSError, ConfigError):
            pass  # the disk is full or gone: the session is readable as it is
        finally:
            self._encoders.clear()
            self._log.close()
            self._log = None

    def _open(self) -> BinaryIO:
        """The log of decisions; makes the folder at the first call."""
        if self._log is not None:
            return self._log
        try:
            self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._insist_room(self.folder.parent)
            self.folder.mkdir(mode=0o700)
            self._describe(None)
            log = open(  # noqa: SIM115  # open as long as the session is
                os.open(self.folder / DECISIONS_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE),
                "wb",
                buffering=0,
            )
        except OSError as error:
            raise self._stopped(error) from error
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)  # says that somebody is writing; gone with the process
        self._log = log
        return log

    def _describe(self, ended: Mapping[str, Any] | None) -> None:
        document = tomlkit.document()
        document.update(
            {
                "schema": SCHEMA,
                "began": self.began,
                "sample_rate": self.sample_rate,
                "hop": self.hop,
                "segment_hops": SEGMENT_HOPS,
                "program": pse_stream.__version__,
                **self._facts,
            }
        )
        if ended is not None:
            table = tomlkit.table()
            table.update(ended)
            document["ended"] = table
        if not self.folder.is_dir():
            raise FileNotFoundError(2, "the session was deleted")
        write_document(self.folder / SESSION_FILE, document)

    def _encoder(self, track: str) -> Any:
        if track not in self._encoders:
            memory = io.BytesIO()
            file = soundfile.SoundFile(
                memory, "w", samplerate=self.sample_rate, channels=1, format="FLAC", subtype="PCM_16"
            )
            self._encoders[track] = (memory, file)
        return self._encoders[track][1]

    def _finish_segment(self) -> None:
        """Put both tracks of a segment on disk; the output last: with it the segment counts."""
        try:
            self._insist_room(self.folder)
            for track in TRACKS:
                memory, file = self._encoders.pop(track)
                file.close()
                self._put(f"{track}-{self._segment:06d}.flac", memory.getvalue())
        except OSError as error:
            raise self._stopped(error) from error
        self._segment += 1
        self._in_segment = 0

    def _put(self, name: str, data: bytes) -> None:
        """A file that is whole or not there; no folder is made again that somebody deleted."""
        part = self.folder / f".{name}.part"
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, self.folder / name)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        self.bytes += len(data)

    def _insist_room(self, folder: Path) -> None:
        if self._free(folder) < MIN_FREE_BYTES:
            raise RecordingStopped("the disk has less than 1 GiB left; nothing more is recorded.")

    def _stopped(self, error: OSError) -> RecordingStopped:
        why = "its folder is gone" if not self.folder.parent.is_dir() or error.errno == 2 else error.strerror
        return RecordingStopped(f"the session cannot be written: {why}.")
