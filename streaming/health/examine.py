"""The whole check-up, and the short one before a start."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pse_stream
from pse_stream.errors import EngineError
from pse_stream.profiles.adapted import open_engine
from pse_stream.streaming.configuration import Resolved, resolve
from pse_stream.streaming.devices.base import DeviceInfo
from pse_stream.streaming.devices.names import match
from pse_stream.streaming.health.engines import check_engines, check_headroom
from pse_stream.streaming.health.finding import Finding, gather, ok, warn
from pse_stream.streaming.health.machine import check_machine
from pse_stream.streaming.health.sound import SoundCheck
from pse_stream.streaming.health.taps import Listen, check_taps, listen
from pse_stream.streaming.settings import Settings
from pse_stream.streaming.sound_server import SoundServer
from pse_stream.streaming.virtual_mic import BASE_NAME


def examine(
    *,
    server: SoundServer | None = None,
    running: frozenset[int] = frozenset(),
    status: Mapping[str, Any] | None = None,
    hear: Listen = listen,
    profile: str | None = None,
) -> list[Finding]:
    """Look at everything between the microphone and the programs; changes nothing.

    Parameters
    ----------
    server : SoundServer or None
        None: this machine's.
    running : frozenset of int
        Process ids of the pse-streams of this user that run.
    status : mapping or None
        The snapshot of the one that is examined.
    hear : callable
        Records from a source.
    profile : str or None
        Whose settings; None: those of the configuration.
    """
    settings = Settings()

    def configuration() -> Iterator[Finding]:
        nonlocal settings
        resolved = resolve({"profile": profile})
        settings = resolved.settings
        yield ok("config", _sources(resolved))
        yield from (warn("profile", note) for note in resolved.notes)

    def sound() -> Iterator[Finding]:
        check = SoundCheck(server or SoundServer(), running=running, wanted=settings.input)
        findings = list(check.findings())
        yield from findings
        if any(finding.verdict == "ok" and finding.name == "microphone" for finding in findings):
            virtual = next((s.name for s in check.sources if s.name.startswith(BASE_NAME) and not s.monitor_of), None)
            yield from check_taps(check.microphone().name, virtual if running else None, status, hear)

    return gather(configuration, sound, check_engines, check_headroom, check_machine)


def check_start(resolved: Resolved, *, server: SoundServer | None = None) -> list[Finding]:
    """Would `run` start with these settings? Configuration, engine, level and devices, without a sound."""

    def engine() -> Iterator[Finding]:
        opened = open_engine(resolved.settings.engine)
        level = resolved.settings.level
        if level is not None and level > opened.info.best_level:
            raise EngineError(
                f"engine {opened.info.id!r} has no level {level}; expected 0 to {opened.info.best_level}.",
                name="bad_level",
            )
        yield ok("engine", f"{opened.info.id}: {opened.info.title}")

    def devices() -> Iterator[Finding]:
        sounds = server or SoundServer()
        findings = SoundCheck(sounds, wanted=resolved.settings.input).findings()
        yield from (finding for finding in findings if finding.name in ("server", "microphone", "mute", "volume"))
        if resolved.settings.output != "auto":
            infos = [DeviceInfo(name=s.name, title=s.description, direction="output") for s in sounds.sinks()]
            yield ok("output", match(infos, resolved.settings.output, "output").title)

    return [ok("config", _sources(resolved)), *gather(engine, devices)]


def _sources(resolved: Resolved) -> str:
    """Where settings that are not built in come from."""
    chosen = sorted({place.rpartition(":")[0] or place for place in resolved.places.values() if place != "built in"})
    return f"valid; settings from {', '.join(chosen)}" if chosen else "valid; everything as built in"


def bundle(findings: list[Finding], status: Mapping[str, Any] | None = None) -> str:
    """A report to send to somebody: text only, no audio, home folder, names and serial numbers masked."""
    lines = [
        f"pse-stream {pse_stream.__version__}, Python {platform.python_version()}, {platform.system()} "
        f"{platform.release()} {platform.machine()}",
        "",
        *(finding.line() for finding in findings),
    ]
    if status is not None:
        lines += ["", "snapshot:"]
        lines += [f"  {key}: {value}" for key, value in status.items()]
    return masked("\n".join(lines) + "\n")


def masked(text: str) -> str:
    """Without the home folder, the user's and the machine's name, and anything like a serial number or address."""
    import getpass
    import socket

    text = text.replace(str(Path.home()), "~")
    try:
        names = [getpass.getuser(), socket.gethostname()]
    except (OSError, KeyError):  # a user without an entry in the list of users
        names = []
    for name in names:
        if len(name) > 2:
            text = re.sub(rf"\b{re.escape(name)}\b", "<name>", text)
    text = re.sub(r"\b(?:[0-9A-Fa-f]{2}[:_-]){5}[0-9A-Fa-f]{2}\b", "<address>", text)
    return re.sub(r"(?<=[_-])(?=[0-9A-Za-z]*\d)[0-9A-Za-z]{8,}(?=[_.-])", "<serial>", text)
