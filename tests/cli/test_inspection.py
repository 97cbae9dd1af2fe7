"""The commands that only look: engines, config, bench."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]  # arguments -> (code, out, err)


def user_engine(home: Path, name: str) -> Path:
    """A folder among the user's engines, with a description that describes nothing."""
    folder = home / ".local" / "share" / "pse-stream" / "engines" / name
    folder.mkdir(parents=True)
    (folder / "model.toml").write_text("schema = 1\n")
    return folder


def test_engines_are_listed_with_delay_licence_and_what_auto_means(cli: Cli) -> None:
    rows = cli("engines").out.splitlines()
    assert rows[0].split()[:4] == ["id", "levels", "delay", "ms"]
    assert sum(" * " in row for row in rows) == 1
    bypass = next(row for row in rows if row.startswith("bypass"))
    assert bypass.split()[1:3] == ["1", "16"]
    found = json.loads(cli("engines", "list", "--json").out)
    assert found["default"] in [entry["id"] for entry in found["engines"]]
    assert all(set(entry) == set(found["engines"][0]) for entry in found["engines"])  # null, never missing


def test_engine_that_cannot_be_used_is_listed_with_its_reason(cli: Cli, home: Path) -> None:
    user_engine(home, "broken")
    ran = cli("engines")
    assert "cannot be used" in next(row for row in ran.out.splitlines() if row.startswith("broken"))
    assert "broken cannot be used: " in ran.err


def test_card_of_an_engine_is_printed_and_auto_is_the_default(cli: Cli) -> None:
    assert "OM-LSA" in cli("engines", "info", "wiener").out
    assert json.loads(cli("engines", "info", "--json").out)["id"] == json.loads(cli("engines", "--json").out)["default"]


def test_check_of_a_whole_and_of_a_broken_engine(cli: Cli, home: Path) -> None:
    assert cli("engines", "check", "wiener").out.startswith("ok    engine wiener")
    user_engine(home, "broken")
    ran = cli("engines", "check", "broken", "bypass", "--json")
    assert ran.code == 9
    assert [finding["verdict"] for finding in json.loads(ran.out)["findings"]] == ["fail", "ok"]


def test_config_show_names_who_set_what_and_where(cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = home / ".config" / "pse-stream" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("[sound]\nlevel = 0\n")
    monkeypatch.setenv("PSE_STREAM_INPUT", "Yeti")
    rows = {row.split()[0]: row.split()[1:] for row in cli("config", "show", "--origin").out.splitlines()}
    assert rows["sound.level"] == ["0", "config", f"{file}:2"]
    assert rows["devices.input"] == ["Yeti", "environment", "PSE_STREAM_INPUT"]
    assert rows["sound.engine"] == ["auto", "default", "-"]
    assert cli("config", "path").out == f"{file}\n"


def test_unknown_key_in_the_configuration_stops_every_command_that_reads_it(cli: Cli, home: Path, noisy: Path) -> None:
    file = home / ".config" / "pse-stream" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("[sound]\natenuation_limit_db = 12\n")
    for command in (["run"], ["enhance", noisy], ["config", "show"], ["--check"]):
        ran = cli(*command)
        assert ran.code == 3
        assert ran.err.splitlines()[-1] == (
            f"error[unknown_key]: {file}:2: unknown key sound.atenuation_limit_db. "
            "Did you mean sound.attenuation_limit_db?"
        )


def test_bench_prints_hot_and_paced_cost_per_engine_and_rate(cli: Cli) -> None:
    found = json.loads(cli("bench", "bypass", "--hops", "10", "--json").out)
    assert [(row["engine"], row["sample_rate"]) for row in found["engines"]] == [("bypass", 16_000), ("bypass", 48_000)]
    assert all(0.0 < value < 100.0 for row in found["engines"] for value in row["timing"].values())
