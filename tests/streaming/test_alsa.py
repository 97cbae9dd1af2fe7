"""The private ALSA configuration: what it says, that it goes away, and that a killed run's does too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pse_stream.errors import DeviceError
from pse_stream.streaming.devices.alsa import AlsaConfig


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary files of these tests stay among themselves."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("ALSA_CONFIG_PATH", "before")


def test_each_direction_means_the_device_it_was_bound_to_and_there_is_a_default() -> None:
    config = AlsaConfig()
    config.bind("input", "usb_mic")
    text = Path(os.environ["ALSA_CONFIG_PATH"]).read_text()
    assert 'pcm.pse_input { type pulse device "usb_mic" }' in text
    assert "pcm.default" in text
    config.remove()


def test_removing_leaves_no_file_and_puts_the_variable_back(tmp_path: Path) -> None:
    AlsaConfig().remove()
    assert os.environ["ALSA_CONFIG_PATH"] == "before"
    assert not list(tmp_path.iterdir())


def test_a_name_that_cannot_be_written_is_refused() -> None:
    config = AlsaConfig()
    with pytest.raises(DeviceError, match="holds a quote"):
        config.bind("output", 'two"words')
    config.remove()


def test_s36_the_folder_of_a_killed_run_is_swept_by_the_next_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], check=True, capture_output=True)
    left = tmp_path / f"pse-stream-alsa-{int(gone.stdout)}-abc"
    alive = tmp_path / f"pse-stream-alsa-{os.getppid()}-abc"
    left.mkdir()
    alive.mkdir()
    config = AlsaConfig()
    assert not left.exists()
    assert alive.exists()
    config.remove()
