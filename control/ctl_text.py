"""A status, a change or a list as lines for a terminal, and as figures for Prometheus."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pse_stream.control.client import Applied


def applied_line(applied: Applied) -> str:
    """One line about a change: `bypass on`."""
    words = [f"{name.removesuffix('_db')} {_word(new)}" for name, (_, new) in applied.changed.items()]
    return ", ".join(words) or "it was so already"


def _word(value: object) -> str:
    if value is None:
        return "auto"
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def state_word(state: Mapping[str, Any]) -> str:
    """`degraded (hops are late)`."""
    reason = f" ({state['reason']})" if state.get("reason") else ""
    return f"{state.get('state', 'unknown')}{reason}"


def status_lines(status: Mapping[str, Any]) -> str:
    """What `ctl status` and `tui --plain` say; the same facts as the screen's."""
    settings, engine, latency = status["settings"], status["engine"], status["latency"]
    load, counters = status["load"], status["counters"]
    pinned = ", pinned" if engine["level_pinned"] else ""
    readers = "unknown" if status["readers"] is None else status["readers"]
    lines = [
        f"state     {state_word(status)}",
        f"engine    {engine['id']}, level {engine['level']} of 0 to {engine['level_count'] - 1}{pinned}",
        f"profile   {settings['profile'] or 'none'}",
        f"bypass    {_word(settings['bypass'])}    mute {_word(settings['mute'])}"
        f"    recording {_word(status['recording'])}",
        f"limit     {settings['attenuation_db']:g} dB    governor {settings['governor']}    gate {settings['gate']}",
        f"input     {status['input_device'] or 'none'} ({status['sample_rate']} Hz)",
        f"output    {status['output_device'] or 'none'}    readers {readers}",
        f"levels    in {status['meter_in']['rms_db']:.1f} dBFS, out {status['meter_out']['rms_db']:.1f} dBFS,"
        f" removed {status['removed_db']:.1f} dB",
        f"delay     {latency['total_ms']:.1f} ms (engine {latency['algorithm_ms'] + latency['lookahead_ms']:.1f},"
        f" buffer {latency['buffer_ms']:.1f}, device {latency['device_ms']:.1f})",
        f"load      {load['hop_ms_mean']:.2f} of 8 ms per hop, p99 {load['hop_ms_p99']:.2f}",
        f"faults    late {counters['late_hops']}, dropped {counters['dropped_hops']},"
        f" underruns {counters['underruns']}, overruns {counters['overruns']}",
    ]
    return "\n".join(lines)


def device_lines(devices: Mapping[str, Any]) -> str:
    """A device per line."""
    return "\n".join(f"{kind[:-1]:6}  {row['name']}" for kind in ("inputs", "outputs") for row in devices.get(kind, []))


def profile_lines(answer: Mapping[str, Any]) -> str:
    """A profile per line; a star at the one in use."""
    rows = [f"{'*' if row['name'] == answer['in_use'] else ' '} {row['name']}" for row in answer["profiles"]]
    return "\n".join(rows) or "there are no profiles"


def config_table(answer: Mapping[str, Any]) -> str:
    """Settings with their origins, or that a patch is valid."""
    if "settings" not in answer:
        return "valid"
    rows = [
        {"setting": name, "value": json.dumps(value), "origin": answer["origins"][name]}
        for name, value in answer["settings"].items()
    ]
    return table(rows, ("setting", "value", "origin"))


def doctor_lines(answer: Mapping[str, Any]) -> str:
    """A finding per line, as `pse-stream doctor` writes them."""
    lines = []
    for row in answer["findings"]:
        mend = f"  -> {row['command']}" if row.get("command") else ""
        lines.append(f"{row['verdict']:<5} {row['name']:<12} {row['finding']}{mend}")
    return "\n".join(lines) or "ok"


def engine_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """An engine per line."""
    return table(rows, ("id", "title"))


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Columns as wide as they must be."""
    cells = [list(columns), *([str(row.get(column, "")) for column in columns] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)


#: Prometheus name, help, kind, path into the status.
_METRICS = (
    ("up", "1 while the denoiser works, or waits for somebody to listen.", "gauge", None),
    ("revision", "Accepted changes since start.", "counter", "revision"),
    ("uptime_seconds", "Since start.", "gauge", "uptime_s"),
    ("hops_total", "Hops of 8 ms.", "counter", "counters.hops"),
    ("dropped_hops_total", "Input thrown away because the worker was late.", "counter", "counters.dropped_hops"),
    ("late_hops_total", "Hops that took longer than 8 ms.", "counter", "counters.late_hops"),
    ("underruns_total", "The output found no hop.", "counter", "counters.underruns"),
    ("overruns_total", "The input ring was full.", "counter", "counters.overruns"),
    ("reopened_total", "Devices opened again.", "counter", "counters.reopened"),
    ("latency_ms", "Microphone to virtual microphone.", "gauge", "latency.total_ms"),
    ("hop_ms_mean", "CPU time per hop.", "gauge", "load.hop_ms_mean"),
    ("hop_ms_p99", "CPU time per hop, 99th percentile.", "gauge", "load.hop_ms_p99"),
    ("input_rms_dbfs", "Level of the microphone.", "gauge", "meter_in.rms_db"),
    ("output_rms_dbfs", "Level of the virtual microphone.", "gauge", "meter_out.rms_db"),
    ("removed_db", "How much quieter the output is.", "gauge", "removed_db"),
    ("engine_level", "Quality step, 0 is the cheapest.", "gauge", "engine.level"),
    ("bypass", "1 while the microphone is heard as it is.", "gauge", "settings.bypass"),
    ("mute", "1 while muted.", "gauge", "settings.mute"),
)


def metrics(status: Mapping[str, Any]) -> str:
    """The status in Prometheus' text format; no port is opened for it."""
    lines = []
    for name, text, kind, path in _METRICS:
        value: Any = status["state"] in ("running", "bypassed", "degraded", "paused") if path is None else status
        for part in path.split(".") if path else ():
            value = value[part]
        lines += [f"# HELP pse_stream_{name} {text}", f"# TYPE pse_stream_{name} {kind}"]
        lines.append(f"pse_stream_{name} {float(value):g}")
    return "\n".join(lines)
