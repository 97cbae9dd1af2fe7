"""The screen of a running denoiser: panels over a model, fed by a thread, changing things through a client of its own.

Drawing is bounded three times: the feed gives at most ten batches a second, panels draw only if their words changed,
and Textual draws at most 15 frames a second (TEXTUAL_FPS, set by whoever imports this first).
"""

from __future__ import annotations

import locale
import os
import time
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer, Input

from pse_stream.control.client import Applied, ControlClient
from pse_stream.control.ctl_text import applied_line, doctor_lines
from pse_stream.control.ctl_verbs import step
from pse_stream.control.tui.actions import ACTIONS, key_table
from pse_stream.control.tui.dialogs import Choice, ChoiceDialog, ConfirmDialog, HelpDialog, NumberDialog
from pse_stream.control.tui.events import Events
from pse_stream.control.tui.feed import Batch, Connected, Feed, Lost, Told
from pse_stream.control.tui.model import Model
from pse_stream.control.tui.panels import Delay, Devices, Gate, Governor, Header, Meters, Panel
from pse_stream.control.tui.spectrogram import Spectrogram
from pse_stream.errors import PseError

TEXT_S = 0.5  # words are drawn this often; meters with every batch
TOPICS = ("state", "engine", "gate", "governor", "events", "meters")
NARROW_COLUMNS, WIDE_COLUMNS = 72, 120
COLUMN_S = 0.19  # between columns of the spectrograms: five a second, jitter of the batches allowed for


class Heard(Message):
    """The feed has something to say."""

    def __init__(self, told: Told) -> None:
        super().__init__()
        self.told = told


class TuiApp(App[None]):
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
    .-wide #devices { height: 6; }
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
        super().__init__()
        self.HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (NARROW_COLUMNS, "-narrow"), (WIDE_COLUMNS, "-wide")]
        self.model = Model()
        self._client = client
        self._colour, self._unicode = not plain, unicode
        self._spectrogram = not os.environ.get("SSH_CONNECTION")
        topics = (*TOPICS, "spectrum") if self._spectrogram else TOPICS
        self._feed = Feed(client.twin(), topics, self._tell)
        self._column_due = self._words_due = 0.0
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
        self._client.close()

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
                    self._meters.refresh_text()
                if now >= self._words_due or "governor" in messages:
                    self._words_due = now + TEXT_S
                    self._draw_words()

    def _draw_spectrum(self, data: dict[str, Any], now: float) -> None:
        if now < self._column_due:
            return
        self._column_due = now + COLUMN_S
        for spectrogram in self._spectrograms:
            bands = data.get(spectrogram.key)
            if bands and self._spectrogram:
                spectrogram.add(bands)

    def _draw_words(self) -> None:
        for panel in self.query(Panel):
            panel.refresh_text()

    def _count_down(self) -> None:
        """While nothing is heard, time still passes."""
        if not self.model.connected:
            self._draw_words()

    def _set_stale(self, stale: bool) -> None:
        self.screen.set_class(stale, "-stale")
        self._draw_words()

    # -- asking, without the screen waiting -------------------------------------------------------------------------

    def ask(self, question: Callable[[ControlClient], Any], then: Callable[[Any], None]) -> None:
        """Put a question in a thread; `then` gets the answer here, an error is shown."""

        def work() -> None:
            try:
                answer = question(self._client)
            except PseError as error:
                self.call_from_thread(self._refused, error)
            else:
                self.call_from_thread(then, answer)

        self.run_worker(work, thread=True, group="ask")

    def _refused(self, error: PseError) -> None:
        self.notify(str(error), title=error.name, severity="error", markup=False)
        self._said(f"refused: {error.text}")

    def change(self, wish: Callable[[ControlClient], Applied]) -> None:
        """Change something and say so among the events."""
        self.ask(wish, lambda applied: self._said(f"you: {applied_line(applied)} (hop {applied.hop_index})"))

    def _said(self, text: str) -> None:
        self.model.note(text)
        self.query_one(Events).refresh_text()

    def _choose(self, title: str, choices: Iterable[Choice], present: str | None, then: Callable[[str], None]) -> None:
        found = list(choices)
        if not found:
            self.notify(f"there is nothing to choose from for {title}", severity="warning")
            return

        def chosen(value: str | None) -> None:
            if value is not None:
                then(value)

        self.push_screen(ChoiceDialog(title, found, present), chosen)

    # -- actions (actions.py) ---------------------------------------------------------------------------------------

    def action_toggle_bypass(self) -> None:
        """b"""
        self.change(ControlClient.toggle_bypass)

    def action_toggle_mute(self) -> None:
        """m"""
        self.change(ControlClient.toggle_mute)

    def action_level_up(self) -> None:
        """+"""
        self.change(lambda client: step(client, 1, pin=False))

    def action_level_down(self) -> None:
        """-"""
        self.change(lambda client: step(client, -1, pin=False))

    def action_level(self) -> None:
        """l"""
        engine = self.model.engine.get("engine", {})
        steps = [Choice(str(i), f"stay on level {i}") for i in range(int(engine.get("level_count", 1)))]
        present = str(engine.get("level")) if engine.get("level_pinned") else "auto"

        def chosen(value: str) -> None:
            self.change(lambda client: client.release_level() if value == "auto" else client.pin_level(int(value)))

        choices = [Choice("auto", "the governor's choice"), *steps]
        self._choose("quality step (0 is the cheapest)", choices, present, chosen)

    def action_engine(self) -> None:
        """e"""

        def show(rows: list[dict[str, Any]]) -> None:
            usable = [row for row in rows if row.get("usable", True)]
            choices = [Choice(row["id"], f"{row['id']:16} {row.get('title') or ''}") for row in usable]
            present = self.model.engine.get("engine", {}).get("id")
            self._choose("engine", choices, present, lambda id: self.change(lambda client: client.set_engine(id)))

        self.ask(ControlClient.engines, show)

    def action_profile(self) -> None:
        """p"""

        def show(answer: dict[str, Any]) -> None:
            choices = [Choice("", "nobody"), *(Choice(row["name"], row["name"]) for row in answer["profiles"])]
            self._choose(
                "profile",
                choices,
                answer["in_use"] or "",
                lambda name: self.change(lambda client: client.use_profile(name or None)),
            )

        self.ask(ControlClient.profiles, show)

    def action_attenuation(self) -> None:
        """a"""
        present = float(self.model.settings.get("attenuation_db", 30.0))

        def typed(value: float | None) -> None:
            if value is not None:
                self.change(lambda client: client.set_attenuation(value))

        self.push_screen(NumberDialog("turn noise down by at most, in dB; 100 is no limit", 0, 100, present), typed)

    def action_input(self) -> None:
        """i"""
        self._device("input", "inputs", lambda name: lambda client: client.set_devices(microphone=name))

    def action_output(self) -> None:
        """o"""
        self._device("output", "outputs", lambda name: lambda client: client.set_devices(output=name))

    def _device(self, setting: str, kind: str, wish: Callable[[str], Callable[[ControlClient], Applied]]) -> None:
        def show(answer: dict[str, Any]) -> None:
            rows = [row for row in answer[kind] if not row.get("is_ours") and not row.get("is_monitor")]
            choices = [Choice(row["name"], row.get("title") or row["name"]) for row in rows]
            present = str(self.model.settings.get(setting, "auto"))
            self._choose(setting, [Choice("auto", "auto"), *choices], present, lambda name: self.change(wish(name)))

        self.ask(ControlClient.devices, show)

    def action_gate(self) -> None:
        """g"""
        names = sorted(self.model.gate.get("scores") or {})
        choices = [Choice("auto", "auto"), Choice("off", "off"), *(Choice(name, name) for name in names)]

        def chosen(mode: str) -> None:
            if mode in ("auto", "off"):
                self.change(lambda client: client.set_gate("off" if mode == "off" else "auto"))
            else:
                self.change(lambda client: client.pin_specialist(mode))

        self._choose("gate", choices, self.model.gate.get("mode"), chosen)

    def action_governor(self) -> None:
        """v"""
        choices = [Choice(mode, mode) for mode in ("auto", "eco", "quality", "off")]
        self._choose(
            "governor",
            choices,
            self.model.governor.get("mode"),
            lambda mode: self.change(lambda client: client.set_governor(mode)),  # type: ignore[arg-type]
        )

    def action_record(self) -> None:
        """r"""
        recording = self.model.state.get("recording")
        self.change(ControlClient.stop_recording if recording else ControlClient.start_recording)

    def action_doctor(self) -> None:
        """d"""

        def show(answer: dict[str, Any]) -> None:
            self.push_screen(HelpDialog("doctor", doctor_lines(answer)))

        self.ask(ControlClient.doctor, show)

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

    def action_shutdown(self) -> None:
        """Q"""

        def answered(yes: bool | None) -> None:
            if yes:
                self.ask(ControlClient.shutdown, lambda _: self._said("you: the denoiser stops"))

        self.push_screen(ConfirmDialog("Stop the denoiser itself? Calls that use it will hear nothing."), answered)

    def action_leave(self) -> None:
        """q"""
        self.exit()

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Every action by name, and Textual's own."""
        for action in ACTIONS:
            run = getattr(self, f"action_{action.name}")
            yield SystemCommand(f"{action.summary} ({action.shown})", action.name, run)
        yield from super().get_system_commands(screen)
