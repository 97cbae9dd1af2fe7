"""The parts of the screen that are text: header, devices, meters, delay and load, gate, governor."""

from __future__ import annotations

import time
from typing import Any

from rich.text import Text

from pse_stream.control.tui import glyphs
from pse_stream.control.tui.model import HOP_MS, Signal
from pse_stream.control.tui.panel import LONG_LINE, Panel

WIDE_LINE = 100  # columns; with fewer, our name is left out
STATE_STYLES = {
    "running": "bold green",
    "bypassed": "bold yellow",
    "degraded": "bold yellow",
    "paused": "bold cyan",
    "stalled": "bold red",
    "failed": "bold red",
}


class Header(Panel):
    """State, profile, engine and level, recording lamp, delay, load, losses, and whether any of it is still true."""

    MARK = False

    def text(self) -> Text:
        """One line."""
        now, model = time.monotonic(), self.model
        if not model.connected:
            return self._lost(now)
        state, engine = model.state, model.engine.get("engine", {})
        word = str(state.get("state", "starting"))
        wide, room = self.columns > WIDE_LINE, self.columns > LONG_LINE
        text = Text(" pse-stream " if wide else " ", style="bold", no_wrap=True)
        text.append(f" {word.upper()} ", style=f"reverse {STATE_STYLES.get(word, 'bold')}")
        if room:
            text.append(f"  {model.settings.get('profile') or 'no profile'}")
        text.append("  ")
        text.append(
            f"{engine.get('id', '-')} level {engine.get('level', 0)}/{engine.get('level_count', 1) - 1}", "bold"
        )
        if engine.get("level_pinned"):
            text.append(" pinned")
        text.append("  ")
        text.append(" REC ", "reverse bold red") if state.get("recording") else text.append("REC off", "dim")
        if room:
            self._health(text)
        _right(text, f"{_clock(model.uptime_s)}  {model.server} ", self.columns)
        return text

    def _health(self, text: Text) -> None:
        """Delay, load and what was lost, in a few words."""
        engine = self.model.engine
        load = 100.0 * _figure(engine.get("load", {}), "hop_ms_mean") / HOP_MS
        counters = engine.get("counters", {})
        lost = sum(int(counters.get(name) or 0) for name in ("dropped_hops", "underruns", "overruns"))
        text.append(f"  {_figure(engine.get('latency', {}), 'total_ms'):.0f} ms  load {load:.0f} %  ", "not bold")
        text.append(f"lost {lost}", "yellow bold" if lost else "not bold")

    def _lost(self, now: float) -> Text:
        text = Text(" pse-stream ", style="bold", no_wrap=True)
        text.append(" DISCONNECTED ", "reverse bold")
        wait = self.model.retry_in(now)
        text.append(f" retry in {wait} s " if wait else " trying ", "bold")
        age = f"stale {self.model.age(now)} s  " if self.model.heard_at else ""
        text.append(f" {age}{self.model.lost_reason}")
        text.truncate(self.columns, overflow="ellipsis")
        return text


class Devices(Panel):
    """What is recorded, what is offered, who listens; bypass and mute in two places of their own."""

    HELP = (
        "Devices: the microphone, and the name to choose in your call program. Readers are the programs that listen. "
        "Bypass (b) lets the microphone through with the same delay. Mute (m) is digital silence, whatever else is set."
    )

    def text(self) -> Text:
        """Two lines, or as many as a narrow column needs."""
        state, settings = self.model.state, self.model.settings
        rate = state.get("sample_rate") or 0
        readers = "?" if state.get("readers") is None else state["readers"]
        source = state.get("input_device") or "no microphone"
        target = state.get("virtual_mic") or state.get("output_device") or "no output"
        text = Text(no_wrap=True)
        text.append(f" {source}", "bold").append(f" {rate / 1000:g} kHz")
        text.append(self._break()).append(f'-> "{target}"', "bold").append(f"  readers {readers}\n")
        _switch(text, " bypass ", bool(settings.get("bypass")), "yellow")
        _switch(text, "   mute ", bool(settings.get("mute")), "red")
        text.append(f"   limit {settings.get('attenuation_db', 0):g} dB")
        text.append(self._break()).append(
            f"gate {settings.get('gate', '-')}{self._specialist()}   governor {settings.get('governor', '-')}"
        )
        if state.get("reason"):
            text.append(self._break()).append(str(state["reason"]), "yellow")
        return text

    def _specialist(self) -> str:
        """The one in use, where there is no room for the gate's own part of the screen."""
        active = self.model.gate.get("active")
        return f" ({active})" if active and active != self.model.settings.get("gate") else ""

    def _lines(self, text: Text) -> list[Text]:
        """Long reasons go on in the next line, where there is room for one."""
        if self.columns > LONG_LINE:
            return super()._lines(text)
        found = []
        for line in super()._lines(text):
            first, *rest = line.wrap(self.app.console, max(self.columns - 1, 1))
            found += [first, *(Text(" ").append_text(part) for part in rest)]
        return found

    def _break(self) -> str:
        """Between parts of a line that a narrow column cannot hold."""
        return "   " if self.columns > LONG_LINE else "\n "


class Meters(Panel):
    """Levels of the microphone and of what is sent, with held peaks and clip lamps."""

    HELP = (
        "Meters: -60 to 0 dBFS. The bar is the peak, the mark holds the highest for 1.5 s; rms is the loudness of the "
        "last 300 ms. Speech should sit below -18, never above -6. CLIP stays lit until you press c."
    )

    def text(self) -> Text:
        """Two lines."""
        text = Text(no_wrap=True)
        self._row(text, "in ", self.model.signal_in, "")
        text.append("\n")
        self._row(text, "out", self.model.signal_out, f"removed {self.model.removed_db:4.1f} dB")
        return text

    def _row(self, text: Text, name: str, signal: Signal, more: str) -> None:
        cells = max(10, self.columns - 5 - 41)
        style = glyphs.meter_style(signal.peak_db)
        text.append(f" {name} ")
        text.append(glyphs.bar(signal.peak_db, signal.mark_db, cells, unicode=self.unicode), style)
        text.append(f" {_db(signal.rms_db)} rms {_db(signal.max_db)} max ")
        if signal.clips:
            text.append(f"CLIP {signal.clips}", "reverse bold yellow").append(" ")
        text.append(more if more else f"{_word(signal.peak_db)}")


class Delay(Panel):
    """Where the delay comes from, what a hop costs, what was lost, and the load of the last minute."""

    HELP = (
        "Delay: from microphone to virtual microphone; engine is the window and what the engine waits for, buffer the "
        "sound that waits between the threads, device what the devices report. Load: CPU time per hop of 8 ms; the "
        "line is the last minute, a full bar is 8 ms. Late, dropped and underruns should stay where they are."
    )

    def text(self) -> Text:
        """Three lines."""
        engine = self.model.engine
        latency, load, counters = engine.get("latency", {}), engine.get("load", {}), engine.get("counters", {})
        text = Text(no_wrap=True)
        own = _figure(latency, "algorithm_ms") + _figure(latency, "lookahead_ms")
        text.append(" delay ").append(f"{_figure(latency, 'total_ms'):.1f} ms", "bold")
        text.append(f" (engine {own:.0f}, buffer {_figure(latency, 'buffer_ms'):.1f},")
        text.append(f" device {_figure(latency, 'device_ms'):.1f})")
        if self.columns > LONG_LINE:
            text.append(f"  drift {_figure(engine, 'drift_ppm'):+.0f} ppm")
        text.append("\n")
        p99 = _figure(load, "hop_ms_p99")
        text.append(" load  ").append(f"{_figure(load, 'hop_ms_mean'):.2f} of 8 ms", "bold")
        text.append(f", p99 {p99:.2f}", "yellow bold" if p99 > 0.7 * HOP_MS else "").append("  ")
        cells = max(8, self.columns - 46)
        text.append(glyphs.spark(list(self.model.loads), HOP_MS, cells, unicode=self.unicode), "cyan")
        text.append(f"  cpu {_figure(load, 'cpu_percent'):.0f} %\n")
        text.append(" lost ")
        for name, key in (("late", "late_hops"), ("dropped", "dropped_hops"), ("underruns", "underruns")):
            count = int(counters.get(key) or 0)
            text.append(f" {name} {count} ", "yellow bold" if count else "")
        text.append(f" overruns {int(counters.get('overruns') or 0)}  reopened {int(counters.get('reopened') or 0)}")
        return text


class Gate(Panel):
    """Who speaks, as far as the gate can tell: a bar per specialist."""

    HELP = "Gate: how well each specialist fits the voice and noise heard now; the one in use has a star. g pins one."

    def text(self) -> Text:
        """A line per specialist."""
        gate = self.model.gate
        scores: dict[str, Any] = gate.get("scores") or {}
        text = Text(no_wrap=True)
        if not scores:
            text.append(f" gate {gate.get('mode', '-')}: no specialists", "dim")
            return text
        for i, (name, score) in enumerate(sorted(scores.items(), key=lambda item: -float(item[1] or 0))):
            mark = "*" if name == gate.get("active") else " "
            cells = glyphs.bar(glyphs.BOTTOM_DB * (1 - float(score or 0)), -999.0, 12, unicode=self.unicode)
            text.append(f"{chr(10) if i else ''}{mark}{name[:14]:14} ").append(cells, "cyan").append(f" {score:.2f}")
        return text


class Governor(Panel):
    """What the governor decided, newest last."""

    HELP = (
        "Governor: it lowers the quality step when hops take too long and raises it when there is room. "
        "+ and - move the step; l pins it."
    )

    def text(self) -> Text:
        """The mode and the last decisions."""
        governor = self.model.governor
        pinned = ", pinned" if governor.get("pinned") else ""
        text = Text(no_wrap=True)
        text.append(f" governor {governor.get('mode', '-')}: level {governor.get('level', '-')}")
        text.append(f" {governor.get('level_name', '')}{pinned}")
        for decision in list(self.model.decisions)[-self._room() :]:
            text.append(f"\n  {decision}")
        return text

    def _room(self) -> int:
        return max(1, self.size.height - 1)


def _switch(text: Text, name: str, on: bool, colour: str) -> None:
    text.append(name)
    text.append(" ON " if on else "off", f"reverse bold {colour}" if on else "")


def _right(text: Text, words: str, columns: int) -> None:
    """Put words at the right end, if there is room for them."""
    gap = columns - text.cell_len - len(words)
    if gap > 0:
        text.append(" " * gap).append(words, "dim")


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"


def _db(level: float) -> str:
    return " -inf" if level <= -119.0 else f"{level:5.1f}"


def _word(level_db: float) -> str:
    if level_db > glyphs.HOT_DB:
        return "too hot"
    if level_db > glyphs.SPEECH_DB:
        return "loud"
    return "good" if level_db > -45.0 else "quiet"


def _figure(values: dict[str, Any], name: str) -> float:
    value = values.get(name)
    return float(value) if isinstance(value, int | float) else 0.0
