"""The opt-in recorder: takes hops from the worker without making it wait, and writes them in a thread of its own.

The worker copies two hops into a queue of a few seconds and goes on; when the disk is slower than that, hops are left
out of the recording (and counted there), never out of what is heard. What ends a recording (a full disk, a quota, a
deleted folder) is told through `problem` and never raised where sound is made.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from pse_stream.dsp.spec import Float32s
from pse_stream.errors import ConfigError, PseError
from pse_stream.profiles.consent import insist_consent
from pse_stream.profiles.profile import Profile
from pse_stream.profiles.session_writer import RecordingStopped, SessionWriter
from pse_stream.profiles.sessions import GIB, list_sessions, new_session_folder, sweep
from pse_stream.profiles.store import open_profile, own_profile

log = logging.getLogger(__name__)

QUEUE_HOPS = 500  # 4 s: longer than a disk sleeps
LOOK_S = 0.25  # how often the writer looks; nobody has to wake it


@dataclass(frozen=True, slots=True)
class Heard:
    """What the worker knew when it made a hop: any immutable objects."""

    report: Any  # runner.Report
    page: Any  # ledger.Page


#: What holds for a hop, as plain values; called in the writer's thread.
Describe = Callable[[Heard], Mapping[str, Any]]


class HopQueue:
    """Pairs of hops between two threads: preallocated, one writer, one reader; when full, new hops are left out."""

    def __init__(self, hop: int, capacity: int = QUEUE_HOPS) -> None:
        self.capacity = capacity
        self.noisy = np.zeros((capacity, hop), np.float32)  # (capacity, hop)
        self.clean = np.zeros((capacity, hop), np.float32)
        self.facts: list[Heard] = [Heard(None, None)] * capacity
        self.index = [0] * capacity  # of the hop, as the worker counts
        self._written = self._read = 0  # each stored by one side alone

    def put(self, index: int, noisy: Float32s, clean: Float32s, facts: Heard) -> bool:
        """Copy a hop; False if there was no room (worker only)."""
        if self._written - self._read >= self.capacity:
            return False
        at = self._written % self.capacity
        self.noisy[at], self.clean[at], self.facts[at], self.index[at] = noisy, clean, facts, index
        self._written += 1  # last: only now may the reader look
        return True

    def waiting(self) -> slice:
        """Places of the oldest hops that lie in one piece (reader only)."""
        at = self._read % self.capacity
        return slice(at, at + min(self._written - self._read, self.capacity - at))

    def free(self, count: int) -> None:
        """These were used (reader only)."""
        self._read += count


class Recorder:
    """Record one stream of hops into a session of a profile.

    Parameters
    ----------
    profile : Profile
        The person's own, with consent (`open_recorder` checks).
    sample_rate, hop : int
        Of the stream.
    describe : callable
        From what held for a hop to plain values for the list of decisions.
    page : callable
        What is set now; read by the worker with each hop, the same object while nothing changes.
    threaded : bool
        False under simulated time: hops are written as they come.
    writer : SessionWriter or None
        A test brings its own.
    """

    def __init__(
        self,
        profile: Profile,
        *,
        sample_rate: int,
        hop: int,
        describe: Describe,
        page: Callable[[], object] = lambda: None,
        threaded: bool = True,
        writer: SessionWriter | None = None,
    ) -> None:
        self.profile = profile
        self.problem = ""  # why it ended by itself, in words
        self.lost_hops = 0  # left out because the disk was slow
        began = datetime.now(UTC)
        self.writer = writer or SessionWriter(
            new_session_folder(profile, began),
            sample_rate=sample_rate,
            facts={"profile": profile.id},
            began=began.replace(microsecond=0),
        )
        self._hop, self._describe, self._page = hop, describe, page
        self._heard = Heard(None, None)
        self._queue = HopQueue(hop)
        self._next: int | None = None  # index of the hop that should come
        self._facts: Heard | None = None
        self._said: Mapping[str, Any] = {}
        self._others_bytes = 0
        self._leave = threading.Event()
        self._thread: threading.Thread | None = None
        self._threaded = threaded

    @property
    def seconds(self) -> float:
        """How much was written."""
        return self.writer.hops * self._hop / self.writer.sample_rate

    def start(self) -> None:
        """Begin to write."""
        if self._threaded:
            self._thread = threading.Thread(target=self._work, name="pse-recorder", daemon=True)
            self._thread.start()

    def tap(self, index: int, noisy: Float32s, clean: Float32s, report: object) -> None:
        """Take one hop: two copies, no lock, no file (worker only)."""
        if self.problem:
            return
        page = self._page()
        if report is not self._heard.report or page is not self._heard.page:
            self._heard = Heard(report, page)
        if not self._queue.put(index, noisy, clean, self._heard):
            self.lost_hops += 1
        if not self._threaded:
            self._drain_safely()

    def stop(self, reason: str = "stopped") -> None:
        """Write what waits and end the session; not from the worker."""
        self._leave.set()
        if self._thread is not None:
            self._thread.join(10.0)
            self._thread = None
        if not self.problem:
            self._drain_safely()
        self.writer.close(self.problem or reason)

    def _work(self) -> None:
        while not self._leave.wait(LOOK_S) and not self.problem:
            self._drain_safely()

    def _drain_safely(self) -> None:
        """Whatever goes wrong ends the recording, not the sound."""
        try:
            self._drain()
        except RecordingStopped as error:
            self.problem = error.text
        except Exception as error:
            self.problem = f"the recorder failed ({type(error).__name__}: {error})."
            log.exception("the recorder failed")

    def _drain(self) -> None:
        while (at := self._queue.waiting()).stop > at.start:
            first = at.start
            while first < at.stop:
                first = self._write_run(first, at.stop)
            self._queue.free(at.stop - at.start)
            self._keep_quota()

    def _write_run(self, first: int, stop: int) -> int:
        """Write hops that follow each other under the same decisions; where the next run begins."""
        queue = self._queue
        self._fill_gap(queue.index[first])
        if queue.facts[first] is not self._facts:
            self._facts = queue.facts[first]
            self._tell(self._describe(self._facts))
        end = first + 1
        while end < stop and queue.facts[end] is self._facts and queue.index[end] == queue.index[first] + (end - first):
            end += 1
        self.writer.write(queue.noisy[first:end].reshape(-1), queue.clean[first:end].reshape(-1))
        self._next = queue.index[end - 1] + 1
        return end

    def _fill_gap(self, index: int) -> None:
        """Silence for hops that were left out, so that times stay right."""
        if self._next is not None and index != self._next:
            missing = index - self._next
            self.writer.note({"event": "left out", "hops": missing})
            silence = np.zeros(self._hop * max(0, min(missing, 125 * 60)), np.float32)
            self.writer.write(silence, silence)

    def _tell(self, decision: Mapping[str, Any]) -> None:
        """A line with what is different from the last line."""
        fresh = {name: value for name, value in decision.items() if self._said.get(name, _NEVER) != value}
        if fresh:
            self.writer.note(fresh)
            self._said = {**self._said, **fresh}

    def _keep_quota(self) -> None:
        """Older sessions make room; a session that fills the quota alone ends."""
        limit = int(self.profile.logging.max_gib * GIB)
        if self.writer.bytes >= limit:
            raise RecordingStopped(f"this session has reached the limit of {self.profile.logging.max_gib:g} GiB.")
        if self._others_bytes + self.writer.bytes > limit or self._others_bytes == 0:
            sweep(self.profile, room_for=self.writer.bytes)
            self._others_bytes = max(1, _bytes_of_others(self.profile, self.writer.folder.name))


_NEVER = object()


def open_recorder(
    name: str | None,
    *,
    sample_rate: int,
    hop: int,
    describe: Describe,
    page: Callable[[], object],
    threaded: bool = True,
) -> Recorder:
    """A recorder for the profile in use, not started.

    Raises
    ------
    ConfigError
        "no_profile": nobody's profile is in use; or the profile cannot be used.
    ConsentError
        "consent": the person did not agree. Nothing was written.
    """
    if name is None:
        raise ConfigError(
            "no profile is in use; a recording belongs to a person.",
            name="no_profile",
            hint="Choose one first: pse-stream ctl profile NAME",
        )
    insist_consent(open_profile(name), "record")
    profile = own_profile(name)
    try:
        sweep(profile)
    except PseError as error:
        log.warning("old sessions could not be removed: %s", error)
    return Recorder(profile, sample_rate=sample_rate, hop=hop, describe=describe, page=page, threaded=threaded)


def _bytes_of_others(profile: Profile, id: str) -> int:
    return sum(session.bytes for session in list_sessions(profile) if session.id != id)
