"""Recorded sessions of a profile: list, read, delete, export, and let go what is too old or too much.

The folders are the index: what is listed is what lies there, after a crash and after somebody tidied by hand alike.
Only whole segments count (session_writer.py); a damaged one is silence of its length, so that the tracks and the
decisions stay in step.
"""

from __future__ import annotations

import difflib
import fcntl
import json
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile

from pse_stream.dsp.resample import Resampler
from pse_stream.dsp.spec import Float32s
from pse_stream.errors import AudioFileError, ConfigError
from pse_stream.profiles.adapted import mark_stale
from pse_stream.profiles.profile import Profile
from pse_stream.profiles.session_writer import DECISIONS_FILE, SEGMENT_HOPS, SESSION_FILE, TRACKS
from pse_stream.profiles.settings_table import parse, read_text

Track = Literal["input", "output"]
State = Literal["recording", "whole", "cut short"]
GIB = 1 << 30
SESSION_ID = re.compile(r"\d{4}-\d\d-\d\dT\d{6}Z(-\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One recording of one run."""

    id: str
    folder: Path
    began: datetime  # UTC
    sample_rate: int  # Hz
    hop: int  # samples
    segments: int  # whole ones, of both tracks
    seconds: float
    bytes: int
    state: State
    reason: str  # why it ended, in words; empty if it did not end in order

    def blocks(self, track: Track) -> Iterator[Float32s]:
        """A track from start to end, in pieces of at most ten seconds, (n,) float32."""
        for number in range(self.segments):
            last = number == self.segments - 1
            samples = _segment(self.folder / f"{track}-{number:06d}.flac", self.sample_rate)
            if samples is None and not last:
                samples = np.zeros(SEGMENT_HOPS * self.hop, np.float32)
            if samples is not None:
                yield samples

    def read(self, track: Track, sample_rate: int | None = None) -> Float32s:
        """All of a track, (n,) float32, at its own rate or another; training wants "input" at 16 kHz."""
        parts = list(self.blocks(track))
        if sample_rate is not None and sample_rate != self.sample_rate and parts:
            converter = Resampler(self.sample_rate, sample_rate)
            parts = [*(converter.process(part) for part in parts), converter.flush()]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def decisions(self) -> Iterator[dict[str, Any]]:
        """What was decided, in order, each with its `hop` since the beginning; a torn last line is left out."""
        path = self.folder / DECISIONS_FILE
        if not path.is_file():
            return
        with path.open("rb") as lines:
            for line in lines:
                try:
                    found = json.loads(line)
                except ValueError:
                    continue
                if isinstance(found, dict):
                    yield found


def list_sessions(profile: Profile) -> list[Session]:
    """Every session of a profile, oldest first; folders that are no session are left alone."""
    if not profile.sessions.is_dir():
        return []
    found = (_read(folder) for folder in sorted(profile.sessions.iterdir()) if SESSION_ID.fullmatch(folder.name))
    return [session for session in found if session is not None]


def open_session(profile: Profile, id: str) -> Session:
    """One session by its id or the beginning of it; "last" is the newest.

    Raises
    ------
    ConfigError
        "no_session", with the nearest.
    """
    sessions = list_sessions(profile)
    if id == "last" and sessions:
        return sessions[-1]
    matching = [session for session in sessions if session.id == id or (id and session.id.startswith(id))]
    if matching and (len(matching) == 1 or matching[0].id == id):
        return matching[0]
    near = difflib.get_close_matches(id, [session.id for session in sessions], n=1, cutoff=0.4)
    what = f'"{id}" means {len(matching)} sessions' if matching else f'there is no session "{id}"'
    hint = f'Did you mean "{near[0]}"?' if near else f"List them: pse-stream sessions list -p {profile.id}"
    raise ConfigError(f'{what} of "{profile.id}".', name="no_session", hint=hint)


def new_session_folder(profile: Profile, began: datetime) -> Path:
    """A free folder for a session that begins now; not made yet."""
    stem = began.astimezone(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    names = (stem, *(f"{stem}-{number}" for number in range(2, 1000)))
    return next(path for name in names if not (path := profile.sessions / name).exists())


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What was deleted."""

    sessions: tuple[str, ...]
    seconds: float
    bytes: int
    stale_models: tuple[str, ...] = ()  # adapted packages that had learnt from them
    kept: tuple[str, ...] = ()  # not deleted, because they are being recorded


def delete_sessions(profile: Profile, sessions: Iterable[Session]) -> Receipt:
    """Delete sessions for good, and note it in the models that learnt from them; one that is being recorded stays.

    Raises
    ------
    ConfigError
        "unwritable" if one could not be deleted.
    """
    gone, kept = [], []
    for session in sessions:
        if session.state == "recording":
            kept.append(session.id)
            continue
        try:
            shutil.rmtree(session.folder)
        except OSError as error:
            raise ConfigError(
                f'the session "{session.id}" could not be deleted: {error.strerror}.', name="unwritable"
            ) from error
        gone.append(session)
    return Receipt(
        sessions=tuple(session.id for session in gone),
        seconds=sum(session.seconds for session in gone),
        bytes=sum(session.bytes for session in gone),
        stale_models=tuple(mark_stale(profile, (session.id for session in gone))),
        kept=tuple(kept),
    )


def sweep(profile: Profile, *, now: datetime | None = None, room_for: int = 0) -> Receipt:
    """Delete what is older than `keep_days`, then the oldest until `room_for` bytes fit into `max_gib`."""
    moment = now or datetime.now(UTC)
    ended = [session for session in list_sessions(profile) if session.state != "recording"]
    oldest = moment - timedelta(days=profile.logging.keep_days)
    too_old = [session for session in ended if session.began + timedelta(seconds=session.seconds) < oldest]
    left = [session for session in ended if session not in too_old]
    spare = int(profile.logging.max_gib * GIB) - room_for
    total = sum(session.bytes for session in left)
    too_much = []
    for session in left:
        if total <= spare:
            break
        too_much.append(session)
        total -= session.bytes
    return delete_sessions(profile, [*too_old, *too_much])


def export_session(session: Session, target: Path) -> list[Path]:
    """Write a session as files that any program plays: two FLAC files, the decisions, the description.

    Raises
    ------
    AudioFileError
        "unwritable": the folder or disk refuses, or a file of that name is there already.
    """
    written = []
    try:
        target.mkdir(parents=True, exist_ok=True)
        for track in TRACKS:
            path = target / f"{session.id}.{track}.flac"
            _insist_free(path)
            with soundfile.SoundFile(
                str(path), "w", samplerate=session.sample_rate, channels=1, format="FLAC", subtype="PCM_16"
            ) as file:
                for block in session.blocks("input" if track == "input" else "output"):
                    file.write(block)
            written.append(path)
        for name in (DECISIONS_FILE, SESSION_FILE):
            path = target / f"{session.id}.{name}"
            _insist_free(path)
            shutil.copyfile(session.folder / name, path)
            written.append(path)
    except (OSError, soundfile.SoundFileError) as error:
        raise AudioFileError(f'"{target}" could not be written: {error}.', name="unwritable") from error
    return written


def _insist_free(path: Path) -> None:
    if path.exists():
        raise AudioFileError(f'"{path}" exists; nothing is overwritten.', name="unwritable", hint="Choose another: -o")


def _read(folder: Path) -> Session | None:
    """A session from its folder; None if its description cannot be made sense of."""
    path = folder / SESSION_FILE
    try:
        table = parse(read_text(path), path)
        began, rate, hop = table["began"], int(table["sample_rate"]), int(table["hop"])
        ended = table.get("ended", {})
        reason = str(ended.get("reason", ""))
        began = began.astimezone(UTC)
    except (ConfigError, KeyError, TypeError, ValueError, AttributeError):
        return None
    try:
        files = {entry.name: entry.stat().st_size for entry in folder.iterdir() if entry.is_file()}
    except OSError:  # deleted while we look
        return None
    segments = 0
    while all(f"{track}-{segments:06d}.flac" in files for track in TRACKS):
        segments += 1
    return Session(
        id=folder.name,
        folder=folder,
        began=began,
        sample_rate=rate,
        hop=hop,
        segments=segments,
        seconds=_seconds(folder, segments, rate, hop),
        bytes=sum(files.values()),
        state="whole" if ended else "recording" if _being_written(folder) else "cut short",
        reason=reason,
    )


def _seconds(folder: Path, segments: int, rate: int, hop: int) -> float:
    """All segments but the last are full."""
    if segments == 0:
        return 0.0
    try:
        last = soundfile.info(str(folder / f"output-{segments - 1:06d}.flac")).frames
    except soundfile.SoundFileError:
        last = 0
    return float(((segments - 1) * SEGMENT_HOPS * hop + last) / rate)


def _segment(path: Path, rate: int) -> Float32s | None:
    try:
        samples, found = soundfile.read(str(path), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError):
        return None
    return np.ascontiguousarray(samples[:, 0]) if found == rate else None


def _being_written(folder: Path) -> bool:
    try:
        with (folder / DECISIONS_FILE).open("rb") as log:
            fcntl.flock(log, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False
