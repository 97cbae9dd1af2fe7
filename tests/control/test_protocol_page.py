from __future__ import annotations

from pathlib import Path

from pse_stream.control.commands import METHODS
from pse_stream.control.faults import FAULTS
from pse_stream.control.protocol_page import page
from pse_stream.control.topics import TOPICS

PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "run: python -m pse_stream.control.protocol_page docs/protocol.md"
    )


def test_the_page_names_every_method_error_and_topic() -> None:
    text = page()
    for name in (*METHODS, *TOPICS):
        assert f"### {name}" in text
    for name in FAULTS:
        assert f"| `{name}` |" in text
