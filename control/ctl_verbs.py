"""The verbs of `pse-stream ctl`: what each asks of a denoiser, and how its answer reads.

`VERBS` is the whole set; `ctl_parser` makes the command line from it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

from pse_stream.control import ctl_text as text
from pse_stream.control.client import Applied, ControlClient
from pse_stream.control.faults import RemoteError
from pse_stream.errors import UsageError

JSON_SCHEMA = 1  # of everything that --json prints; grows when a member changes its meaning
_STEP_TRIES = 5  # level up/down against others who change it at the same moment
_ON = {"on": True, "off": False}

Arguments = SimpleNamespace
Run = Callable[[ControlClient, Arguments], object]


class Argument(NamedTuple):
    """One word after a verb, or a flag of it; `more` goes to argparse."""

    name: str
    more: Mapping[str, Any]


class Verb(NamedTuple):
    """One verb."""

    run: Run
    summary: str
    arguments: tuple[Argument, ...] = ()
    show: Callable[[Any], str] = str  # of an answer that is neither text nor a change
    conditional: bool = False  # takes --if-revision


def _switch(
    set_to: Callable[[ControlClient, bool], Applied], toggle: Callable[[ControlClient], Applied]
) -> Callable[[ControlClient, Arguments], Applied]:
    def run(client: ControlClient, parsed: Arguments) -> Applied:
        return toggle(client) if parsed.to == "toggle" else set_to(client, _ON[parsed.to])

    return run


def _level(client: ControlClient, parsed: Arguments) -> Applied | str:
    """Show, set, step, pin or release."""
    if parsed.to is None and not parsed.pin:
        engine = client.status()["engine"]
        return f"{engine['level']}"
    if parsed.to == "auto":
        return client.release_level()
    if parsed.to in ("up", "down"):
        return step(client, 1 if parsed.to == "up" else -1, parsed.pin)
    if parsed.to is not None and not parsed.to.isdigit():
        raise UsageError(f"level {parsed.to}: expected a number, up, down or auto.")
    level = None if parsed.to is None else int(parsed.to)
    if parsed.pin or level is None:
        return client.pin_level(level, if_revision=parsed.if_revision)
    return client.set_level(level, if_revision=parsed.if_revision)


def step(client: ControlClient, by: int, pin: bool) -> Applied:
    """One quality step up or down, at most to the end; again if somebody changed something meanwhile."""
    for attempt in range(_STEP_TRIES):
        status = client.status()
        engine = status["engine"]
        count = status["governor"]["levels"] or engine["level_count"]  # of the chosen one, if another stands in for it
        level = min(max(0, engine["level"] + by), count - 1)
        change = client.pin_level if pin or engine["level_pinned"] else client.set_level
        try:
            return change(level, if_revision=status["revision"])
        except RemoteError as error:
            if error.name != "revision_conflict" or attempt == _STEP_TRIES - 1:
                raise
    raise AssertionError("unreachable")


def _engine(client: ControlClient, parsed: Arguments) -> Applied | str:
    if parsed.id is None:
        return str(client.status()["engine"]["id"])
    return client.set_engine(parsed.id, if_revision=parsed.if_revision)


def _gate(client: ControlClient, parsed: Arguments) -> Applied:
    if parsed.mode in ("auto", "off"):
        return client.set_gate(parsed.mode, if_revision=parsed.if_revision)
    return client.pin_specialist(parsed.mode, if_revision=parsed.if_revision)


def _profile(client: ControlClient, parsed: Arguments) -> Applied | str:
    if parsed.name is None:
        return str(client.status()["settings"]["profile"] or "none")
    return client.use_profile(None if parsed.name == "none" else parsed.name, if_revision=parsed.if_revision)


def _limit(client: ControlClient, parsed: Arguments) -> Applied | str:
    if parsed.db is None:
        return f"{client.status()['settings']['attenuation_db']:g}"
    return client.set_attenuation(parsed.db, if_revision=parsed.if_revision)


def _record(client: ControlClient, parsed: Arguments) -> Applied:
    return client.start_recording() if parsed.to == "start" else client.stop_recording()


def _config(client: ControlClient, parsed: Arguments) -> object:
    if parsed.action == "get":
        return client.config()
    settings = dict(_assignment(word) for word in parsed.assignments)
    if not settings:
        raise UsageError(f"config {parsed.action}: expected NAME=VALUE, such as attenuation_db=18.")
    if parsed.action == "check":
        client.validate_config(**settings)
        return {"valid": True}
    return client.patch_config(if_revision=parsed.if_revision, **settings)


def _assignment(word: str) -> tuple[str, Any]:
    """NAME=VALUE; a value that is JSON (12, true, null) is that, anything else is text."""
    name, equals, value = word.partition("=")
    if not equals or not name.isidentifier():
        raise UsageError(f"{word!r}: expected NAME=VALUE, such as attenuation_db=18.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _watch(client: ControlClient, parsed: Arguments) -> None:
    """Telemetry as JSON lines until Ctrl-C, or for `--count` messages; goes on when the denoiser is restarted."""
    from pse_stream.control.reader import TelemetryReader

    left = parsed.count
    with TelemetryReader(client, parsed.topics) as reader:
        silent = False
        while left is None or left > 0:
            message = reader.receive(3.0)
            if message is None:
                if not silent:
                    print("nothing heard for 3 s; waiting for the denoiser", file=sys.stderr)
                silent = True
                continue
            silent = False
            line = {"topic": message.topic, "seq": message.seq, "uptime_s": message.uptime_s, "data": message.data}
            print(json.dumps({"schema": JSON_SCHEMA, **line}, ensure_ascii=False), flush=True)
            left = None if left is None else left - 1


def _device(client: ControlClient, parsed: Arguments) -> Applied:
    chosen = {"microphone" if parsed.kind == "input" else "output": parsed.name}
    return client.set_devices(**chosen, if_revision=parsed.if_revision)


def _quit(client: ControlClient, _: Arguments) -> str:
    client.shutdown()
    return "stopping"


def _word(name: str, **more: Any) -> Argument:
    return Argument(name, more)


_SWITCH = (_word("to", nargs="?", choices=["on", "off", "toggle"], default="toggle"),)

#: verb -> what it does.
VERBS: dict[str, Verb] = {
    "status": Verb(lambda client, _: client.status(), "what is true now", show=text.status_lines),
    "toggle": Verb(lambda client, _: client.toggle_bypass(), "bypass the other way round"),
    "bypass": Verb(
        _switch(ControlClient.set_bypass, ControlClient.toggle_bypass), "bypass on, off or the other way round", _SWITCH
    ),
    "mute": Verb(
        _switch(ControlClient.set_mute, ControlClient.toggle_mute), "mute on, off or the other way round", _SWITCH
    ),
    "level": Verb(
        _level,
        "show, set, step, pin or release the quality step",
        (
            _word("to", nargs="?", metavar="N|up|down|auto"),
            _word("--pin", action="store_true", help="keep the governor's hands off"),
        ),
        conditional=True,
    ),
    "engine": Verb(_engine, "show or change the engine", (_word("id", nargs="?", metavar="ID"),), conditional=True),
    "engines": Verb(lambda client, _: client.engines(), "engines to choose from", show=text.engine_table),
    "devices": Verb(lambda client, _: client.devices(), "microphones and outputs", show=text.device_lines),
    "device": Verb(
        _device,
        "change microphone or output",
        (_word("kind", choices=["input", "output"]), _word("name", help='as `devices` lists it, or "auto"')),
        conditional=True,
    ),
    "profile": Verb(
        _profile, "show or change the profile", (_word("name", nargs="?", metavar="NAME|none"),), conditional=True
    ),
    "profiles": Verb(lambda client, _: client.profiles(), "profiles to choose from", show=text.profile_lines),
    "limit": Verb(
        _limit,
        "show or set how far noise may be turned down",
        (_word("db", nargs="?", type=float, metavar="DB"),),
        conditional=True,
    ),
    "gate": Verb(
        _gate,
        "let the gate choose, switch it off, or pin a specialist",
        (_word("mode", metavar="auto|off|NAME"),),
        conditional=True,
    ),
    "governor": Verb(
        lambda client, parsed: client.set_governor(parsed.mode),
        "how the level follows the load",
        (_word("mode", choices=["off", "auto", "eco", "quality"]),),
    ),
    "record": Verb(_record, "start or stop recording this session", (_word("to", choices=["start", "stop"]),)),
    "config": Verb(
        _config,
        "get, set or check settings",
        (_word("action", choices=["get", "set", "check"]), _word("assignments", nargs="*", metavar="NAME=VALUE")),
        show=text.config_table,
        conditional=True,
    ),
    "doctor": Verb(lambda client, _: client.doctor(), "what is wrong with the sound path", show=text.doctor_lines),
    "watch": Verb(
        _watch,
        "telemetry as JSON lines",
        (
            _word("topics", nargs="*", metavar="TOPIC"),
            _word("--count", type=int, metavar="N", help="end after so many messages"),
        ),
    ),
    "metrics": Verb(lambda client, _: text.metrics(client.status()), "figures for Prometheus"),
    "quit": Verb(_quit, "stop the denoiser"),
}
