"""`pse-stream doctor`: stage by stage, which link is silent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pse_stream.cli import flags
from pse_stream.cli.console import Console
from pse_stream.errors import ConfigError, PseError

EXIT_WORSE = 9  # checked and found bad
COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}
STATUS_TIMEOUT_S = 1.0


@click.command(name="doctor")
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write a report to send to somebody: text, no audio, home folder and serial numbers masked.",
)
@flags.profile
@flags.common()
def command(*, console: Console, bundle: Path | None, profile: str | None) -> int:
    """Check every link from the microphone to the programs; changes nothing.

    One line each: ok, warn or fail, what was found, and the command that mends it. Exit 9 if something fails.
    """
    console.note("Looking at the sound server, the microphone (half a second) and the engines.")
    from pse_stream.streaming.health import examine

    running, status = _running()
    findings = examine.examine(running=running, status=status, profile=profile)
    for finding in findings:
        word, rest = finding.line()[:5], finding.line()[5:]
        console.result(click.style(word, fg=COLOURS[finding.verdict]) + rest)
    failed = sum(finding.verdict == "fail" for finding in findings)
    console.note("Nothing fails." if not failed else f"{failed} of {len(findings)} checks fail.")
    console.object({"findings": [finding.as_dict() for finding in findings], "failed": failed})
    if bundle is not None:
        _save(console, bundle, examine.bundle(findings, status))
    return EXIT_WORSE if failed else 0


def _running() -> tuple[frozenset[int], dict[str, Any] | None]:
    """Process ids of the pse-streams of this user, and the snapshot of the default one."""
    from pse_stream.control.client import ControlClient
    from pse_stream.control.instance import DEFAULT_INSTANCE, running_instances, running_pid

    names = running_instances()
    running = frozenset(pid for name in names if (pid := running_pid(name)))
    if DEFAULT_INSTANCE not in names:
        return running, None
    try:
        with ControlClient(retries=0, timeout_s=STATUS_TIMEOUT_S) as client:
            return running, client.status()
    except PseError:
        return running, None


def _save(console: Console, path: Path, text: str) -> None:
    """Show, then write."""
    console.note(text)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f'the report could not be written to "{path}": {error.strerror}.', name="unwritable", hint="Choose another."
        ) from error
    console.note(f"saved: {path}")
