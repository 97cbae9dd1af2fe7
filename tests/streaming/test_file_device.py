"""A file as the microphone: exact, constant in memory, at the pace of a card or as fast as possible."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pse_stream.errors import AudioFileError
from pse_stream.streaming.denoiser import Denoiser
from pse_stream.streaming.devices.file import FileDevice
from pse_stream.streaming.settings import Settings

from .stubs import noise, offset, shelf

BYPASSED = Settings(bypass=True)


def play(source: Path, target: Path, *, realtime: bool = False) -> np.ndarray:
    device = FileDevice(source, target, realtime=realtime, subtype="FLOAT")
    with Denoiser(BYPASSED, device=device, engines=shelf()) as denoiser:
        assert denoiser.wait(60.0)
    return soundfile.read(target, dtype="float32")[0]


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_every_sample_of_the_file_comes_out_again(tmp_path: Path, rate: int) -> None:
    sent = noise(1.0)[:40_001]
    soundfile.write(tmp_path / "in.wav", sent, rate, subtype="FLOAT")
    heard = play(tmp_path / "in.wav", tmp_path / "out.wav")
    assert soundfile.info(tmp_path / "out.wav").samplerate == rate
    shift = offset(heard, sent, 20_000)
    assert 0 < shift < rate * 0.03
    assert np.array_equal(heard[shift : shift + len(sent)], sent)


@pytest.mark.parametrize("rate", [22_050, 44_100, 96_000])
def test_s05_other_rates_keep_their_pitch_and_length(tmp_path: Path, rate: int) -> None:
    time_s = np.arange(rate) / rate
    soundfile.write(tmp_path / "in.wav", 0.5 * np.sin(2 * np.pi * 1000 * time_s), rate)
    heard = play(tmp_path / "in.wav", tmp_path / "out.wav")
    assert len(heard) == pytest.approx(48_000 * 1.1, abs=1000)
    spectrum = np.abs(np.fft.rfft(heard[4800:44_800] * np.hanning(40_000)))
    assert np.argmax(spectrum) * 48_000 / 40_000 == pytest.approx(1000.0, abs=1.5)


@pytest.mark.parametrize("voice", [0, 1])
def test_s07_a_voice_on_one_side_of_a_stereo_file_keeps_its_level(tmp_path: Path, voice: int) -> None:
    sides = np.zeros((48_000, 2), np.float32)
    sides[:, voice] = noise(1.0)
    soundfile.write(tmp_path / "in.wav", sides, 48_000, subtype="FLOAT")
    heard = play(tmp_path / "in.wav", tmp_path / "out.wav")
    loss_db = 20 * np.log10(heard[9600:40_000].std() / sides[:, voice].std())
    assert abs(loss_db) < 0.5


def test_more_than_two_channels_are_mixed(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", np.tile(noise(0.5)[:, None], (1, 6)), 48_000, subtype="FLOAT")
    heard = play(tmp_path / "in.wav", tmp_path / "out.wav")
    assert heard[5000:20_000].std() == pytest.approx(0.1, rel=0.05)


def test_real_time_takes_the_time_of_the_sound(tmp_path: Path) -> None:
    sent = noise(0.5)
    soundfile.write(tmp_path / "in.wav", sent, 48_000, subtype="FLOAT")
    began = time.monotonic()
    heard = play(tmp_path / "in.wav", tmp_path / "out.wav", realtime=True)
    assert 0.55 < time.monotonic() - began < 10.0
    assert len(heard) >= len(sent)


def test_a_loop_begins_again_without_a_gap(tmp_path: Path) -> None:
    sent = noise(0.1)[:4999]
    soundfile.write(tmp_path / "in.wav", sent, 48_000, subtype="FLOAT")
    device = FileDevice(tmp_path / "in.wav", realtime=False, loop=True)
    blocks = device._read(384)
    got = np.concatenate([next(blocks) for _ in range(40)])
    assert np.array_equal(got, np.tile(sent, 4)[: len(got)])


def test_a_file_that_is_cut_short_ends_the_playing_with_its_reason(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "whole.flac", noise(2.0), 48_000)
    data = (tmp_path / "whole.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(data[: len(data) // 2])
    device = FileDevice(tmp_path / "cut.flac", realtime=False)
    with Denoiser(BYPASSED, device=device, engines=shelf()) as denoiser:
        assert denoiser.wait(30.0)
    assert isinstance(device.error, AudioFileError)


def test_an_unwritable_target_is_refused_before_anything_runs(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", noise(0.1), 48_000)
    with pytest.raises(AudioFileError):
        FileDevice(tmp_path / "in.wav", tmp_path / "no" / "folder.wav")


def test_nothing_stands_under_the_final_name_before_the_end(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", noise(0.3), 48_000)
    device = FileDevice(tmp_path / "in.wav", tmp_path / "out.wav", realtime=False)
    assert not (tmp_path / "out.wav").exists()
    with Denoiser(BYPASSED, device=device, engines=shelf()) as denoiser:
        denoiser.wait(30.0)
    assert (tmp_path / "out.wav").exists()
    assert not list(tmp_path.glob(".*.part"))
