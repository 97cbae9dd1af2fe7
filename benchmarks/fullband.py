"""What becomes of a voice above 8 kHz: the whole live pipeline at 48 kHz on pairs of clean voice and noise.

    python benchmarks/fullband.py FOLDER [ENGINE ...] [--attenuation DB] [--every N] [--by-snr] [--voice] [--fast]

FOLDER is unpacked: FOLDER/pairs.csv (id, snr_db) and FOLDER/pairs/<id>/{clean,noise}.flac. Printed, means
over the pairs, "high" after a band-pass of 8 to 20 kHz:
- high SI-SDR: noisy, and how much the engine adds;
- pauses: how far the sound falls where nobody speaks, above and below 8 kHz;
- voice: energy above 8 kHz of the output over that of the clean voice, while it has some there (noisy input: what the
  noise adds);
- 48 kHz SI-SDR, and PESQ-WB and ESTOI at 16 kHz (not with --fast), each as gain over the noisy input.
--voice feeds the clean voice instead: nothing may get dull. Wanted: high SI-SDR does not fall, pauses fall about as far
as below, voice -3 to +1.5 dB. For comparison on the 40 pairs of the full-band test pack: RNNoise 0.2 -1.7 dB, -33 dB,
-3.2 dB; DeepFilterNet3 +3.7, -26, -2.2.
"""

from __future__ import annotations

import argparse
import csv
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from pse_stream.dsp.spec import Float32s
from pse_stream.engines.registry import open_engine
from pse_stream.streaming.offline import enhance_samples

RATE = 48_000  # Hz
LOW_HZ, HIGH_HZ = (100.0, 8_000.0), (8_000.0, 20_000.0)
FRAME = RATE // 50  # 20 ms
PAUSE_DB = -45.0  # under the loud frames (95th percentile) of the clean voice
VOICE_DB = -20.0  # under the loudest frames (97th percentile) above 8 kHz: there the voice has energy up there
COLUMNS = ("high_in", "high_gain", "pause_high", "pause_low", "voice", "full_gain", "pesq_gain", "estoi_gain")

Float64s = NDArray[np.float64]


def main() -> None:
    """Print one row per engine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("engines", nargs="*", default=["auto"])
    parser.add_argument("--attenuation", type=float, default=100.0, help="limit in dB; 100 is none")
    parser.add_argument("--every", type=int, default=1, help="only every Nth pair")
    parser.add_argument("--by-snr", action="store_true", help="and one row per SNR")
    parser.add_argument("--voice", action="store_true", help="feed the clean voice alone")
    parser.add_argument("--fast", action="store_true", help="leave out PESQ and ESTOI, which take most of the time")
    asked = parser.parse_args()
    print(f"{'engine':<16}{'pairs':>6}" + "".join(f"{name:>12}" for name in COLUMNS))
    for id in asked.engines:
        engine, rows = open_engine(id), []
        for snr_db, clean, noise in pairs(asked.folder, asked.every):
            noisy = clean if asked.voice else clean + noise
            made = enhance_samples(noisy, RATE, engine, attenuation_db=asked.attenuation)
            rows.append([snr_db, *judge(clean, noisy, made), *perceived(clean, noisy, made, skip=asked.fast)])
        table = np.array(rows)
        print_row(engine.info.id, table)
        for snr_db in np.unique(table[:, 0]) if asked.by_snr else ():
            print_row(f"  {snr_db:g} dB", table[table[:, 0] == snr_db])


def pairs(folder: Path, every: int) -> Iterator[tuple[float, Float32s, Float32s]]:
    """SNR in dB, clean voice and noise of each pair."""
    with (folder / "pairs.csv").open(newline="") as file:
        for row in list(csv.DictReader(file))[::every]:
            clean, rate = soundfile.read(folder / "pairs" / row["id"] / "clean.flac", dtype="float32")
            noise, _ = soundfile.read(folder / "pairs" / row["id"] / "noise.flac", dtype="float32")
            if rate != RATE:
                raise SystemExit(f"pair {row['id']} has {rate} Hz; expected {RATE} Hz")
            yield round(float(row["snr_db"])), clean, noise


def judge(clean: Float32s, noisy: Float32s, made: Float32s) -> list[float]:
    """The figures of `COLUMNS` for one pair, but for the last two."""
    (clean_low, clean_high), (noisy_low, noisy_high), (made_low, made_high) = (
        [band(x, *hz) for hz in (LOW_HZ, HIGH_HZ)] for x in (clean, noisy, made)
    )
    loud, treble = power(clean_low) + power(clean_high), power(clean_high)
    pause = loud < np.quantile(loud, 0.95) * 10 ** (PAUSE_DB / 10)
    voice = treble > np.quantile(treble, 0.97) * 10 ** (VOICE_DB / 10)
    return [
        si_sdr(noisy_high, clean_high),
        si_sdr(made_high, clean_high) - si_sdr(noisy_high, clean_high),
        ratio_db(power(made_high)[pause], power(noisy_high)[pause]),
        ratio_db(power(made_low)[pause], power(noisy_low)[pause]),
        ratio_db(power(made_high)[voice], power(clean_high)[voice]),
        si_sdr(made, clean) - si_sdr(noisy, clean),
    ]


def band(samples: Float32s, low_hz: float, high_hz: float) -> Float64s:
    """The part between two frequencies, everything else exactly zero."""
    spectrum, hz = np.fft.rfft(samples.astype(np.float64)), np.fft.rfftfreq(len(samples), 1 / RATE)
    spectrum[(hz < low_hz) | (hz > high_hz)] = 0.0
    return np.fft.irfft(spectrum, len(samples))


def power(samples: Float64s) -> Float64s:
    """Mean square of each frame of 20 ms."""
    n = len(samples) // FRAME
    return np.asarray(np.mean(samples[: n * FRAME].reshape(n, FRAME) ** 2, axis=1))


def ratio_db(above: Float64s, below: Float64s) -> float:
    """Energies in dB; NaN where there is nothing to compare."""
    if len(above) < 4 or below.sum() < 1e-12:
        return float("nan")
    return float(10 * np.log10((above.sum() + 1e-20) / (below.sum() + 1e-20)))


def si_sdr(estimate: NDArray[np.floating], target: NDArray[np.floating]) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux 2019)."""
    y, s = estimate.astype(np.float64), target.astype(np.float64)
    s = s * (y @ s) / (s @ s + 1e-20)
    return float(10 * np.log10((s @ s + 1e-20) / ((y - s) @ (y - s) + 1e-20)))


def perceived(clean: Float32s, noisy: Float32s, made: Float32s, *, skip: bool) -> tuple[float, float]:
    """Gains in PESQ-WB and ESTOI at 16 kHz; NaN without the packages pesq and pystoi."""
    if skip:
        return float("nan"), float("nan")
    try:
        from pesq import PesqError, pesq
        from pystoi import stoi
    except ModuleNotFoundError:
        return float("nan"), float("nan")
    c, n, m = (soxr.resample(x, RATE, 16_000).astype(np.float32) for x in (clean, noisy, made))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estoi = stoi(c, m, 16_000, extended=True) - stoi(c, n, 16_000, extended=True)
        try:
            return pesq(16_000, c, m, "wb") - pesq(16_000, c, n, "wb"), estoi
        except PesqError:  # it found no utterance
            return float("nan"), estoi


def print_row(name: str, table: Float64s) -> None:
    """Means over the pairs that have a figure."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column that is NaN throughout
        means = np.nanmean(table[:, 1:], axis=0)
    print(f"{name:<16}{len(table):>6}" + "".join(f"{mean:>12.2f}" for mean in means), flush=True)


if __name__ == "__main__":
    main()
