"""`pse-stream enhance`: names, batches, pipes, scores, reports, and every kind of bad input."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from pse_stream.dsp.spec import Float32s

Cli = Callable[..., Any]  # arguments -> (code, out, err)


def hiss(n: int = 8_000, *shape: int) -> Float32s:
    return np.random.default_rng(1).normal(0.0, 0.05, (n, *shape)).astype(np.float32)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_without_an_output_the_result_lies_beside_the_input(cli: Cli, noisy: Path) -> None:
    ran = cli("enhance", "noisy.wav")
    assert (ran.code, ran.out) == (0, "noisy.clean.wav\n")
    assert soundfile.info("noisy.clean.wav").frames == 8_000
    assert "x real time" in ran.err
    assert "16 ms late" in ran.err


def test_quiet_prints_only_the_result(cli: Cli, noisy: Path) -> None:
    assert cli("enhance", noisy, "-o", "out.flac", "-q") == (0, "out.flac\n", "")


def test_several_inputs_go_into_a_folder_that_is_made(cli: Cli, noisy: Path) -> None:
    soundfile.write("b.flac", hiss(), 16_000)
    assert cli("enhance", "noisy.wav", "b.flac", "-o", "clean").code == 0
    assert files(Path("clean")) == ["b.flac", "noisy.wav"]


def test_one_input_goes_into_an_existing_folder_under_its_name(cli: Cli, noisy: Path) -> None:
    Path("clean").mkdir()
    assert cli("enhance", noisy, "-o", "clean").out == "clean/noisy.wav\n"


def test_dry_run_says_what_would_be_written_and_writes_nothing(cli: Cli, noisy: Path) -> None:
    before = files(Path())
    assert cli("enhance", noisy, "-o", "new/", "-n").out == f"{noisy} -> new/noisy.wav\n"
    assert files(Path()) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["a.wav", "b.wav", "-o", "noisy.wav"],  # a file for several
        ["a.wav", "b.wav", "-o", "-"],
        ["-", "a.wav", "-o", "out"],
        ["x/a.wav", "y/a.wav", "-o", "out"],  # two of one name
        ["a.wav", "b.wav", "--reference", "noisy.wav"],
        ["x/a.wav", "y/a.flac", "--report", "r"],
        [],
    ],
)
def test_what_cannot_mean_anything_is_wrong_usage_before_any_work(cli: Cli, noisy: Path, arguments: list[str]) -> None:
    before = files(Path())
    ran = cli("enhance", *arguments)
    assert ran.code == 2
    assert files(Path()) == before


def test_a_batch_that_failed_in_part_exits_11_and_lists_what_failed(cli: Cli, noisy: Path) -> None:
    Path("bad.wav").write_bytes(b"no sound")
    ran = cli("enhance", "bad.wav", "noisy.wav", "gone.wav", "-o", "out")
    assert (ran.code, ran.out) == (11, "out/noisy.wav\n")
    assert "2 of 3 files failed: bad.wav, gone.wav" in ran.err
    assert files(Path("out")) == ["noisy.wav"]


def test_a_batch_that_failed_wholly_exits_like_its_first_failure(cli: Cli, noisy: Path) -> None:
    assert cli("enhance", "gone.wav", "gone2.wav", "-o", "out").code == 3


def test_json_lists_every_file_and_differs_between_runs_only_in_timing(cli: Cli, noisy: Path) -> None:
    def run() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(cli("enhance", noisy, "gone.wav", "-o", "out", "--json").out)
        for entry in found["files"]:
            assert set(entry.pop("timing")) == {"elapsed_ms", "cpu_ms", "times_real_time"}
        return found

    first = run()
    assert first == run()
    assert first["failed"][0]["name"] == "no_file"
    assert first["files"][0]["frames"] == 8_000
    assert first["files"][0]["scores"] is None


def test_pipes_in_and_out(noisy: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "pse_stream.main", "enhance", "-", "-o", "-", "-q"],
        input=noisy.read_bytes(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert ran.stderr == b""
    Path("piped.wav").write_bytes(ran.stdout)
    assert soundfile.info("piped.wav").frames == 8_000


def test_flags_reach_the_engine(cli: Cli, noisy: Path) -> None:
    cli("enhance", noisy, "-o", "same.wav", "--engine", "bypass", "--attenuation-db", "0")
    np.testing.assert_array_equal(soundfile.read("same.wav")[0], soundfile.read(noisy)[0])
    cli("enhance", noisy, "-o", "other.wav", "--engine", "wiener", "--atten-limit", "100")
    assert np.std(soundfile.read("other.wav")[0]) < 0.7 * np.std(soundfile.read(noisy)[0])


def test_configuration_and_environment_reach_the_engine(
    cli: Cli, noisy: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = home / ".config" / "pse-stream"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text('[sound]\nengine = "bypass"\n')
    assert json.loads(cli("enhance", noisy, "--json").out)["files"][0]["engine"] == "bypass"
    monkeypatch.setenv("PSE_STREAM_ENGINE", "wiener")
    assert json.loads(cli("enhance", noisy, "--json").out)["files"][0]["engine"] == "wiener"


def test_reference_gives_scores_before_and_after(cli: Cli, noisy: Path) -> None:
    soundfile.write("clean.wav", soundfile.read(noisy)[0], 16_000)
    ran = cli("enhance", noisy, "-o", "out.wav", "--reference", "clean.wav", "--engine", "bypass")
    assert re.search(r"si_sdr_db +\d+\.\d+ -> \d+\.\d+", ran.out)
    scores = json.loads(cli("enhance", noisy, "--reference", "clean.wav", "--json").out)["files"][0]["scores"]
    assert scores["si_sdr_db"]["noisy"] > 100.0 > scores["si_sdr_db"]["enhanced"]
    assert set(scores) == {"si_sdr_db", "pesq", "estoi"}


def test_reference_of_another_recording_is_refused_by_name(cli: Cli, noisy: Path) -> None:
    soundfile.write("clean.wav", hiss(4_000), 16_000)
    ran = cli("enhance", noisy, "--reference", "clean.wav")
    assert ran.code == 3
    assert "error[bad_reference]" in ran.err


def test_report_is_a_picture_and_one_page_that_needs_no_other_file(cli: Cli, noisy: Path) -> None:
    pytest.importorskip("matplotlib")
    cli("enhance", noisy, "-o", "out.wav", "--report", "report", "--reference", noisy)
    assert files(Path("report")) == ["noisy.html", "noisy.png"]
    assert Path("report/noisy.png").read_bytes().startswith(b"\x89PNG")
    page = Path("report/noisy.html").read_text()
    assert page.count("<audio") == 3  # before, after, clean
    assert "si_sdr_db" in page
    assert not re.search(r"(?:src|href)=[\"'](?!data:)", page)


def test_picture_shows_less_noise_after_than_before(noisy: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.image import imread

    from pse_stream.streaming.report import spectrograms

    soundfile.write(tmp_path / "quiet.wav", 0.01 * soundfile.read(noisy)[0], 16_000, subtype="FLOAT")
    (tmp_path / "two.png").write_bytes(spectrograms({"before": noisy, "after": tmp_path / "quiet.wav"}, "title"))
    pixels = imread(tmp_path / "two.png")[..., :3].mean(axis=2)
    middle = pixels[:, 200:800]
    height = len(middle)
    assert middle[height // 5 : 2 * height // 5].mean() > 2 * middle[3 * height // 5 : 4 * height // 5].mean()


# --- bad input: one sentence, the documented exit code, no traceback, nothing half-written ---


def bad_file(kind: str) -> Path:
    path = Path(f"{kind}.wav")
    soundfile.write(path, hiss(40_000), 16_000)
    whole = path.read_bytes()
    path.write_bytes(
        {"empty": b"", "corrupt": b"RIFF" + bytes(reversed(whole)), "truncated": whole[: len(whole) // 2]}[kind]
    )
    return path


@pytest.mark.parametrize("kind", ["empty", "corrupt", "truncated"])
def test_bad_file_is_one_sentence_with_exit_3_and_leaves_nothing(cli: Cli, kind: str) -> None:
    path = bad_file(kind)
    ran = cli("enhance", path, "-o", "out.wav")
    assert (ran.code, ran.out) == (3, "")
    assert str(path) in ran.err
    assert ran.err.count("\n") == 1
    assert files(Path()) == [str(path)]


def test_truncated_file_is_taken_with_a_warning_when_allowed(cli: Cli) -> None:
    ran = cli("enhance", bad_file("truncated"), "-o", "out.wav", "--allow-truncated")
    assert (ran.code, ran.out) == (0, "out.wav\n")
    assert "warning: " in ran.err
    assert "of 2.50 s can be read" in ran.err


@pytest.mark.parametrize(
    ("samples", "rate", "remark"),
    [
        (np.full(1, 0.5, np.float32), 16_000, ""),
        (np.zeros(16_000, np.float32), 16_000, "silent"),
        (
            np.where(np.arange(16_000) % 1000 < 3, np.nan, hiss(16_000)).astype(np.float32),
            16_000,
            "48 samples were NaN",
        ),
        (
            np.where(np.arange(16_000) % 1000 < 3, np.inf, hiss(16_000)).astype(np.float32),
            44_100,
            "48 samples were NaN",
        ),
        (10.0 * hiss(16_000), 16_000, ""),
        (hiss(16_000, 8), 16_000, ""),
        (hiss(96_000), 192_000, ""),
    ],
    ids=["one-sample", "silent", "nan", "inf", "clipped", "8-channels", "192-kHz"],
)
def test_odd_but_whole_files_are_denoised(cli: Cli, samples: Float32s, rate: int, remark: str) -> None:
    soundfile.write("in.wav", samples, rate, subtype="FLOAT")
    ran = cli("enhance", "in.wav", "-o", "out.wav")
    assert ran.code == 0
    assert remark in ran.err
    out, out_rate = soundfile.read("out.wav")
    assert (out.shape, out_rate) == (samples.shape, rate)
    assert np.all(np.isfinite(out))
    assert np.max(np.abs(out)) <= 1.0


def test_full_disk_is_exit_3_and_leaves_nothing(cli: Cli) -> None:
    soundfile.write("in.wav", hiss(200_000), 16_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        ran = cli("enhance", "in.wav", "-o", "out.wav")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert ran.code == 3
    assert "error[unwritable]" in ran.err
    assert files(Path()) == ["in.wav"]


def test_output_into_a_missing_folder_names_the_command_that_makes_it(cli: Cli, noisy: Path) -> None:
    ran = cli("enhance", noisy, "-o", "no/where/out.wav")
    assert ran.code == 3
    assert "mkdir -p no/where" in ran.err


def test_output_of_a_format_that_is_no_sound_is_refused(cli: Cli, noisy: Path) -> None:
    ran = cli("enhance", noisy, "-o", "out.docx")
    assert ran.code == 3
    assert "error[bad_format]" in ran.err
