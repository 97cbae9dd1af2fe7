"""Whatever can be measured, by name or folder: a model package, a built-in engine, or the noisy input itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pse_stream.engines.contract import Engine
from pse_stream.training.evaluate import EvaluationError, Float32s, enhance


def open_engine(name: str) -> Engine:
    """The engine of a package folder, or the built-in one called `bypass` or `wiener`."""
    if name == "wiener":
        from pse_stream.engines.wiener import WienerEngine

        return WienerEngine()
    if name == "bypass":
        from pse_stream.engines.bypass import BypassEngine

        return BypassEngine()
    if (Path(name) / "model.toml").is_file():
        from pse_stream.engines.package import read_package
        from pse_stream.engines.player import play

        return play(read_package(Path(name)))
    raise EvaluationError(
        f"system {name!r} is unknown; expected noisy, bypass, wiener or the folder of a model package"
    )


def open_system(system: str | Engine, level: int | None = None) -> Callable[[Float32s], Float32s]:
    """A function from noisy to enhanced samples at 16 kHz; `noisy` gives back its input.

    `level` is the engine's level; None is its best.
    """
    if system == "noisy":
        return lambda noisy: noisy
    engine = open_engine(system) if isinstance(system, str) else system
    if level is not None and not 0 <= level <= engine.info.best_level:
        raise EvaluationError(f"{engine.info.id} has levels 0..{engine.info.best_level}; {level} is none of them")
    return lambda noisy: enhance(engine, noisy, level)
