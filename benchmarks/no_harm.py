"""Does an engine leave alone what needs no help? Clean speech, other levels, other languages, long runs.

    python benchmarks/no_harm.py TEST_TAR [--engines a,b] [--every N]

TEST_TAR is a test pack (`pairs.csv`, `pairs/<id>/noisy.flac`, `clean.flac`). Wanted: clean speech in, at least 25 dB
SI-SDR out; 30 dB louder or softer changes the result by less than 0.3 dB; no fall of SI-SDR, PESQ and ESTOI at 15 dB
and above; ten minutes of speech and noise leave the output level where it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pse_stream.engines.contract import Engine
from pse_stream.engines.registry import DEFAULT_ENGINE, open_engine
from pse_stream.training.evaluate import Pair, enhance, read_pairs
from pse_stream.training.metrics import judge, si_sdr

GAINS_DB = (-30.0, 30.0)
GOOD_SNR_DB = 14.9
LONG_S = 600


def main() -> None:
    """Print one line per engine and test."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--engines", default=DEFAULT_ENGINE)
    parser.add_argument("--every", type=int, default=1, help="use every N-th pair")
    options = parser.parse_args()
    pairs = list(read_pairs(options.pairs))[:: options.every]
    for id in options.engines.split(","):
        engine = open_engine(id)
        print(f"{id}: {len(pairs)} pairs")
        clean(engine, pairs)
        levels(engine, pairs)
        high_snr(engine, pairs)
        long_run(engine, pairs)


def clean(engine: Engine, pairs: list[Pair]) -> None:
    """Clean speech in: what is left of it, in dB."""
    values = [si_sdr(enhance(engine, pair.clean), pair.clean) for pair in pairs]
    low, middle = np.percentile(values, [5, 50])
    print(
        f"  clean speech in: SI-SDR mean {np.mean(values):.1f}, median {middle:.1f}, "
        f"5th percentile {low:.1f} dB (wanted 25)"
    )


def levels(engine: Engine, pairs: list[Pair]) -> None:
    """The same mixtures softer and louder."""
    for gain_db in GAINS_DB:
        gain = np.float32(10.0 ** (gain_db / 20.0))
        change = [
            abs(
                si_sdr(enhance(engine, pair.noisy * gain), pair.clean) - si_sdr(enhance(engine, pair.noisy), pair.clean)
            )
            for pair in pairs[::4]
        ]
        print(f"  {gain_db:+.0f} dB of level: SI-SDR changes by {max(change):.3f} dB at most (wanted < 0.3)")


def high_snr(engine: Engine, pairs: list[Pair]) -> None:
    """Changes where there is little noise."""
    good = [pair for pair in pairs if pair.snr_db >= GOOD_SNR_DB]
    before = [judge(pair.noisy, pair.clean, with_dnsmos=False) for pair in good]
    after = [judge(enhance(engine, pair.noisy), pair.clean, with_dnsmos=False) for pair in good]
    changes = {name: np.mean([b[name] - a[name] for a, b in zip(before, after, strict=True)]) for name in before[0]}
    print(
        f"  15 dB input ({len(good)} pairs): "
        + ", ".join(f"{n} {changes[n]:+.3f}" for n in ("si_sdr", "pesq", "estoi"))
        + " (wanted: none below 0)"
    )


def long_run(engine: Engine, pairs: list[Pair]) -> None:
    """The level of the same minute of speech, first and after ten minutes of everything."""
    minute = _strung(pairs, 60)
    audio = np.concatenate([np.tile(minute, LONG_S // 60), minute])
    out = enhance(engine, audio)
    first, last = out[len(minute) : 2 * len(minute)], out[-len(minute) :]
    change = 20 * np.log10(np.sqrt(np.mean(last**2)) / np.sqrt(np.mean(first**2)))
    print(f"  after {LONG_S // 60} minutes the level of the same minute differs by {change:+.4f} dB (wanted 0)")


def _strung(pairs: list[Pair], seconds: int) -> NDArray[np.float32]:
    parts = [pair.noisy for pair in pairs]
    return np.tile(np.concatenate(parts), 1 + seconds * 16000 // sum(map(len, parts)))[: seconds * 16000]


if __name__ == "__main__":
    main()
