"""What can be done from the screen. The keys, the command palette, the footer and the help are made from this table."""

from __future__ import annotations

from typing import NamedTuple


class Action(NamedTuple):
    """One thing to do."""

    key: str  # as Textual names it
    shown: str  # as it is printed on the key
    name: str  # `action_<name>` of the app
    word: str  # in the footer; empty: not there
    summary: str
    method: str = ""  # of the protocol; greyed if the server cannot carry it out


ACTIONS = (
    Action("q,ctrl+c", "q", "leave", "quit", "Leave the screen; the denoiser runs on"),
    Action("question_mark,f1", "?", "explain", "help", "Help for the part that has the focus, and all keys"),
    Action("b", "b", "toggle_bypass", "bypass", "Hear the microphone as it is, with the same delay", "bypass.toggle"),
    Action("m", "m", "toggle_mute", "mute", "Digital silence, whatever else is set", "mute.toggle"),
    Action("plus", "+/-", "level_up", "level", "One quality step more", "level.set"),
    Action("minus", "-", "level_down", "", "One quality step less", "level.set"),
    Action("l", "l", "level", "", "Choose the quality step, or give the choice to the governor", "level.pin"),
    Action("e", "e", "engine", "engine", "Choose the engine", "engine.set"),
    Action("p", "p", "profile", "profile", "Choose the profile", "profile.use"),
    Action("a", "a", "attenuation", "", "How far noise may be turned down", "attenuation.set"),
    Action("i", "i", "input", "", "Choose the microphone", "devices.set"),
    Action("o", "o", "output", "", "Choose the output", "devices.set"),
    Action("g", "g", "gate", "", "Let the gate choose a specialist, or pin one", "gate.set"),
    Action("v", "v", "governor", "", "How eagerly the level follows the load", "governor.set"),
    Action("r", "r", "record", "rec", "Start or stop recording this session", "record.start"),
    Action("d", "d", "doctor", "doctor", "What is wrong with the sound path", "doctor"),
    Action("s", "s", "spectrogram", "", "Spectrograms on or off (off over ssh)"),
    Action("c", "c", "clear_clips", "", "Put the clip lamps out"),
    Action("slash", "/", "filter_events", "", "Show only events with these words"),
    Action("x", "x", "retry", "", "Try to connect now"),
    Action("Q", "Q", "shutdown", "", "Stop the denoiser itself", "shutdown"),
)


def key_table() -> str:
    """All keys, for the help."""
    rows = [f"  {action.shown:6} {action.summary}" for action in ACTIONS]
    rows.append("  Tab    to the next part; ctrl+p all of this by name")
    return "\n".join(rows)
