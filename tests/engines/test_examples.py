"""The examples that docs/engines.md tells people to start from: they keep the contract."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import pse_stream
from pse_stream.engines.onnx import OnnxEngine, open_package
from pse_stream.engines.registry import PLUGIN_GROUP, Registry

from . import contract_checks as checks

EXAMPLES = Path(pse_stream.__file__).parent / "examples"


@pytest.fixture
def plugged_in(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A registry that knows the example plug-in alone, as if it were installed."""
    monkeypatch.syspath_prepend(EXAMPLES / "plugin_engine")
    point = EntryPoint("lowcut", "pse_stream_lowcut:LowCutEngine", PLUGIN_GROUP)
    assert f'{point.name} = "{point.value}"' in (EXAMPLES / "plugin_engine/pyproject.toml").read_text()
    return Registry(shipped=EXAMPLES / "none", user=EXAMPLES / "none", plugins=[point])


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("level", [0, 1])
def test_the_plugin_keeps_the_contract(plugged_in: Registry, check: checks.Check, level: int) -> None:
    check(plugged_in.open_engine("lowcut").fork, level)


@pytest.fixture(scope="module")
def own_network(tmp_path_factory: pytest.TempPathFactory) -> OnnxEngine:
    folder = tmp_path_factory.mktemp("engines") / "running-mean"
    script = EXAMPLES / "own_network/make_package.py"
    subprocess.run([sys.executable, str(script), str(folder)], check=True, capture_output=True)
    return open_package(folder)


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__)
def test_the_network_keeps_the_contract(own_network: OnnxEngine, check: checks.Check) -> None:
    check(own_network.fork, 0)
