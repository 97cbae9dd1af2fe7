"""Files through the pipeline: length, alignment, rates, channels, constant memory, and every way a file can be bad."""

from __future__ import annotations

import itertools
import resource
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from pse_stream.dsp.spec import GRID_RATES, Complex64s, Float32s
from pse_stream.engines.bypass import BypassEngine
from pse_stream.engines.contract import EngineInfo
from pse_stream.errors import AudioFileError
from pse_stream.streaming.offline import Channel, enhance_file, enhance_samples
from pse_stream.streaming.pipeline import Pipeline

RATES = (8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000)


class HalfGain(BypassEngine):
    """Halves every frame: audible in any sample, and different from the dry path."""

    info = EngineInfo(id="half", title="Half")

    def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
        np.multiply(frame, np.complex64(0.5), out=out)

    def fork(self) -> HalfGain:
        return HalfGain()


def tone(rate: int, n: int, *, hz: float = 440.0, level: float = 0.25) -> Float32s:
    return (level * np.sin(2 * np.pi * hz * np.arange(n) / rate)).astype(np.float32)


def noise(n: int, *shape: int, seed: int = 0) -> Float32s:
    return np.random.default_rng(seed).normal(0.0, 0.05, (n, *shape)).astype(np.float32)


def live(samples: Float32s, pipeline: Pipeline) -> Float32s:
    """What a virtual microphone gives: hop by hop, late by the pipeline's delay."""
    out = np.empty_like(samples)
    for at in range(0, len(samples), pipeline.hop):
        pipeline.process(samples[at : at + pipeline.hop], out=out[at : at + pipeline.hop])
    return out


@pytest.mark.parametrize("rate", GRID_RATES)
def test_file_equals_live_sample_for_sample_at_grid_rates(rate: int) -> None:
    samples = noise(50 * (rate // 125))
    heard = live(samples, pipeline := Pipeline(rate, HalfGain(), attenuation_db=20.0))
    written = enhance_samples(samples, rate, HalfGain(), attenuation_db=20.0)
    late = pipeline.latency_samples
    np.testing.assert_array_equal(written[:-late], heard[late:])


@pytest.mark.parametrize("rate", RATES)
def test_output_is_in_step_with_the_input_at_every_rate(rate: int) -> None:
    samples = tone(rate, rate // 2 + 13)
    out = enhance_samples(samples, rate, BypassEngine(), attenuation_db=100.0)
    middle = slice(rate // 10, -(rate // 10))
    assert np.max(np.abs(out[middle] - samples[middle])) < 1e-5  # a shift of one sample at 192 kHz would be 3.6e-3


@settings(max_examples=25, deadline=None)
@given(rate=st.sampled_from(RATES), n=st.integers(1, 5_000))
def test_length_is_kept_for_every_length(rate: int, n: int) -> None:
    assert len(enhance_samples(noise(n), rate, BypassEngine())) == n


@settings(max_examples=20, deadline=None)
@given(rate=st.sampled_from((16_000, 44_100)), cuts=st.lists(st.integers(0, 4_000), max_size=6))
def test_any_split_into_blocks_gives_the_same_file(rate: int, cuts: list[int]) -> None:
    samples = noise(4_000)
    channel = Channel(rate, HalfGain(), level=None, attenuation_db=100.0)
    edges = [0, *sorted(cuts), len(samples)]
    pieces = [channel.push(samples[a:b]) for a, b in itertools.pairwise(edges)]
    np.testing.assert_array_equal(
        np.concatenate([*pieces, channel.finish()]),
        enhance_samples(samples, rate, HalfGain(), attenuation_db=100.0),
    )


def test_attenuation_limit_of_12_db_leaves_a_removed_noise_at_minus_12_db() -> None:
    class Silencer(HalfGain):
        def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
            out.fill(0.0)

        def fork(self) -> Silencer:
            return Silencer()

    samples = noise(16_000)
    out = enhance_samples(samples, 16_000, Silencer(), attenuation_db=12.0)
    assert 20 * np.log10(np.std(samples) / np.std(out)) == pytest.approx(12.0, abs=0.1)


@pytest.mark.parametrize("ending", [".wav", ".flac", ".aiff"])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_file_keeps_rate_channels_length_and_sample_type(tmp_path: Path, ending: str, channels: int) -> None:
    source, target = tmp_path / f"in{ending}", tmp_path / f"out{ending}"
    soundfile.write(source, noise(44_107, channels), 44_100, subtype="PCM_24")
    done = enhance_file(source, target, HalfGain())
    info = soundfile.info(target)
    assert (info.frames, info.samplerate, info.channels, info.subtype) == (44_107, 44_100, channels, "PCM_24")
    assert (done.frames, done.sample_rate, done.channels, done.grid_rate) == (44_107, 44_100, channels, 48_000)


def test_channels_do_not_leak_into_each_other(tmp_path: Path) -> None:
    left = noise(16_000)
    soundfile.write(tmp_path / "in.wav", np.stack([left, np.zeros_like(left)], axis=1), 16_000, subtype="FLOAT")
    enhance_file(tmp_path / "in.wav", tmp_path / "out.wav", HalfGain(), attenuation_db=100.0)
    out, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert not np.any(out[:, 1])
    np.testing.assert_array_equal(out[:, 0], enhance_samples(left, 16_000, HalfGain(), attenuation_db=100.0))


def test_noise_floor_is_the_level_of_the_pauses(tmp_path: Path) -> None:
    samples = noise(32_000)  # -26 dBFS
    samples[8_000:24_000] *= np.float32(10.0)  # "speech" half of the time
    done = enhance_file(write(tmp_path / "in.wav", samples), tmp_path / "out.wav", HalfGain(), attenuation_db=100.0)
    assert done.floor_in_db == pytest.approx(-26.0, abs=1.0)
    assert done.floor_out_db == pytest.approx(-32.0, abs=1.0)


def test_progress_ends_at_the_whole_file(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", noise(40_000), 16_000)
    seen: list[tuple[int, int]] = []
    enhance_file(tmp_path / "in.wav", tmp_path / "out.wav", BypassEngine(), progress=lambda *now: seen.append(now))
    assert seen == [(16_000, 40_000), (32_000, 40_000), (40_000, 40_000)]


def test_memory_does_not_grow_with_the_length_of_the_file(tmp_path: Path) -> None:
    def peak(seconds: int) -> int:
        source = tmp_path / f"{seconds}.wav"
        soundfile.write(source, np.zeros(8_000 * seconds, np.float32), 8_000)
        tracemalloc.start()
        enhance_file(source, tmp_path / "out.wav", BypassEngine())
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(2)  # imports and caches
    assert peak(60) < 1.5 * peak(6)  # the whole minute alone would be 1.9 MB


# --- bad input -------------------------------------------------------------------------------------------------------


def write(path: Path, samples: Float32s, rate: int = 16_000, subtype: str = "FLOAT") -> Path:
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def refused(source: Path, target: Path) -> AudioFileError:
    """Enhance must refuse and leave nothing."""
    before = sorted(target.parent.iterdir()) if target.parent.is_dir() else []
    with pytest.raises(AudioFileError) as caught:
        enhance_file(source, target, BypassEngine())
    assert (sorted(target.parent.iterdir()) if target.parent.is_dir() else []) == before
    assert caught.value.exit_code == 3
    return caught.value


@pytest.mark.parametrize(
    ("content", "name"),
    [(b"", "empty_file"), (b"RIFF\x00\x01junk" * 40, "not_audio"), (b"hello, I am no sound", "not_audio")],
)
def test_what_is_no_sound_is_refused_by_name(tmp_path: Path, content: bytes, name: str) -> None:
    source = tmp_path / "in.wav"
    source.write_bytes(content)
    error = refused(source, tmp_path / "out.wav")
    assert error.name == name
    assert str(source) in error.text


def test_missing_file_folder_and_empty_sound_are_refused_by_name(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.wav", tmp_path / "out.wav").name == "no_file"
    assert refused(tmp_path, tmp_path / "out.wav").name == "no_file"
    soundfile.write(tmp_path / "zero.wav", np.zeros(0, np.float32), 16_000)
    assert refused(tmp_path / "zero.wav", tmp_path / "out.wav").name == "empty_file"


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_truncated_file_is_refused_unless_allowed(tmp_path: Path, ending: str) -> None:
    whole, source, target = tmp_path / f"whole.{ending}", tmp_path / f"in.{ending}", tmp_path / "out.wav"
    soundfile.write(whole, noise(64_000), 16_000)
    source.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert refused(source, target).name == "truncated"
    done = enhance_file(source, target, BypassEngine(), allow_truncated=True)
    assert "cut short" in done.truncated
    assert 10_000 < soundfile.info(target).frames < 60_000


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_whole_file_of_the_same_format_is_not_called_truncated(tmp_path: Path, ending: str) -> None:
    soundfile.write(tmp_path / f"in.{ending}", noise(64_000), 16_000)
    done = enhance_file(tmp_path / f"in.{ending}", tmp_path / "out.wav", BypassEngine())
    assert done.truncated == ""


def test_wav_from_a_pipe_with_unknown_length_is_taken_whole(tmp_path: Path) -> None:
    source = write(tmp_path / "in.wav", noise(16_000), subtype="PCM_16")
    raw = bytearray(source.read_bytes())
    at = raw.index(b"data") + 4
    raw[4:8] = raw[at : at + 4] = b"\xff\xff\xff\xff"
    source.write_bytes(raw)
    assert enhance_file(source, tmp_path / "out.wav", BypassEngine()).frames == 16_000


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_count_and_the_rest_stays_finite(tmp_path: Path, rate: int, value: float) -> None:
    samples = noise(rate)
    samples[rate // 2 : rate // 2 + 10] = value
    done = enhance_file(write(tmp_path / "in.wav", samples, rate), tmp_path / "out.wav", HalfGain())
    out, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert done.bad_samples == 10
    assert np.all(np.isfinite(out))
    assert np.std(out[-rate // 4 :]) > 0.01  # sound goes on after the fault


def test_clipped_loud_input_leaves_below_the_ceiling(tmp_path: Path) -> None:
    loud = np.clip(tone(16_000, 16_000, level=4.0), -1.0, 1.0)
    enhance_file(write(tmp_path / "in.wav", 2 * loud), tmp_path / "out.wav", BypassEngine())
    out, _ = soundfile.read(tmp_path / "out.wav")
    assert 0.5 < np.max(np.abs(out)) <= 10 ** (-1 / 20) + 1e-6


@pytest.mark.parametrize("n", [1, 16_000])
def test_silence_stays_silent_and_one_sample_is_a_file(tmp_path: Path, n: int) -> None:
    enhance_file(write(tmp_path / "in.wav", np.zeros(n, np.float32)), tmp_path / "out.wav", BypassEngine())
    out, _ = soundfile.read(tmp_path / "out.wav")
    assert out.shape == (n,)
    assert not np.any(out)


def test_target_that_is_the_source_is_refused_and_the_source_survives(tmp_path: Path) -> None:
    source = write(tmp_path / "in.wav", noise(1_000))
    before = source.read_bytes()
    assert refused(source, tmp_path / "." / "in.wav").name == "same_file"
    assert source.read_bytes() == before


def test_unwritable_targets_are_refused_by_name(tmp_path: Path) -> None:
    source = write(tmp_path / "in.wav", noise(1_000))
    assert "mkdir -p" in refused(source, tmp_path / "no" / "out.wav").hint
    assert refused(source, tmp_path / "out.xyz").name == "bad_format"
    (tmp_path / "folder.wav").mkdir()
    assert refused(source, tmp_path / "folder.wav").name == "unwritable"


def test_failure_in_the_middle_leaves_an_older_target_as_it_was(tmp_path: Path) -> None:
    class Breaks(BypassEngine):
        def step(self, frame: Complex64s, out: Complex64s, level: int) -> None:
            raise KeyboardInterrupt

        def fork(self) -> Breaks:
            return Breaks()

    source, target = write(tmp_path / "in.wav", noise(1_000)), tmp_path / "out.wav"
    target.write_bytes(b"older")
    with pytest.raises(KeyboardInterrupt):
        enhance_file(source, target, Breaks())
    assert target.read_bytes() == b"older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.wav", "out.wav"]


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file may grow past 64 KiB: the system call fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("ending", [".wav", ".flac", ".ogg"])
def test_full_disk_is_said_and_leaves_nothing(tmp_path: Path, request: pytest.FixtureRequest, ending: str) -> None:
    source = write(tmp_path / "in.wav", noise(400_000), subtype="PCM_16")
    request.getfixturevalue("small_disk")
    error = refused(source, tmp_path / f"out{ending}")
    assert error.name == "unwritable"
    assert "nothing was left there" in error.text
