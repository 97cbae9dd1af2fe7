"""A thousand changes of level at random moments, on steady noise and on speech: can they be heard?

    python benchmarks/level_changes.py [--engines bloom,diffuse] [--speech FILE.wav] [--changes 1000] [--seed 1]

The engine runs on the live grid; every change goes from the present level to another one drawn at random. Beside it
every level runs alone on the same sound, because what an unswitched level does cannot be blamed on a change.
Printed for each engine and sound:

    sample    largest difference between neighbouring samples within 0.15 s after a change, over the largest one of
              the unswitched levels there: a click is several times 1
    hop       largest jump of loudness between neighbouring 8 ms that exceeds those of the unswitched levels, dB
    outside   how far loudness (50 ms) leaves the range between the two unswitched levels, dB: worst and 99 % of moments

and the same for hard cuts between the unswitched outputs, which is what a bad change would look like.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from pse_stream.dsp.spec import ENGINE_BINS, ENGINE_RATE, Float32s, STFTSpec
from pse_stream.dsp.stft import Analysis, Synthesis
from pse_stream.engines.contract import Engine
from pse_stream.engines.registry import available, open_engine

GRID = STFTSpec(ENGINE_RATE)
BLAME_S = 0.15  # after a wish: the change takes 0.1 s, the transform's overlap 0.02 s
LOUD_S = 0.05  # loudness is smoothed over this
FLOOR_DB = -60.0  # below the loudest moment: no jump down there is heard
PACE_HOPS = (20, 30)  # from change to change


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", default="", help="ids, with commas; all with several levels if none")
    parser.add_argument("--speech", type=Path, help="recording at 16 kHz; a computed voice in noise if none")
    parser.add_argument("--changes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    found = [entry for entry in available() if entry.info is not None and len(entry.info.levels) > 1]
    ids = [id for id in asked.engines.split(",") if id] or [entry.id for entry in found]
    print(f"{'engine':<12}{'sound':<14}{'how':<10}{'changes':>8}{'sample':>8}{'hop':>8}{'outside':>9}{'99 %':>7}")
    for id in ids:
        for name, sound in sounds(asked.changes, asked.speech, asked.seed).items():
            compare(id, name, sound, asked.changes, asked.seed)


def sounds(changes: int, speech: Path | None, seed: int) -> dict[str, Float32s]:
    """Steady noise and speech, long enough for all changes."""
    n = (changes + 2) * PACE_HOPS[1] * GRID.hop
    rng = np.random.default_rng(seed)
    noise = (0.02 * rng.standard_normal(n)).astype(np.float32)
    if speech is None:
        return {"steady noise": noise, "voice": (voice(n, rng) + 0.3 * noise).astype(np.float32)}
    import soundfile

    audio, rate = soundfile.read(speech, dtype="float32", always_2d=True)
    if rate != ENGINE_RATE:
        raise SystemExit(f"{speech} has {rate} Hz; expected {ENGINE_RATE} Hz")
    return {"steady noise": noise, "speech": np.resize(audio[:, 0], n)}


def voice(n: int, rng: np.random.Generator) -> Float32s:
    """Harmonics of a gliding pitch in syllables of 4 Hz, -26 dBFS."""
    t = np.arange(n) / ENGINE_RATE
    phase = 2 * np.pi * np.cumsum(130 + 25 * np.sin(2 * np.pi * 0.7 * t)) / ENGINE_RATE
    wave = sum(np.sin(k * phase + rng.uniform(0, 6.28)) / (1 + ((130 * k - 600) / 250) ** 2) for k in range(1, 28))
    wave = wave * np.clip(0.6 + np.sin(2 * np.pi * 4 * t), 0.0, None)
    return np.asarray(wave * 0.05 / np.sqrt(np.mean(wave**2)), np.float32)


def plan(changes: int, levels: int, rng: np.random.Generator) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """Level of every hop, and (hop, from, to) of every change."""
    at, hop, marks, track = int(rng.integers(levels)), 0, [], []
    for _ in range(changes):
        wait = int(rng.integers(*PACE_HOPS))
        track += [at] * wait
        hop += wait
        to = int((at + 1 + rng.integers(levels - 1)) % levels)
        marks.append((hop, at, to))
        at = to
    return np.array(track + [at] * PACE_HOPS[1]), marks


def render(engine: Engine, sound: Float32s, levels: np.ndarray) -> Float32s:
    """The sound through analysis, the engine at the level of each hop, and synthesis."""
    analysis, synthesis, frame = Analysis(GRID), Synthesis(GRID), np.empty(ENGINE_BINS, np.complex64)
    out = np.empty(len(levels) * GRID.hop, np.float32)
    for k, level in enumerate(levels):
        part = slice(k * GRID.hop, (k + 1) * GRID.hop)
        analysis.process(sound[part], out=frame)
        engine.step(frame, frame, int(level))
        synthesis.process(frame, out=out[part])
    return out


def compare(id: str, name: str, sound: Float32s, changes: int, seed: int) -> None:
    """Two lines of the table."""
    engine = open_engine(id)
    n_levels = len(engine.info.levels)
    levels, marks = plan(changes, n_levels, np.random.default_rng(seed))
    alone = [render(engine.fork(), sound, np.full(len(levels), k)) for k in range(n_levels)]
    switched = render(engine.fork(), sound, levels)
    cut = np.choose(np.repeat(levels, GRID.hop), alone).astype(np.float32)
    for how, audio in (("as it is", switched), ("hard cut", cut)):
        sample, hop, worst, most = figures(audio, alone, marks)
        print(f"{id:<12}{name:<14}{how:<10}{changes:>8}{sample:>8.2f}{hop:>8.2f}{worst:>9.2f}{most:>7.2f}", flush=True)


def figures(
    audio: Float32s, alone: list[Float32s], marks: list[tuple[int, int, int]]
) -> tuple[float, float, float, float]:
    """The four figures of the module's text."""
    steps = [np.abs(np.diff(wave)) for wave in (audio, *alone)]
    hops = [loudness(wave, GRID.hop) for wave in (audio, *alone)]
    floor = max(h.max() for h in hops) + FLOOR_DB
    jumps = [np.abs(np.diff(np.maximum(h, floor))) for h in hops]
    window = int(LOUD_S * ENGINE_RATE)
    smooth = [np.maximum(loudness(wave, GRID.hop, window), floor) for wave in (audio, *alone)]
    blame = round(BLAME_S * ENGINE_RATE / GRID.hop)
    sample, hop, outside = 0.0, 0.0, []
    for at, a, b in marks:
        wave, frames = slice(at * GRID.hop - 1, (at + blame) * GRID.hop), slice(at - 1, at + blame)
        calm = max(float(steps[1 + k][wave].max()) for k in (a, b))
        sample = max(sample, float(steps[0][wave].max()) / max(calm, 1e-6))
        allowed = np.maximum(jumps[1 + a][frames], jumps[1 + b][frames])
        hop = max(hop, float((jumps[0][frames] - allowed).max()))
        low = np.minimum(smooth[1 + a][frames], smooth[1 + b][frames])
        high = np.maximum(smooth[1 + a][frames], smooth[1 + b][frames])
        outside.append(float(np.maximum(low - smooth[0][frames], smooth[0][frames] - high).max().clip(0.0)))
    return sample, hop, max(outside), float(np.percentile(outside, 99))


def loudness(wave: Float32s, hop: int, window: int | None = None) -> Float32s:
    """Level of every hop over `window` samples that end with it, dB."""
    power = np.concatenate([[0.0], np.cumsum(wave.astype(float) ** 2)])
    ends = np.arange(hop, len(wave) + 1, hop)
    starts = np.maximum(ends - (window or hop), 0)
    return np.asarray(10 * np.log10((power[ends] - power[starts]) / (ends - starts) + 1e-12), np.float32)


if __name__ == "__main__":
    main()
