"""Wishes from the screen: every action that asks the denoiser for something, in a thread, so that drawing goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from textual.app import App

from pse_stream.control.client import Applied, ControlClient
from pse_stream.control.ctl_text import applied_line, doctor_lines
from pse_stream.control.ctl_verbs import step
from pse_stream.control.tui.dialogs import Choice, ChoiceDialog, ConfirmDialog, HelpDialog, NumberDialog
from pse_stream.control.tui.events import Events
from pse_stream.control.tui.model import Model
from pse_stream.errors import PseError

_NOTICE_ENDS_S = 1.0  # a notice leaves a little later than it is told to


class WishingApp(App[None]):
    """The part of the app that asks; actions as in actions.py.

    Parameters
    ----------
    client : ControlClient
        Asks; the feed has a twin of its own.
    model : Model
        What is known now.
    """

    def __init__(self, client: ControlClient, model: Model) -> None:
        super().__init__()
        self.client, self.model = client, model
        self._notices_end = 0.0  # monotonic seconds

    def ask(self, question: Callable[[ControlClient], Any], then: Callable[[Any], None]) -> None:
        """Put a question in a thread; `then` gets the answer here, an error is shown."""

        def work() -> None:
            try:
                answer = question(self.client)
            except PseError as error:
                self.call_from_thread(self._refused, error)
            else:
                self.call_from_thread(then, answer)

        self.run_worker(work, thread=True, group="ask")

    def notify(self, message: str, **more: Any) -> None:
        """Show a notice in a corner, and remember for how long it covers what is below."""
        self._notices_end = time.monotonic() + (more.get("timeout") or self.NOTIFICATION_TIMEOUT) + _NOTICE_ENDS_S
        super().notify(message, **more)

    def has_notices(self) -> bool:
        """True while a notice may be on the screen."""
        return time.monotonic() < self._notices_end

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
        count = int(self.model.governor.get("level_count") or engine.get("level_count", 1))
        steps = [Choice(str(i), f"stay on level {i}") for i in range(count)]
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

    def action_shutdown(self) -> None:
        """Q"""

        def answered(yes: bool | None) -> None:
            if yes:
                self.ask(ControlClient.shutdown, lambda _: self._said("you: the denoiser stops"))

        self.push_screen(ConfirmDialog("Stop the denoiser itself? Calls that use it will hear nothing."), answered)
