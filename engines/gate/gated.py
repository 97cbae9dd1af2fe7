"""What an engine with specialists offers beyond the contract, and how to ask any engine for it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol, runtime_checkable

from pse_stream.engines.contract import Engine
from pse_stream.errors import EngineError

AUTO, OFF = "auto", "off"

GateMode = str  # "auto", "off", or the name of a specialist


class GateStatus(NamedTuple):
    """What a gate does; immutable, so that any thread may read it."""

    mode: GateMode = OFF
    active: str = ""  # the name of who is heard, or soon will be; empty if there are no specialists
    scores: Mapping[str, float] = MappingProxyType({})  # shares by name; zeros while the gate has not chosen


@runtime_checkable
class Gated(Protocol):
    """An engine that has specialists."""

    specialists: tuple[str, ...]

    def set_gate(self, mode: GateMode) -> None:
        """Let the gate choose ("auto"), play the generalist ("off"), or one specialist by name; between two steps.

        Raises
        ------
        EngineError
            `unknown_specialist`.
        """
        ...

    @property
    def gate_status(self) -> GateStatus:
        """What the gate does now."""
        ...


def use_gate(engine: Engine, mode: GateMode) -> None:
    """Set the gate of any engine; one without specialists takes "auto" and "off", which mean nothing to it.

    Raises
    ------
    EngineError
        `unknown_specialist`: it has specialists, but none of this name; `no_specialists`: it has none.
    """
    if isinstance(engine, Gated):
        engine.set_gate(mode)
    elif mode not in (AUTO, OFF):
        raise EngineError(
            f"the engine {engine.info.id} has no specialists, so {mode!r} cannot be pinned.",
            hint="Choose an engine that has some: pse-stream engines lists them.",
            name="no_specialists",
        )


def gate_status(engine: Engine) -> GateStatus:
    """What the gate of any engine does."""
    return engine.gate_status if isinstance(engine, Gated) else GateStatus()
