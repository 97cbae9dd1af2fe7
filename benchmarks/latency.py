"""Algorithmic latency of every engine, found with impulses; wanted: 16 ms plus the lookahead that the engine declares.

    python benchmarks/latency.py [--engines a,b]

Samples arrive one at a time, as they do from a microphone, and leave when the hop they belong to is ready. A click
sits somewhere inside a hop, in faint noise; the largest sample that comes out marks it. The clicks differ in their
place within the hop, and the spread over the places is printed: it has to be 0. An engine that takes clicks for noise
and removes them (then the largest sample is not a click) is given a voice instead, found by cross-correlation.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

from pse_stream.dsp.spec import HOP_MS, Float32s
from pse_stream.engines.registry import available, open_engine
from pse_stream.streaming.pipeline import Pipeline
from pse_stream.streaming.settings import NO_LIMIT_DB

RATES = (16_000, 48_000)
WINDOW_MS = 2 * HOP_MS  # one hop to fill, one of overlap
PLACES = 7  # clicks at so many places within a hop
LISTEN_S = 0.4


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", default="", help="ids, with commas; all if none")
    asked = [id for id in parser.parse_args().engines.split(",") if id]
    print(f"{'engine':<20}{'rate':>8}{'declared ms':>13}{'measured ms':>13}{'spread':>8}  {'by':<12}")
    for entry in available():
        if entry.info is None or (asked and entry.id not in asked):
            continue
        declared = WINDOW_MS + HOP_MS * entry.info.lookahead_hops
        for level, step in enumerate(entry.info.levels):
            for rate in RATES:
                measured, spread, how = delay(entry.id, level, rate)
                name = f"{entry.id}:{step.name}" if len(entry.info.levels) > 1 else entry.id
                mark = "" if abs(measured - declared) <= HOP_MS else "  <- differs by more than a hop"
                print(f"{name:<20}{rate:>8}{declared:>13.3f}{measured:>13.3f}{spread:>8.3f}  {how:<12}{mark}")


def delay(id: str, level: int, rate: int) -> tuple[float, float, str]:
    """Median delay and its spread in ms, and how it was found."""
    engine = open_engine(id)
    found = [by_click(Pipeline(rate, engine.fork(), level=level, attenuation_db=NO_LIMIT_DB), k) for k in range(PLACES)]
    if None not in found:
        samples = np.array(found, float)
        return 1e3 * float(np.median(samples)) / rate, 1e3 * float(np.ptp(samples)) / rate, "click"
    samples = np.array(
        [by_voice(Pipeline(rate, engine.fork(), level=level, attenuation_db=NO_LIMIT_DB), seed) for seed in range(3)]
    )
    return 1e3 * float(np.median(samples)) / rate, 1e3 * float(np.ptp(samples)) / rate, "voice"


def by_click(pipeline: Pipeline, place: int) -> int | None:
    """Samples from a click going in to the click coming out; None if none comes out."""
    rate, hop = pipeline.spec.sample_rate, pipeline.hop
    rng = np.random.default_rng(place)
    samples = rng.normal(0.0, 1e-4, round((0.5 + LISTEN_S) * rate)).astype(np.float32)
    at = 60 * hop + round(place * (hop - 1) / (PLACES - 1))
    samples[at] = 0.5
    out = live(pipeline, samples)
    found = int(np.argmax(np.abs(out)))
    return found - at if abs(out[found]) > 0.02 else None


def by_voice(pipeline: Pipeline, seed: int) -> int:
    """The same by cross-correlation with something like a voice."""
    samples = vowels(pipeline.spec.sample_rate, 3.0, seed)
    out = live(pipeline, samples)
    spectrum = np.fft.rfft(out, 2 * len(out)) * np.conj(np.fft.rfft(samples, 2 * len(out)))
    return int(np.argmax(np.fft.irfft(spectrum)[: round(LISTEN_S * pipeline.spec.sample_rate)]))


def live(pipeline: Pipeline, samples: Float32s) -> Float32s:
    """Sample by sample: what is heard at each moment; the first hop is silence, because none is full yet."""
    return np.concatenate([np.zeros(pipeline.hop, np.float32), *_hops(pipeline, samples)])


def _hops(pipeline: Pipeline, samples: Float32s) -> Iterator[Float32s]:
    filling, filled = np.zeros(pipeline.hop, np.float32), 0
    for sample in samples:
        filling[filled] = sample
        filled += 1
        if filled == pipeline.hop:
            out = np.empty(pipeline.hop, np.float32)
            pipeline.process(filling, out=out)
            yield out
            filled = 0


def vowels(rate: int, seconds: float, seed: int) -> Float32s:
    """Gliding harmonics in syllables, at -26 dBFS."""
    t = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(130 + 25 * np.sin(2 * np.pi * 0.7 * t + seed)) / rate
    wave = sum(np.sin(k * phase + k * k) / k for k in range(1, 25)) * np.clip(
        0.6 + np.sin(2 * np.pi * 4 * t), 0.0, None
    )
    return np.asarray(wave * 10 ** (-26 / 20) / np.sqrt(np.mean(wave**2)), np.float32)


if __name__ == "__main__":
    main()
