"""Before and after, for the eye and the ear: a spectrogram PNG and one HTML page that needs no other file.

matplotlib is an extra (`pip install pse-stream[report]`) and is imported here only.
"""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from pse_stream.dsp.resample import grid_rate
from pse_stream.dsp.spec import Float32s, STFTSpec
from pse_stream.dsp.stft import transform
from pse_stream.errors import AudioFileError, UsageError
from pse_stream.streaming.metrics import Scores
from pse_stream.streaming.offline import Enhanced
from pse_stream.streaming.soundfiles import SoundReader

SHOWN_S = 60.0  # of a long file its first minute: a page must open, a picture must be readable
RANGE_DB = 80.0  # from the loudest bin down; one scale for all pictures of a page
FLOOR = 1e-12
COLUMNS = 1600  # of a picture; more frames than that are averaged
DPI = 110
COLOURS = 256

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
img { max-width: 100%; height: auto; } audio { width: 100%; }
table { border-collapse: collapse; } td, th { padding: .2rem 1rem .2rem 0; text-align: left; }
:root { color-scheme: light dark; }
"""


def write_report(folder: Path, done: Enhanced, *, reference: Path | None = None, scores: Scores | None = None) -> Path:
    """Write NAME.png and NAME.html for one enhanced file.

    Parameters
    ----------
    folder : Path
        Made if it is missing.
    done : Enhanced
        What `enhance_file` gave back.
    reference : Path or None
        A clean recording to show below.
    scores : Scores or None
        Before and after, from `streaming.metrics`.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    UsageError
        If matplotlib is missing.
    AudioFileError
        If the folder cannot be written.
    """
    takes = {"before": done.source, "after": done.target} | ({"clean": reference} if reference else {})
    name = done.source.stem
    picture = spectrograms(takes, f"{done.source.name}: engine {done.engine}")
    page = _page(done, takes, picture, scores or {})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _replace(folder / f"{name}.png", picture)
        _replace(folder / f"{name}.html", page.encode("utf-8"))
    except OSError as error:
        raise AudioFileError(
            f'the report cannot be written to "{folder}": {error.strerror}.', name="unwritable", hint="Choose another."
        ) from error
    return folder / f"{name}.html"


def spectrograms(takes: Mapping[str, Path], title: str) -> bytes:
    """One PNG with a spectrogram per take, on one scale of level, one below the other.

    Raises
    ------
    UsageError
        If matplotlib is missing.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise UsageError(
            "a report needs matplotlib, which is not installed.",
            name="missing_extra",
            hint="Try: pip install 'pse-stream[report]'",
        ) from error
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    levels = {take: _levels(path) for take, path in takes.items()}
    top = max(float(db.max()) for db, _, _ in levels.values())
    figure = Figure(figsize=(11.0, 2.6 * len(levels)), dpi=DPI, layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(len(levels), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (take, (db, seconds, top_hz)) in zip(axes, levels.items(), strict=True):
        image = axis.imshow(
            db.T,
            origin="lower",
            aspect="auto",
            extent=(0.0, seconds, 0.0, top_hz / 1000.0),
            vmin=top - RANGE_DB,
            vmax=top,
            cmap="magma",
        )
        axis.set_ylabel(f"{take}\nkHz")
    axes[-1].set_xlabel("seconds")
    figure.colorbar(image, ax=list(axes), label="dB")
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    return _with_few_colours(drawn)


def _with_few_colours(picture: io.BytesIO) -> bytes:
    """The PNG in 256 colours: a third of the size, and nobody sees which. Pillow comes with matplotlib."""
    from PIL import Image

    out = io.BytesIO()
    with Image.open(picture) as image:
        image.convert("RGB").quantize(COLOURS).save(out, format="png", optimize=True)
    return out.getvalue()


def _levels(path: Path) -> tuple[NDArray[np.float32], float, float]:
    """(columns, bins) in dB of the first minute of the first channel, its seconds, and its highest frequency in Hz."""
    samples, rate = _excerpt(path)
    spec = STFTSpec(grid_rate(rate))
    mono = samples[:, 0]
    if rate != spec.sample_rate:
        import soxr

        mono = soxr.resample(mono, rate, spec.sample_rate)
    power = np.square(np.abs(transform(np.ascontiguousarray(mono, np.float32), spec)))
    step = -(-len(power) // COLUMNS)
    power = np.add.reduceat(power, np.arange(0, len(power), step), axis=0) / step
    return (10.0 * np.log10(power + FLOOR)).astype(np.float32), len(samples) / rate, spec.sample_rate / 2


def _excerpt(path: Path) -> tuple[Float32s, int]:
    """The first minute, (n, channels), and its rate."""
    with SoundReader(path, allow_truncated=True) as reader:
        wanted = round(SHOWN_S * reader.sample_rate)
        return next(reader.blocks(wanted)), reader.sample_rate


def _page(done: Enhanced, takes: Mapping[str, Path], picture: bytes, scores: Scores) -> str:
    title = html.escape(f"{done.source.name}: before and after")
    players = "\n".join(
        f"<h2>{take}</h2>\n<audio controls preload=metadata src='data:audio/flac;base64,{_flac(path)}'></audio>"
        for take, path in takes.items()
    )
    facts = {
        "engine": f"{done.engine}, level {done.level}",
        "sound": f"{done.seconds:.1f} s, channels: {done.channels}, {done.sample_rate} Hz",
        "noise floor": f"{_level(done.floor_in_db)} before, {_level(done.floor_out_db)} after",
        "speed": f"{done.times_real_time:.0f} x real time",
        "delay if used live": f"{done.latency_ms:.0f} ms (taken out of the file)",
    }
    rows = "\n".join(f"<tr><th>{key}</th><td>{html.escape(value)}</td></tr>" for key, value in facts.items())
    cut = f"<p>The players and the picture hold the first {SHOWN_S:.0f} s.</p>" if done.seconds > SHOWN_S else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>{STYLE}</style></head>
<body><h1>{title}</h1>
<img alt="Spectrograms of {", ".join(takes)}" src="data:image/png;base64,{base64.b64encode(picture).decode()}">
{cut}
{players}
{_score_table(scores)}
<h2>How it was made</h2>
<table>{rows}</table>
</body></html>
"""


def _level(db: float | None) -> str:
    return "silent" if db is None else f"{db:.0f} dBFS"


def _score_table(scores: Scores) -> str:
    if not scores:
        return ""

    def cell(value: Any) -> str:
        return "not measured" if value is None else f"{value:.3f}"

    rows = "\n".join(
        f"<tr><th>{name}</th><td>{cell(before)}</td><td>{cell(after)}</td></tr>"
        for name, (before, after) in scores.items()
    )
    return f"<h2>Against the clean recording</h2><table><tr><th></th><th>before</th><th>after</th></tr>{rows}</table>"


def _flac(path: Path) -> str:
    """The excerpt as FLAC, base64: half of WAV, exact, and played by every current browser."""
    samples, rate = _excerpt(path)
    out = io.BytesIO()
    soundfile.write(out, np.clip(samples, -1.0, 1.0), rate, format="FLAC", subtype="PCM_16")
    return base64.b64encode(out.getvalue()).decode()


def _replace(path: Path, content: bytes) -> None:
    """Write beside, then rename: never half a page."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
