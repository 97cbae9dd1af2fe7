"""Changes between the levels of one network: deeper parts wake up knowing the last quarter of a second, and what the
two levels make of the noise is joined by a glide instead of a step.

All levels share what the cheap ones compute. Going down nothing has to be learnt. Going up, the deeper part's memory
is as old as its last use; it hears the last frames again, several per hop, before it is heard itself. Then the outputs
are cross-faded, as between any two engines (`handover.Crossfade`), within 100 ms of the wish.

Two levels may leave a steady noise 10 dB apart, and over a fade of 48 ms that is heard as a step. While both run, the
difference of their masks is measured in every bin, and the newcomer comes in with it; over the next second it
glides away. Bins of clear speech keep their gain. The old level does not run any longer than for the fade: who goes
down needs the time.
"""

from __future__ import annotations

import math

import numpy as np

from pse_stream.dsp.spec import ENGINE_BINS, Complex64s, Float32s
from pse_stream.engines.contract import frame_energy
from pse_stream.engines.graph import Graph
from pse_stream.engines.handover import WARM_HOPS, Crossfade
from pse_stream.engines.loudness import Loudness, StepLimit
from pse_stream.engines.replay import Past, ReplayVoice

REPLAY_HOPS = 24  # that a deeper part hears again: 0.2 s, after which a cold start differs by -36 dB
SNAPSHOT_HOPS = 8  # from one copy of the shared memory to the next
#: Multiply-adds per hop that a replay may take: 1.6 ms at 5 GMAC/s, on which one can count (systems.md, section 0).
REPLAY_MACS = 8e6
CATCH_UP = (REPLAY_HOPS + SNAPSHOT_HOPS - 1 + WARM_HOPS) // WARM_HOPS + 1  # frames per hop, the live one included
GLIDE_HOPS = 120  # 1 s: 41 dB, the most that two levels were found apart in white noise, in steps of 0.35 dB
_MOST_NEPERS = 5.0  # of a glide: 43 dB
_LEAST_GAIN = 1e-3  # softer is as good as nothing
#: A noise opens bins now and then: a shift down is whole for those that are this much less closed, in decibels.
_STILL_NOISE = 1.4
_OPEN_LOG = math.log(0.75)  # a bin that is further open is no noise
_HOPS_PER_S = 125.0


class LevelPast(Past):
    """The last frames, and what the level that was heard remembered before some of them."""

    def __init__(self) -> None:
        super().__init__(REPLAY_HOPS + SNAPSHOT_HOPS + WARM_HOPS + 1)
        self._kept: list[tuple[int, dict[str, Float32s]]] = []  # (number of the next frame, states), oldest first

    def clear(self) -> None:
        """Forget all."""
        super().clear()
        self._kept.clear()

    def keep(self, heard: LevelVoice) -> None:
        """Now and then a copy of what is shared; before the next frame is put."""
        if self.end % SNAPSHOT_HOPS == 0:
            self._kept.append((self.end, {name: array.copy() for name, array in heard.shared().items()}))
            if len(self._kept) > REPLAY_HOPS // SNAPSHOT_HOPS + 1:
                del self._kept[0]

    def state_before(self, oldest: int) -> tuple[int, dict[str, Float32s]] | None:
        """The first copy that is not older than frame `oldest`, with the number of the frame that comes after it."""
        return next((kept for kept in self._kept if kept[0] >= oldest), None)


class Glide:
    """The difference of two masks, measured while both run, then faded away.

    It is a shift of the newcomer's gains, on a logarithmic scale: whole where a bin is about as far closed as it was
    when the shift was measured, or further, and the less of it the further the bin opens. So a noise glides, and a
    voice that begins in that second is heard as the newcomer hears it.
    """

    def __init__(self) -> None:
        self.learning = False  # the newcomer is fading in
        self._heard = np.zeros(ENGINE_BINS, np.float32)  # (257,) sums of gains
        self._coming = np.zeros(ENGINE_BINS, np.float32)
        self._shift = np.zeros(ENGINE_BINS, np.float32)  # (257,) log of the ratio of gains, at the beginning
        self._closed = np.full(ENGINE_BINS, -1.0, np.float32)  # (257,) log of the gain up to which the shift is whole
        self._hops_left = self._count = 0

    @property
    def sounding(self) -> bool:
        """True while it still changes something."""
        return self._hops_left > 0 and not self.learning

    def begin(self) -> None:
        """A newcomer."""
        self.learning, self._hops_left, self._count = True, 0, 0
        self._heard.fill(0.0)
        self._coming.fill(0.0)

    def stop(self) -> None:
        """Nothing was heard, so nothing has to glide."""
        self.learning, self._hops_left = False, 0

    def learn(self, noisy: Complex64s, heard: Complex64s, coming: Complex64s) -> None:
        """One frame, and what both levels make of it; (257,) each."""
        self._heard += _gains(noisy, heard)
        self._coming += _gains(noisy, coming)
        self._count += 1
        heard_log, coming_log = (
            np.log(np.maximum(gains / self._count, _LEAST_GAIN)) for gains in (self._heard, self._coming)
        )
        self._shift = np.clip(heard_log - coming_log, -_MOST_NEPERS, _MOST_NEPERS).astype(np.float32)
        whole_log = np.where(self._shift < 0.0, coming_log / _STILL_NOISE, coming_log)  # raised, a bin must not pass 1
        self._closed = np.minimum(whole_log, _OPEN_LOG).astype(np.float32)
        self._hops_left = GLIDE_HOPS

    def apply(self, noisy: Complex64s, out: Complex64s) -> None:
        """Shift the mask that made `out` of `noisy`, in place; (257,) both."""
        log_gains = np.log(np.maximum(_gains(noisy, out), _LEAST_GAIN))
        share = np.float32(self._hops_left / GLIDE_HOPS)
        out *= np.exp(share * self._shift * np.minimum(log_gains / self._closed, np.float32(1.0)))
        if not self.learning:
            self._hops_left -= 1


class LevelVoice(ReplayVoice):
    """One stream at one level.

    Parameters
    ----------
    graph : Graph
    past : LevelPast
        Of all levels of the stream.
    glides : bool
        False for networks whose output is no mask on the frame of the same hop.
    """

    def __init__(self, graph: Graph, past: LevelPast, *, glides: bool = True) -> None:
        macs = graph.level.macs_per_second / _HOPS_PER_S
        super().__init__(graph, past, max(min(CATCH_UP, int(REPLAY_MACS / macs)), 1) if macs else 1)
        self.glide = Glide()
        self.loudness = Loudness()  # of what the level says, before a glide
        self._levels_past, self._glides = past, glides

    def enter(self, heard: LevelVoice) -> None:
        """Come in after `heard`: with all that it knows, or with the last moments heard again."""
        replayed = min(REPLAY_HOPS + SNAPSHOT_HOPS - 1, WARM_HOPS * (self._catch_up - 1))
        oldest = self._levels_past.end - replayed
        known = None if self.is_part_of(heard) else self._levels_past.state_before(oldest)
        if known is None:
            self.adopt(heard)
        else:
            index, states = known
            self.replay_from(index)
            # What is its own stays as it was when it played last: in a steady noise that is closer than nothing.
            for name, array in self.shared().items():
                if name in states:
                    array[:] = states[name]
        self.loudness.clear()
        if self._glides:
            self.glide.begin()

    def play(self, frame: Complex64s, out: Complex64s) -> None:
        """One hop, with some of the past while it catches up."""
        super().play(frame, out)
        self.loudness.push(frame_energy(out))
        if self.glide.sounding:
            self.glide.apply(self.noisy, out)

    def reset(self) -> None:
        """Forget the past."""
        super().reset()
        self.loudness.clear()
        self.glide.stop()


class LevelFade(Crossfade[LevelVoice]):
    """A cross-fade that measures what the newcomer's glide has to bridge, and adds little to the steps of loudness."""

    def __init__(self, voice: LevelVoice) -> None:
        super().__init__(voice)
        self._limit = StepLimit()

    def jump(self, voice: LevelVoice) -> None:
        """Be at `voice` at once."""
        super().jump(voice)
        voice.glide.stop()
        self._limit.clear()

    def step(self, frame: Complex64s, out: Complex64s) -> None:
        """One frame; see `Crossfade`."""
        self.heard.glide.learning = False  # its fade is over, or was turned around
        noisy_energy = frame_energy(frame)  # `out` may be the same memory
        voices = [voice.loudness for voice in (self.heard, self._next) if voice is not None]
        changing = self.switching or self.heard.glide.sounding
        super().step(frame, out)
        self._limit.apply(noisy_energy, out, voices, changing=changing)

    def _blend(self, heard: Complex64s, coming: Complex64s) -> None:
        assert self._next is not None
        glide = self._next.glide
        if glide.learning:
            glide.learn(self._input, heard, coming)
            glide.apply(self._input, coming)
        super()._blend(heard, coming)


def _gains(noisy: Complex64s, out: Complex64s) -> Float32s:
    gains: Float32s = np.minimum(np.abs(out) / np.maximum(np.abs(noisy), np.float32(1e-20)), np.float32(1.0))
    return gains
