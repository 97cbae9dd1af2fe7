"""Engines by name: where they come from, what is said about those that cannot be used."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from pse_stream.engines import registry as module
from pse_stream.engines.bypass import BypassEngine
from pse_stream.engines.contract import Engine
from pse_stream.engines.onnx import OnnxEngine
from pse_stream.engines.registry import DEFAULT_ENGINE, PLUGIN_GROUP, Registry
from pse_stream.errors import EngineError

from .networks import GAIN_STATES, gain_graph, package

PLUGIN = """\
from dataclasses import replace
from pse_stream.engines.bypass import BypassEngine

class Shiny(BypassEngine):
    info = replace(BypassEngine.info, id="shiny")

class Needy(BypassEngine):
    info = replace(BypassEngine.info, id="needy")
    def __init__(self):
        raise ImportError("libneed is not installed; `pip install shiny[need]` adds it.")

class Impostor(BypassEngine):
    info = replace(BypassEngine.info, id="wiener")

class Odd:
    info = "an engine"
"""


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Two shipped packages (one damaged), two of the user (one with a taken id), plug-ins good and bad."""
    graphs = [(gain_graph(0.5), GAIN_STATES)]
    for folder, id in (
        ("shipped/net-a", "net-a"),
        ("shipped/net-b", "net-b"),
        ("user/mine", "mine"),
        ("user/x", "net-a"),
    ):
        (tmp_path / folder).parent.mkdir(exist_ok=True)
        package(tmp_path / folder, graphs, id=id)
    (tmp_path / "shipped/net-b/card.md").unlink()
    (tmp_path / "user/.draft").mkdir()
    (tmp_path / "user/.draft/model.toml").write_text("half writt")
    (tmp_path / "user/notes").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "site")
    (tmp_path / "site").mkdir()
    (tmp_path / "site/shiny_plugin.py").write_text(PLUGIN)
    (tmp_path / "site/crashing_plugin.py").write_text("1 / 0")
    points = {
        "shiny": "shiny_plugin:Shiny",
        "needy": "shiny_plugin:Needy",
        "impostor": "shiny_plugin:Impostor",
        "odd": "shiny_plugin:Odd",
        "absent": "absent_plugin:Engine",
        "crashing": "crashing_plugin:Engine",
        "renamed": "shiny_plugin:Gone",
    }
    plugins = [EntryPoint(name=name, value=value, group=PLUGIN_GROUP) for name, value in points.items()]
    return Registry(shipped=tmp_path / "shipped", user=tmp_path / "user", plugins=plugins)


def _problem(found: Registry, id: str, origin: str) -> str:
    (entry,) = [entry for entry in found.available() if entry.id == id and entry.origin == origin]
    assert not entry.usable
    return entry.problem


def test_everything_usable_is_listed_once(found: Registry) -> None:
    usable = [entry.id for entry in found.available() if entry.usable]
    assert usable == ["bypass", "wiener", "net-a", "mine", "needy", "shiny"]


def test_each_kind_is_opened(found: Registry) -> None:
    assert isinstance(found.open_engine("bypass"), BypassEngine)
    for id in ("net-a", "mine"):
        engine = found.open_engine(id)
        assert isinstance(engine, OnnxEngine)
        assert engine.info.id == id
    assert found.open_engine("shiny").info.id == "shiny"


def test_auto_is_the_default(found: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEFAULT_ENGINE", "net-a")
    assert found.open_engine().info.id == found.open_engine("auto").info.id == "net-a"


@pytest.mark.parametrize(
    ("id", "origin", "words"),
    [
        ("net-b", "package", "card.md is missing"),
        ("net-a", "user", "the id 'net-a' is taken by one that is package"),
        ("wiener", "plug-in", "the id 'wiener' is taken by one that is built in"),
        ("absent", "plug-in", "No module named 'absent_plugin'"),
        ("crashing", "plug-in", "ZeroDivisionError: division by zero"),
        ("renamed", "plug-in", "AttributeError"),
        ("odd", "plug-in", "expected pse_stream.engines.contract.EngineInfo"),
    ],
)
def test_what_cannot_be_used_says_why(found: Registry, id: str, origin: str, words: str) -> None:
    assert words in _problem(found, id, origin)


@pytest.mark.parametrize(("id", "words"), [("net-b", "card.md is missing"), ("absent", "No module named")])
def test_opening_what_cannot_be_used_repeats_the_reason(found: Registry, id: str, words: str) -> None:
    with pytest.raises(EngineError, match=words) as caught:
        found.open_engine(id)
    assert caught.value.name == "engine_unavailable"


def test_what_is_missing_only_when_opened_says_what_to_install(found: Registry) -> None:
    with pytest.raises(EngineError, match=r"`pip install shiny\[need\]` adds it") as caught:
        found.open_engine("needy")
    assert caught.value.name == "engine_unavailable"


def test_a_near_miss_is_suggested(found: Registry) -> None:
    with pytest.raises(EngineError, match=r"there is no engine 'weiner'.* Did you mean 'wiener'\?") as caught:
        found.open_engine("weiner")
    assert caught.value.name == "unknown_engine"
    with pytest.raises(EngineError, match=r"expected one of bypass, mine, .*`pse-stream engines` lists them"):
        found.open_engine("quite-something-else")


def test_no_packages_and_no_plugins_is_fine(tmp_path: Path) -> None:
    bare = Registry(shipped=tmp_path / "no", user=tmp_path / "nor", plugins=[])
    assert [entry.id for entry in bare.available()] == ["bypass", "wiener"]


def test_the_default_engine_is_shipped() -> None:
    shipped: Sequence[str] = [e.id for e in module.available() if e.usable and e.origin in ("built in", "package")]
    assert DEFAULT_ENGINE in shipped


def test_shipped_packages_are_whole_and_bear_the_name_of_their_folder() -> None:
    for entry in module.available():
        if entry.origin == "package":
            assert entry.usable, entry.problem
            assert Path(entry.source).name == entry.id
            engine: Engine = module.open_engine(entry.id)
            assert isinstance(engine, OnnxEngine)
            engine.package.verify()


def test_the_users_folder_follows_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert module.user_folder() == tmp_path / "pse-stream" / "engines"


def test_listing_imports_no_onnx_runtime_and_no_plugins_library() -> None:
    code = (
        "import sys; from pse_stream.engines.registry import available; available(); "
        "sys.exit(' '.join({'onnxruntime', 'pyrnnoise', 'torch', 'scipy.signal'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
