"""`make demo-personal`: one person's noisy sessions -> adapt -> how much better, in numbers and pictures.

Everything happens in a folder of its own: no profile of yours is touched. Needs the extra [train]; the pictures need
[report].
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

HERE = Path(__file__).parent
OUT = Path("out") / "personal"
STUDENTS = ("gru-32", "gru-64", "gru-256")  # the first that is installed: small ones gain most, and learn fastest
UPDATES = os.environ.get("UPDATES", "60")


def main() -> int:
    """Play the story; 0 if it came to its end."""
    student = next(name for name in STUDENTS if name in _installed())
    sessions = sorted(HERE.glob("session-*.flac"))
    with tempfile.TemporaryDirectory(prefix="pse-stream-") as home:
        os.environ["XDG_DATA_HOME"] = home
        _say(f"1. A person has {len(sessions)} noisy recordings. Nobody knows what they sound like without the noise.")
        _run("profile", "new", "demo", "--title", "Demo")
        _say(f"2. The network {student} learns from them, in this person's own noise.")
        files = [word for path in sessions for word in ("--from", str(path))]
        if _run("adapt", "demo", *files, "--student", student, "--updates", UPDATES) not in (0, 9):
            return 1
        _say("3. Other sentences of the same person, with the truth beside them:")
        _compare(student)
    return 0


def _compare(student: str) -> None:
    from pse_stream.profiles.adapted import engine_setting, open_engine
    from pse_stream.profiles.store import open_profile
    from pse_stream.training.evaluate import enhance
    from pse_stream.training.metrics import si_sdr

    OUT.mkdir(parents=True, exist_ok=True)
    placed, _ = engine_setting(open_profile("demo"))
    if placed is None:
        _say("The ship gate said no, so nothing changed: the general network stays in use.")
        return
    pictures = []
    print(f"{'SI-SDR, dB':<12}{'noisy':>8}{'general':>9}{'own':>8}")
    for noisy_file in sorted(HERE.glob("test-*-noisy.flac")):
        noisy, _ = soundfile.read(noisy_file, dtype="float32")
        clean, _ = soundfile.read(str(noisy_file).replace("noisy", "clean"), dtype="float32")
        sounds = {"noisy": noisy}
        sounds |= {
            word: enhance(open_engine(id), noisy) for word, id in (("general", student), ("own", str(placed.value)))
        }
        stem = noisy_file.stem.removesuffix("-noisy")
        print(
            f"{stem:<12}"
            + "".join(f"{si_sdr(sound, clean):>{8 + (word == 'general')}.2f}" for word, sound in sounds.items())
        )
        for word, sound in sounds.items():
            soundfile.write(OUT / f"{stem}-{word}.wav", sound, 16000)
        pictures.append((stem, sounds | {"clean": clean}))
    _draw(pictures)
    _say(f"4. Listen: {OUT}/. `pse-stream adapt demo --revert` would take the adapted network out of use again.")


def _draw(pictures: list[tuple[str, dict[str, np.ndarray]]]) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        print("(no pictures: pip install 'pse-stream[report]')")
        return
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from pse_stream.dsp.spec import STFTSpec
    from pse_stream.dsp.stft import transform

    columns = list(pictures[0][1])
    figure, axes = plt.subplots(len(pictures), len(columns), figsize=(14, 3 * len(pictures)), squeeze=False)
    for row, (stem, sounds) in zip(axes, pictures, strict=True):
        top = 20 * np.log10(np.abs(transform(sounds["clean"], STFTSpec(16000))).max())
        for axis, word in zip(row, columns, strict=True):
            level = 20 * np.log10(np.abs(transform(sounds[word], STFTSpec(16000))) + 1e-6).T
            axis.imshow(level, origin="lower", aspect="auto", vmin=top - 70, vmax=top, cmap="magma",
                        extent=(0, len(sounds[word]) / 16000, 0, 8))  # fmt: skip
            axis.set_title(f"{stem}: {word}", fontsize=10)
            axis.set_xlabel("s")
        row[0].set_ylabel("kHz")
    figure.tight_layout()
    figure.savefig(OUT / "spectrograms.png", dpi=90)
    print(f"Pictures: {OUT / 'spectrograms.png'}")


def _installed() -> set[str]:
    from pse_stream.engines.registry import available

    return {entry.id for entry in available() if entry.usable}


def _run(*words: str) -> int:
    print(f"$ pse-stream {' '.join(words[:2])} …" if len(words) > 6 else f"$ pse-stream {' '.join(words)}", flush=True)
    return subprocess.run([sys.executable, "-m", "pse_stream.main", *words], check=False).returncode


def _say(text: str) -> None:
    print(f"\n{text}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
