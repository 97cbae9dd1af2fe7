"""One ONNX graph with a branch: a gate decides per frame which of two prepared networks runs; the other costs nothing.

The tracing exporter cannot write a choice, so gate and branches are traced apart and joined here.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor

from pse_stream.dsp.spec import ENGINE_BINS

OPSET = 18


class _Method(torch.nn.Module):
    """One method of a network as a network, so that its weights stay weights in the trace."""

    def __init__(self, model: torch.nn.Module, method: str) -> None:
        super().__init__()
        self.model, self.method = model, method

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """See the method."""
        found: tuple[Tensor, ...] = getattr(self.model, self.method)(*inputs)
        return found


def branched(model: torch.nn.Module, state_shapes: Sequence[tuple[int, ...]]) -> bytes:
    """The graph spec, share, state_0.. -> spec_out, state_0_out.. of a network with these methods:

    - `choose`: (spec, share, state_0, state_1) -> (wanted, features, state_0, state_1); wanted (1,) above zero is full
    - `full` and `slender`: (features, state_2, state_3) -> (gains (1, 257), state_2, state_3)

    `state_shapes` are those of all four states, without the batch axis.
    """
    states = [torch.zeros(1, *shape) for shape in state_shapes]
    spec, share, features = torch.zeros(1, ENGINE_BINS, 2), torch.ones(1), torch.zeros(1, ENGINE_BINS)
    gate = _traced(model, "choose", (spec, share, *states[:2]), ["spec", "share", "state_0", "state_1"],
                   ["wanted", "features", "state_0_out", "state_1_out"], "gate/")  # fmt: skip
    inner = ["features", "state_2", "state_3"]
    sides = [
        _traced(model, side, (features, *states[2:]), inner,
                [f"{side}/{o}" for o in ("gains", "state_2", "state_3")], f"{side}/")
        for side in ("full", "slender")
    ]  # fmt: skip
    joined = ["gains", "state_2_out", "state_3_out"]
    nodes = [
        *gate.node,
        helper.make_node("Greater", ["wanted", "zero"], ["is_wanted"]),
        helper.make_node("If", ["is_wanted"], joined, then_branch=_inside(sides[0]), else_branch=_inside(sides[1])),
        helper.make_node("Unsqueeze", ["gains", "last"], ["gains_3"]),
        helper.make_node("Mul", ["spec", "gains_3"], ["spec_out"]),
    ]
    constants = [
        helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]),
        helper.make_tensor("last", TensorProto.INT64, [1], [-1]),
    ]
    names = [f"state_{k}" for k in range(len(states))]
    shapes = [(1, *shape) for shape in state_shapes]
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "branched",
        [tensor("spec", TensorProto.FLOAT, spec.shape), tensor("share", TensorProto.FLOAT, share.shape)]
        + [tensor(n, TensorProto.FLOAT, s) for n, s in zip(names, shapes, strict=True)],
        [tensor("spec_out", TensorProto.FLOAT, spec.shape)]
        + [tensor(f"{n}_out", TensorProto.FLOAT, s) for n, s in zip(names, shapes, strict=True)],
        [*gate.initializer, *constants],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _inside(graph: onnx.GraphProto) -> onnx.GraphProto:
    """A branch: no inputs of its own, it sees those of the graph around it."""
    return helper.make_graph(list(graph.node), graph.name, [], list(graph.output), list(graph.initializer))


def _traced(  # noqa: PLR0917 - the exporter's own arguments, and a prefix
    model: torch.nn.Module, method: str, inputs: tuple[Tensor, ...], names: list[str], outputs: list[str], prefix: str
) -> onnx.GraphProto:  # fmt: skip
    """A method as a graph whose inner names begin with `prefix`, so that several fit into one model."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracing exporter announces its age
        torch.onnx.export(
            _Method(model, method), inputs, buffer, dynamo=False, opset_version=OPSET, input_names=names,
            output_names=outputs,
        )  # fmt: skip
    graph = onnx.load_from_string(buffer.getvalue()).graph
    kept = {*names, *outputs, ""}

    def named(name: str) -> str:
        return name if name in kept else prefix + name

    for node in graph.node:
        node.name = prefix + node.name
        node.input[:] = [named(name) for name in node.input]
        node.output[:] = [named(name) for name in node.output]
    for weights in graph.initializer:
        weights.name = named(weights.name)
    graph.name = prefix
    return graph
