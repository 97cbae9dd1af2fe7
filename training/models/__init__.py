"""Network families, by name: `gru` (two-layer maskers) and `hybrid` (house-s, house-m)."""

from __future__ import annotations

from pse_stream.training.models.base import SpectralNet
from pse_stream.training.models.gru import GRUMasker
from pse_stream.training.models.hybrid import Hybrid

FAMILIES: dict[str, type[SpectralNet]] = {"gru": GRUMasker, "hybrid": Hybrid}


def build(family: str, **options: int) -> SpectralNet:
    """A fresh network of `family`; unknown names and options are refused with what is known."""
    if family not in FAMILIES:
        raise ValueError(f"model family {family!r} is unknown; expected one of {', '.join(FAMILIES)}")
    return FAMILIES[family](**options)


__all__ = ["FAMILIES", "SpectralNet", "build"]
