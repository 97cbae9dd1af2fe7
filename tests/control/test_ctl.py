"""`pse-stream ctl`: words, JSON, exit codes, and what it may import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pse_stream.control.ctl import main
from pse_stream.control.ctl_parser import parser
from pse_stream.control.ctl_verbs import VERBS
from pse_stream.control.server import ControlServer

from .fake_denoiser import FakeDenoiser

pytestmark = pytest.mark.usefixtures("server")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("toggle",), "bypass on"),
        (("bypass", "on"), "bypass on"),
        (("bypass",), "bypass on"),
        (("mute", "on"), "mute on"),
        (("mute", "off"), "it was so already"),
        (("-q", "mute"), ""),
        (("level",), "2"),
        (("level", "1"), "level 1"),
        (("level", "down"), "level 1"),
        (("level", "up"), "level 2"),
        (("level", "1", "--pin"), "level 1, level_pinned on"),
        (("level", "auto"), "it was so already"),
        (("engine",), "gru-256"),
        (("engine", "wiener"), "engine wiener"),
        (("profile",), "none"),
        (("profile", "alice"), "profile alice"),
        (("limit",), "30"),
        (("limit", "18"), "attenuation 18"),
        (("gate", "off"), "gate off"),
        (("gate", "keyboard"), "gate keyboard"),
        (("governor", "eco"), "governor eco"),
        (("device", "input", "Built-in"), "input Built-in"),
        (("config", "set", "attenuation_db=12", "mute=true"), "attenuation 12, mute on"),
        (("config", "check", "attenuation_db=12"), "valid"),
        (("quit",), "stopping"),
    ],
)
def test_verbs_say_what_they_did(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str) -> None:
    code, out, err = run(capsys, *words)
    assert (code, out.strip(), err) == (0, says, "")


@pytest.mark.parametrize("verb", ["status", "engines", "devices", "profiles", "doctor", "metrics", "config"])
def test_questions_are_answered_for_people_and_as_json(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    words = (verb, "get") if verb == "config" else (verb,)
    code, out, _ = run(capsys, *words)
    assert code == 0
    assert out.strip()
    code, out, _ = run(capsys, *words, "--json")
    assert code == 0
    assert json.loads(out)["schema"] == 1


def test_flags_stand_before_or_after_the_verb(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("--json", "limit", "12"), ("limit", "18", "--json")):
        answer: dict[str, Any] = json.loads(run(capsys, *words)[1])
        assert set(answer) == {"schema", "revision", "hop_index", "changed"}


@pytest.mark.parametrize(
    ("words", "code", "name"),
    [
        (("nonsense",), 2, "usage"),
        (("level", "many"), 2, "usage"),
        (("config", "set"), 2, "usage"),
        (("config", "set", "no equals"), 2, "usage"),
        (("config", "set", "nonsense=1"), 2, "invalid_params"),
        (("--inst", "x", "status"), 2, "usage"),
        (("level", "7"), 3, "bad_value"),
        (("limit", "200"), 3, "bad_value"),
        (("engine", "nonsense"), 5, "engine_failed"),
        (("engine", "../x"), 2, "invalid_params"),
        (("record", "start"), 10, "consent_needed"),
        (("limit", "3", "--if-revision", "9"), 6, "revision_conflict"),
        (("--instance", "other", "status"), 6, "not_running"),
        (("--instance", "../x", "status"), 6, "bad_instance"),
        (("--connect", "tcp://127.0.0.1", "status"), 6, "no_key"),
    ],
)
def test_refusals_have_a_name_an_exit_code_and_one_sentence(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, name: str
) -> None:
    found, out, err = run(capsys, *words)
    assert (found, out) == (code, "")
    assert err.startswith(f"error[{name}]: ")
    assert err.count("\n") == 1
    found, out, err = run(capsys, *words, "--json")
    assert (found, err) == (code, "")
    assert json.loads(out)["error"]["name"] == name


def test_a_step_stops_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "level", "0")
    assert run(capsys, "level", "down")[1].strip() == "it was so already"


def test_a_step_keeps_a_pin(capsys: pytest.CaptureFixture[str], fake: FakeDenoiser) -> None:
    run(capsys, "level", "0", "--pin")
    run(capsys, "level", "up")
    assert fake.snapshot.settings.level_pinned


def test_watch_prints_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "watch", "meters", "--count", "3")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [line["topic"] for line in lines] == ["meters"] * 3
    assert all(line["schema"] == 1 for line in lines)


def test_every_verb_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in VERBS:
        with pytest.raises(SystemExit) as caught:
            parser().parse_args([verb, "--help"])
        assert caught.value.code == 0
        assert VERBS[verb].summary in capsys.readouterr().out


def test_a_hotkey_imports_neither_sound_nor_a_parser(server: ControlServer, home: Path) -> None:
    program = (
        "import sys; sys.argv = ['pse-stream', 'ctl', 'toggle']\n"
        "from pse_stream.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0, end.code\n"
        "heavy = {'numpy', 'scipy', 'torch', 'onnxruntime', 'click', 'argparse', 'rich', 'textual', 'msgspec',\n"
        "         'dataclasses', 'pse_stream.dsp', 'pse_stream.engines', 'pse_stream.streaming', 'pse_stream.cli'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.splitlines() == ["bypass on", "[]"], done.stderr


def test_output_that_nobody_reads_is_no_error(server: ControlServer) -> None:
    program = (
        "import sys; from pse_stream.control.ctl import main; sys.exit(main(['watch', 'meters', '--count', '20']))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(15) == 0
        assert process.stderr.read() == b""
