"""Network families, by name: fixed ones (`gru`, `hybrid`) and scalable ones (`bloom`, `diffuse`, `slim`)."""

from __future__ import annotations

from typing import Any

from pse_stream.training.models.base import Lesson, SpectralNet
from pse_stream.training.models.bloom import Bloom
from pse_stream.training.models.diffuse import Diffuse
from pse_stream.training.models.gru import GRUMasker
from pse_stream.training.models.hybrid import Hybrid
from pse_stream.training.models.slim import Slim

FAMILIES: dict[str, type[SpectralNet]] = {
    "gru": GRUMasker,
    "hybrid": Hybrid,
    "bloom": Bloom,
    "diffuse": Diffuse,
    "slim": Slim,
}


def build(family: str, **options: Any) -> SpectralNet:
    """A fresh network of `family`; unknown names and options are refused with what is known."""
    if family not in FAMILIES:
        raise ValueError(f"model family {family!r} is unknown; expected one of {', '.join(FAMILIES)}")
    return FAMILIES[family](**options)


__all__ = ["FAMILIES", "Lesson", "SpectralNet", "build"]
