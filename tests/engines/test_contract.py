"""One contract, every engine, level and plug-in; and the proof that each check can fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pse_stream.engines.contract import Engine
from pse_stream.engines.onnx import OnnxEngine
from pse_stream.engines.registry import available, open_engine

from . import broken_engines as broken
from . import contract_checks as checks
from .networks import gru_graph, gru_states, package

NETWORK = "network of the test"  # two levels with random weights: the player is held to the contract without a package


def _cases() -> Iterator[tuple[str, int]]:
    yield NETWORK, 0
    yield NETWORK, 1
    for entry in available():
        if entry.info is not None and entry.origin != "user":
            yield from ((entry.id, level) for level in range(len(entry.info.levels)))


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Engine]:
    """Opened once each; tests take forks."""
    folder = tmp_path_factory.mktemp("packages") / "tiny"
    made = package(folder, [(gru_graph(h), gru_states(h)) for h in (8, 16)])
    return {NETWORK: OnnxEngine(made)}


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("id", "level"), list(_cases()))
def test_engine_keeps_the_contract(engines: dict[str, Engine], id: str, level: int, check: checks.Check) -> None:
    if id not in engines:
        engines[id] = open_engine(id)
    check(engines[id].fork, level)


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("level", [0, 1])
def test_a_sound_engine_passes(check: checks.Check, level: int) -> None:
    check(broken.SoundEngine, level)


@pytest.mark.parametrize(
    ("check", "engine"),
    [
        (checks.describes_itself, broken.LevelsUpsideDown),
        (checks.writes_out_in_full, broken.LeavesTheTopBin),
        (checks.writes_out_in_full, broken.ChangesItsInput),
        (checks.works_in_place, broken.WritesBeforeItReads),
        (checks.reset_is_fresh, broken.RemembersThroughReset),
        (checks.leaves_the_past_alone, broken.RewritesThePast),
        (checks.survives_abuse, broken.LetsNanIn),
        (checks.survives_abuse, broken.CountsNothing),
        (checks.survives_abuse, broken.DiesOfAbuse),
        (checks.ignores_loudness, broken.GatesAtAFixedLevel),
        (checks.ignores_loudness, broken.Compresses),
        (checks.keeps_its_size, broken.Grows),
        (checks.changes_level_smoothly, broken.DropsOutOnChange),
        (checks.keeps_silence, broken.Hums),
        (checks.keeps_silence, broken.RingsOn),
        (checks.forks_apart, broken.SharesItsMemory),
        (checks.tells_its_delay, broken.HidesItsDelay),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_each_check_catches_its_broken_engine(check: checks.Check, engine: type[broken.SoundEngine]) -> None:
    with pytest.raises(AssertionError):
        check(engine, 1)


def test_golden_check_catches_another_network(tmp_path: Path) -> None:
    graph, states = gru_graph(8), gru_states(8)
    other = package(tmp_path / "other", [(gru_graph(8, seed=1), states)])
    wrong = package(tmp_path / "wrong", [(graph, states)], clean=[other.golden(0)[1]], golden_tolerance=0.1)
    right = OnnxEngine(package(tmp_path / "right", [(graph, states)]))
    engine = OnnxEngine(wrong, right._graphs)
    with pytest.raises(AssertionError):
        checks.plays_its_golden_frames(engine.fork, 0)


def test_the_default_engine_can_be_opened() -> None:
    engine, frame = open_engine(), np.zeros(257, np.complex64)
    engine.step(frame, frame, engine.info.best_level)
