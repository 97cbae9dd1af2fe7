"""The screen as lines: only what changed, at most one line a second, no cursor moves; for braille, speech and pipes."""

from __future__ import annotations

import sys
import time
from typing import Any

from pse_stream.control.client import ControlClient
from pse_stream.control.ctl_text import state_word
from pse_stream.control.reader import TelemetryReader
from pse_stream.control.tui.feed import RETRY_S, SILENT_S
from pse_stream.control.tui.model import Model
from pse_stream.errors import ControlError

LINE_S = 1.0
FIGURES_S = 30.0  # levels and load change all the time: said this often, and when something else is


def follow(client: ControlClient) -> None:
    """Print until Ctrl-C."""
    attempt = 0
    while True:
        try:
            greeting = client.connect()
            with TelemetryReader(client, ["state", "engine", "governor", "events", "meters"]) as reader:
                _say(f"connected to {greeting.instance}")
                attempt = 0
                _report(client, reader)
        except ControlError as error:
            client.close()
            pause = RETRY_S[min(attempt, len(RETRY_S) - 1)]
            attempt += 1
            _say(f"disconnected: {error.text} Trying again in {pause:g} s.")
            time.sleep(pause)


def _report(client: ControlClient, reader: TelemetryReader) -> None:
    """Sentences about what changes, until the denoiser is gone."""
    model, figures_due = Model(), 0.0
    said: dict[str, str] = {}
    told = 0
    while True:
        began = time.monotonic()
        for topic, message in reader.newest(LINE_S).items():
            model.hear(topic, message.data, began, message.uptime_s)
        if reader.silent_s > SILENT_S:
            client.status()  # raises if it is gone
        events = list(model.events)[told:]
        facts = _facts(model)
        changed = [text for name, text in facts.items() if said.get(name) != text]
        if events:
            told += 1
            _say(events[0])
        elif changed and model.state:
            said = facts
            _say(", ".join(changed))
        elif began >= figures_due and model.engine:
            figures_due = began + FIGURES_S
            _say(_figures(model))
        time.sleep(max(0.0, LINE_S - (time.monotonic() - began)))


def _facts(model: Model) -> dict[str, str]:
    """What is said when it changes."""
    state, settings, engine = model.state, model.settings, model.engine.get("engine", {})
    return {
        "state": state_word(state),
        "engine": f"engine {engine.get('id', '-')} level {engine.get('level', 0)}",
        "profile": f"profile {settings.get('profile') or 'none'}",
        "bypass": f"bypass {_on(settings.get('bypass'))}",
        "mute": f"mute {_on(settings.get('mute'))}",
        "recording": f"recording {_on(state.get('recording'))}",
        "limit": f"limit {settings.get('attenuation_db', 0):g} dB",
        "input": f"microphone {state.get('input_device') or 'none'}",
    }


def _figures(model: Model) -> str:
    latency, load = model.engine.get("latency", {}), model.engine.get("load", {})
    return (
        f"in {model.signal_in.rms_db:.0f}, out {model.signal_out.rms_db:.0f} dBFS, removed {model.removed_db:.0f} dB, "
        f"delay {latency.get('total_ms') or 0:.0f} ms, load {load.get('hop_ms_mean') or 0:.1f} of 8 ms"
    )


def _on(value: Any) -> str:
    return "on" if value else "off"


def _say(text: str) -> None:
    print(text, file=sys.stdout, flush=True)
