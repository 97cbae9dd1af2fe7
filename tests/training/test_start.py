"""The weights in a package are the weights that were written into it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pse_stream.engines.package import read_package
from pse_stream.engines.registry import SHIPPED_FOLDER
from pse_stream.errors import EngineError
from pse_stream.training.start import trainable

from .student import tiny, write_student


@pytest.mark.parametrize("width", [8, 16])
def test_weights_come_back_from_a_package(tmp_path: Path, width: int) -> None:
    model = tiny(seed=width, width=width)
    again = trainable(write_student(tmp_path / "tiny", model))
    expected = model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in again.state_dict().items())
    assert again.state_dict().keys() == expected.keys()


def test_the_shipped_hybrid_comes_back_as_well() -> None:
    package = read_package(SHIPPED_FOLDER / "house-m")  # its golden frames are played on the way
    assert sum(p.numel() for p in trainable(package).parameters()) == package.description.levels[-1].parameters


def test_an_unknown_family_is_refused_with_words(tmp_path: Path) -> None:
    package = write_student(tmp_path / "tiny", tiny(), family="magic")
    with pytest.raises(EngineError, match="tiny: its family is 'magic'") as caught:
        trainable(package)
    assert caught.value.name == "not_trainable"


def test_weights_that_give_other_golden_frames_are_refused(tmp_path: Path) -> None:
    package = write_student(tmp_path / "tiny", tiny(seed=1), golden=tiny(seed=2))
    with pytest.raises(EngineError, match="other golden frames"):
        trainable(package)
