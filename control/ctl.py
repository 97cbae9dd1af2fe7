"""`pse-stream ctl`: one wish from a shell, a script or a hotkey, answered before a finger is lifted.

Reached from main.py without the rest of the command line: interpreter, pyzmq and this are what 150 ms have to hold.
Results go to stdout, everything else to stderr; with --json one object per call (`watch`: one per line).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from pse_stream.control.client import Applied, ControlClient
from pse_stream.control.ctl_text import applied_line
from pse_stream.control.ctl_verbs import JSON_SCHEMA, VERBS, Arguments
from pse_stream.control.faults import RemoteError
from pse_stream.control.instance import DEFAULT_INSTANCE
from pse_stream.errors import PseError

#: What keys are bound to: understood without a parser, which takes longer than the change itself.
_HOTKEYS = {("toggle",): ("toggle", "toggle")} | {
    (verb, *word): (verb, *(word or ("toggle",)))
    for verb in ("bypass", "mute")
    for word in ((), ("on",), ("off",), ("toggle",))
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one `ctl` command line; the exit code of docs/cli.md."""
    words = list(sys.argv[2:] if arguments is None else arguments)
    try:
        code = _run(_hotkey(words) or _parse(words))
        sys.stdout.flush()
        return code
    except PseError as error:
        return _show_error(error, "--json" in words)
    except SystemExit as done:  # --help was asked for
        sys.stdout.flush()
        return int(done.code or 0)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads us any more: leave quietly
        return 0


def _hotkey(words: Sequence[str]) -> Arguments | None:
    meant = _HOTKEYS.get(tuple(words))
    if meant is None:
        return None
    plain: dict[str, Any] = {"connect": None, "key": None, "server_key": None, "json": False, "quiet": False}
    return Arguments(verb=meant[0], to=meant[1], instance=DEFAULT_INSTANCE, timeout=2.0, **plain)


def _parse(words: Sequence[str]) -> Arguments:
    from pse_stream.control.ctl_parser import parse

    return parse(words)


def _run(parsed: Arguments) -> int:
    with ControlClient(
        parsed.connect,
        instance=parsed.instance,
        timeout_s=parsed.timeout,
        key=parsed.key,
        server_key=parsed.server_key,
        name="ctl",
    ) as client:
        answer = VERBS[parsed.verb].run(client, parsed)
        if answer is not None:
            _print(answer, parsed)
    return 0


def _print(answer: object, parsed: Arguments) -> None:
    if parsed.json:
        plain = _plain(answer)
        print(json.dumps({"schema": JSON_SCHEMA, **plain}, ensure_ascii=False))
    elif isinstance(answer, str):
        print(answer)
    elif isinstance(answer, Applied):
        if not parsed.quiet:
            print(applied_line(answer))
    else:
        print(VERBS[parsed.verb].show(answer))


def _plain(answer: object) -> dict[str, Any]:
    if isinstance(answer, Applied):
        changed = {name: list(pair) for name, pair in answer.changed.items()}
        return {"revision": answer.revision, "hop_index": answer.hop_index, "changed": changed}
    if isinstance(answer, dict):
        return answer
    return {"items" if isinstance(answer, list) else "text": answer}


def _show_error(error: PseError, as_json: bool) -> int:
    if as_json:
        body: dict[str, Any] = {"name": error.name, "message": error.text, "hint": error.hint}
        if isinstance(error, RemoteError):
            body |= {"code": error.code, "data": error.data}
        print(json.dumps({"schema": JSON_SCHEMA, "error": body}, ensure_ascii=False))
    else:
        print(f"error[{error.name}]: {error}", file=sys.stderr)
    return error.exit_code
