"""A live spectrogram in half-block characters: two bands per row, one column per look, drawn as a sweep.

A picture that scrolls changes every cell ten times a second: that is what makes terminal displays cost a third of a
core. Here a cursor runs from left to right and only its column is drawn anew, as on an oscilloscope. The columns stand
in narrow tiles, because Textual sends a changed widget from its left edge on.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log10

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Static

from pse_stream.control.tui import glyphs

FLOOR_DB, TOP_DB = -95.0, -20.0  # of the ramp; quiet rooms below, loud vowels above
TILE_COLUMNS = 24  # wider: more bytes a column; narrower: more tiles for Textual to walk through at each frame
_HZ_MARKS = ((8000, "8k"), (2000, "2k"), (500, "500"))
_LABEL_CELLS = 4
_EMPTY = Segment(" ")


class Tile(Widget):
    """A few columns of a spectrogram; rows are given to Textual as they are kept."""

    DEFAULT_CSS = f"Tile {{ width: {TILE_COLUMNS}; height: 1fr; }}"

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[list[Segment]] = []
        self._strips: list[Strip] = []  # of the rows; kept, because Textual asks for all tiles when one has changed

    def on_resize(self) -> None:
        """Begin anew: what was drawn had another height."""
        self._rows = [[_EMPTY] * TILE_COLUMNS for _ in range(self.size.height)]
        self._strips = [Strip(row, TILE_COLUMNS) for row in self._rows]

    def put(self, column: int, cells: Sequence[Segment]) -> None:
        """Draw one column, top cell first; one of another height is left out."""
        if len(cells) == len(self._rows):
            for row, cell in zip(self._rows, cells, strict=True):
                row[column] = cell
            self._strips = [Strip(row, TILE_COLUMNS) for row in self._rows]
            self.refresh(Region(column, 0, 1, len(cells)))

    def render_lines(self, crop: Region) -> list[Strip]:
        """Rows as strips, without Textual's own cache, which would make every cell anew."""
        strips = self._strips[crop.y : crop.bottom]
        if crop.x or crop.width < TILE_COLUMNS:
            strips = [strip.crop(crop.x, crop.right) for strip in strips]
        return strips


class Spectrogram(Vertical, can_focus=True):
    """One signal's bands over time; `colour` False draws shades instead."""

    DEFAULT_CSS = """
    Spectrogram { height: 1fr; width: 1fr; }
    Spectrogram > Static { height: 1; text-style: dim; text-wrap: nowrap; }
    Spectrogram:focus > Static { text-style: bold; }
    Spectrogram > Horizontal { height: 1fr; overflow: hidden; }
    Spectrogram Static.scale { width: 4; height: 1fr; text-style: dim; }
    """
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
        self._tiles: list[Tile] = []
        self._columns = 0
        self._at = 0
        ramp = [Style(color=f"color({number})").color for number in glyphs.RAMP]
        self._styles = {
            (high, low): Style(color=ramp[high], bgcolor=ramp[low])
            for high in range(len(ramp))
            for low in range(len(ramp))
        }

    def compose(self) -> ComposeResult:
        """A title, and a row of scale and tiles."""
        line = "─" if self.unicode else "-"
        yield Static(f"{line} {self.title} ".ljust(400, line), markup=False)
        with Horizontal():
            yield Static(classes="scale", markup=False)

    def on_resize(self) -> None:
        """As many tiles as the width needs, and a scale as high as they are."""
        self._columns = max(1, self.size.width - _LABEL_CELLS)
        self._at = 0
        row = self.query_one(Horizontal)
        wanted = ceil(self._columns / TILE_COLUMNS)
        while len(self._tiles) > wanted:
            self._tiles.pop().remove()
        fresh = [Tile() for _ in range(wanted - len(self._tiles))]
        self._tiles += fresh
        row.mount(*fresh)
        height = max(1, self.size.height - 1)
        self.query_one(".scale", Static).update(Text("\n".join(_label(y, height) for y in range(height))))

    def add(self, bands_db: Sequence[int]) -> None:
        """Draw one more column, and the gap after it."""
        if not self._tiles:
            return
        height = max(1, self.size.height - 1)
        cells = [self._cell(bands_db, 2 * (height - y) - 1, 2 * height) for y in range(height)]
        self._put(self._at, cells)
        self._at = (self._at + 1) % self._columns
        self._put(self._at, [_EMPTY] * height)

    def _put(self, column: int, cells: Sequence[Segment]) -> None:
        tile, within = divmod(column, TILE_COLUMNS)
        self._tiles[tile].put(within, cells)

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
