"""The last events, as sentences, newest at the bottom; a filter and a way back."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from pse_stream.control.tui.model import Model
from pse_stream.control.tui.panel import Panel


class Events(Panel):
    """What happened: to the devices, the governor, the settings, and what you did."""

    HELP = (
        "Events: newest at the bottom. Up and down go back and forth, End to the newest. / shows only the events that "
        "hold your words; an empty filter shows all."
    )
    DEFAULT_CSS = "Events { height: 6; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "back(1)", "older", show=False),
        Binding("down,j", "back(-1)", "newer", show=False),
        Binding("end", "newest", "newest", show=False),
    ]

    def __init__(self, model: Model, *, unicode: bool = True, id: str | None = None) -> None:
        super().__init__(model, unicode=unicode, id=id)
        self.words = ""
        self._offset = 0  # events below the last one shown

    def show_only(self, words: str) -> None:
        """Events that hold these words; all if empty."""
        self.words, self._offset = words.strip().lower(), 0
        self.refresh_text()

    def action_back(self, by: int) -> None:
        """Go back or forth."""
        self._offset = min(max(0, self._offset + by), max(0, len(self._chosen()) - self._room()))
        self.refresh_text()

    def action_newest(self) -> None:
        """To the end."""
        self._offset = 0
        self.refresh_text()

    def text(self) -> Text:
        """As many as there is room for."""
        chosen = self._chosen()
        end = len(chosen) - self._offset
        shown = chosen[max(0, end - self._room()) : end]
        about = f' with "{self.words}"' if self.words else ""
        title = f" events{about}" + (f", {self._offset} newer below" if self._offset else "")
        text = Text(title, style="dim", no_wrap=True)
        for event in shown:
            text.append(f"\n {event}", "not dim")
        if not shown:
            text.append("\n nothing yet", "dim")
        return text

    def _chosen(self) -> list[str]:
        return [event for event in self.model.events if self.words in event.lower()]

    def _room(self) -> int:
        return max(1, self.size.height - 1)
