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


def test_a_family_that_cannot_be_taken_apart_is_refused_with_words() -> None:
    with pytest.raises(EngineError, match="house-m: its graph does not hold the weights expected") as caught:
        trainable(read_package(SHIPPED_FOLDER / "house-m"))
    assert caught.value.name == "not_trainable"
