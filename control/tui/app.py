"""The screen of a running denoiser: panels over a model, fed by a thread, changing things through a client of its own.

Drawing is bounded: the feed gives at most ten batches a second, panels draw only the lines that changed, what moves is
drawn past the compositor (canvas.py), and Textual draws at most 15 frames a second (TEXTUAL_FPS, set by whoever imports
this first).
"""

from __future__ import annotations

import locale
import os
import time
from collections.abc import Iterable
from typing import Any, ClassVar

from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer, Input

from pse_stream.control.client import ControlClient
from pse_stream.control.tui.actions import ACTIONS, key_table
from pse_stream.control.tui.canvas import Canvas
from pse_stream.control.tui.dialogs import HelpDialog
from pse_stream.control.tui.events import Events
from pse_stream.control.tui.feed import Batch, Connected, Feed, Lost, Told
from pse_stream.control.tui.model import Model
from pse_stream.control.tui.panel import Panel
from pse_stream.control.tui.panels import Delay, Devices, Gate, Governor, Header, Meters
from pse_stream.control.tui.spectrogram import Spectrogram
from pse_stream.control.tui.wishes import WishingApp

TEXT_S = 0.5  # words are drawn this often; meters with every batch
TOPICS = ("state", "engine", "gate", "governor", "events", "meters")
NARROW_COLUMNS, WIDE_COLUMNS = 72, 120
COLUMN_S = 0.19  # between columns of the spectrograms: five a second, jitter of the batches allowed for


class Heard(Message):
    """The feed has something to say."""

    def __init__(self, told: Told) -> None:
        super().__init__()
        self.told = told


class TuiApp(WishingApp):
    """One denoiser on one screen.

    Parameters
    ----------
    client : ControlClient
        Says where the denoiser is; a twin of it listens.
    colour : str
        auto, always or never.
    """

    TITLE = "pse-stream"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            action.key, action.name, action.word or action.summary, key_display=action.shown, show=bool(action.word)
        )
        for action in ACTIONS
    ]
    CSS = """
    Screen { layout: vertical; }
    #header { height: 1; }
    #left { height: auto; }
    #sound { height: 1fr; min-height: 4; layout: horizontal; }
    #sound.-off { display: none; }
    #filter { display: none; height: 1; border: none; padding: 0 1; }
    #filter.-open { display: block; }
    .hint { text-style: dim; }
    #devices { height: 2; }
    #meters { height: 2; }
    #delay { height: 3; }
    .-wide #devices { height: 7; }
    .-wide #gate { height: 7; }
    .-narrow #gate { display: none; }
    .-narrow #governor { display: none; }
    .-wide #body { layout: horizontal; height: 1fr; }
    .-wide #left { width: 62; height: 1fr; }
    .-wide #left Panel { margin-bottom: 1; }
    .-wide #sound { layout: vertical; width: 1fr; height: 1fr; }
    .-wide #governor { height: 1fr; }
    .-narrow #body { layout: vertical; height: 1fr; }
    .-tiny #body { layout: vertical; height: 1fr; }
    .-tiny #devices { height: 4; }
    .-tiny #gate { display: none; }
    .-tiny #governor { display: none; }
    .-tiny #sound { display: none; }
    .-tiny #events { height: 5; }
    """

    def __init__(self, client: ControlClient, *, colour: str = "auto") -> None:
        plain = colour == "never" or (colour == "auto" and bool(os.environ.get("NO_COLOR")))
        unicode = "utf" in locale.getpreferredencoding(False).lower()
        super().__init__(client, Model())
        self.HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (NARROW_COLUMNS, "-narrow"), (WIDE_COLUMNS, "-wide")]
        self._colour, self._unicode = not plain, unicode
        self._spectrogram = not os.environ.get("SSH_CONNECTION")
        topics = (*TOPICS, "spectrum") if self._spectrogram else TOPICS
        self._feed = Feed(client.twin(), topics, self._tell)
        self._column_due = self._words_due = 0.0
        self._canvas = Canvas(self, covered=self.has_notices)
        self._meters = Meters(self.model, unicode=unicode, id="meters")
        look = {"colour": self._colour, "unicode": unicode}
        self._spectrograms = [
            Spectrogram(key="in_db", title="in", id="spectrum-in", **look),
            Spectrogram(key="out_db", title="out", id="spectrum-out", **look),
        ]

    def compose(self) -> ComposeResult:
        """Every part once; where it stands is a matter of the width."""
        model, unicode = self.model, self._unicode
        yield Header(model, unicode=unicode, id="header")
        with Container(id="body"):
            with Vertical(id="left"):
                yield Devices(model, unicode=unicode, id="devices")
                yield self._meters
                yield Delay(model, unicode=unicode, id="delay")
                yield Gate(model, unicode=unicode, id="gate")
                yield Governor(model, unicode=unicode, id="governor")
            with Container(id="sound"):
                yield from self._spectrograms
        yield Events(model, unicode=unicode, id="events")
        yield Input(placeholder="show only events with these words; Enter, Esc", id="filter", compact=True)
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Look like the terminal does, and begin to listen."""
        self.theme = "ansi-dark"
        self.query_one("#sound").set_class(not self._spectrogram, "-off")
        self.query_one("#header").can_focus = False
        self._set_stale(True)
        self.set_interval(TEXT_S, self._count_down)
        self._feed.start()

    def on_unmount(self) -> None:
        """Stop listening; the denoiser does not notice."""
        self._feed.stop()
        self.client.close()

    def _tell(self, told: Told) -> None:
        """In the feed's thread."""
        self.post_message(Heard(told))

    # -- what is heard ----------------------------------------------------------------------------------------------

    def on_heard(self, message: Heard) -> None:
        """From the feed's thread to the model, and what moves fast to the screen."""
        now = time.monotonic()
        match message.told:
            case Connected(server=server, role=role):
                self.model.connect(server, role)
                self._set_stale(False)
            case Lost(reason=reason, retry_at=retry_at):
                self.model.lose(reason, retry_at)
                self._set_stale(True)
            case Batch(messages=messages):
                for topic, said in messages.items():
                    self.model.hear(topic, said.data, now, said.uptime_s)
                if "spectrum" in messages:
                    self._draw_spectrum(messages["spectrum"].data, now)
                if "meters" in messages:
                    self._meters.refresh_text(self._canvas)
                if now >= self._words_due or "governor" in messages:
                    self._words_due = now + TEXT_S
                    self._draw_words(self._canvas)
                self._canvas.flush()

    def _draw_spectrum(self, data: dict[str, Any], now: float) -> None:
        if now < self._column_due:
            return
        self._column_due = now + COLUMN_S
        for spectrogram in self._spectrograms:
            bands = data.get(spectrogram.key)
            if bands and self._spectrogram:
                spectrogram.add(bands, self._canvas)

    def _draw_words(self, canvas: Canvas | None = None) -> None:
        for panel in self.query(Panel):
            panel.refresh_text(canvas)

    def _count_down(self) -> None:
        """While nothing is heard, time still passes."""
        if not self.model.connected:
            self._draw_words()

    def _set_stale(self, stale: bool) -> None:
        self.screen.set_class(stale, "-stale")
        self._draw_words()

    # -- what changes the screen only -------------------------------------------------------------------------------

    def action_spectrogram(self) -> None:
        """s"""
        self._spectrogram = not self._spectrogram
        self._feed.listen("spectrum", self._spectrogram)
        self.query_one("#sound").set_class(not self._spectrogram, "-off")

    def action_clear_clips(self) -> None:
        """c"""
        self.model.signal_in.clear_clips()
        self.model.signal_out.clear_clips()
        self._meters.refresh_text()

    def action_filter_events(self) -> None:
        """/"""
        line = self.query_one("#filter", Input)
        line.add_class("-open")
        line.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """The filter of the events."""
        if event.input.id == "filter":
            self.query_one(Events).show_only(event.value)
            event.input.remove_class("-open")
            self.query_one(Events).focus()

    def action_explain(self) -> None:
        """?"""
        text = (
            getattr(self.focused, "HELP", "") or "Tab goes from part to part; ? explains the part that has the focus."
        )
        self.push_screen(HelpDialog("help", f"{text}\n\n{key_table()}"))

    def action_retry(self) -> None:
        """x"""
        self._feed.retry_now()

    def action_leave(self) -> None:
        """q"""
        self.exit()

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Every action by name, and Textual's own."""
        for action in ACTIONS:
            run = getattr(self, f"action_{action.name}")
            yield SystemCommand(f"{action.summary} ({action.shown})", action.name, run)
        yield from super().get_system_commands(screen)
