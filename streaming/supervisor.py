"""The watchdog: looks ten times a second, and has the owner thread do what `diagnosis` says.

It never calls the audio library itself: a callback or a close that hangs must not hang the one who would notice.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from pse_stream.errors import PseError
from pse_stream.streaming.devices.base import Device
from pse_stream.streaming.diagnosis import Action, Diagnosis, Observation, Verdict
from pse_stream.streaming.links import Links
from pse_stream.streaming.owner import Owner
from pse_stream.streaming.runner import Runner
from pse_stream.streaming.settings import Settings
from pse_stream.streaming.snapshot import State

log = logging.getLogger(__name__)

HANG_S = 3.0  # opening or closing a device takes 40 ms; this long means it never ends
VOLUME_PERCENT = 100.0  # at any other the server multiplies the samples

#: Tells what is the matter: (state, reason).
Tell = Callable[[State, str], None]


class Supervisor:
    """Keep the streams of one denoiser alive.

    Parameters
    ----------
    device, links, runner, owner
        Of the denoiser.
    settings : callable
        The settings of now.
    tell : callable
        Called with state and reason at every look.
    note : callable
        Called with a sentence when something happened that is no state.
    fault : callable
        What has ended the worker, in words; "" while it lives.
    """

    def __init__(
        self,
        device: Device,
        links: Links,
        runner: Runner,
        owner: Owner,
        *,
        settings: Callable[[], Settings],
        tell: Tell,
        note: Callable[[str], None],
        fault: Callable[[], str],
    ) -> None:
        self.diagnosis = Diagnosis()
        self.reopened = 0
        self._device, self._links, self._runner, self._owner = device, links, runner, owner
        self._settings, self._tell, self._note, self._fault = settings, tell, note, fault
        self._looking = threading.Lock()
        self._volume = VOLUME_PERCENT
        self._was = Verdict()

    def tick(self) -> None:
        """Look once; any thread may, and if two do at once one of them is enough."""
        if not self._looking.acquire(blocking=False):
            return
        try:
            self._look()
        finally:
            self._looking.release()

    def _look(self) -> None:
        if self._owner.running_s > HANG_S:
            self._runner.outlet.shut = True
            self._tell("failed", "the audio library hangs; the program must be started again")
            return
        if fault := self._fault():
            self._runner.outlet.shut = True
            self._tell("failed", f"{fault}; this is a bug, please report it")
            return
        if self._owner.busy:  # devices come and go right now
            return
        seen = self._observe()
        verdict = self.diagnosis.look(seen)
        self._watch_volume(seen)
        self._runner.outlet.shut = verdict.shut
        if verdict.forget and verdict.state != self._was.state:
            self._runner.restart(forget=True)
        if verdict.reason != self._was.reason:
            log.info("%s %s", verdict.state, verdict.reason)
        self._was = verdict
        self._tell(verdict.state, verdict.reason if verdict.action not in ("adopt", "renew output") else "")
        if verdict.action != "none":
            self._owner.run(lambda: self._act(verdict.action, verdict.reason))

    def _observe(self) -> Observation:
        source, target = self._links.input, self._links.output
        facts, report = self._device.facts(), self._runner.report
        settings = self._settings()
        return Observation(
            now=self._device.now(),
            facts=facts,
            wanted_input=settings.input,
            input_open=source is not None,
            input_name=source.name if source is not None else self._links.last_input,
            output_open=target is not None,
            output_name=target.name if target is not None else "",
            input_active=source is None or source.active,
            output_active=target is not None and target.active,
            input_blocks=self._runner.inlet.blocks,
            output_blocks=self._runner.outlet.blocks,
            output_growth_s=target.growth_s if target is not None else 0.0,
            zero_s=report.zero_s,
            counters=report.counters,
            is_ours=facts.input_is_ours,
        )

    def _act(self, action: Action, reason: str) -> None:
        """On the owner's thread."""
        error = ""
        try:
            self._carry_out(action, reason)
        except PseError as failure:
            error = failure.text
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
            log.exception("the devices could not be opened")
        self.diagnosis.done(self._device.now(), error)

    def _carry_out(self, action: Action, reason: str) -> None:
        settings = self._settings()
        if action == "reopen":
            self._links.close()
            self._device.refresh()
            self._links.open(settings)
            self.reopened += 1
            self._note(f"opened again: {reason}")
        elif action == "resume":
            self._links.open(settings)
        elif action == "pause":
            self._links.close()
        elif action == "open input":
            self._links.open_input(settings)
        elif action == "close input":
            self._links.close_input()
        elif action == "renew output":
            self._links.renew_output(settings)
            self._note(f"opened the output again: {reason}")
        elif action == "adopt":
            self._links.adopt_input(self._device.facts().input_attached)
            self._note(reason)

    def _watch_volume(self, seen: Observation) -> None:
        volume = seen.facts.input_volume_percent
        if volume is not None and volume != self._volume:
            self._volume = volume
            if volume != VOLUME_PERCENT:
                self._note(f'the volume of "{seen.input_name}" is {volume:.0f} %; at 100 % nothing is lost')
