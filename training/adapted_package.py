"""Write an adapted student as a model package: its parent's description with new weights, golden frames and card."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pse_stream.dsp.spec import ENGINE_BINS
from pse_stream.engines.package import Package, State, Tensor
from pse_stream.engines.package_writer import write_package
from pse_stream.errors import EngineError
from pse_stream.training.export import check, probe, to_onnx, whole
from pse_stream.training.models import SpectralNet
from pse_stream.training.trial import Verdict

_GRAPH = "model.onnx"
_GOLDEN_S = 1.2

_CARD = """\
# {title}

`{parent}` {version}, adapted to one person and their surroundings by distillation and remixing ({method}).
The weights are personal data: they were learnt from that person's recordings.

Made from {made_from}.

## What the ship gate said

{checks}

## The parent's card

{card}
"""


def write_adapted(
    folder: Path, parent: Package, model: SpectralNet, verdict: Verdict, *, method: str, made_from: str
) -> Package:
    """Write the package; ONNX and torch are compared first.

    Raises
    ------
    EngineError
        "not_trainable": the parent has several levels; or as `write_package`.
    ExportError
        The graph does not do what the network does.
    """
    told = parent.description
    if len(told.levels) != 1:
        raise EngineError(f"package {told.id} has {len(told.levels)} levels; expected one.", name="not_trainable")
    graph = to_onnx(model)
    check(model, graph)
    shapes = [(1, *shape) for shape in model.state_shapes]
    states = tuple(State(input=f"state_{k}", output=f"state_{k}_out", shape=s) for k, s in enumerate(shapes))
    level = msgspec.structs.replace(
        told.levels[0], file=_GRAPH, input=Tensor("spec", (1, ENGINE_BINS, 2)), output="spec_out", states=states
    )
    description = msgspec.structs.replace(
        told, title=f"{told.title}, adapted", levels=(level,), files={},
        quality={"own_gain_db": round(verdict.gain_db, 3)},
        provenance={"parent": told.id, "parent_version": told.version, "method": method},
    )  # fmt: skip
    lines = [f"- {'passed' if c.passed else 'FAILED'}: {c.name}, {c.text}" for c in verdict.checks]
    card = _CARD.format(
        title=description.title, parent=told.id, version=told.version, method=method, made_from=made_from,
        checks="\n".join([*lines, *(f"- left out: {text}" for text in verdict.left_out)]), card=parent.card,
    )  # fmt: skip
    frames = probe(_GOLDEN_S)
    return write_package(
        folder, description, graphs={_GRAPH: graph}, noisy=frames, clean=[whole(model, frames)], card=card, replace=True
    )
