"""A package and what plays it: one network, or an ensemble."""

from __future__ import annotations

from pse_stream.engines.contract import Engine
from pse_stream.engines.package import Package


def play(package: Package) -> Engine:
    """A fresh stream of a package.

    Raises
    ------
    EngineError
        As `OnnxEngine` and `SpecialistsEngine`.
    """
    if package.description.ensemble is not None:
        from pse_stream.engines.specialists import SpecialistsEngine

        return SpecialistsEngine(package)
    from pse_stream.engines.onnx import OnnxEngine

    return OnnxEngine(package)
