"""The whole check-up, the check before a start, the report to send, engines and machine."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pse_stream.engines.bypass import BypassEngine
from pse_stream.engines.registry import SHIPPED_FOLDER
from pse_stream.profiles.folders import config_folder
from pse_stream.profiles.store import new_profile
from pse_stream.streaming.configuration import resolve
from pse_stream.streaming.health.cost import hop_cost
from pse_stream.streaming.health.engines import check_engine
from pse_stream.streaming.health.examine import bundle, check_start, examine, masked
from pse_stream.streaming.health.finding import Finding, fail, warn
from pse_stream.streaming.health.machine import check_machine
from pse_stream.streaming.snapshot import Snapshot

Paper = Any  # conftest.PaperServer


def hear(*_: object) -> Any:
    return np.full(1_000, 0.01, np.float32)


def test_a_line_is_verdict_name_finding_and_command() -> None:
    assert warn("volume", "low", "turn it up").line() == "warn  volume       low  -> turn it up"


def test_whole_check_up_names_config_sound_engines_and_machine(paper: Paper) -> None:
    found = examine(server=paper.server, hear=hear)
    names = [f.name for f in found]
    assert names[:3] == ["config", "server", "microphone"]
    assert {"tap mic", "engine wiener", "headroom", "priority"} <= set(names)
    assert [f for f in found if f.verdict == "fail" and not f.name.startswith("engine")] == []


def test_broken_configuration_is_one_finding_and_the_rest_is_still_checked(paper: Paper) -> None:
    config_folder().mkdir(parents=True)
    (config_folder() / "config.toml").write_text("[sound]\nengin = 1\n")
    found = examine(server=paper.server, hear=hear)
    assert (found[0].verdict, found[0].name, found[0].command) == (
        "fail",
        "configuration",
        "Did you mean sound.engine?",
    )
    assert any(f.name == "microphone" for f in found)


def test_what_is_not_as_a_profile_says_is_a_finding(
    paper: Paper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    profile = new_profile("bob")
    (profile.folder / "profile.toml").write_text("schema = 9\n[devices]\ninput = 'Yeti'\n")
    found = examine(server=paper.server, hear=hear, profile="bob")
    assert (found[1].verdict, found[1].name) == ("warn", "profile")
    assert "schema 9" in found[1].text
    assert next(f for f in found if f.name == "microphone").verdict == "fail"  # there is no Yeti


@pytest.mark.parametrize(
    ("settings", "name", "code"),
    [
        ({"engine": "none"}, "engine", 5),
        ({"engine": "wiener", "level": 9}, "engine", 5),
        ({"input": "Yeti"}, "microphone", 4),
        ({"output": "Yeti"}, "devices", 4),
    ],
)
def test_check_before_a_start_ends_with_the_code_that_the_start_would(
    paper: Paper, settings: dict[str, Any], name: str, code: int
) -> None:
    assert max(f.exit_code for f in check_start(resolve({}, environ={}), server=paper.server)) == 0
    failed = [f for f in check_start(resolve(settings, environ={}), server=paper.server) if f.verdict == "fail"]
    assert [(f.name, f.exit_code) for f in failed] == [(name, code)]


def test_damaged_package_is_found_and_an_intact_one_plays_its_golden_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = [folder for folder in SHIPPED_FOLDER.glob("*/model.toml")]
    if not shipped:
        pytest.skip("no network is shipped yet")
    folder = shipped[0].parent
    assert check_engine(folder.name).verdict == "ok"
    monkeypatch.setattr("pse_stream.engines.registry.SHIPPED_FOLDER", tmp_path / "packages")
    copy = tmp_path / "packages" / folder.name
    shutil.copytree(folder, copy)
    graph = next(copy.glob("*.onnx"))
    graph.write_bytes(graph.read_bytes()[:-1] + b"\0\0")
    damaged = check_engine(folder.name)
    assert (damaged.verdict, damaged.exit_code) == ("fail", 5)


def test_unknown_engine_is_named_with_the_nearest() -> None:
    assert "wiener" in check_engine("wienr").command


def test_cost_of_a_hop_counts_the_engine() -> None:
    class Slow(BypassEngine):
        def step(self, frame: Any, out: Any, level: int) -> None:
            end = time.thread_time_ns() + 2_000_000
            while time.thread_time_ns() < end:
                pass
            out[:] = frame

    assert hop_cost(BypassEngine(), hops=20).median_ms < 2.0 < hop_cost(Slow(), hops=20).median_ms


@pytest.mark.parametrize(
    ("answer", "ssh", "verdicts"),
    [("Linger=no\n", True, ["warn"]), ("Linger=yes\n", True, ["ok"]), ("", True, []), ("Linger=no\n", False, [])],
)
def test_linger_is_asked_for_over_ssh_only(answer: str, ssh: bool, verdicts: list[str]) -> None:
    environ = {"USER": "me", "XDG_RUNTIME_DIR": "/tmp"} | ({"SSH_CONNECTION": "1"} if ssh else {})
    found = [f for f in check_machine(environ, lambda _: answer) if f.name == "linger"]
    assert [f.verdict for f in found] == verdicts
    assert all(f.command == "loginctl enable-linger me" for f in found if f.verdict == "warn")


def test_secret_that_others_can_read_fails_with_the_chmod() -> None:
    secret = config_folder() / "keys" / "desk.secret"
    secret.parent.mkdir(parents=True)
    secret.write_text("x")
    secret.chmod(0o644)
    found = [f for f in check_machine({}, lambda _: "") if f.verdict == "fail"]
    assert [(f.name, f.command) for f in found] == [("key mode", f"chmod 600 {secret}")]
    secret.chmod(0o600)
    assert all(f.name != "key mode" for f in check_machine({}, lambda _: ""))


def test_report_to_send_holds_findings_and_snapshot_and_no_private_names() -> None:
    serial = "alsa_input.usb-Blue_Yeti_2041SG00A1B2-00.analog-stereo"
    found: list[Finding] = [fail("mute", f"{Path.home()}/x {serial} 00:1B:44:11:3A:B7", "unmute")]
    text = bundle(found, Snapshot().as_dict())
    assert "fail  mute" in text
    assert "snapshot:" in text
    for private in (str(Path.home()), "2041SG00A1B2", "00:1B:44:11:3A:B7"):
        assert private not in text
    assert "Blue_Yeti" in text


def test_masking_leaves_plain_sentences_alone() -> None:
    plain = "wiener: 0.31 ms of every 8 ms, 4 % of one core (version 1, 48000 Hz)"
    assert masked(plain) == plain
