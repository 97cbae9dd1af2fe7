"""Adapted packages: used only when every hash holds, put in and taken out in one step, never in the way of sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pse_stream.engines.package import read_package
from pse_stream.errors import ConfigError, EngineError
from pse_stream.profiles.adapted import (
    active_package,
    engine_setting,
    install,
    mark_stale,
    models,
    open_engine,
    remove,
    revert,
)
from pse_stream.profiles.profile import Profile, read_profile
from pse_stream.profiles.store import new_profile, open_profile

from ..engines.networks import GAIN_STATES, frames, gain_graph, package
from .people import adapt, tree


@pytest.fixture
def bob(tmp_path: Path) -> Profile:
    return new_profile("bob", settings={"engine": "wiener"})


def gain_of(id: str) -> float:
    engine, noisy = open_engine(id), frames(3)
    out = np.empty(257, np.complex64)
    engine.step(noisy[0], out, 0)
    return float(np.abs(out / noisy[0]).mean())


def test_an_installed_package_is_the_profile_s_engine_and_plays(bob: Profile, tmp_path: Path) -> None:
    assert engine_setting(bob)[0] is not None
    now = adapt(bob, tmp_path, "2026-05-02a", gain=0.25)
    placed, problem = engine_setting(now)
    assert (placed.value if placed else None, problem) == ("bob.2026-05-02a", "")
    assert gain_of("bob.2026-05-02a") == pytest.approx(0.25)
    assert 'method = "a test"' in (bob.folder / "profile.toml").read_text()
    assert models(now)[0].provenance["verified"] == "+1.0 dB, n=3"


def test_revert_goes_one_step_back_and_then_to_the_general_engine(bob: Profile, tmp_path: Path) -> None:
    adapt(bob, tmp_path, "a", gain=0.5)
    now = adapt(open_profile("bob"), tmp_path, "b", gain=0.25)
    assert (now.adapted.active, now.adapted.previous) == ("b", "a")
    now = revert(now)
    assert gain_of(str(engine_setting(now)[0].value)) == pytest.approx(0.5)  # type: ignore[union-attr]
    now = revert(now)
    assert engine_setting(now)[0].value == "wiener"  # type: ignore[union-attr]
    assert [model.id for model in models(now)] == ["a", "b"]  # nothing is lost
    with pytest.raises(ConfigError, match="general engine already"):
        revert(now)
    assert revert(adapt(now, tmp_path, "c"), to_general=True).adapted.active == ""


@pytest.mark.parametrize("harm", ["graph", "description", "gone", "profile"])
def test_a_hash_that_differs_means_the_general_engine_and_words(bob: Profile, tmp_path: Path, harm: str) -> None:
    now = adapt(bob, tmp_path, "a")
    folder = bob.folder / "models" / "a"
    if harm == "graph":
        graph = folder / read_package(folder).description.levels[0].file
        graph.write_bytes(graph.read_bytes() + b"x")
    elif harm == "description":
        (folder / "model.toml").write_text((folder / "model.toml").read_text() + "\n# mine\n")
    elif harm == "gone":
        (folder / "model.toml").unlink()
    else:
        path = bob.folder / "profile.toml"
        path.write_text(path.read_text().replace(now.adapted.sha256, "0" * 64))
    placed, problem = engine_setting(read_profile(bob.folder))
    assert placed is not None
    assert placed.value == "wiener"
    assert 'the adapted model "a" of profile "bob" cannot be used' in problem
    assert problem.endswith("The general engine is used.")
    with pytest.raises(EngineError) as caught:
        open_engine("bob.a")
    assert (caught.value.name, "--engine auto" in caught.value.hint) == ("profile_engine", True)


def test_a_damaged_package_changes_nothing(bob: Profile, tmp_path: Path) -> None:
    made = package(tmp_path / "p", [(gain_graph(0.5), GAIN_STATES)]).folder
    (made / "card.md").write_text("changed")
    before = tree(bob.folder)
    with pytest.raises(EngineError, match="sha256"):
        install(bob, made, {})
    assert tree(bob.folder) == before


@pytest.mark.parametrize("id", ["../x", "a/b", "", ".a", "A", "a" * 32])
def test_a_model_s_id_never_leaves_its_folder(bob: Profile, tmp_path: Path, id: str) -> None:
    made = package(tmp_path / "p", [(gain_graph(0.5), GAIN_STATES)]).folder
    with pytest.raises(ConfigError):
        install(bob, made, {}, id=id)
    with pytest.raises(EngineError):
        open_engine(f"bob.{id}")


def test_days_get_letters_and_examples_and_newer_profiles_are_refused(bob: Profile, tmp_path: Path) -> None:
    made = package(tmp_path / "p", [(gain_graph(0.5), GAIN_STATES)]).folder
    first = install(bob, made, {}).adapted.active
    second = install(open_profile("bob"), made, {}).adapted.active
    assert (first[-1], second[-1], first[:-1]) == ("a", "b", second[:-1])
    with pytest.raises(ConfigError, match="example"):
        install(open_profile("alice"), made, {})
    (bob.folder / "profile.toml").write_text("schema = 2\n")
    with pytest.raises(ConfigError, match="schema 2"):
        install(open_profile("bob"), made, {})


def test_a_removed_package_is_put_out_of_use_first(bob: Profile, tmp_path: Path) -> None:
    now = adapt(bob, tmp_path, "a")
    remove(now, "a")
    fresh = open_profile("bob")
    assert (fresh.adapted.active, models(fresh), active_package(fresh)) == ("", [], None)


def test_deleted_sessions_are_noted_in_what_learnt_from_them(bob: Profile, tmp_path: Path) -> None:
    now = adapt(bob, tmp_path, "a", sessions=("s1", "s2"))
    now = adapt(now, tmp_path, "b", sessions=("s3",))
    assert mark_stale(now, ["s2", "s9"]) == ["a"]
    assert models(now)[0].provenance["deleted_sessions"] == ["s2"]
    assert gain_of("bob.a") == pytest.approx(0.5)  # still what was installed


def test_an_engine_of_nobody_is_unknown(bob: Profile) -> None:
    with pytest.raises(EngineError) as caught:
        open_engine("bbo.a")
    assert (caught.value.name, caught.value.hint) == ("unknown_engine", 'Did you mean "bob"?')
    assert open_engine("wiener").info.id == "wiener"
