"""Every test of the command line runs in a home of its own, without anybody's configuration."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile

from pse_stream.cli.root import run_command_line


class Outcome(NamedTuple):
    """How a command line ended."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home; the working directory is a folder beside it."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in list(os.environ):
        if name.startswith(("XDG_", "PSE_STREAM_")) or name == "NO_COLOR":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(folder / "etc"))
    runtime = Path(tempfile.mkdtemp(prefix="pse"))  # short: the name of a socket has 107 bytes
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    yield folder
    shutil.rmtree(runtime)


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run one command line in this process."""

    def run(*arguments: str | Path) -> Outcome:
        capfd.readouterr()
        code = run_command_line([str(word) for word in arguments])
        return Outcome(code, *capfd.readouterr())

    return run


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    """Half a second of hiss, 16 kHz."""
    path = tmp_path / "work" / "noisy.wav"
    samples = np.random.default_rng(0).normal(0.0, 0.05, 8_000).astype(np.float32)
    soundfile.write(path, samples, 16_000)
    return path
