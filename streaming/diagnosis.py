"""From what is seen of the devices to what is the matter and what to do. Pure: observations in, verdicts
out; `supervisor` does the looking and the doing.

Sound servers keep quiet about most faults: a stream whose microphone was unplugged goes on with another one's sound (in
the worst case our own output), a killed server just stops calling, nothing ever overflows. So everything is compared:
blocks that should have come, the device that the stream really hangs on, zeros that no microphone makes.

The first rule that speaks wins:

    slept        the machine slept: open everything anew
    server       the sound server is away: try again after 0.2, 0.5, 1, 2, 2 ... s
    misplaced    the server moved a stream: silence at once; to our own output or away from the virtual microphone: back
    unplugged    the microphone is gone: silence, close, open when it is back
    idle         nobody listens: close the streams; somebody does: open them
    ended        a stream ended by itself: open anew
    still        no blocks come: wait if it is suspended, open anew after 2 s if not
    behind       the output's own queue stands longer than at its start: open it anew
    silent       muted, or exact zeros: say so and keep running; no computer is so busy that it explains these
    overload     more holes than can be overheard: say so
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Literal

from pse_stream.streaming.devices.base import Facts
from pse_stream.streaming.snapshot import Counters, State

RETRY_S = (0.2, 0.5, 1.0, 2.0)  # the last one for ever
STILL_S = 0.25  # without a block; gaps of 150 ms were measured on a busy machine
STILL_REOPEN_S = 2.0
PAUSE_S = 5.0  # without a listener; programs that change devices let go for a moment
#: After an underrun PulseAudio's ALSA plug-in may keep a block (8 ms) more in its queue for good, and says nothing; for
#: this long in a row it is no jitter. Opening the output again costs a gap, so not too often.
GROWN_S, GROWN_FOR_S, GROWN_AGAIN_S = 0.004, 3.0, 60.0
ZERO_S = 3.0  # of exact zeros; between words of a gated microphone there is less
SLEPT_S = 1.0
OVERLOAD_HOLES, OVERLOAD_WINDOW_S, OVERLOAD_HOLD_S = 3, 5.0, 10.0

Action = Literal["none", "reopen", "open input", "close input", "renew output", "pause", "resume", "adopt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What is seen at one moment."""

    now: float
    facts: Facts = field(default_factory=Facts)
    wanted_input: str = "auto"  # the setting
    input_open: bool = True
    output_open: bool = True
    input_name: str = ""  # of the stream, as opened
    output_name: str = ""
    input_active: bool = True
    output_active: bool = True
    input_blocks: int = 0  # callbacks of the present streams
    output_blocks: int = 0
    output_growth_s: float = 0.0
    zero_s: float = 0.0
    counters: Counters = field(default_factory=Counters)
    is_ours: bool = False  # the input hangs on our own output


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is the matter and what to do about it."""

    state: State = "running"
    reason: str = ""
    action: Action = "none"
    shut: bool = False  # let nothing out
    forget: bool = False  # what the engine knows of the past is no longer the past


@dataclass(slots=True)
class _Flow:
    """Blocks of one direction."""

    blocks: int = -1
    since: float = 0.0  # when the last new one was seen

    def still_s(self, blocks: int, now: float) -> float:
        """How long no block has come."""
        if blocks != self.blocks:
            self.blocks, self.since = blocks, now
        return now - self.since


class Diagnosis:
    """Judge one observation after the other.

    Parameters
    ----------
    pause : bool
        Close the streams while nobody listens.
    """

    def __init__(self, *, pause: bool = True) -> None:
        self._pause = pause
        self._tries = 0  # failed attempts in a row
        self._retry_at = 0.0
        self._failure = ""  # what the last attempt said
        self._slept_s: float | None = None
        self._in, self._out = _Flow(), _Flow()
        self._unheard_since: float | None = None
        self._paused = False
        self._lost = ""  # the microphone that is waited for
        self._grown_since: float | None = None
        self._renewed_at: float | None = None
        self._holes: deque[tuple[float, int]] = deque()
        self._overloaded_at: float | None = None

    def look(self, seen: Observation) -> Verdict:
        """The verdict on this moment."""
        rules = (self._sleep, self._server, self._misplaced, self._unplugged, self._idle, self._ended,
                 self._still, self._behind, self._silent, self._overload)  # fmt: skip
        for rule in rules:
            verdict = rule(seen)
            if verdict is not None:
                if verdict.state in ("stalled", "paused"):
                    self._holes.clear()  # holes of a device that gives nothing are not the computer's
                if verdict.action == "reopen":
                    self._paused, self._unheard_since = False, None
                return self._paced(verdict, seen.now)
        return Verdict()

    def done(self, now: float, error: str = "") -> None:
        """An action has ended; `error` says why it failed, if it did."""
        self._in, self._out = _Flow(since=now), _Flow(since=now)
        self._failure = error
        if error:
            self._retry_at = now + RETRY_S[min(self._tries, len(RETRY_S) - 1)]
            self._tries += 1
        else:
            self._tries, self._retry_at = 0, 0.0

    def _paced(self, verdict: Verdict, now: float) -> Verdict:
        """Do not try again before it is time; say what the last attempt said."""
        if verdict.action == "none" or now >= self._retry_at:
            return verdict
        reason = f"{verdict.reason} ({self._failure})" if self._failure else verdict.reason
        return replace(verdict, action="none", reason=reason)

    # --- the rules, in their order ------------------------------------------------------------------------------

    def _sleep(self, seen: Observation) -> Verdict | None:
        before, self._slept_s = self._slept_s, seen.facts.slept_s
        if before is None or seen.facts.slept_s - before < SLEPT_S:
            return None
        return Verdict(state="stalled", reason="the machine slept; the devices are opened again",
                       action="reopen", forget=True)  # fmt: skip

    def _server(self, seen: Observation) -> Verdict | None:
        if seen.facts.server_up is not False:
            return None
        return Verdict(state="stalled", reason="the sound server does not answer; waiting for it", action="reopen",
                       shut=True, forget=True)  # fmt: skip

    def _misplaced(self, seen: Observation) -> Verdict | None:
        facts = seen.facts
        if facts.output_attached is not None and seen.output_name and facts.output_attached != seen.output_name:
            return Verdict(
                state="stalled",
                reason=f'the output was moved to "{facts.output_attached}"; taking it back to "{seen.output_name}"',
                action="reopen",
                shut=True,
            )
        if not seen.input_open or facts.input_attached in (None, seen.input_name) or facts.input_present is False:
            return None
        if seen.is_ours:
            return Verdict(state="stalled", reason="the microphone was connected to our own output; taking it back",
                           action="reopen", shut=True, forget=True)  # fmt: skip
        return Verdict(reason=f'the microphone was changed to "{facts.input_attached}" in the mixer', action="adopt")

    def _unplugged(self, seen: Observation) -> Verdict | None:
        if seen.input_open and seen.facts.input_present is False:
            self._lost = seen.input_name
            action: Action = "reopen" if seen.wanted_input == "auto" else "close input"
            return self._lost_verdict(action)
        if not self._lost:
            return None
        if not seen.input_open and (seen.facts.input_present is not False or seen.wanted_input == "auto"):
            return self._lost_verdict("open input")
        if seen.input_open:
            self._lost = ""
            return None
        return self._lost_verdict("none")

    def _lost_verdict(self, action: Action) -> Verdict:
        reason = (
            f'"{self._lost}" was unplugged. The virtual microphone stays and sends silence; '
            "it resumes when the microphone returns"
        )
        return Verdict(state="stalled", reason=reason, action=action, shut=True, forget=True)

    def _idle(self, seen: Observation) -> Verdict | None:
        readers = seen.facts.readers
        if not self._pause or readers is None:
            return None
        if readers > 0:
            self._unheard_since = None
            if self._paused and not (seen.input_open and seen.output_open):
                state: State = "stalled" if self._failure else "starting"
                return Verdict(state=state, reason="somebody listens; the microphone is opened", action="resume")
            self._paused = False
            return None
        self._unheard_since = seen.now if self._unheard_since is None else self._unheard_since
        if seen.now - self._unheard_since < PAUSE_S:
            return None
        self._paused = True
        return Verdict(
            state="paused",
            reason="nobody listens; the microphone is closed until somebody does",
            action="pause" if seen.input_open or seen.output_open else "none",
        )

    def _ended(self, seen: Observation) -> Verdict | None:
        if self._paused:
            return None
        ended = [seen.output_name] if not seen.output_active else []
        ended += [seen.input_name] if not seen.input_active else []
        if not ended:
            return None
        reason = f'the stream of "{ended[0]}" ended by itself; opening it again' if ended[0] else "opening the devices"
        return Verdict(state="stalled", reason=reason, action="reopen", forget=True)

    def _still(self, seen: Observation) -> Verdict | None:
        silent_in = self._in.still_s(seen.input_blocks, seen.now) if seen.input_open else 0.0
        silent_out = self._out.still_s(seen.output_blocks, seen.now) if seen.output_open else 0.0
        still_s = max(silent_in, silent_out)
        if still_s < STILL_S:
            return None
        name = seen.input_name if silent_in >= silent_out else seen.output_name
        if seen.facts.input_suspended and silent_in >= silent_out:
            self._in.since = seen.now - STILL_S  # the wait for a device that should give sound begins after this
            return Verdict(state="stalled", reason=f'"{name}" is suspended by the sound server; waiting', forget=True)
        action: Action = "reopen" if still_s >= STILL_REOPEN_S else "none"
        verb = "gives" if silent_in >= silent_out else "takes"
        return Verdict(state="stalled", reason=f'"{name}" {verb} no sound', action=action, forget=True)

    def _behind(self, seen: Observation) -> Verdict | None:
        if seen.output_growth_s < GROWN_S:
            self._grown_since = None
            return None
        self._grown_since = seen.now if self._grown_since is None else self._grown_since
        again = self._renewed_at is None or seen.now - self._renewed_at > GROWN_AGAIN_S
        if seen.now - self._grown_since < GROWN_FOR_S or not again:
            return None
        self._renewed_at, self._grown_since = seen.now, None
        late_ms = round(1000.0 * seen.output_growth_s)
        return Verdict(reason=f"the sound server held {late_ms} ms more than at the start", action="renew output")

    def _silent(self, seen: Observation) -> Verdict | None:
        if seen.facts.input_muted:
            return Verdict(state="degraded", reason=f'"{seen.input_name}" is muted in the mixer')
        if seen.zero_s < ZERO_S:
            return None
        return Verdict(
            state="degraded",
            reason=f'"{seen.input_name}" gives digital silence: muted by its own switch, or not connected',
        )

    def _overload(self, seen: Observation) -> Verdict | None:
        counters = seen.counters
        holes = counters.late_hops + counters.underruns + counters.overruns  # drops follow from these
        self._holes.append((seen.now, holes))
        while seen.now - self._holes[0][0] > OVERLOAD_WINDOW_S:
            self._holes.popleft()
        recent = holes - self._holes[0][1]
        if recent >= OVERLOAD_HOLES:
            self._overloaded_at = seen.now
        if self._overloaded_at is None or seen.now - self._overloaded_at > OVERLOAD_HOLD_S:
            self._overloaded_at = None
            return None
        return Verdict(
            state="degraded",
            reason="the computer does not keep up: sound comes late or was dropped; "
            "a cheaper engine or level, or fewer programs, would help",
        )
