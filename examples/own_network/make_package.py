"""Make a model package of a network of your own; here of a tiny one, written down node by node.

    python make_package.py FOLDER        (needs `pip install onnx`)

The network is a Wiener gain on a running mean of the power, which it takes for noise: enough to hear that it works.
What matters is the frame: spectrum and state in, spectrum and state out, golden frames from another program than
ONNX Runtime (here NumPy, in real life the trainer), everything else in the description.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from pse_stream.engines.package import SPECTRUM_SHAPE, Description, PackageLevel, State
from pse_stream.engines.package_writer import write_package

SLOWEST = 1 / 250  # of the running mean, per hop: two seconds
STATES = (State("hops", "hops_out", (1, 1)), State("mean", "mean_out", (1, 257)))  # all zeros at first


def graph() -> bytes:
    """spec (1, 257, 2), hops, mean -> spec_out, hops_out, mean_out."""
    node = helper.make_node
    nodes = [
        node("ReduceSumSquare", ["spec"], ["power"], axes=[2], keepdims=0),
        # 1 / hops while that is more than SLOWEST: the first frame is believed at once, whatever its level.
        node("Add", ["hops", "one"], ["hops_out"]),
        node("Div", ["one", "hops_out"], ["first"]),
        node("Max", ["first", "slowest"], ["share"]),
        node("Sub", ["power", "mean"], ["difference"]),
        node("Mul", ["difference", "share"], ["step"]),
        node("Add", ["mean", "step"], ["mean_out"]),
        node("Add", ["power", "mean_out"], ["both"]),
        node("Max", ["both", "tiny"], ["safe"]),
        node("Div", ["power", "safe"], ["gains"]),
        node("Reshape", ["gains", "as_gains"], ["mask"]),
        node("Mul", ["spec", "mask"], ["spec_out"]),
    ]
    constants = {
        "one": np.float32(1.0),
        "slowest": np.float32(SLOWEST),
        "tiny": np.float32(1e-30),
        "as_gains": np.array([1, 257, 1]),
    }
    tensor = helper.make_tensor_value_info
    inputs = [tensor("spec", TensorProto.FLOAT, SPECTRUM_SHAPE)]
    inputs += [tensor(state.input, TensorProto.FLOAT, state.shape) for state in STATES]
    outputs = [tensor("spec_out", TensorProto.FLOAT, SPECTRUM_SHAPE)]
    outputs += [tensor(state.output, TensorProto.FLOAT, state.shape) for state in STATES]
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    made = helper.make_graph(nodes, "running-mean", inputs, outputs, weights)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def expected(noisy: np.ndarray) -> np.ndarray:
    """The same network in NumPy; (n, 257) complex64."""
    mean, clean = np.zeros(257), np.empty_like(noisy)
    for hops, frame in enumerate(noisy, start=1):
        power = np.abs(frame.astype(complex)) ** 2
        mean += max(1 / hops, SLOWEST) * (power - mean)
        clean[hops - 1] = frame * power / (power + mean)
    return clean


def main(folder: Path) -> None:
    """Write the package."""
    rng = np.random.default_rng(0)
    noisy = (rng.standard_normal((125, 257)) + 1j * rng.standard_normal((125, 257))).astype(np.complex64)
    description = Description(
        schema=1,
        id="running-mean",
        version="1",
        title="Running mean (example)",
        family="example",
        licence_weights="CC0-1.0",
        licence_code="MIT",
        licence_data=("none: nothing was learnt",),
        levels=(PackageLevel("full", "model.onnx", macs_per_second=125 * 257 * 4, parameters=0, states=STATES),),
    )
    write_package(
        folder,
        description,
        graphs={"model.onnx": graph()},
        noisy=noisy,
        clean=[expected(noisy)],
        card="# Running mean\n\nAn example of a package. Takes steady noise down by 6 dB and voices by less.\n",
    )
    print(f"{folder}: written; `pse-stream engines check running-mean` plays its golden frames")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
