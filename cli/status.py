"""What a running denoiser looks like: a page for a screen, a line for everything else. Pure: a snapshot in, text out.

Each state has a word; colour only repeats it, and only the terminal's own sixteen colours are used.
"""

from __future__ import annotations

from rich.text import Text

from pse_stream.streaming.snapshot import Meter, Snapshot

WIDTH = 80  # columns that are sure to be there
BOTTOM_DB = -60.0  # of the meters
LOUD_DB, HOT_DB = -18.0, -6.0  # above: speaking level; above: soon clipped
BAR_CELLS = 34
SHOWN_EVENTS = 5
HOP_MS = 8.0

STATE_STYLES = {
    "starting": "bold",
    "running": "bold green",
    "bypassed": "bold yellow",
    "degraded": "bold yellow",
    "stalled": "bold red",
    "failed": "bold red",
    "stopped": "bold",
}


def page(now: Snapshot, *, unicode: bool = True) -> Text:
    """The whole screen, at most 80 columns and 16 rows."""
    rows = [
        _headline(now),
        _devices(now),
        Text(),
        _meter("in ", now.meter_in, unicode),
        _meter("out", now.meter_out, unicode).append(f"  removed {now.removed_db:4.1f} dB"),
        Text(),
        _delay(now),
        _load(now),
        _settings(now),
        _counters(now),
        Text(),
        *(Text(f"   {event}") for event in now.events[-SHOWN_EVENTS:]),
        Text(" Ctrl-C stops", style="dim"),
    ]
    for row in rows:
        row.truncate(WIDTH - 1, overflow="ellipsis")
    return Text("\n").join(rows)


def line(now: Snapshot) -> str:
    """One sentence for logs, braille and pipes."""
    parts = [
        f"{clock(now.uptime_s)} {now.state}",
        f"engine {now.engine.id} level {now.engine.level}",
        f"in {now.meter_in.rms_db:.0f} out {now.meter_out.rms_db:.0f} dBFS, removed {now.removed_db:.0f} dB",
        f"delay {now.latency.total_ms:.0f} ms",
        f"hop {now.load.hop_ms_mean:.2f} of {HOP_MS:.0f} ms",
    ]
    if now.recording:
        parts.append(f"REC {clock(now.recorded_s)}")
    lost = now.counters.dropped_hops + now.counters.underruns
    if lost:
        parts.append(f"lost {lost} hops")
    return ", ".join(parts)


def clock(seconds: float) -> str:
    """0:01:05."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def delay_words(now: Snapshot) -> str:
    """The delay and its parts."""
    parts = now.latency
    return (
        f"{parts.total_ms:.1f} ms = algorithm {parts.algorithm_ms:.0f} + look-ahead {parts.lookahead_ms:.0f}"
        f" + buffers {parts.buffer_ms:.1f} + devices {parts.device_ms:.1f}"
    )


def _headline(now: Snapshot) -> Text:
    text = Text(" pse-stream  ")
    text.append(now.state.upper(), style=STATE_STYLES[now.state])
    if now.engine.switching:
        text.append(" changing engine", style="yellow")
    text.append(f"  {now.engine.id}")
    if now.engine.level_count > 1:
        text.append(f" level {now.engine.level} of {now.engine.level_count - 1} ({now.engine.level_name})")
    if now.settings.profile:
        text.append(f"  profile {now.settings.profile}")
    text.append(f"  {clock(now.uptime_s)}")
    if now.recording:
        text.append(f"  REC {clock(now.recorded_s)}", style="bold red")
    if now.reason:
        text.append(f"  {now.reason}", style=STATE_STYLES[now.state])
    return text


def _devices(now: Snapshot) -> Text:
    heard = "" if now.readers is None else f"  listening: {now.readers}"
    target = f'choose "{now.virtual_mic}"' if now.virtual_mic else now.output_device
    return Text(f" mic   {now.input_device}, {now.sample_rate / 1000:g} kHz  ->  {target}{heard}")


def _meter(name: str, meter: Meter, unicode: bool) -> Text:
    full, empty, mark = ("█", "·", "│") if unicode else ("#", "-", "|")
    text = Text(f" {name}   ")
    filled, peak = _cell(meter.rms_db), _cell(meter.peak_db)
    for cell in range(BAR_CELLS):
        db = BOTTOM_DB - BOTTOM_DB * cell / BAR_CELLS
        colour = "red" if db >= HOT_DB else "yellow" if db >= LOUD_DB else "green"
        if cell == peak and meter.peak_db > BOTTOM_DB:
            text.append(mark, style=f"bold {colour}")
        elif cell < filled:
            text.append(full, style=colour)
        else:
            text.append(empty, style="dim")
    text.append(f" {_db(meter.rms_db)}  peak {_db(meter.peak_db)}")
    if meter.clips:
        text.append(f"  CLIPPED {meter.clips}", style="bold red")
    return text


def _cell(db: float) -> int:
    """The meter's cell of a level; -1 below the bottom."""
    return min(int((db - BOTTOM_DB) / -BOTTOM_DB * BAR_CELLS), BAR_CELLS - 1) if db > BOTTOM_DB else -1


def _delay(now: Snapshot) -> Text:
    return Text(f" delay {delay_words(now)}")


def _load(now: Snapshot) -> Text:
    load = now.load
    text = Text(f" load  {load.cpu_percent:.0f} % of one core, hop {load.hop_ms_mean:.2f} ms, ")
    text.append(f"slowest 1 % {load.hop_ms_p99:.2f}", style="red" if load.hop_ms_p99 > HOP_MS else "")
    return text.append(f" of {HOP_MS:.0f} ms, queued {load.run_queue_ms:.2f} ms")


def _settings(now: Snapshot) -> Text:
    limit = now.settings.attenuation_db
    text = Text(f" set   limit {'none' if limit >= 100 else f'{limit:g} dB'}, bypass ")
    text.append("ON" if now.settings.bypass else "off", style="bold yellow" if now.settings.bypass else "")
    text.append(", mute ")
    text.append("ON" if now.settings.mute else "off", style="bold red" if now.settings.mute else "")
    return text.append(f", drift {now.drift_ppm:+.0f} ppm, change {now.revision}")


def _counters(now: Snapshot) -> Text:
    text, counts = Text(" lost  "), now.counters
    shown = {
        "dropped": counts.dropped_hops,
        "underruns": counts.underruns,
        "late": counts.late_hops,
        "bad": counts.bad_blocks + counts.bad_frames,
        "limited": counts.limited_hops,
        "reopened": counts.reopened,
    }
    for number, (name, count) in enumerate(shown.items()):
        text.append(f"{'  ' if number else ''}{name} ")
        text.append(str(count), style="bold yellow" if count else "")
    return text


def _db(db: float) -> str:
    return "  -inf" if db <= -120.0 else f"{db:6.1f}"
