"""What an engine is.

An engine turns one noisy frame (257 bins, 0 to 8 kHz, 125 frames a second) into one clean frame. It never sees a
device, a thread, a clock or a wish: a frame and a level, nothing else. tests/engines/test_contract.py holds every
engine, level and plug-in to what is written here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol, Self, runtime_checkable

import numpy as np

from pse_stream.dsp.spec import Complex64s
from pse_stream.errors import EngineError

__all__ = ["Engine", "EngineError", "EngineInfo", "Level", "frame_energy", "silence_if_broken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One quality step of an engine."""

    name: str
    macs_per_second: float = 0.0  # multiply-adds
    parameters: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What is known about an engine before it runs."""

    id: str
    title: str
    version: str = "1"
    family: str = "classic"
    levels: tuple[Level, ...] = (Level(name="full"),)  # cheapest first
    lookahead_hops: int = 0  # the frame that comes out is the one that went in this many steps ago
    licence: str = "MIT"
    card: str = ""  # Markdown: data, recipe, measured quality, limits
    quality: dict[str, float] = field(default_factory=dict)  # measured figures by name, from the card

    @property
    def best_level(self) -> int:
        """Index of the level with the best quality."""
        return len(self.levels) - 1


@runtime_checkable
class Engine(Protocol):
    """One stream of enhancement.

    - Silence in, silence out; +30 dB in, +30 dB out.
    - A frame with NaN or Inf counts as silence, adds one to `bad_frames` and leaves the state finite.
    - `step` does no input or output, takes no lock, writes no log and allocates nothing that grows.
    """

    info: EngineInfo
    bad_frames: int

    def reset(self) -> None:
        """Forget the past; the next frame is the first."""
        ...

    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        """Enhance one frame.

        Parameters
        ----------
        frame : (257,) complex64
            Scaled as `dsp.stft.Analysis` gives it. Not changed, unless it is `out`.
        out : (257,) complex64
            Written in full; may be `frame`.
        level : int
            Index into `info.levels`; may change at every call.
        """
        ...

    def fork(self) -> Self:
        """Another stream on the same weights, fresh."""
        ...


def frame_energy(frame: Complex64s) -> float:
    """Sum of squares of a frame, (257,) complex64; NaN or Inf if any bin is.

    One product tells broken frames (not finite) and digital silence (zero) from all others. Below 1e-22 a bin squares
    to zero: some 300 dB under what a converter can say, and just as silent.
    """
    return float(np.vdot(frame, frame).real)


def silence_if_broken(frame: Complex64s, scratch: Complex64s) -> bool:
    """Copy `frame` to `scratch`, or silence if any bin is NaN or Inf (or squares to it); True if it was broken."""
    if math.isfinite(frame_energy(frame)):
        scratch[:] = frame
        return False
    scratch.fill(0.0)
    return True
