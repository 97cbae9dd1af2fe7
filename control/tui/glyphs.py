"""Bars, sparks and shades: figures as characters, with colour where it may be and without it where it may not.

Only the terminal's own 16 colours carry meaning, and each is repeated by a word or a place. The spectrogram's ramp uses
the 256-colour palette, blue to orange to white, so that it reads with any colour vision; without colour it is shades.
"""

from __future__ import annotations

from collections.abc import Sequence

BOTTOM_DB = -60.0  # of the meters
SPEECH_DB, HOT_DB = -18.0, -6.0  # above: attention, soon clipped

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_SPARKS = " ▁▂▃▄▅▆▇█"
_ASCII_SPARKS = " .:-=+*#"

#: 256-colour palette, silence to loud.
RAMP = (16, 17, 18, 19, 25, 31, 67, 137, 172, 208, 214, 221, 229, 231)
SHADES = " ░▒▓█"
ASCII_SHADES = " .:-=#"


def bar(level_db: float, mark_db: float, cells: int, *, unicode: bool) -> str:
    """A meter from -60 to 0 dBFS as long as `cells`, with a mark at the held peak."""
    share = _share(level_db)
    whole, rest = divmod(share * cells, 1.0)
    full = "█" if unicode else "#"
    text = full * int(whole)
    if unicode and int(whole) < cells:
        text += _EIGHTHS[int(rest * 8)].strip()
    body = list(text.ljust(cells, " " if unicode else "-"))[:cells]
    if mark_db > BOTTOM_DB:
        body[min(cells - 1, int(_share(mark_db) * cells))] = "│" if unicode else "|"
    return "".join(body)


def _share(level_db: float) -> float:
    return min(1.0, max(0.0, 1.0 - level_db / BOTTOM_DB))


def spark(values: Sequence[float], top: float, cells: int, *, unicode: bool) -> str:
    """The last `cells` values as a line of small bars, newest right; `top` is a full one."""
    steps = _SPARKS if unicode else _ASCII_SPARKS
    shown = list(values)[-cells:]
    drawn = "".join(steps[_step(value / top, len(steps), shown=value > 0)] for value in shown)
    return drawn.rjust(cells)


def _step(share: float, count: int, shown: bool) -> int:
    """An index; what is more than nothing is never drawn as nothing."""
    return min(count - 1, max(1 if shown else 0, round(share * (count - 1))))


def loudness_step(level_db: float, steps: int, *, floor_db: float, top_db: float) -> int:
    """Index into a ramp of `steps` for one cell of a spectrogram."""
    share = (level_db - floor_db) / (top_db - floor_db)
    return min(steps - 1, max(0, int(share * steps)))


def meter_style(level_db: float) -> str:
    """Colour of a level; the words beside it say the same."""
    if level_db > HOT_DB:
        return "yellow bold"
    return "cyan" if level_db > SPEECH_DB else "green"
