"""One line of a check-up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from pse_stream.errors import PseError

Verdict = Literal["ok", "warn", "fail"]

NAME_WIDTH = 12


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, and what to do about it."""

    verdict: Verdict
    name: str  # stable, for scripts
    text: str
    command: str = ""  # what mends it; "" if there is nothing to mend
    exit_code: int = 0  # what a start would end with because of it

    def line(self) -> str:
        """`ok|warn|fail  name  finding  -> command`."""
        mend = f"  -> {self.command}" if self.command else ""
        return f"{self.verdict:<5} {self.name:<{NAME_WIDTH}} {self.text}{mend}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON; absent values are null."""
        return {"verdict": self.verdict, "name": self.name, "finding": self.text, "command": self.command or None}


def ok(name: str, text: str) -> Finding:
    """Nothing to do."""
    return Finding("ok", name, text)


def warn(name: str, text: str, command: str = "") -> Finding:
    """It works, but not as well as it could."""
    return Finding("warn", name, text, command)


def fail(name: str, text: str, command: str = "", exit_code: int = 4) -> Finding:
    """It does not work."""
    return Finding("fail", name, text, command, exit_code)


def refused(name: str, error: PseError) -> Finding:
    """An error that a start would end with, as a finding."""
    return fail(name, error.text.rstrip("."), error.hint.removeprefix("Try: "), error.exit_code)


def gather(*checks: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """All findings; a check that cannot be carried out is a finding itself."""
    found: list[Finding] = []
    for check in checks:
        try:
            found += check()
        except PseError as error:
            found.append(refused(getattr(check, "__name__", "check").strip("_"), error))
    return found
