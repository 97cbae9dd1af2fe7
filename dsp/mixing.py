"""Dry and wet, mute, and changes without a click.

The dry path is the input itself, delayed to match the engine, so that at full dry the output is the input bit for bit.
A limit on attenuation is a mix: noise that the engine removes wholly comes back at -limit dB, and speech, which is the
same in both paths, keeps its level.
"""

from __future__ import annotations

import numpy as np

from pse_stream.dsp.spec import Float32s

RAMP_HOPS = 2  # 16 ms: no click, and far below what is felt as a delay


def dry_share(attenuation_db: float, *, no_limit_db: float = 100.0) -> float:
    """Linear share of the dry path that bounds attenuation to `attenuation_db`; 1 at 0 dB, 0 at or past no limit."""
    return 0.0 if attenuation_db >= no_limit_db else float(10.0 ** (-attenuation_db / 20.0))


Taps = tuple[tuple[int, float], ...]  # (hops ago, share) of a delay that may be on its way to another; shares sum to 1


class DelayLine:
    """Give samples back a whole number of hops later; the tap may move."""

    def __init__(self, hop: int, max_hops: int) -> None:
        self._blocks = np.zeros((max_hops + 1, hop), np.float32)  # (max_hops + 1, hop) ring of blocks
        self._steps = np.arange(1, hop + 1, dtype=np.float32) / np.float32(hop)  # (hop,)
        self._at = 0

    def push(self, block: Float32s) -> None:
        """Store the newest hop."""
        self._at = (self._at + 1) % len(self._blocks)
        self._blocks[self._at] = block

    def tap(self, hops: int) -> Float32s:
        """The hop pushed `hops` ago (0: the newest); a view, valid until it is overwritten."""
        block: Float32s = self._blocks[(self._at - hops) % len(self._blocks)]
        return block

    def blend(self, before: Taps, now: Taps, *, out: Float32s) -> None:
        """Write a mix of taps whose shares move evenly from `before` to `now` within the hop; (hop,) float32."""
        starts, ends = dict(before), dict(now)
        out.fill(0.0)
        for hops in sorted(starts.keys() | ends.keys()):
            start, end = starts.get(hops, 0.0), ends.get(hops, 0.0)
            out += (np.float32(start) + self._steps * np.float32(end - start)) * self.tap(hops)

    def reset(self) -> None:
        """Forget the past."""
        self._blocks.fill(0.0)


class Ramp:
    """A gain that moves to its target in equal steps over `RAMP_HOPS` hops."""

    def __init__(self, hop: int, value: float) -> None:
        self._steps = (np.arange(1, hop + 1, dtype=np.float32)) / np.float32(hop)  # (hop,)
        self._gains = np.full(hop, value, np.float32)  # (hop,) what the last call gave
        self._now = self._target = float(value)
        self._step = 0.0

    @property
    def value(self) -> float:
        """Where the gain stands after the last hop."""
        return self._now

    @property
    def settled(self) -> bool:
        """True when the gain is constant at its target."""
        return self._now == self._target

    def aim(self, target: float) -> None:
        """Start moving to `target` at the next hop."""
        if target != self._target:
            self._target = float(target)
            self._step = (self._target - self._now) / RAMP_HOPS

    def jump(self, target: float) -> None:
        """Be at `target` at once."""
        self._now = self._target = float(target)

    def next(self) -> Float32s | None:
        """The gains of this hop, (hop,) float32; None when settled (use `value`)."""
        if self.settled:
            return None
        end = self._now + self._step
        if (self._target - end) * self._step <= 0.0 or abs(self._target - end) < 1e-6:
            end = self._target
        np.multiply(self._steps, np.float32(end - self._now), out=self._gains)
        self._gains += np.float32(self._now)
        self._now = end
        return self._gains


class Mixer:
    """Blend the dry hop into the wet one, then mute; in place."""

    def __init__(self, hop: int, *, attenuation_db: float, bypass: bool = False, mute: bool = False) -> None:
        self._attenuation_db, self._bypass = attenuation_db, bypass
        self._dry = Ramp(hop, self._dry_target())
        self._open = Ramp(hop, 0.0 if mute else 1.0)
        self._difference = np.zeros(hop, np.float32)  # (hop,) scratch

    def _dry_target(self) -> float:
        return 1.0 if self._bypass else dry_share(self._attenuation_db)

    def set(self, *, attenuation_db: float, bypass: bool, mute: bool) -> None:
        """Aim at new settings; heard within `RAMP_HOPS` hops."""
        self._attenuation_db, self._bypass = attenuation_db, bypass
        self._dry.aim(self._dry_target())
        self._open.aim(0.0 if mute else 1.0)

    @property
    def needs_wet(self) -> bool:
        """False while only the dry path is heard."""
        return not (self._dry.settled and self._dry.value == 1.0)

    def process(self, wet: Float32s, dry: Float32s, *, out: Float32s) -> None:
        """Write dry + (1 - share) * (wet - dry), times the mute gain; `out` may be `wet`."""
        shares = self._dry.next()
        if shares is None and self._dry.value == 1.0:
            out[:] = dry  # bit for bit
        elif shares is None and self._dry.value == 0.0:
            out[:] = wet
        else:
            np.subtract(dry, wet, out=self._difference)
            self._difference *= np.float32(self._dry.value) if shares is None else shares
            np.add(wet, self._difference, out=out)
        gains = self._open.next()
        if gains is not None:
            out *= gains
        elif self._open.value == 0.0:
            out.fill(0.0)
