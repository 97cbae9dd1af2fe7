"""One ONNX graph with a branch: a gate decides per frame which of two prepared networks runs; the other costs nothing.

The tracing exporter cannot write a choice, so gate and branches are traced apart and joined here.
"""

from __future__ import annotations

import io
import warnings

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor

from pse_stream.dsp.spec import ENGINE_BINS
from pse_stream.training.models.slim import Slim

OPSET = 18


class _Choice(torch.nn.Module):
    """The method `choose` of a network as a network, so that its weights stay weights in the trace."""

    def __init__(self, model: Slim) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """See the method."""
        return self.model.choose(*inputs)


def branched(model: Slim) -> bytes:
    """The graph spec, settings, state_0.. -> spec_out, state_0_out.. of a network that chooses, from

    - `choose`: (spec, settings, state_0, .., state_2) -> (opened, features, state_0, .., state_2); open is full
    - `branches`, full and slender: (features, state_3, state_4) -> (gains (1, 257), state_3, state_4)
    """
    states = model.zero_states(1)
    names = [f"state_{k}" for k in range(len(states))]
    known, layers = names[:3], names[3:]
    spec, features = torch.zeros(1, ENGINE_BINS, 2), torch.zeros(1, ENGINE_BINS)
    settings = {name: torch.tensor([value]) for name, value in model.settings().items()}
    gate = _traced(_Choice(model), (spec, *settings.values(), *states[:3]), ["spec", *settings, *known],
                   ["opened", "features", *(f"{name}_out" for name in known)], "gate/")  # fmt: skip
    sides = [
        _traced(branch, (features, *states[3:]), ["features", *layers],
                [f"{side}/{o}" for o in ("gains", *layers)], f"{side}/")
        for side, branch in zip(("full", "slender"), model.branches(), strict=True)
    ]  # fmt: skip
    joined = ["gains", *(f"{name}_out" for name in layers)]
    nodes = [
        *gate.node,
        helper.make_node("If", ["opened"], joined, then_branch=_inside(sides[0]), else_branch=_inside(sides[1])),
        helper.make_node("Unsqueeze", ["gains", "last"], ["gains_3"]),
        helper.make_node("Mul", ["spec", "gains_3"], ["spec_out"]),
    ]
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "branched",
        [tensor("spec", TensorProto.FLOAT, spec.shape)]
        + [tensor(n, TensorProto.FLOAT, value.shape) for n, value in settings.items()]
        + [tensor(n, TensorProto.FLOAT, state.shape) for n, state in zip(names, states, strict=True)],
        [tensor("spec_out", TensorProto.FLOAT, spec.shape)]
        + [tensor(f"{n}_out", TensorProto.FLOAT, state.shape) for n, state in zip(names, states, strict=True)],
        [*gate.initializer, helper.make_tensor("last", TensorProto.INT64, [1], [-1])],
    )  # fmt: skip
    joint = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(joint)
    return joint.SerializeToString()


def _inside(graph: onnx.GraphProto) -> onnx.GraphProto:
    """A branch: no inputs of its own, it sees those of the graph around it."""
    return helper.make_graph(list(graph.node), graph.name, [], list(graph.output), list(graph.initializer))


def _traced(
    network: torch.nn.Module, inputs: tuple[Tensor, ...], names: list[str], outputs: list[str], prefix: str
) -> onnx.GraphProto:
    """A network as a graph whose inner names begin with `prefix`, so that several fit into one model."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracing exporter announces its age
        torch.onnx.export(
            network, inputs, buffer, dynamo=False, opset_version=OPSET, input_names=names,
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
