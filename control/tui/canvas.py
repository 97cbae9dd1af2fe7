"""Draw what moves past Textual's compositor.

Textual walks through every widget that shares a line with a change, at each frame: with meters ten times a second and
two spectrograms that alone took 6 % of a core. What moves is drawn here instead, where it stands, in one write per
look. Everything else, and everything while something lies above, goes the usual way; both ways show the same strips.
"""

from __future__ import annotations

from collections.abc import Callable

from textual.app import App
from textual.errors import NoWidget
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

_KEEP, _BACK = "\x1b7", "\x1b8"  # the cursor is where a reader of braille expects it


class Canvas:
    """The terminal behind an app.

    Parameters
    ----------
    covered : callable
        True while something lies above a part of the screen; dialogs are noticed without it.
    """

    def __init__(self, app: App[None], covered: Callable[[], bool]) -> None:
        self._app, self._covered = app, covered
        self._pieces: list[str] = []

    def draw(self, widget: Widget, part: Region, strips: list[Strip]) -> None:
        """Show a part of a widget.

        Parameters
        ----------
        part : Region
            In cells of the widget.
        strips : list of Strip
            One per line of `part`, as wide as it is; what `widget.render_lines(part)` gives.
        """
        if not widget.is_attached:  # the screen is being taken down
            return
        where = part.translate(widget.region.offset)
        if not self._is_bare(widget, where):
            widget.refresh(part)
            return
        console = self._app.console
        for y, strip in zip(where.line_range, strips, strict=True):
            self._pieces.append(f"\x1b[{y + 1};{where.x + 1}H{strip.render(console)}")

    def flush(self) -> None:
        """Write what was drawn."""
        driver = self._app._driver
        if self._pieces and driver is not None:
            driver.write(f"{_KEEP}{''.join(self._pieces)}{_BACK}")
        self._pieces.clear()

    def _is_bare(self, widget: Widget, where: Region) -> bool:
        """True if all of it is on the screen and nothing lies above."""
        screen = widget.screen
        if self._app._driver is None or self._app.is_headless or self._app.screen is not screen or self._covered():
            return False
        try:
            return screen.find_widget(widget).visible_region.contains_region(where)
        except NoWidget:
            return False
