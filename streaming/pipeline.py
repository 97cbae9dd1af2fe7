"""Block in, block out: the whole signal path of one stream.

No thread, no clock, no device: the live worker, `enhance`, the evaluation of networks and the tests all run this
object, so a file denoised off line equals what was heard, sample for sample. One hop (8 ms) goes in, one comes out,
`latency_samples` later:

    samples -> analysis -> engine (257 bins) -> high band -> synthesis -> mix with the dry path -> limiter -> samples
"""

from __future__ import annotations

import math

import numpy as np

from pse_stream.dsp.highband import HighBand
from pse_stream.dsp.limiter import Limiter
from pse_stream.dsp.mixing import DelayLine, Mixer, Taps
from pse_stream.dsp.spec import ENGINE_BINS, Complex64s, Float32s, STFTSpec
from pse_stream.dsp.stft import Analysis, Synthesis
from pse_stream.engines.contract import Engine, frame_energy
from pse_stream.engines.handover import Handover
from pse_stream.errors import EngineError

OVERLAP_HOPS = 1  # between a frame and the samples that are made of it
MAX_LOOKAHEAD_HOPS = 15  # 120 ms; an engine that needs more is not for live use


class Pipeline:
    """One stream from microphone samples to clean samples.

    Parameters
    ----------
    sample_rate : int
        Hz, one of `dsp.spec.GRID_RATES`.
    engine : Engine
        Used by this pipeline alone; `fork` it to share weights.
    level : int or None
        Index into the engine's levels; None is its best.
    attenuation_db, bypass, mute
        As in `streaming.settings.Settings`; changed while running by `set_mix`.
    """

    def __init__(
        self,
        sample_rate: int,
        engine: Engine,
        *,
        level: int | None = None,
        attenuation_db: float = 100.0,
        bypass: bool = False,
        mute: bool = False,
    ) -> None:
        self.spec = spec = STFTSpec(sample_rate)
        self.hop = spec.hop
        self.bad_blocks = 0  # hops with NaN or Inf, taken as silence
        self.bad_frames = 0  # engine outputs with NaN or Inf, replaced by the noisy frame
        self._analysis, self._synthesis = Analysis(spec), Synthesis(spec)
        self._high = HighBand(spec)
        self._mixer = Mixer(spec.hop, attenuation_db=attenuation_db, bypass=bypass, mute=mute)
        self._limiter = Limiter(spec.hop)
        self._dry = DelayLine(spec.hop, MAX_LOOKAHEAD_HOPS + 1)
        self._frames = np.zeros((MAX_LOOKAHEAD_HOPS + 1, spec.n_bins), np.complex64)  # ring of noisy frames
        self._at = 0
        self._noisy = np.zeros(ENGINE_BINS, np.complex64)  # (257,) what the engine sees
        self._clean = np.zeros(ENGINE_BINS, np.complex64)  # (257,) what it makes of it
        self._frame = np.zeros(spec.n_bins, np.complex64)  # (n_bins,) what is synthesised
        self._block = np.zeros(spec.hop, np.float32)  # (hop,) the input, made finite
        self._handover = Handover(_checked(engine), _level(engine, level))
        self._lookaheads: Taps = self._handover.lookaheads  # of the last hop
        self._delayed = np.zeros(spec.n_bins, np.complex64)  # (n_bins,) scratch: noisy frames blended
        self._dry_block = np.zeros(spec.hop, np.float32)  # (hop,) scratch: dry hops blended

    @property
    def engine(self) -> Engine:
        """The engine that is heard, or is about to be."""
        return self._handover.engine

    @property
    def level(self) -> int:
        """Index into the engine's levels."""
        return self._handover.level

    @property
    def switching(self) -> bool:
        """True while two engines or levels are blended."""
        return self._handover.switching

    @property
    def lookahead_hops(self) -> int:
        """Hops that the engine waits for."""
        return self.engine.info.lookahead_hops

    @property
    def latency_samples(self) -> int:
        """From a hop going in to the same hop coming out; filling the hop adds one more live."""
        return self.spec.overlap_samples + self.lookahead_hops * self.hop

    @property
    def limited_hops(self) -> int:
        """Hops that the limiter had to hold."""
        return self._limiter.limited_hops

    def spectrum(self) -> tuple[Float32s, Float32s]:
        """Magnitudes of the newest frame, noisy and clean, (257,) float32 each; for a display, from any thread."""
        return np.abs(self._noisy), np.abs(self._clean)

    def set_mix(self, *, attenuation_db: float, bypass: bool, mute: bool) -> None:
        """Aim at new mix settings; heard within two hops, without a click."""
        self._mixer.set(attenuation_db=attenuation_db, bypass=bypass, mute=mute)

    def set_engine(self, engine: Engine, level: int | None = None, *, hasty: bool = False) -> None:
        """Cross-fade to another engine; it is warmed up on the running sound first.

        Parameters
        ----------
        hasty : bool
            The old one takes too long and must not run again: its last gains are held while the new one warms up.

        Raises
        ------
        EngineError
            If it looks ahead further than a live pipeline can wait.
        """
        engine, level = _checked(engine), _level(engine, level)
        if hasty:
            self._handover.to_engine_hastily(engine, level, self._noisy, self._clean)
        else:
            self._handover.to_engine(engine, level)

    def replace_engine(self, engine: Engine, level: int | None = None) -> None:
        """Change the engine within one frame, because the old one must not run again; the overlap is the fade."""
        self._handover = Handover(_checked(engine), _level(engine, level))

    def set_level(self, level: int | None) -> None:
        """Change the engine's level; None is its best.

        Raises
        ------
        EngineError
            If the engine has no such level.
        """
        self._handover.to_level(_level(self.engine, level))

    def process(self, hop: Float32s, *, out: Float32s) -> None:
        """Denoise one hop.

        Parameters
        ----------
        hop : (hop,) float32
            Samples in [-1, 1].
        out : (hop,) float32
            Written in full; may be `hop`.
        """
        block = self._block
        if math.isfinite(np.dot(hop, hop)):
            block[:] = hop
        else:
            block.fill(0.0)
            self.bad_blocks += 1
        self._dry.push(block)

        self._at = (self._at + 1) % len(self._frames)
        newest = self._frames[self._at]
        self._analysis.process(block, out=newest)
        n = self.spec.n_engine_bins
        self._noisy[:n] = newest[:n]
        self._handover.step(self._noisy, self._clean)

        delayed, dry = self._line_up()
        if not math.isfinite(frame_energy(self._clean)):
            self._clean[:n] = delayed[:n]
            self.bad_frames += 1
            self._handover.reset()
        self._frame[:n] = self._clean[:n]
        self._high.process(delayed, self._clean, out=self._frame)

        self._synthesis.process(self._frame, out=out)
        self._mixer.process(out, dry, out=out)
        self._limiter.process(out)

    def _line_up(self) -> tuple[Complex64s, Float32s]:
        """The noisy frame and the dry hop that belong to what the engine gave just now.

        While engines of different lookahead are blended, these are blended with the same shares.
        """
        before, now = self._lookaheads, self._handover.lookaheads
        self._lookaheads = now
        if len(now) == 1 and before == now:
            hops = now[0][0]
            return self._frames[(self._at - hops) % len(self._frames)], self._dry.tap(OVERLAP_HOPS + hops)
        self._delayed.fill(0.0)
        for hops, share in now:
            self._delayed += self._frames[(self._at - hops) % len(self._frames)] * np.float32(share)
        late, later = (tuple((OVERLAP_HOPS + hops, share) for hops, share in taps) for taps in (before, now))
        self._dry.blend(late, later, out=self._dry_block)
        return self._delayed, self._dry_block

    def reset(self) -> None:
        """Forget the past (not the settings); the next hop is the first."""
        self._analysis.reset()
        self._synthesis.reset()
        self._high.reset()
        self._limiter.reset()
        self._dry.reset()
        self._frames.fill(0.0)
        self._handover.reset()
        self._lookaheads = self._handover.lookaheads


def _checked(engine: Engine) -> Engine:
    if engine.info.lookahead_hops > MAX_LOOKAHEAD_HOPS:
        raise EngineError(
            f"engine {engine.info.id!r} looks {engine.info.lookahead_hops} hops ahead; "
            f"at most {MAX_LOOKAHEAD_HOPS} can be waited for live"
        )
    return engine


def _level(engine: Engine, level: int | None) -> int:
    best = engine.info.best_level
    if level is None:
        return best
    if not 0 <= level <= best:
        raise EngineError(
            f"engine {engine.info.id!r} has no level {level}; expected 0 (cheapest) to {best}", name="bad_level"
        )
    return level
