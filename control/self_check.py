"""What a running denoiser can tell of itself: its snapshot, read with a doctor's eye.

Pure, so that it may be asked from far away: it opens, records and starts nothing. `pse-stream doctor` on the machine
itself looks at the sound server, the microphone and the engines as well.
"""

from __future__ import annotations

from pse_stream.streaming.health.finding import Finding, fail, ok, warn
from pse_stream.streaming.snapshot import Snapshot

_SILENT_DB = -90.0  # dBFS RMS: less than the noise of any microphone that is on
_HOT_DB = -3.0  # dBFS peak: the next louder word clips
_HOP_MS = 8.0
_TIGHT_SHARE = 0.7  # of a hop: the rest is needed for waking up
_SLOW_MS = 40.0  # the program's own share that we promise (docs/latency.md)


def check_running(snapshot: Snapshot) -> list[Finding]:
    """Findings in the order in which sound meets the links."""
    return [
        _state(snapshot),
        _microphone(snapshot),
        _clipping(snapshot),
        _load(snapshot),
        _losses(snapshot),
        _output(snapshot),
        _readers(snapshot),
        _delay(snapshot),
    ]


def _state(now: Snapshot) -> Finding:
    reason = f": {now.reason}" if now.reason else ""
    if now.state in ("running", "bypassed", "paused"):
        return ok("state", f"{now.state}{reason}")
    if now.state in ("starting", "degraded"):
        return warn("state", f"{now.state}{reason}")
    return fail("state", f"{now.state}{reason}", "pse-stream doctor")


def _microphone(now: Snapshot) -> Finding:
    name = now.input_device or "none"
    if not now.input_device:
        return fail("microphone", "no microphone is open", "pse-stream devices")
    if now.meter_in.rms_db < _SILENT_DB:
        return fail("microphone", f"{name} gives silence ({now.meter_in.rms_db:.0f} dBFS)", "pse-stream doctor")
    return ok("microphone", f"{name}, {now.meter_in.rms_db:.0f} dBFS")


def _clipping(now: Snapshot) -> Finding:
    if now.meter_in.clips:
        return warn("clipping", f"the microphone clipped {now.meter_in.clips} times; turn its gain down")
    if now.meter_in.max_db > _HOT_DB:
        return warn("clipping", f"peaks reach {now.meter_in.max_db:.0f} dBFS; turn the gain down a little")
    return ok("clipping", f"peaks reach {now.meter_in.max_db:.0f} dBFS")


def _load(now: Snapshot) -> Finding:
    text = f"hops take {now.load.hop_ms_p99:.1f} of {_HOP_MS:g} ms (p99)"
    if now.load.hop_ms_p99 > _TIGHT_SHARE * _HOP_MS:
        return warn("load", text, "pse-stream ctl level down")
    return ok("load", text)


def _losses(now: Snapshot) -> Finding:
    counters = now.counters
    lost = counters.dropped_hops + counters.underruns + counters.overruns
    text = f"dropped {counters.dropped_hops}, underruns {counters.underruns}, overruns {counters.overruns}"
    return warn("losses", text) if lost else ok("losses", "none")


def _output(now: Snapshot) -> Finding:
    if not now.output_device:
        return fail("output", "no output is open", "pse-stream devices")
    if now.settings.mute:
        return warn("output", "muted: everybody hears silence", "pse-stream ctl mute off")
    if now.settings.bypass:
        return warn("output", "bypass is on: the microphone is heard as it is", "pse-stream ctl bypass off")
    return ok("output", f"{now.output_device}, {now.meter_out.rms_db:.0f} dBFS")


def _readers(now: Snapshot) -> Finding:
    if now.readers is None:
        return ok("readers", "unknown")
    if now.readers == 0:
        return warn("readers", f'nobody listens; choose "{now.virtual_mic}" in your program')
    return ok("readers", f"{now.readers} listening")


def _delay(now: Snapshot) -> Finding:
    text = f"{now.latency.total_ms:.0f} ms, of which {now.latency.device_ms:.0f} the devices'"
    own = now.latency.total_ms - now.latency.device_ms
    return warn("delay", text) if own > _SLOW_MS else ok("delay", text)
