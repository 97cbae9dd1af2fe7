"""The command line as a whole: what it imports, where it writes, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

import pse_stream
from pse_stream.cli.root import COMMANDS, root, run_command_line

Cli = Callable[..., Any]  # arguments -> (code, out, err)


def python(code: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60, env=environment
    )


def test_help_imports_nothing_heavy() -> None:
    heavy = {"numpy", "scipy", "onnxruntime", "soundfile", "soxr", "pyaudio", "rich", "textual", "zmq", "matplotlib"}
    ran = python(
        "import sys; from pse_stream.cli.root import run_command_line as r; r(['--help']);"
        " print('MODULES', *sys.modules, file=sys.stderr)"
    )
    assert not heavy & set(ran.stderr.split("MODULES")[1].split())
    assert "Examples" not in ran.stderr.split("MODULES")[0]


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_asked_for_help_goes_to_stdout_and_leads_with_examples(cli: Cli, flag: str) -> None:
    ran = cli(flag)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.index("pse-stream enhance noisy.wav") < ran.out.index("Options:")
    assert all(command in ran.out for command in COMMANDS)


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_version_goes_to_stdout(cli: Cli, flag: str) -> None:
    assert cli(flag) == (0, f"pse-stream {pse_stream.__version__}\n", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(cli: Cli, name: str) -> None:
    ran = cli(name, "--help")
    assert ran.code == 0
    assert "Usage: pse-stream" in ran.out
    command = root.get_command(click.Context(root), name)
    assert command is not None
    assert command.get_short_help_str()


def test_unknown_command_names_the_nearest_and_exits_2(cli: Cli) -> None:
    ran = cli("enhanse")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == 'error[usage]: there is no command "enhanse". Did you mean "enhance"? Try: pse-stream --help\n'


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["enhance", "--engin", "x"], "--engin"),  # no abbreviated long flags
        (["enhance", "--wrong", "x.wav"], "--wrong"),
        (["--profil", "alice"], "--profil"),  # a flag of the default command
        (["config", "show", "--orign"], "--origin"),
    ],
)
def test_unknown_flag_is_named_and_exits_2(cli: Cli, arguments: list[str], names: str) -> None:
    ran = cli(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error[usage]: ")
    assert names in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "name"),
    [
        (["enhance", "none.wav"], 3, "no_file"),
        (["enhance", "none.wav", "-e", "wienr"], 5, "unknown_engine"),
        (["enhance", "none.wav", "-p", "alcie"], 3, "no_profile"),
        (["enhance", "none.wav", "-c", "none.toml"], 3, "no_config"),
        (["enhance", "none.wav", "-l", "x"], 2, "bad_value"),
        (["enhance", "none.wav", "--attenuation-db", "101"], 2, "bad_value"),
        (["enhance", "none.wav", "--attenuation-db", "nan"], 2, "bad_value"),
        (["enhance", "-"], 2, "usage"),
        (["completion", "tcsh"], 2, "usage"),
        (["engines", "info", "wienr"], 5, "unknown_engine"),
    ],
)
def test_each_refusal_is_one_line_with_its_name_and_exit_code(
    cli: Cli, arguments: list[str], code: int, name: str
) -> None:
    ran = cli(*arguments)
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith(f"error[{name}]: ")
    assert ran.err.count("\n") == 1
    assert "Traceback" not in ran.err


def test_fault_of_ours_is_exit_1_with_a_report_and_no_traceback(
    cli: Cli, noisy: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("pse_stream.streaming.offline.enhance_file", broken)
    ran = cli("enhance", noisy)
    assert ran.code == 1
    assert "Traceback" not in ran.err
    report = Path(ran.err.split("report it with ")[1].strip())
    assert report.is_relative_to(home)
    assert "ZeroDivisionError: planted" in report.read_text()
    assert "Traceback" in cli("enhance", noisy, "-vv").err


def test_traceback_of_a_refusal_is_shown_only_with_vv(cli: Cli) -> None:
    assert "Traceback" not in cli("enhance", "none.wav", "-v").err
    assert "Traceback" in cli("enhance", "none.wav", "-vv").err


@pytest.mark.parametrize(
    ("flags", "environment", "coloured"),
    [
        ([], {}, False),  # no terminal
        (["--color", "always"], {}, True),
        (["--color", "always"], {"NO_COLOR": "1"}, True),  # the flag beats all
        (["--color", "never"], {}, False),
    ],
)
def test_colour_follows_flag_and_environment(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, flags: list[str], environment: dict[str, str], coloured: bool
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert ("\x1b[" in cli("engines", *flags).out) is coloured


@pytest.mark.parametrize("arguments", [["engines"], ["config", "show"], ["config", "path"], ["engines", "info"]])
def test_json_is_one_object_with_a_schema_and_without_colour(cli: Cli, arguments: list[str]) -> None:
    ran = cli(*arguments, "--json", "--color", "always")
    assert ran.code == 0
    assert ran.out.count("\n") == 1
    assert json.loads(ran.out)["schema"] == 1


def test_stdout_closed_early_ends_quietly() -> None:
    ran = subprocess.run(
        f"{sys.executable} -m pse_stream.main completion bash | true; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_enhance_leaves_nothing_and_says_so_by_its_exit_code(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    source, target = tmp_path / "in.wav", tmp_path / "out.wav"
    python(f"import numpy, soundfile; soundfile.write({str(source)!r}, numpy.zeros(48000 * 600, 'f4'), 48000)")
    running = subprocess.Popen(
        [sys.executable, "-m", "pse_stream.main", "enhance", str(source), "-o", str(target)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TERM": "dumb"},
    )
    assert running.stderr is not None
    running.stderr.readline()  # "… 10 %": the work is under way
    running.send_signal(number)
    _, rest = running.communicate(timeout=30)
    assert running.returncode == code
    assert "Traceback" not in rest
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["in.wav"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_printed_for_each_shell(cli: Cli, shell: str) -> None:
    ran = cli("completion", shell)
    assert ran.code == 0
    assert "_PSE_STREAM_COMPLETE" in ran.out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("pse-stream enh", "enhance"),
        ("pse-stream --prof", "--profile"),
        ("pse-stream enhance --engine wie", "wiener"),
        ("pse-stream --profile al", "alice"),
        ("pse-stream run --profile al", "alice"),
    ],
)
def test_completion_offers_commands_flags_engines_and_profiles(words: str, expected: str) -> None:
    environment = {**os.environ, "_PSE_STREAM_COMPLETE": "bash_complete", "COMP_WORDS": words}
    environment["COMP_CWORD"] = str(len(words.split()) - 1)
    ran = python("from pse_stream.main import main; main()", environment)
    assert f"plain,{expected}" in ran.stdout.split()


def test_exit_code_of_a_command_reaches_the_shell() -> None:
    assert run_command_line(["config", "path", "-q"]) == 0
    ran = subprocess.run(
        [sys.executable, "-m", "pse_stream.main", "nonsense"], capture_output=True, check=False, timeout=60
    )
    assert ran.returncode == 2
