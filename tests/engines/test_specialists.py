"""engines/specialists.py: who is heard, when it changes, and that nobody hears it change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pse_stream.dsp.spec import ENGINE_RATE, Complex64s, STFTSpec
from pse_stream.dsp.stft import transform
from pse_stream.engines.bypass import BypassEngine
from pse_stream.engines.gate.embedding import shipped_network
from pse_stream.engines.gate.gated import Gated, GateStatus, gate_status, use_gate
from pse_stream.engines.handover import CHANGE_HOPS
from pse_stream.engines.package import read_package
from pse_stream.engines.registry import Registry, available, open_engine
from pse_stream.engines.specialists import CATCH_UP, GENERALIST, REPLAY_HOPS, SpecialistsEngine
from pse_stream.errors import EngineError

from . import contract_checks as checks
from .ensembles import ensemble, judging_graph
from .networks import GAIN_STATES, counting_graph, gain_graph, gru_graph, gru_states
from .test_embedding import talk

GAINS = (0.5, 0.8, 0.2)  # generalist, part-0, part-1


def head(*, toward: int, size: int = 2) -> np.ndarray:
    """A gate's head that always chooses one specialist."""
    weights = np.zeros((size, shipped_network().dim + 2), np.float32)
    weights[toward, -1] = 5.0
    return weights


@pytest.fixture(scope="module")
def speech() -> Complex64s:
    return transform(talk(0, 4.0), STFTSpec(ENGINE_RATE))


@pytest.fixture(scope="module")
def gains(tmp_path_factory: pytest.TempPathFactory) -> SpecialistsEngine:
    folder = tmp_path_factory.mktemp("ensembles") / "gains"
    graphs = [(gain_graph(gain), GAIN_STATES) for gain in GAINS]
    return SpecialistsEngine(ensemble(folder, graphs, head=head(toward=1)))


def heard(engine: SpecialistsEngine, frames: Complex64s) -> np.ndarray:
    """The gain of each hop."""
    out, found = np.zeros(257, np.complex64), []
    for frame in frames:
        engine.step(frame, out, 0)
        found.append(float(np.vdot(frame, out).real / np.vdot(frame, frame).real))
    return np.array(found)


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("size", [2, 4, 5, 10])
def test_ensembles_keep_the_contract_at_every_size(
    tmp_path_factory: pytest.TempPathFactory, size: int, check: checks.Check, made: dict[int, SpecialistsEngine]
) -> None:
    if size not in made:
        graphs = [(gru_graph(8, seed=k), gru_states(8)) for k in range(size + 1)]
        rng = np.random.default_rng(size)
        weights = rng.standard_normal((size, shipped_network().dim + 2)).astype(np.float32) * 4
        folder = tmp_path_factory.mktemp("ensembles") / str(size)
        made[size] = SpecialistsEngine(ensemble(folder, graphs, head=weights))
    check(made[size].fork, 0)


@pytest.fixture(scope="module")
def made() -> dict[int, SpecialistsEngine]:
    """Opened once each; tests take forks."""
    return {}


def test_the_generalist_plays_until_enough_was_heard(gains: SpecialistsEngine, speech: Complex64s) -> None:
    engine = gains.fork()
    found = heard(engine, speech)
    np.testing.assert_allclose(found[:62], GAINS[0], atol=1e-3)
    np.testing.assert_allclose(found[125:], GAINS[2], atol=1e-3)
    assert engine.gate_status.active == "part-1"
    assert engine.gate_status.scores["part-1"] > 0.9


def test_a_pin_is_complete_within_a_tenth_of_a_second(gains: SpecialistsEngine, speech: Complex64s) -> None:
    engine = gains.fork()
    heard(engine, speech[:200])
    engine.set_gate("part-0")
    found = heard(engine, speech[200:300])
    assert CHANGE_HOPS * 8 <= 100
    np.testing.assert_allclose(found[CHANGE_HOPS - 1 :], GAINS[1], atol=1e-3)
    assert np.abs(np.diff(found)).max() < 0.2, "the gain jumps"
    engine.set_gate("off")
    assert heard(engine, speech[300:330])[-1] == pytest.approx(GAINS[0], abs=1e-3)
    assert engine.gate_status == ("off", GENERALIST, {"part-0": 0.0, "part-1": 0.0})


def test_a_pin_before_the_first_frame_is_there_at_once(gains: SpecialistsEngine, speech: Complex64s) -> None:
    engine = gains.fork()
    engine.set_gate("part-0")
    np.testing.assert_allclose(heard(engine, speech[:80]), GAINS[1], atol=1e-3)
    engine.reset()
    np.testing.assert_allclose(heard(engine, speech[:80]), GAINS[1], atol=1e-3)


def test_a_newcomer_has_heard_the_last_second(tmp_path: Path, speech: Complex64s) -> None:
    graphs = [(gain_graph(1.0), GAIN_STATES), (counting_graph(), GAIN_STATES), (counting_graph(), GAIN_STATES)]
    engine = SpecialistsEngine(ensemble(tmp_path / "counting", graphs))
    engine.set_gate("off")
    heard(engine, speech[:200])
    engine.set_gate("part-0")
    found = heard(engine, speech[200:230])
    # It counts the frames that it has heard: those of a second, the present one, and all since.
    assert found[-1] == pytest.approx(REPLAY_HOPS + 1 + 30, rel=1e-3)
    assert CATCH_UP * 6 >= REPLAY_HOPS + 6


def test_only_the_chosen_one_runs(tmp_path: Path, speech: Complex64s) -> None:
    graphs = [(counting_graph(), GAIN_STATES) for _ in range(3)]
    engine = SpecialistsEngine(ensemble(tmp_path / "counting", graphs))
    engine.set_gate("part-1")
    heard(engine, speech[:100])
    runs = {member.name: float(member._states[0][member._turn].item()) for member in engine._members}
    assert runs == {GENERALIST: 0.0, "part-0": 0.0, "part-1": 100.0}


def test_changing_all_the_time_never_jumps(gains: SpecialistsEngine, speech: Complex64s) -> None:
    engine, rng, found = gains.fork(), np.random.default_rng(0), []
    for frame in speech:
        if rng.random() < 0.15:
            engine.set_gate(str(rng.choice(["auto", "off", "part-0", "part-1"])))
        found.extend(heard(engine, frame[None]))
    assert np.abs(np.diff(found)).max() < 0.2
    assert min(found) > min(GAINS) - 0.01 and max(found) < max(GAINS) + 0.01


def test_silence_ends_a_change(gains: SpecialistsEngine, speech: Complex64s) -> None:
    engine, out = gains.fork(), np.zeros(257, np.complex64)
    heard(engine, speech[:200])
    engine.set_gate("part-0")
    heard(engine, speech[200:202])
    for _ in range(20):
        engine.step(np.zeros(257, np.complex64), out, 0)
    np.testing.assert_allclose(heard(engine, speech[300:310]), GAINS[1], atol=1e-3)


def test_unknown_specialists_are_refused_with_the_near_one(gains: SpecialistsEngine) -> None:
    engine = gains.fork()
    with pytest.raises(EngineError, match="expected auto, off or one of part-0, part-1") as caught:
        engine.set_gate("part0")
    assert "part-0" in caught.value.hint
    assert engine.gate_status.mode == "auto"


def test_any_engine_can_be_asked(gains: SpecialistsEngine) -> None:
    engine, plain = gains.fork(), BypassEngine()
    use_gate(engine, "part-1")
    assert gate_status(engine).mode == gate_status(engine).active == "part-1"
    use_gate(plain, "auto")
    assert gate_status(plain) == GateStatus()
    with pytest.raises(EngineError, match="has no specialists"):
        use_gate(plain, "part-1")


def test_a_moderator_auditions_and_chooses(tmp_path: Path, speech: Complex64s) -> None:
    # Gains are levelled out before the auto-encoder sees them, so both are reconstructed alike; one is far too soft.
    graphs = [(gain_graph(0.5), GAIN_STATES), (gain_graph(1e-3), GAIN_STATES), (gain_graph(0.9), GAIN_STATES)]
    engine = SpecialistsEngine(ensemble(tmp_path / "moderated", graphs, judge=judging_graph()))
    found = heard(engine, speech)
    np.testing.assert_allclose(found[:240], 0.5, atol=1e-3)
    assert engine.gate_status.active == "part-1", "an output that removes the speech must not win"
    assert found[-1] == pytest.approx(0.9, abs=1e-3)


def test_the_registry_opens_ensembles(tmp_path: Path) -> None:
    ensemble(tmp_path / "gains", [(gain_graph(gain), GAIN_STATES) for gain in GAINS])
    registry = Registry(shipped=tmp_path, user=tmp_path / "none", plugins=())
    engine = registry.open_engine("ensemble-2")
    assert isinstance(engine, Gated) and engine.specialists == ("part-0", "part-1")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('kind = "gate"', 'kind = "dice"', "expected .*gate"),
        ('name = "part-1"', 'name = "part-0"', "same name"),
        ('name = "part-1"', 'name = "off"', "means something else"),
        ('voice = "', 'voice = "x', "installed is"),
        ('judge = "judge.bin"', 'judge = "part-0.onnx"', "cannot be read"),
    ],
)
def test_a_wrong_description_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    folder = tmp_path / "gains"
    ensemble(folder, [(gain_graph(gain), GAIN_STATES) for gain in GAINS])
    text = (folder / "model.toml").read_text()
    assert old in text
    (folder / "model.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(EngineError, match=words):
        SpecialistsEngine(read_package(folder))


def test_every_shipped_ensemble_can_be_pinned_to_each_specialist(speech: Complex64s) -> None:
    found = [entry.id for entry in available() if entry.info is not None and entry.info.family == "specialists"]
    assert {"specialists-snr", "specialists-gender", "specialists-voice-5", "specialists-voice-10"} <= set(found)
    out = np.zeros(257, np.complex64)
    for id in found:
        engine = open_engine(id)
        assert isinstance(engine, Gated)
        for name in engine.specialists:
            use_gate(engine, name)
            engine.step(speech[50], out, 0)
            assert gate_status(engine).active == name
