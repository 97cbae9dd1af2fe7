"""Loudness of a stream of frames, and a limit on how far a change may move it from hop to hop.

Loudness is the energy of the last 48 ms. While two levels are blended, and while what is left of their difference
glides away, the result may move faster than either level does by itself: they disagree where a word begins or ends,
and a gate may open for a noise that it had let pass before. The limit turns such a frame up or down, by a few decibels
at most, so that the difference is spread over more hops.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from pse_stream.dsp.spec import Complex64s
from pse_stream.engines.contract import frame_energy

WINDOW_HOPS = 6  # 48 ms
LEAST_GAIN, MOST_GAIN = 0.77, 1.8  # of a frame: an onset must be heard, and the end of a word must not be a new one
EXTRA_DB = 0.4  # that a change may add to a step
#: Up to this a level may rise by itself: so many times what the noisy sound moves, and so much more. In a steady noise,
#: for which no gate should open, that is 0.6 dB.
OF_NOISY, MORE_DB = 5.0, 0.4
_FLOOR = 1e-12  # energy; what is softer is silence
_SILENT = 1e-6  # of the noisy sound's energy: between such a level and another one there is nothing to be made even


class Loudness:
    """Energy of the last 48 ms of a stream."""

    def __init__(self) -> None:
        self._energies: deque[float] = deque(maxlen=WINDOW_HOPS)
        self.total = self._before = 0.0  # energy of the window, and what it was a hop ago

    @property
    def full(self) -> bool:
        """True once 48 ms are known."""
        return len(self._energies) == WINDOW_HOPS

    @property
    def leaving(self) -> float:
        """Energy of the frame that the next one pushes out."""
        return self._energies[0] if self.full else 0.0

    @property
    def step_db(self) -> float:
        """How far the last frame moved it; 0 while that is not known."""
        if not self._before > _FLOOR:
            return 0.0
        return 10.0 * math.log10((self.total + _FLOOR) / self._before)

    def push(self, energy: float) -> None:
        """One more frame."""
        self._before = self.total if self.full else 0.0
        self._energies.append(energy)
        self.total = sum(self._energies)

    def clear(self) -> None:
        """Nothing is known."""
        self._energies.clear()
        self.total = self._before = 0.0


class StepLimit:
    """Keeps a change from moving the loudness of what is heard much faster than the levels move theirs."""

    def __init__(self) -> None:
        self._noisy, self._heard = Loudness(), Loudness()
        self._gain = 1.0  # of the last frame
        self._needless = False  # in this change

    def clear(self) -> None:
        """What comes next has nothing to do with what was."""
        self._needless = False
        self._noisy.clear()
        self._heard.clear()
        self._gain = 1.0

    def apply(self, noisy_energy: float, out: Complex64s, voices: Sequence[Loudness], *, changing: bool) -> None:
        """One frame of what is heard, (257,) complex64, turned up or down in place where that is needed.

        Parameters
        ----------
        noisy_energy : float
            Of the noisy frame; no frame becomes louder than that.
        voices : sequence of Loudness
            Of the levels that are heard, this frame included.
        changing : bool
            False: nothing is blended or glides any more; the limit ends as soon as it has let go.
        """
        energy = frame_energy(out)
        self._noisy.push(noisy_energy)
        self._needless = changing and (
            self._needless or any(voice.total <= _SILENT * self._noisy.total for voice in voices)
        )
        if (changing and not self._needless) or self._gain != 1.0:
            self._gain = self._needed(energy, noisy_energy, [voice.step_db for voice in voices])
            if self._gain != 1.0:
                out *= self._gain
                energy *= self._gain**2
        self._heard.push(energy)

    def _needed(self, energy: float, noisy_energy: float, steps_db: list[float]) -> float:
        """The gain nearest to 1 with which the frame keeps within the limit."""
        if not self._heard.full or not energy > _FLOOR:
            return 1.0
        asked_db = OF_NOISY * abs(self._noisy.step_db) + MORE_DB
        up_db = min(max(0.0, *steps_db), asked_db) + EXTRA_DB
        down_db = max(0.0, *(-step for step in steps_db)) + EXTRA_DB
        staying = self._heard.total - self._heard.leaving
        low, high = (self._heard.total * 10.0 ** (db / 10.0) - staying for db in (-down_db, up_db))
        gain = math.sqrt(max(min(max(energy, low), high), 0.0) / energy)
        loudest = max(1.0, math.sqrt(noisy_energy / energy))
        return min(max(gain, LEAST_GAIN), MOST_GAIN, loudest)
