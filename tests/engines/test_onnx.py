"""The player: the same numbers as the plain way, quiet failures never, levels without a jump."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from pse_stream.dsp.spec import ENGINE_BINS, Complex64s
from pse_stream.engines.handover import CHANGE_HOPS, FADE_HOPS, WARM_HOPS
from pse_stream.engines.onnx import TAIL_HOPS, OnnxEngine, check_golden, open_package
from pse_stream.engines.package import Description, Package, PackageLevel, State
from pse_stream.engines.package_writer import write_package
from pse_stream.errors import EngineError

from .contract_checks import play
from .networks import (
    GAIN_STATES,
    counting_graph,
    frames,
    gain_graph,
    gru_graph,
    gru_states,
    model,
    package,
    played_by_reference,
)

MAX_STEP = 0.26  # of a raised cosine over six hops: the steepest step is 0.2588


def test_plays_what_the_plain_way_plays(tmp_path: Path) -> None:
    graph, states, noisy = gru_graph(24), gru_states(24), frames(200, seed=3)
    engine = OnnxEngine(package(tmp_path / "p", [(graph, states)]))
    np.testing.assert_array_equal(play(engine, noisy, 0), played_by_reference(graph, states, noisy))


def test_forks_share_sessions_and_one_thread_is_used(tmp_path: Path) -> None:
    engine = OnnxEngine(package(tmp_path / "p", [(gain_graph(0.5), GAIN_STATES)]))
    session = engine._graphs[0].session
    assert engine.fork()._graphs[0].session is session
    options = session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_opening_twice_checks_golden_frames(tmp_path: Path) -> None:
    made = package(tmp_path / "p", [(gru_graph(8), gru_states(8))])
    assert check_golden(made, open_package(made.folder)._graphs) == [0.0]


def test_a_network_that_plays_something_else_is_refused(tmp_path: Path) -> None:
    made = package(tmp_path / "p", [(gain_graph(0.5), GAIN_STATES)], clean=[frames(40, seed=1) * np.float32(0.501)])
    with pytest.raises(
        EngineError, match=r"golden frames with a relative error of 0\.002; expected at most 0\.001"
    ) as e:
        OnnxEngine(made)
    assert e.value.name == "engine_golden"


def _unknown_operator() -> bytes:
    made = onnx.load_from_string(gain_graph(0.5))
    made.graph.node[0].op_type = "Frobnicate"
    return made.SerializeToString()


def _other_names() -> bytes:
    made = onnx.load_from_string(gain_graph(0.5))
    made.graph.input[0].name = made.graph.node[1].input[0] = "spectrum"
    return made.SerializeToString()


def _half_precision_state() -> bytes:
    nodes = [helper.make_node("Identity", ["spec"], ["spec_out"]), helper.make_node("Identity", ["s"], ["s_out"])]
    made = onnx.load_from_string(model(nodes, {}, (State("s", "s_out", (1, 1, 1)),)))
    for value in (made.graph.input[1], made.graph.output[1]):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    return made.SerializeToString()


def _weights_elsewhere() -> bytes:
    """A graph that wants to read a file of the machine."""
    made = onnx.load_from_string(gain_graph(0.5))
    weight = next(tensor for tensor in made.graph.initializer if tensor.name == "gain")
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "/etc/passwd"), ("offset", "0"), ("length", "4")):
        entry = weight.external_data.add()
        entry.key, entry.value = key, value
    return made.SerializeToString()


HALF_STATES = (State("s", "s_out", (1, 1, 1)),)


@pytest.mark.parametrize(
    ("graph", "states", "words"),
    [
        (b"no graph at all", GAIN_STATES, "cannot load it"),
        (gain_graph(0.5)[:-20], GAIN_STATES, "cannot load it"),
        (_unknown_operator(), GAIN_STATES, "Frobnicate"),
        (_weights_elsewhere(), GAIN_STATES, "cannot load it"),
        (_other_names(), GAIN_STATES, r"inputs are \['spectrum', 'state_0'\]; the description promises"),
        (gain_graph(0.5), (), r"inputs are \['spec', 'state_0'\]"),
        (gain_graph(0.5), (State("state_0", "state_0_out", (1, 2, 1)),), r"'state_0' is tensor\(float\) \[1, 1, 1\]"),
        (_half_precision_state(), HALF_STATES, r"'s' is tensor\(float16\)"),
    ],
    ids=[
        "text",
        "truncated",
        "unknown operator",
        "file of the machine",
        "names",
        "undeclared state",
        "shape",
        "float16",
    ],
)
def test_graphs_that_cannot_be_played_are_refused_in_words(
    tmp_path: Path, graph: bytes, states: tuple[State, ...], words: str
) -> None:
    made = package(tmp_path / "p", [(graph, states)], clean=[frames(40, seed=1)])
    with pytest.raises(EngineError, match=words) as caught:
        OnnxEngine(made)
    assert caught.value.name == "engine_graph"
    assert "l0.onnx" in str(caught.value)


def test_a_graph_that_gives_nan_is_silenced_counted_and_started_again(tmp_path: Path) -> None:
    graph = gain_graph(0.5, broken_after=60)
    engine, noisy = OnnxEngine(package(tmp_path / "p", [(graph, GAIN_STATES)])), frames(150)
    out = play(engine, noisy, 0)
    assert engine.bad_frames == 2
    silent = [t for t, frame in enumerate(out) if not frame.any()]
    assert silent == [60, 121]
    heard = np.delete(np.arange(150), silent)
    np.testing.assert_allclose(out[heard], 0.5 * noisy[heard], rtol=1e-6)


def test_silence_leaves_the_state_alone(tmp_path: Path) -> None:
    engine = OnnxEngine(package(tmp_path / "p", [(gru_graph(8), gru_states(8))]))
    noisy, silence = frames(80), np.zeros((50, ENGINE_BINS), np.complex64)
    play(engine, noisy[:40], 0)
    assert not play(engine, silence, 0).any()
    after_long = play(engine, noisy[40:], 0)
    engine.reset()
    play(engine, noisy[:40], 0)
    play(engine, silence[:TAIL_HOPS], 0)
    np.testing.assert_array_equal(after_long, play(engine, noisy[40:], 0))


def _gains(engine: OnnxEngine, levels: list[int]) -> np.ndarray:
    """Gain of every hop while the level is changed as told; (n,)."""
    frame, out = frames(1)[0], np.empty(ENGINE_BINS, np.complex64)
    gains = []
    for level in levels:
        engine.step(frame, out, level)
        gains.append(np.vdot(frame, out).real / np.vdot(frame, frame).real)
    return np.array(gains)


def _two_gains(folder: Path) -> OnnxEngine:
    return OnnxEngine(package(folder / "p", [(gain_graph(0.0), GAIN_STATES), (gain_graph(1.0), GAIN_STATES)]))


def test_a_level_change_is_gradual_and_complete_in_time(tmp_path: Path) -> None:
    gains = _gains(_two_gains(tmp_path), [0] * 5 + [1] * CHANGE_HOPS)
    assert not gains[: 5 + WARM_HOPS].any()
    assert np.diff(gains).max() < MAX_STEP
    assert gains[-1] == pytest.approx(1.0, abs=1e-5)


def test_a_thousand_level_changes_never_jump(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    levels = np.repeat(rng.integers(0, 2, 1000), rng.integers(1, 20, 1000))
    gains = _gains(_two_gains(tmp_path), levels.tolist())
    assert np.abs(np.diff(gains)).max() < MAX_STEP
    assert gains.min() == 0.0
    assert gains.max() == pytest.approx(1.0, abs=1e-5)


def test_in_silence_a_level_is_there_at_once(tmp_path: Path) -> None:
    engine, silence = _two_gains(tmp_path), np.zeros(ENGINE_BINS, np.complex64)
    _gains(engine, [0] * 5)
    for _ in range(TAIL_HOPS + 1):
        engine.step(silence, silence, 1)
    assert _gains(engine, [1])[0] == 1.0


@pytest.mark.parametrize("shared", [True, False])
def test_a_shared_state_lives_on_through_a_level_change(tmp_path: Path, shared: bool) -> None:
    states = (State("state_0", "state_0_out", (1, 1, 1), shared=shared),)
    engine = OnnxEngine(package(tmp_path / "p", [(counting_graph(), states), (counting_graph(), states)]))
    gains = _gains(engine, [0] * 50 + [1] * CHANGE_HOPS)
    assert gains[-1] == pytest.approx((50 if shared else 26) + CHANGE_HOPS)  # what is its own heard 26 hops again


def test_a_level_that_is_part_of_the_present_one_fades_in_at_once(tmp_path: Path) -> None:
    shared = (State("state_0", "state_0_out", (1, 1, 1), shared=True),)
    engine = OnnxEngine(package(tmp_path / "p", [(gain_graph(0.0), shared), (gain_graph(1.0), shared)]))
    gains = _gains(engine, [1] * 5 + [0] * CHANGE_HOPS)
    assert gains[4] == 1.0 and gains[5] < 1.0
    assert not gains[5 + FADE_HOPS :].any()
    assert np.abs(np.diff(gains)).max() < MAX_STEP


def _set_from_outside() -> bytes:
    """spec_out = gain * spec, where the gain is an input."""
    made = onnx.load_from_string(gain_graph(0.5))
    kept = [weight for weight in made.graph.initializer if weight.name != "gain"]
    del made.graph.initializer[:]
    made.graph.initializer.extend(kept)
    made.graph.input.append(helper.make_tensor_value_info("gain", onnx.TensorProto.FLOAT, (1,)))
    return made.SerializeToString()


def _with_settings(folder: Path, *settings: dict[str, float]) -> Package:
    """One graph for all levels, which differ in what is set."""
    shared, noisy = (State("state_0", "state_0_out", (1, 1, 1), shared=True),), frames(40, seed=1)
    levels = tuple(
        PackageLevel(f"l{k}", "one.onnx", 1e6, 10, states=shared, settings=s) for k, s in enumerate(settings)
    )
    told = Description(
        schema=1, id="set", version="1", title="Set", family="test", licence_weights="MIT", licence_code="MIT",
        licence_data=("none",), levels=levels,
    )  # fmt: skip
    clean = [noisy * np.float32(s.get("gain", 1.0)) for s in settings]
    return write_package(folder, told, graphs={"one.onnx": _set_from_outside()}, noisy=noisy, clean=clean, card="# Set")


def test_levels_of_one_graph_differ_in_what_is_set(tmp_path: Path) -> None:
    engine = OnnxEngine(_with_settings(tmp_path / "p", {"gain": 0.0}, {"gain": 1.0}))
    first, second = engine._graphs
    assert first.session is second.session  # the weights lie in memory once
    gains = _gains(engine, [1] * 5 + [0] * CHANGE_HOPS + [1] * CHANGE_HOPS)
    assert gains[4] == 1.0 and not gains[5 + FADE_HOPS : 5 + CHANGE_HOPS].any() and gains[-1] == pytest.approx(1.0)


def test_a_setting_that_is_missing_or_unknown_is_refused(tmp_path: Path) -> None:
    for name, settings in (("a", {}), ("b", {"gain": 1.0, "share": 0.5}), ("c", {"share": 0.5})):
        with pytest.raises(EngineError, match="the description promises"):
            OnnxEngine(_with_settings(tmp_path / name, settings))
    with pytest.raises(EngineError, match="used twice"):
        _with_settings(tmp_path / "d", {"state_0": 1.0})


def test_memory_order_of_bins_is_re_im(tmp_path: Path) -> None:
    nodes = [helper.make_node("Mul", ["spec", "conjugate"], ["spec_out"])]
    graph = model(nodes, {"conjugate": np.array([1.0, -1.0], np.float32)}, ())
    noisy: Complex64s = frames(40, seed=1)
    engine = OnnxEngine(package(tmp_path / "p", [(graph, ())], clean=[noisy.conj()]))
    np.testing.assert_array_equal(play(engine, noisy, 0), noisy.conj())
