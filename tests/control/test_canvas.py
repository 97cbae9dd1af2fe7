"""Drawing past the compositor: where the cells go, and when the usual way is taken instead."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

pytest.importorskip("textual")

from rich.segment import Segment
from rich.style import Style
from textual.app import App, ComposeResult
from textual.containers import Horizontal
from textual.geometry import Region
from textual.screen import ModalScreen
from textual.strip import Strip
from textual.widgets import Static

from pse_stream.control.tui.canvas import Canvas

CELL = Strip([Segment("x", Style(color="red"))], 1)


class Part(Static):
    """Counts how often it is asked to draw itself the usual way."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.refreshed: list[Region] = []

    def refresh(self, *regions: Region, **more: Any) -> Part:
        self.refreshed += regions
        super().refresh(*regions, **more)
        return self


class Two(App[None]):
    CSS = "Static { width: 10; height: 5; } Horizontal { height: 3; }"

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Part("left")
            yield Part("right")


def drawn(part: Region, *, covered: bool = False, dialog: bool = False) -> tuple[str, list[Region]]:
    """What is written for a part of the right widget, and what was left to the compositor."""
    written: list[str] = []

    async def run() -> list[Region]:
        app = Two()
        async with app.run_test(size=(40, 10)) as pilot:
            widget = app.query_one("#right", Part)
            widget.refreshed.clear()
            if dialog:
                app.push_screen(ModalScreen())
                await pilot.pause()
            seen = SimpleNamespace(
                _driver=SimpleNamespace(write=written.append),
                is_headless=False,
                screen=app.screen,
                console=app.console,
            )
            canvas = Canvas(cast("App[None]", seen), covered=lambda: covered)
            canvas.draw(widget, part, [CELL] * part.height)
            canvas.flush()
            canvas.flush()
            return widget.refreshed

    regions = asyncio.run(run())
    return "".join(written), regions


def test_cells_are_written_where_they_stand_and_the_cursor_comes_back() -> None:
    written, left = drawn(Region(2, 1, 1, 2))
    assert left == []
    assert written.startswith("\x1b7\x1b[2;13H") and written.endswith("\x1b8")
    assert "\x1b[3;13H" in written
    assert written.count("x") == 2


@pytest.mark.parametrize(
    ("part", "look"),
    [
        (Region(2, 1, 1, 1), {"covered": True}),  # a notice lies somewhere above
        (Region(2, 1, 1, 1), {"dialog": True}),  # a dialog does
        (Region(2, 2, 1, 2), {}),  # its container cuts it off after three lines
        (Region(9, 0, 2, 1), {}),  # beyond its own edge
    ],
)
def test_what_may_be_covered_or_cut_off_goes_the_usual_way(part: Region, look: dict[str, bool]) -> None:
    written, left = drawn(part, **look)
    assert written == ""
    assert left == [part]
