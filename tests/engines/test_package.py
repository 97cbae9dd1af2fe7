"""Reading and writing model packages: what is whole comes back whole, and each kind of damage is named."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pse_stream.engines.onnx import open_package
from pse_stream.engines.package import GOLDEN_FILE, Package, read_package
from pse_stream.engines.package_writer import write_package
from pse_stream.errors import EngineError

from .networks import GAIN_STATES, frames, gain_graph, package


@pytest.fixture
def made(tmp_path: Path) -> Package:
    return package(tmp_path / "tiny", [(gain_graph(0.5), GAIN_STATES), (gain_graph(0.75), GAIN_STATES)])


def test_what_was_written_is_read(made: Package) -> None:
    again = read_package(made.folder)
    assert again == made
    again.verify()
    noisy, clean = again.golden(1)
    np.testing.assert_allclose(clean, 0.75 * noisy, rtol=1e-6)
    assert [level.name for level in again.info.levels] == ["l0", "l1"]
    assert again.info.card.startswith("# Made")


def _edit(old: str, new: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        text = (folder / "model.toml").read_text()
        assert old in text
        (folder / "model.toml").write_text(text.replace(old, new, 1))

    return damage


def _remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _rewrite(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(text.encode(errors="surrogateescape")) and None


def _link(folder: Path) -> None:
    (folder / "l0.onnx").rename(folder / "elsewhere")
    (folder / "l0.onnx").symlink_to(folder / "elsewhere")


@pytest.mark.parametrize(
    ("damage", "name", "words"),
    [
        (_remove("model.toml"), "engine_package", "model.toml is missing"),
        (_remove("l1.onnx"), "engine_package", "l1.onnx is missing"),
        (_remove("card.md"), "engine_package", "card.md is missing"),
        (_remove(GOLDEN_FILE), "engine_package", "golden.npz is missing"),
        (_link, "engine_package", "l0.onnx is a link"),
        (_edit("schema = 1", "schema = 2"), "engine_schema", "this version reads schema = 1"),
        (_edit("schema = 1", ""), "engine_schema", "schema = None"),
        (_edit('id = "tiny"', 'id = "tiny'), "engine_package", "line 2"),
        (_edit('id = "tiny"', 'id = "../tiny"'), "engine_package", "lower-case letters"),
        (_edit('id = "tiny"', ""), "engine_package", "missing required field `id`"),
        (_edit("lookahead_hops", "lookahed_hops"), "engine_package", "unknown field `lookahed_hops`"),
        (_edit("lookahead_hops = 0", "lookahead_hops = -1"), "engine_package", "expected 0 or more"),
        (_edit("sample_rate = 16000", "sample_rate = 48000"), "engine_grid", "expected 16000 Hz, 257 bins"),
        (_edit("n_bins = 257", "n_bins = 161"), "engine_grid", "161 bins"),
        (_edit("hop_ms = 8.0", "hop_ms = 10.0"), "engine_grid", "hops of 10 ms"),
        (_edit("n_bins = 257", 'n_bins = "257"'), "engine_package", "Expected `int`, got `str` - at `$.n_bins`"),
        (_edit("shape = [1, 257, 2]", "shape = [1, 2, 257]"), "engine_package", "input shape"),
        (_edit("shape = [1, 1, 1]", "shape = [1, 0, 1]"), "engine_package", "expected sizes above 0"),
        (_edit('output = "state_0_out"', 'output = "spec_out"'), "engine_package", "used twice"),
        (_edit('name = "l1"', 'name = "l0"'), "engine_package", "same name"),
        (_edit('file = "l0.onnx"', 'file = "../l0.onnx"'), "engine_package", "is not in [files]"),
        (_edit('"l0.onnx" = "', '"../l0.onnx" = "'), "engine_package", "no plain file name"),
        (_edit('"l0.onnx" = "', '"/etc/passwd" = "'), "engine_package", "no plain file name"),
        (_edit("Network tiny", "\\u001b[2JNetwork"), "engine_package", "a text holds control characters"),
        (_rewrite("card.md", "# Nice\x1b]0;title\x07"), "engine_package", "card.md holds control characters"),
        (_rewrite("card.md", "caf\udce9"), "engine_package", "card.md is not UTF-8"),
        (_edit('"l0.onnx" = "', '"l0.onnx" = "x'), "engine_package", "expected 64 hex digits"),
    ],
)
def test_damage_is_named(made: Package, damage: Callable[[Path], None], name: str, words: str) -> None:
    damage(made.folder)
    with pytest.raises(EngineError) as caught:
        read_package(made.folder)
    assert caught.value.name == name
    assert words in str(caught.value)
    assert str(made.folder) in str(caught.value)


def test_a_changed_file_fails_its_hash(made: Package) -> None:
    graph = made.folder / "l0.onnx"
    graph.write_bytes(graph.read_bytes() + b"\0")
    with pytest.raises(EngineError, match=r"l0\.onnx: sha256 is .* the file is damaged") as caught:
        read_package(made.folder).verify()
    assert caught.value.name == "engine_hash"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="there is no such folder"):
        read_package(tmp_path / "nowhere")


def _replace_golden(made: Package, data: bytes) -> Package:
    """The same package with another golden.npz, hashes right."""
    import hashlib

    (made.folder / GOLDEN_FILE).write_bytes(data)
    files = {**made.description.files, GOLDEN_FILE: hashlib.sha256(data).hexdigest()}
    return Package(made.folder, msgspec.structs.replace(made.description, files=files), made.card)


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("pickle-was-run",)


def test_nothing_is_unpickled(made: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for data in (pickle.dumps(_Bomb()), _npz(noisy=np.array([_Bomb()], object), clean_0=np.zeros(1))):
        with pytest.raises(EngineError, match=r"golden\.npz cannot be read"):
            _replace_golden(made, data).golden(0)
    assert not (tmp_path / "pickle-was-run").exists()


def _npz(**arrays: np.ndarray) -> bytes:
    import io

    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"not a zip", "cannot be read"),
        (_npz(noisy=frames(3)), "cannot be read"),
        (_npz(noisy=frames(3), clean_0=frames(2)), "expected complex64"),
        (_npz(noisy=frames(3), clean_0=frames(3).astype(np.complex128)), "expected complex64"),
    ],
)
def test_damaged_golden_frames_are_named(made: Package, data: bytes, words: str) -> None:
    with pytest.raises(EngineError, match=words):
        _replace_golden(made, data).golden(0)


def test_writing_over_a_package_must_be_asked_for(made: Package) -> None:
    noisy, clean = made.golden(0)
    parts = {"l0.onnx": made.content("l0.onnx"), "l1.onnx": made.content("l1.onnx")}
    arguments = {"graphs": parts, "noisy": noisy, "clean": [clean, clean], "card": "new"}
    with pytest.raises(EngineError, match="exists already"):
        write_package(made.folder, made.description, **arguments)
    assert write_package(made.folder, made.description, **arguments, replace=True).card == "new"
    assert [path.name for path in made.folder.parent.iterdir()] == [made.folder.name]


def test_what_cannot_be_a_package_leaves_nothing_behind(tmp_path: Path, made: Package) -> None:
    noisy, clean = made.golden(0)
    silent = noisy.copy()
    silent[3] = 0
    for arguments, words in (
        ({"graphs": {}, "noisy": noisy, "clean": [clean, clean]}, "is not in"),
        ({"graphs": {"l0.onnx": b"", "l1.onnx": b""}, "noisy": noisy, "clean": [clean]}, "1 golden outputs for 2"),
        ({"graphs": {"l0.onnx": b"", "l1.onnx": b""}, "noisy": silent, "clean": [clean, clean]}, "silent frame"),
        ({"graphs": {"l0.onnx": b"", "l1.onnx": b""}, "noisy": noisy, "clean": [clean, clean[:2]]}, "expected complex"),
    ):
        with pytest.raises(EngineError, match=words):
            write_package(tmp_path / "new", made.description, card="x", **arguments)
    assert [path.name for path in tmp_path.iterdir()] == [made.folder.name]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_at_random_is_an_engine_error_or_harmless(made: Package, data: st.DataObject) -> None:
    """Bytes changed, cut off or added anywhere: a package opens as it was or is refused in words."""
    path = made.folder / data.draw(st.sampled_from(sorted([*made.description.files, "model.toml"])))
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    new = data.draw(st.binary(max_size=8))
    try:
        path.write_bytes(whole[:at] + new + whole[at + data.draw(st.integers(0, 40)) :])
        try:
            engine = open_package(made.folder)
        except EngineError as error:
            assert str(made.folder) in str(error)
        else:
            assert engine.package.description.files == made.description.files
    finally:
        path.write_bytes(whole)


def test_reading_descriptions_needs_no_onnx_runtime(made: Package) -> None:
    code = (
        "import sys; from pathlib import Path; from pse_stream.engines.package import read_package; "
        f"read_package(Path({str(made.folder)!r})); sys.exit('onnxruntime' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
