"""`pse-stream enrol`: from files with a reason for every refusal, and from a microphone with a terminal only."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from pse_stream.cli.enrol import READING, level_bar
from pse_stream.profiles.enrolment import read_voice, shipped_model
from pse_stream.profiles.store import open_profile

from ..profiles.voices import organ, voice

Cli = Callable[..., Any]  # arguments -> (code, out, err)


@pytest.fixture
def spoken(tmp_path: Path) -> Path:
    path = tmp_path / "me.wav"
    soundfile.write(path, np.stack([voice(12.0), np.zeros(12 * 16_000)], axis=1), 16_000)
    return path


def test_clips_and_voice_are_kept_from_files_with_consent(cli: Cli, spoken: Path) -> None:
    cli("profile", "new", "bob")
    asked = cli("enrol", "bob", "--from", spoken, "--keep-clips")
    assert (asked.code, "--agree" in asked.err) == (2, True)
    assert not (open_profile("bob").folder / "enrolment").exists()
    ran = cli("enrol", "bob", "--from", spoken, "--keep-clips", "--agree", "--json")
    if ran.code == 0:  # the shipped network hears a voice in the made-up one, or there is none
        assert json.loads(ran.out)["clips"] == 1
        assert (open_profile("bob").folder / "enrolment" / "clips" / "take-01.flac").is_file()
        assert (read_voice(open_profile("bob")) is None) == (shipped_model() is None)
        assert cli("enrol", "bob", "--forget", "--yes").code == 0
    else:
        assert "error[enrol_no_speech]" in ran.err
    assert not (open_profile("bob").folder / "enrolment").exists()


@pytest.mark.parametrize(
    ("sound", "name"),
    [
        (np.zeros(160_000, np.float32), "enrol_silent"),
        (np.clip(12 * voice(10.0), -1, 1), "enrol_clipped"),
        (organ(10.0), "enrol_music"),
        (voice(3.0), "enrol_short"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_useless_file_is_refused_by_its_name(cli: Cli, tmp_path: Path, sound: np.ndarray, name: str) -> None:
    cli("profile", "new", "bob")
    path = tmp_path / "take.wav"
    soundfile.write(path, sound, 16_000)
    ran = cli("enrol", "bob", path)
    assert ran.code == 3
    assert f"error[{name}]" in ran.err
    assert not (open_profile("bob").folder / "enrolment").exists()


def test_reading_needs_a_terminal_and_a_profile(cli: Cli) -> None:
    assert "error[no_profile]" in cli("enrol", "nobody").err
    cli("profile", "new", "bob")
    ran = cli("enrol", "bob")
    assert (ran.code, "--from FILE" in ran.err) == (2, True)
    assert "error[no_file]" in cli("enrol", "bob", "--from", "none.wav").err


def test_the_bar_says_what_to_do_in_words() -> None:
    for level, word in ((0.0, "speak"), (0.1, "good"), (1.0, "too loud")):
        bar = level_bar(np.full(800, level, np.float32), 6.0).plain
        assert word in bar
        assert bar.endswith("6 s left")
        assert len(bar) < 80
    assert len(READING) == 3
    assert all(20 <= len(text.split()) <= 45 for text in READING)  # ten seconds each
