"""Whether this denoiser records: start, stop, and what happens when a recording ends by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from pse_stream.errors import PseError
from pse_stream.profiles.sessions import sweep
from pse_stream.profiles.store import open_profile
from pse_stream.streaming.ledger import Ledger
from pse_stream.streaming.recorder import Heard, Recorder, open_recorder
from pse_stream.streaming.runner import Runner

log = logging.getLogger(__name__)


class Recording:
    """One recorder at most, between the runner that feeds it and the folder that it fills.

    Parameters
    ----------
    runner, ledger
        Of the denoiser.
    note : callable
        Told, as a sentence, when a recording begins or ends.
    threaded : bool
        False under simulated time.
    """

    def __init__(self, runner: Runner, ledger: Ledger, *, note: Callable[[str], None], threaded: bool) -> None:
        self._runner, self._ledger, self._note, self._threaded = runner, ledger, note, threaded
        self._recorder: Recorder | None = None
        self._told: Recorder | None = None

    @property
    def on(self) -> bool:
        """True while hops are being written."""
        recorder = self._recorder
        return recorder is not None and not recorder.problem

    @property
    def seconds(self) -> float:
        """How much this recording holds."""
        recorder = self._recorder
        return 0.0 if recorder is None else recorder.seconds

    def prepare(self) -> Recorder:
        """A recorder for the profile in use, checked and running, fed by nobody yet; may take long.

        Raises
        ------
        ConfigError, ConsentError
            As `open_recorder`; nothing was written.
        """
        recorder = open_recorder(
            self._ledger.page.settings.profile,
            sample_rate=self._runner.rate,
            hop=self._runner.hop,
            describe=describe,
            page=lambda: self._ledger.page,
            threaded=self._threaded,
        )
        recorder.start()
        return recorder

    def begin(self, recorder: Recorder) -> None:
        """Feed it from this hop on; between two hops only."""
        self._recorder = recorder
        self._runner.tap = recorder.tap
        self._note(f"recording into the profile {recorder.profile.id}: {recorder.writer.folder.name}")

    def end(self) -> Recorder | None:
        """Feed it no more; between two hops only. What is returned is to be stopped, elsewhere."""
        recorder, self._recorder = self._recorder, None
        self._runner.tap = None
        if recorder is not None and not recorder.problem:
            self._note("recording stopped")
        return recorder

    def problem(self) -> str:
        """Why the present recording ended by itself; empty if it did not, or if that was told."""
        recorder = self._recorder
        return "" if recorder is None or recorder is self._told else recorder.problem

    def told(self) -> None:
        """The problem of the present recording was passed on."""
        self._told = self._recorder


def tidy(profile: str | None) -> None:
    """Let go of sessions that are too old or too much, recording or not; trouble is logged, nothing waits for it."""
    if profile is None:
        return
    try:
        opened = open_profile(profile)
        if opened.sessions.is_dir():
            sweep(opened)
    except PseError as error:
        log.warning("old sessions of %s could not be removed: %s", profile, error)


def describe(heard: Heard) -> Mapping[str, Any]:
    """What was decided, as plain values for decisions.jsonl."""
    report, settings = heard.report, heard.page.settings
    engine = report.engine
    return {
        "engine": engine.id,
        "level": engine.level,
        "level_name": engine.level_name,
        "lookahead_ms": report.lookahead_ms,
        "engine_error": report.engine_error or None,
        "governor": settings.governor,
        "gate": settings.gate,
        "specialist": report.gate.active or None,
        "governor_rung": report.governor.rung or None,
        "governor_cause": report.governor.cause or None,
        "attenuation_db": settings.attenuation_db,
        "bypass": settings.bypass,
        "mute": settings.mute,
        "dropped_hops": report.counters.dropped_hops,
    }
