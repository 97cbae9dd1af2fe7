"""A part of the screen that is text: it asks the model, and draws only the lines whose words have changed."""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from pse_stream.control.tui.canvas import Canvas
from pse_stream.control.tui.model import Model

LONG_LINE = 66  # columns; with fewer, long lines are broken


class Panel(Widget, can_focus=True):
    """Text made from the model; `HELP` is shown by `?` when the panel has the focus.

    Lines are kept as strips and made anew only when the words, the width or the look changed: Textual asks every widget
    for its lines at each frame, and its own cache costs more than these few lines do.
    """

    HELP = ""
    DEFAULT_CSS = "Panel { height: 1; }"
    MARK = True  # of the focus, in the first column

    def __init__(self, model: Model, *, unicode: bool = True, id: str | None = None) -> None:
        super().__init__(id=id)
        self.model, self.unicode = model, unicode
        self._strips: list[Strip] = []
        self._drawn: tuple[object, ...] = ()

    def refresh_text(self, canvas: Canvas | None = None) -> None:
        """Draw, if anything changed; on the canvas what changes all the time."""
        if not self.size:
            return
        text = self.text()
        stale = self.screen.has_class("-stale")
        look = (text.plain, tuple(text.spans), self.size, self.has_focus, stale, self.rich_style)
        if look != self._drawn:
            self._drawn = look
            before, self._strips = self._strips, self._strips_of(text, stale)
            self._show(before, canvas)

    def _show(self, before: list[Strip], canvas: Canvas | None) -> None:
        """Only the lines that are new."""
        if canvas is None or len(before) != len(self._strips):
            self.refresh()
            return
        for y, (old, new) in enumerate(zip(before, self._strips, strict=True)):
            if old != new:
                canvas.draw(self, Region(0, y, self.size.width, 1), [new])

    def _strips_of(self, text: Text, stale: bool) -> list[Strip]:
        """As many lines as there is room for, each as wide as the panel."""
        width = self.size.width
        base = self.rich_style + Style(dim=True) if stale else self.rich_style
        mark = ("▌" if self.unicode else ">") if self.has_focus else " "
        strips = []
        for line in self._lines(text)[: self.size.height]:
            line.truncate(self.columns, overflow="ellipsis" if self.unicode else "crop")
            segments = [Segment(mark)] if self.MARK else []
            segments += [segment for segment in line.render(self.app.console) if segment.text != "\n"]
            strips.append(Strip(Segment.apply_style(segments, base)).adjust_cell_length(width, base))
        blank = Strip.blank(width, base)
        return strips + [blank] * (self.size.height - len(strips))

    def _lines(self, text: Text) -> list[Text]:
        return list(text.split("\n", allow_blank=True))

    def render_lines(self, crop: Region) -> list[Strip]:
        """The strips as they are kept."""
        strips = self._strips[crop.y : crop.bottom]
        if crop.x or crop.width < self.size.width:
            strips = [strip.crop(crop.x, crop.right) for strip in strips]
        return strips + [Strip.blank(crop.width)] * (crop.height - len(strips))

    def on_resize(self) -> None:
        """Another width: other lines."""
        self.refresh_text()

    def on_focus(self) -> None:
        """Show the mark."""
        self.refresh_text()

    def on_blur(self) -> None:
        """Take it away."""
        self.refresh_text()

    def text(self) -> Text:
        """What to show now; lines no wider than `columns`."""
        raise NotImplementedError

    @property
    def columns(self) -> int:
        """Cells in a line."""
        return max(20, self.size.width - self.MARK)
