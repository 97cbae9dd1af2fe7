"""Small screens over the screen: choose from a list, type a number, confirm, help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.validation import Number
from textual.widgets import Input, Label, OptionList, Static
from textual.widgets.option_list import Option

_BOX = """
    {name} {{ align: center middle; }}
    {name} > Vertical {{
        width: 64; max-width: 95%; height: auto; max-height: 80%; border: round ansi_cyan; padding: 0 1;
    }}
    {name} OptionList, {name} OptionList:focus {{ border: none; padding: 0; max-height: 14; }}
"""


class Choice(NamedTuple):
    """One line of a list."""

    value: str
    text: str


class ChoiceDialog(ModalScreen[str | None]):
    """Choose one of a list; None is nothing."""

    DEFAULT_CSS = _BOX.format(name="ChoiceDialog")
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "back")]

    def __init__(self, title: str, choices: Sequence[Choice], present: str | None) -> None:
        super().__init__()
        self._title, self._choices, self._present = title, choices, present

    def compose(self) -> ComposeResult:
        """The list, with the present value marked."""
        with Vertical():
            yield Label(self._title)
            marked = [
                Option(f"{'* ' if choice.value == self._present else '  '}{choice.text}", id=None)
                for choice in self._choices
            ]
            yield OptionList(*marked)
            yield Label("Enter takes it, Esc goes back", classes="hint")

    def on_mount(self) -> None:
        """Start at the present value."""
        values = [choice.value for choice in self._choices]
        if self._present in values:
            self.query_one(OptionList).highlighted = values.index(self._present)
        self.query_one(OptionList).focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Chosen."""
        self.dismiss(self._choices[event.option_index].value)


class NumberDialog(ModalScreen[float | None]):
    """Type a number within a range; None is nothing."""

    DEFAULT_CSS = _BOX.format(name="NumberDialog")
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "back")]

    def __init__(self, title: str, low: float, high: float, present: float) -> None:
        super().__init__()
        self._title, self._low, self._high, self._present = title, low, high, present

    def compose(self) -> ComposeResult:
        """A line to type in."""
        with Vertical():
            yield Label(f"{self._title} ({self._low:g} to {self._high:g})")
            yield Input(f"{self._present:g}", type="number", validators=[Number(self._low, self._high)])
            yield Label("Enter takes it, Esc goes back", classes="hint")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Typed."""
        if event.validation_result is not None and event.validation_result.is_valid:
            self.dismiss(float(event.value))
        else:
            self.query_one(".hint", Label).update(f"expected a number from {self._low:g} to {self._high:g}")


class ConfirmDialog(ModalScreen[bool]):
    """Yes or no; no is the default."""

    DEFAULT_CSS = _BOX.format(name="ConfirmDialog")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "dismiss(True)", "yes"),
        Binding("n,escape,enter", "dismiss(False)", "no"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """The question."""
        with Vertical():
            yield Label(self._question)
            yield Label("y yes    n no (default)", classes="hint")


class HelpDialog(ModalScreen[None]):
    """Text to read."""

    DEFAULT_CSS = _BOX.format(name="HelpDialog")
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q,enter", "dismiss(None)", "back")]

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> ComposeResult:
        """The text, scrolled if it must be."""
        with Vertical():
            yield Label(self._title)
            with VerticalScroll():
                yield Static(self._text, markup=False)
            yield Label("Esc goes back", classes="hint")
