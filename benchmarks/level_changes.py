"""A thousand changes of level at random moments, on steady noise and on speech: can they be heard?

    python benchmarks/level_changes.py [--engines bloom,diffuse] [--speech FILE.wav] [--changes 1000] [--seed 1]

The engine runs on the live grid; every change goes from the present level to another one drawn at random. Beside it
every level runs alone on the same sound, because what an unswitched level does cannot be blamed on a change.
Printed for each engine and sound, over the 0.15 s after every change:

    sample    largest difference between neighbouring samples, over the largest one of the unswitched levels there: a
              click is several times 1
    step      how far loudness (48 ms) moves from hop to hop (8 ms) beyond what it does in the unswitched levels, dB:
              99 % of the changes, and the worst
    block     the same between neighbouring blocks of 48 ms: two levels that leave a noise 10 dB apart are heard as a
              step if that happens within one block, and as a slow change if it takes many
    outside   how far loudness leaves the range of the unswitched levels, dB

and the same for hard cuts between the unswitched outputs, which is what a bad change would look like. The unswitched
levels are those played in the second before the change and the one wished: for so long one glides to the next.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from pse_stream.dsp.spec import ENGINE_BINS, ENGINE_RATE, Float32s, STFTSpec
from pse_stream.dsp.stft import Analysis, Synthesis
from pse_stream.engines.contract import Engine
from pse_stream.engines.handover import CHANGE_HOPS
from pse_stream.engines.levels import GLIDE_HOPS
from pse_stream.engines.registry import available, open_engine

GRID = STFTSpec(ENGINE_RATE)
BLAME_S = 0.15  # after a wish: the change takes 0.1 s, the transform's overlap 0.02 s
LOUD_HOPS = 6  # loudness is smoothed over this: 48 ms
FLOOR_DB = -60.0  # below the loudest moment: no jump down there is heard
PACE_HOPS = (20, 120)  # from change to change: some come while the one before still glides


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
    print(f"{'engine':<12}{'sound':<14}{'how':<10}{'changes':>8}{'sample':>8}{'step':>16}{'block':>16}{'outside':>16}")
    for id in ids:
        for name, sound in sounds(asked.changes, asked.speech, asked.seed).items():
            compare(id, name, sound, asked.changes, asked.seed)


def sounds(changes: int, speech: Path | None, seed: int) -> dict[str, Float32s]:
    """Steady noise and speech, long enough for all changes."""
    n = (changes + 2) * PACE_HOPS[1] * GRID.hop  # more than any plan needs
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
        sample, *others = figures(audio, alone, levels, marks)
        cells = "".join(f"{np.percentile(f, 99):>9.2f} {max(f):>6.2f}" for f in others)
        print(f"{id:<12}{name:<14}{how:<10}{changes:>8}{max(sample):>8.2f}{cells}", flush=True)


def figures(
    audio: Float32s, alone: list[Float32s], levels: np.ndarray, marks: list[tuple[int, int, int]]
) -> tuple[list[float], list[float], list[float], list[float]]:
    """The four figures of the module's text for every change."""
    samples = [np.abs(np.diff(wave)) for wave in (audio, *alone)]
    smooth = [loudness(wave, GRID.hop, LOUD_HOPS * GRID.hop) for wave in (audio, *alone)]
    floor = max(wave.max() for wave in smooth) + FLOOR_DB
    smooth = [np.maximum(wave, floor) for wave in smooth]
    steps = [np.abs(np.diff(wave)) for wave in smooth]
    blocks = [np.abs(wave[LOUD_HOPS:] - wave[:-LOUD_HOPS]) for wave in smooth]
    blame = round(BLAME_S * ENGINE_RATE / GRID.hop)
    found: tuple[list[float], list[float], list[float], list[float]] = ([], [], [], [])
    for at, _, to in marks:
        heard = [1 + k for k in {*levels[max(at - GLIDE_HOPS - CHANGE_HOPS, 0) : at].tolist(), to}]
        wave, hops = slice(at * GRID.hop - 1, (at + blame) * GRID.hop), slice(at - 1, at + blame)
        calm = max(float(samples[k][wave].max()) for k in heard)
        found[0].append(float(samples[0][wave].max()) / max(calm, 1e-6))
        for of, curves in ((1, steps), (2, blocks)):
            part = slice(at - 1 - (LOUD_HOPS if of == 2 else 0), at + blame - (LOUD_HOPS if of == 2 else 0))
            found[of].append(float((curves[0][part] - np.max([curves[k][part] for k in heard], axis=0)).max()))
        low, high = (pick([smooth[k][hops] for k in heard], axis=0) for pick in (np.min, np.max))
        found[3].append(float(np.maximum(low - smooth[0][hops], smooth[0][hops] - high).max().clip(0.0)))
    return found


def loudness(wave: Float32s, hop: int, window: int) -> Float32s:
    """Level of every hop over `window` samples that end with it, dB."""
    power = np.concatenate([[0.0], np.cumsum(wave.astype(float) ** 2)])
    ends = np.arange(hop, len(wave) + 1, hop)
    starts = np.maximum(ends - window, 0)
    return np.asarray(10 * np.log10((power[ends] - power[starts]) / (ends - starts) + 1e-12), np.float32)


if __name__ == "__main__":
    main()
