"""What is installed is what is here: every folder of the house, every data file, every command line entry."""

from __future__ import annotations

import configparser
import importlib
import re
from pathlib import Path

import pytest

import pse_stream

ROOT = Path(pse_stream.__file__).parent
BESIDE = {"tests", "benchmarks", "docs", "examples", "build", "out"}  # not installed

if not (ROOT / "setup.cfg").is_file():
    pytest.skip("only in a checkout", allow_module_level=True)

CONFIG = configparser.ConfigParser()
CONFIG.read(ROOT / "setup.cfg")


def lines(section: str, option: str) -> list[str]:
    return [line.strip() for line in CONFIG[section][option].splitlines() if line.strip() and not line.startswith("#")]


def test_every_folder_with_code_is_installed_under_its_own_name() -> None:
    folders = {
        path.parent.relative_to(ROOT)
        for path in ROOT.rglob("__init__.py")
        if not BESIDE & set(path.relative_to(ROOT).parts) and not path.relative_to(ROOT).parts[0].startswith(".")
    }
    expected = {"pse_stream" + "".join(f".{part}" for part in folder.parts) for folder in folders}
    assert set(lines("options", "packages")) == expected
    mapping = dict(re.split(r"\s*=\s*", line) for line in lines("options", "package_dir"))
    assert {name: Path(folder) for name, folder in mapping.items()} == {
        name: Path(*name.split(".")[1:]) for name in expected
    }


def test_data_files_that_are_installed_exist_where_they_must() -> None:
    assert list(ROOT.glob("examples/*.flac"))
    assert list((ROOT / "profiles").glob("examples/*/profile.toml"))
    assert (ROOT / "py.typed").is_file()
    patterns = {key: CONFIG["options.package_data"][key].split(",") for key in CONFIG["options.package_data"]}
    assert "examples/*.flac" in [pattern.strip() for pattern in patterns["pse_stream"]]
    assert "examples/*/*" in [pattern.strip() for pattern in patterns["pse_stream.profiles"]]


@pytest.mark.parametrize("entry", lines("options.entry_points", "console_scripts"))
def test_each_command_leads_to_a_function(entry: str) -> None:
    module, function = re.split(r"\s*=\s*", entry)[1].split(":")
    assert (ROOT / Path(*module.split(".")[1:]).with_suffix(".py")).is_file()
    if not module.startswith("pse_stream.training"):  # needs the extra `train`
        assert callable(getattr(importlib.import_module(module), function))


def test_set_up_installs_no_torch() -> None:
    extras = re.search(r"EXTRAS:-([\w,]+)", (ROOT / "scripts" / "setup.sh").read_text())
    assert extras is not None
    wanted = [line for extra in extras[1].split(",") for line in lines("options.extras_require", extra)]
    assert not any(re.match(r"torch\b", line) for line in [*wanted, *lines("options", "install_requires")])
