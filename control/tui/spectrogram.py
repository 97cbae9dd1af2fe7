"""A live spectrogram in half-block characters: two bands per row, one column per look, drawn as a sweep.

A picture that scrolls changes every cell ten times a second: that is what makes terminal displays cost a third of a
core. Here a cursor runs from left to right and only its column is drawn anew, as on an oscilloscope.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log10

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from pse_stream.control.tui import glyphs
from pse_stream.control.tui.canvas import Canvas

FLOOR_DB, TOP_DB = -95.0, -20.0  # of the ramp; quiet rooms below, loud vowels above
_HZ_MARKS = ((8000, "8k"), (2000, "2k"), (500, "500"))
_LABEL_CELLS = 4
_EMPTY = Segment(" ")
_DIM, _BOLD = Style(dim=True), Style(bold=True)


class Spectrogram(Widget, can_focus=True):
    """One signal's bands over time under a title; `colour` False draws shades instead.

    Parameters
    ----------
    key : str
        Of the spectrum topic: `in_db` or `out_db`.
    """

    DEFAULT_CSS = "Spectrogram { height: 1fr; width: 1fr; }"
    HELP = (
        "Spectrogram: low notes at the bottom (mel scale, 0 to 8 kHz), time runs to the right and starts again at "
        "the left; the gap is now. Bright is loud. Compare `in` with `out`: what is only in `in` was taken away."
    )

    def __init__(
        self, *, key: str, title: str, colour: bool = True, unicode: bool = True, id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self.key, self.title = key, title
        self.colour, self.unicode = colour, unicode
        self._rows: list[list[Segment]] = []  # cells, without title and scale
        self._labels: list[Segment] = []
        self._at = 0  # the column that is drawn next
        ramp = [Style(color=f"color({number})").color for number in glyphs.RAMP]
        self._styles = {
            (high, low): Style(color=ramp[high], bgcolor=ramp[low])
            for high in range(len(ramp))
            for low in range(len(ramp))
        }

    @property
    def columns(self) -> int:
        """Cells of time."""
        return max(1, self.size.width - _LABEL_CELLS)

    @property
    def drawn(self) -> int:
        """Columns that show something; the gap does not."""
        return sum(cell is not _EMPTY for cell in self._rows[-1]) if self._rows else 0

    def on_resize(self) -> None:
        """Begin anew: what was drawn had another size."""
        height = max(1, self.size.height - 1)
        self._rows = [[_EMPTY] * self.columns for _ in range(height)]
        self._labels = [Segment(_label(y, height).ljust(_LABEL_CELLS), _DIM) for y in range(height)]
        self._at = 0
        self.refresh()

    def add(self, bands_db: Sequence[int], canvas: Canvas) -> None:
        """Draw one more column, and the gap after it."""
        if not self._rows:
            return
        height = len(self._rows)
        cells = [self._cell(bands_db, 2 * (height - y) - 1, 2 * height) for y in range(height)]
        self._put(self._at, cells, canvas)
        self._at = (self._at + 1) % self.columns
        self._put(self._at, [_EMPTY] * height, canvas)

    def _put(self, column: int, cells: Sequence[Segment], canvas: Canvas) -> None:
        for row, cell in zip(self._rows, cells, strict=True):
            row[column] = cell
        part = Region(column + _LABEL_CELLS, 1, 1, len(cells))
        canvas.draw(self, part, [Strip([cell], 1) for cell in cells])

    def render_lines(self, crop: Region) -> list[Strip]:
        """Title and rows; asked for when something else has changed, a column is drawn by itself."""
        line = "─" if self.unicode else "-"
        title = f"{line} {self.title} ".ljust(self.size.width, line)
        lines = [[Segment(title, _BOLD if self.has_focus else _DIM)]]
        lines += [[label, *row] for label, row in zip(self._labels, self._rows, strict=True)]
        strips = [Strip(line).adjust_cell_length(self.size.width) for line in lines[crop.y : crop.bottom]]
        strips += [Strip.blank(self.size.width)] * (crop.height - len(strips))
        return [strip.crop(crop.x, crop.right) for strip in strips]

    def _cell(self, bands_db: Sequence[int], high: int, rows: int) -> Segment:
        """Two rows of pixels in one character: the upper one is `high`."""
        top, bottom = _at(bands_db, high, rows), _at(bands_db, high - 1, rows)
        if self.colour and self.unicode:
            count = len(glyphs.RAMP)
            return Segment("▀", self._styles[_shade(top, count), _shade(bottom, count)])
        shades = glyphs.SHADES if self.unicode else glyphs.ASCII_SHADES
        return Segment(shades[_shade(max(top, bottom), len(shades))])


def _shade(level_db: float, steps: int) -> int:
    return glyphs.loudness_step(level_db, steps, floor_db=FLOOR_DB, top_db=TOP_DB)


def _label(y: int, height: int) -> str:
    """Frequencies at the rows where they are."""
    for hz, text in _HZ_MARKS:
        if height > 3 and round((1.0 - _mel_share(hz)) * (height - 1)) == y:
            return text.rjust(_LABEL_CELLS - 1)
    return ""


def _at(column: Sequence[int], row: int, rows: int) -> int:
    """The loudest band of those that share a row."""
    first = row * len(column) // rows
    last = max(first + 1, (row + 1) * len(column) // rows)
    return max(column[first:last])


def _mel_share(hz: float) -> float:
    """Where a frequency lies between 0 and 8 kHz on the mel scale."""
    return log10(1.0 + hz / 700.0) / log10(1.0 + 8000.0 / 700.0)
