"""Small ONNX graphs and packages made on the spot, for tests and timing; never shipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pse_stream.dsp.spec import Complex64s
from pse_stream.engines.package import SPECTRUM_SHAPE, Description, Package, PackageLevel, State
from pse_stream.engines.package_writer import write_package

OPSET = 17


def gru_graph(hidden: int, *, layers: int = 2, seed: int = 0) -> bytes:
    """A masker of the shape of `gru-<hidden>` with random weights: log power over its running mean, GRUs, sigmoid."""
    rng = np.random.default_rng(seed)
    nodes, weights = [], {"tiny": np.float32(1e-5), "floor": np.float32(1e-10)}
    weights |= {"one": np.float32(1.0), "rest": np.float32(1 - np.exp(-1 / 125))}

    def node(op: str, inputs: str, output: str, **options: object) -> str:
        nodes.append(helper.make_node(op, inputs.split(), output.split(), **options))
        return output

    node("ReduceSumSquare", "spec", "power", axes=[2], keepdims=0)
    node("ReduceMean", "power", "mean", axes=[1], keepdims=1)
    # The running mean starts at the first frame: 1 / hops while that is more than its constant.
    node("Add", "hops one", "hops_out")
    node("Div", "one hops_out", "first")
    node("Max", "first rest", "share")
    node("Sub", "mean level", "step")
    node("Mul", "step share", "moved")
    node("Add", "level moved", "level_out")
    node("Max", "level_out floor", "reference")
    node("Div", "power reference", "ratio")
    node("Add", "ratio tiny", "safe")
    node("Log", "safe", "logs")
    weights["time_first"] = np.array([1, 1, -1], np.int64)
    x = node("Reshape", "logs time_first", "sequence")
    states = [State("hops", "hops_out", (1, 1)), State("level", "level_out", (1, 1))]
    width = 257
    for k in range(layers):
        scale = hidden**-0.5
        weights[f"w{k}"] = rng.uniform(-scale, scale, (1, 3 * hidden, width)).astype(np.float32)
        weights[f"r{k}"] = rng.uniform(-scale, scale, (1, 3 * hidden, hidden)).astype(np.float32)
        weights[f"b{k}"] = rng.uniform(-scale, scale, (1, 6 * hidden)).astype(np.float32)
        node(
            "GRU", f"{x} w{k} r{k} b{k}  state_{k}".replace("  ", " none "), f"y{k} state_{k}_out",
            hidden_size=hidden, linear_before_reset=1,
        )  # fmt: skip
        nodes[-1].input[4] = ""  # no sequence lengths
        weights["direction"] = np.array([1], np.int64)
        x = node("Squeeze", f"y{k} direction", f"x{k}")
        states.append(State(f"state_{k}", f"state_{k}_out", (1, 1, hidden)))
        width = hidden
    weights["w_out"] = rng.uniform(-1, 1, (hidden, 257)).astype(np.float32) * hidden**-0.5
    weights["as_gains"] = np.array([1, 257, 1], np.int64)
    node("MatMul", f"{x} w_out", "logits")
    node("Sigmoid", "logits", "gains")
    node("Reshape", "gains as_gains", "mask")
    node("Mul", "spec mask", "spec_out")
    return model(nodes, weights, tuple(states))


def gain_graph(gain: float, *, broken_after: int = 0) -> bytes:
    """spec_out = gain * spec; one state counts hops. With `broken_after` it gives NaN from that hop on."""
    weights = {"gain": np.float32(gain), "one": np.float32(1.0)}
    nodes = [
        helper.make_node("Add", ["state_0", "one"], ["state_0_out"]),
        helper.make_node("Mul", ["spec", "gain"], ["scaled"]),
    ]
    if broken_after:
        # sqrt of (limit - hops): NaN once hops pass the limit; times zero, so that before it changes nothing
        weights |= {"zero": np.float32(0.0), "limit": np.float32(broken_after - 0.5)}
        nodes += [
            helper.make_node("Sub", ["limit", "state_0"], ["left"]),
            helper.make_node("Sqrt", ["left"], ["root"]),
            helper.make_node("Mul", ["root", "zero"], ["nothing"]),
            helper.make_node("Add", ["scaled", "nothing"], ["spec_out"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["scaled"], ["spec_out"]))
    return model(nodes, weights, (State("state_0", "state_0_out", (1, 1, 1)),))


def counting_graph() -> bytes:
    """spec_out = hops * spec, where hops counts from 1: the output tells how long the state has lived."""
    nodes = [
        helper.make_node("Add", ["state_0", "one"], ["state_0_out"]),
        helper.make_node("Mul", ["spec", "state_0_out"], ["spec_out"]),
    ]
    return model(nodes, {"one": np.float32(1.0)}, GAIN_STATES)


def model(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], states: tuple[State, ...]) -> bytes:
    """A graph with the inputs and outputs of a package."""
    tensor = helper.make_tensor_value_info
    inputs = [tensor("spec", TensorProto.FLOAT, SPECTRUM_SHAPE)]
    inputs += [tensor(state.input, TensorProto.FLOAT, state.shape) for state in states]
    outputs = [tensor("spec_out", TensorProto.FLOAT, SPECTRUM_SHAPE)]
    outputs += [tensor(state.output, TensorProto.FLOAT, state.shape) for state in states]
    graph = helper.make_graph(
        nodes, "net", inputs, outputs, [numpy_helper.from_array(np.asarray(w), name) for name, w in weights.items()]
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(made)
    return made.SerializeToString()


def gru_states(hidden: int, *, layers: int = 2) -> tuple[State, ...]:
    """The states of `gru_graph`."""
    return (
        State("hops", "hops_out", (1, 1)),
        State("level", "level_out", (1, 1)),
        *(State(f"state_{k}", f"state_{k}_out", (1, 1, hidden)) for k in range(layers)),
    )


GAIN_STATES = (State("state_0", "state_0_out", (1, 1, 1)),)


def frames(n: int, seed: int = 0) -> Complex64s:
    """(n, 257) complex64 noise at about the level of speech."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, 257)) + 1j * rng.standard_normal((n, 257))).astype(np.complex64)


def played_by_reference(graph: bytes, states: tuple[State, ...], noisy: Complex64s) -> Complex64s:
    """What plain `run` with dictionaries gives: the slow, obvious way."""
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    memory = {state.input: np.zeros(state.shape, np.float32) for state in states}
    clean = np.zeros_like(noisy)
    names = ["spec_out", *(state.output for state in states)]
    for frame, out in zip(noisy, clean, strict=True):
        spec = np.stack([frame.real, frame.imag], axis=-1)[None].astype(np.float32)
        spec_out, *news = session.run(names, {"spec": spec, **memory})
        memory = {state.input: new for state, new in zip(states, news, strict=True)}
        out[:] = spec_out[0, :, 0] + 1j * spec_out[0, :, 1]
    return clean


def package(
    folder: Path,
    graphs: list[tuple[bytes, tuple[State, ...]]],
    *,
    id: str = "tiny",
    clean: list[Complex64s] | None = None,
    **description: object,
) -> Package:
    """Write a package with one level for each graph; golden output from the reference player unless given."""
    noisy = frames(40, seed=1)
    if clean is None:
        clean = [played_by_reference(graph, states, noisy) for graph, states in graphs]
    levels = tuple(
        PackageLevel(f"l{k}", f"l{k}.onnx", 1e6 * (k + 1), 10, states=states) for k, (_, states) in enumerate(graphs)
    )
    told = Description(
        schema=1, id=id, version="1", title=f"Network {id}", family="test", licence_weights="MIT", licence_code="MIT",
        licence_data=("none",), levels=levels, **description,
    )  # fmt: skip
    return write_package(
        folder,
        told,
        graphs={f"l{k}.onnx": graph for k, (graph, _) in enumerate(graphs)},
        noisy=noisy,
        clean=clean,
        card="# Made in a test\n",
    )
