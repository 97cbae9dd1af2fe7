"""Take the pictures of the terminal screen: `python docs/screenshots.py` writes docs/images/tui-*.svg.

A denoiser runs on a private virtual sound card, somebody plays the example recording into its microphone and another
program listens; then the screen is drawn at two sizes, and once with a dialog. Needs PulseAudio and the extra `tui`.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
sys.path.insert(0, str(ROOT))
os.environ["TEXTUAL_FPS"] = "15"

import numpy as np  # noqa: E402
import soundfile  # noqa: E402
import soxr  # noqa: E402

from pse_stream.control.client import ControlClient  # noqa: E402
from pse_stream.control.instance import control_path, running_pid  # noqa: E402
from pse_stream.control.tui.app import TuiApp  # noqa: E402
from tests.soundcard import Cable, VirtualSoundcard  # noqa: E402

RAW = ("--raw", "--format=float32le", "--rate=48000", "--channels=1")
DRAWN_S = 14.0  # until the spectrograms are full


def main() -> None:
    """Write the pictures."""
    with (
        VirtualSoundcard([Cable("usb", "USB Microphone"), Cable("speaker", "Loudspeaker")]),
        tempfile.TemporaryDirectory() as folder,
    ):
        for name in ("CONFIG", "STATE", "DATA"):
            os.environ[f"XDG_{name}_HOME"] = folder
        sound = Path(folder) / "sound.raw"
        sound.write_bytes(recording().tobytes())
        programs = [
            subprocess.Popen(["pacat", "-d", "usb_sink", *RAW, str(sound)]),
            subprocess.Popen([sys.executable, "-m", "pse_stream.main", "run", "--quiet"]),
        ]
        try:
            while not (running_pid("default") and control_path("default").exists()):
                time.sleep(0.1)
            time.sleep(2.0)
            programs.append(subprocess.Popen(["parec", "-d", "pse_mic", *RAW, "/dev/null"]))
            asyncio.run(draw("tui-120x36.svg", (120, 36)))
            asyncio.run(draw("tui-80x24.svg", (80, 24)))
            asyncio.run(draw("tui-engine.svg", (80, 24), "e"))
        finally:
            for program in reversed(programs):
                program.terminate()
                program.wait(15)


def recording() -> np.ndarray:
    """Three minutes of the example at 48 kHz."""
    samples, rate = soundfile.read(ROOT / "examples" / "noisy.flac", dtype="float32")
    wide = soxr.resample(samples, rate, 48_000).astype(np.float32)
    return np.tile(wide, int(180 * 48_000 / len(wide)) + 1)


async def draw(name: str, size: tuple[int, int], *keys: str) -> None:
    """One picture, after the screen has run for a while and the keys were pressed."""
    app = TuiApp(ControlClient())
    async with app.run_test(size=size) as pilot:
        await pilot.pause(DRAWN_S)
        for key in keys:
            await pilot.press(key)
            await pilot.pause(2.0)
        (IMAGES / name).write_text(app.export_screenshot(simplify=True), encoding="utf-8")
        print(IMAGES / name)


if __name__ == "__main__":
    main()
