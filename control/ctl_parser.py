"""The command line of `pse-stream ctl`, made from its verbs.

A file of its own because argparse costs a tenth of the time that a hotkey has.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from pse_stream.control.ctl_verbs import VERBS, Arguments
from pse_stream.control.instance import DEFAULT_INSTANCE
from pse_stream.errors import UsageError

TIMEOUT_S = 2.0

_EPILOG = """examples:
  pse-stream ctl toggle              hear the microphone as it is; again: clean
  pse-stream ctl level up            one quality step more
  pse-stream ctl watch meters        levels as JSON lines, 25 a second

Exit codes: 0 done, 2 wrong usage, 3 bad value, 4 device, 5 engine, 6 no answer or refused, 10 consent missing."""


class _Parser(argparse.ArgumentParser):
    """Wrong usage as an exception, so that it is shown like every other error."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}.", hint=f"Try: {self.prog} --help")


class _Help(argparse.RawDescriptionHelpFormatter):
    """Written like the help of the other commands."""

    def add_usage(self, usage: Any, actions: Any, groups: Any, prefix: str | None = None) -> None:
        super().add_usage(usage, actions, groups, "Usage: " if prefix is None else prefix)


def parse(words: Sequence[str]) -> Arguments:
    """Read one command line.

    Raises
    ------
    UsageError
        If it cannot mean anything.
    """
    return parser().parse_args(words, Arguments())


def parser() -> argparse.ArgumentParser:
    """The parser; also where the man page and the completion come from."""
    made = _Parser(
        prog="pse-stream ctl",
        description="Control a running pse-stream.",
        epilog=_EPILOG,
        formatter_class=_Help,
        allow_abbrev=False,
    )
    _add_common(made, first=True)
    verbs = made.add_subparsers(title="verbs", metavar="VERB", required=True, parser_class=_Parser, dest="verb")
    for name, verb in VERBS.items():
        sub = verbs.add_parser(
            name, help=verb.summary, description=verb.summary, allow_abbrev=False, formatter_class=_Help
        )
        _add_common(sub, first=False)
        if verb.conditional:
            sub.add_argument("--if-revision", type=int, metavar="N", help="only if nothing was changed since")
        for argument in verb.arguments:
            sub.add_argument(argument.name, **argument.more)
    return made


def _add_common(made: argparse.ArgumentParser, first: bool) -> None:
    """Flags that may stand before or after the verb."""

    def default(value: object) -> object:
        return value if first else argparse.SUPPRESS

    add = made.add_argument
    add("--json", action="store_true", default=default(False), help="print one JSON object")
    add("-q", "--quiet", action="store_true", default=default(False), help="do not confirm changes")
    add("--instance", metavar="NAME", default=default(DEFAULT_INSTANCE), help="which denoiser of this machine")
    add("--connect", metavar="ADDRESS", default=default(None), help="a denoiser elsewhere, tcp://host[:port]")
    add("--key", metavar="NAME", default=default(None), help="our key for --connect (pse-stream keys)")
    add("--server-key", metavar="KEY", default=default(None), help="the public key expected at --connect")
    add("--timeout", metavar="S", type=float, default=default(TIMEOUT_S), help="seconds to wait for an answer")
