"""engines/gate/voice_package.py: what is written is what is read; a bad network replaces nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import pse_stream
from pse_stream.engines.gate.voice_package import read_voice, write_voice
from pse_stream.errors import EngineError

SHIPPED = Path(pse_stream.__file__).parent / "engines" / "packages" / "voice-embedding"


def test_written_again_it_is_the_same(tmp_path: Path) -> None:
    shipped = read_voice(SHIPPED)
    card = (SHIPPED / "card.md").read_text(encoding="utf-8")
    for _ in range(2):  # new, and in the place of another
        again = write_voice(
            tmp_path / "voice", shipped.description, graph=shipped.graph, golden=shipped.golden, card=card
        )
        assert again.graph == shipped.graph
        assert again.description.id == shipped.description.id
        assert all(np.array_equal(again.golden[name], array) for name, array in shipped.golden.items())
    assert [path.name for path in tmp_path.iterdir()] == ["voice"]


def test_one_that_cannot_be_read_replaces_nothing(tmp_path: Path) -> None:
    shipped = read_voice(SHIPPED)
    write_voice(tmp_path / "voice", shipped.description, graph=shipped.graph, golden=shipped.golden, card="a card")
    with pytest.raises(EngineError):
        write_voice(tmp_path / "voice", shipped.description, graph=b"other", golden={}, card="another card")
    assert read_voice(tmp_path / "voice").graph == shipped.graph
    assert [path.name for path in tmp_path.iterdir()] == ["voice"]
