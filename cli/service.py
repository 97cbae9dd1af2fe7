"""`pse-stream service`: keep the denoiser running in the background, from login on."""

from __future__ import annotations

import click

from pse_stream.cli import flags
from pse_stream.cli.console import Console

EXIT_NOT_RUNNING = 6

instance_flag = click.option("--instance", default="default", metavar="NAME", help="Which denoiser of this machine.")


@click.group(name="service")
def command() -> None:
    """Install, look at or remove the systemd user service."""


@command.command(name="install", context_settings={"ignore_unknown_options": True})
@click.argument("run_flags", nargs=-1, type=click.UNPROCESSED, metavar="[RUN-FLAGS]…")
@click.option("-n", "--dry-run", is_flag=True, help="Only print the unit.")
@instance_flag
@flags.common()
def install(*, console: Console, run_flags: tuple[str, ...], dry_run: bool, instance: str) -> None:
    """Run pse-stream in the background, now and after each login.

    \b
    Examples:
      pse-stream service install
      pse-stream service install --profile alice --attenuation-db 18
    """
    from pse_stream.control.service import Service, unit_text

    service = Service(instance)
    if dry_run:
        console.result(unit_text(instance, run_flags).rstrip())
        console.object({"path": str(service.path), "unit": unit_text(instance, run_flags)})
        return
    advice = service.install(run_flags)
    console.result(f"{service.name} runs, and will at each login. See it: pse-stream service status")
    if advice:
        console.warn(f"it ends when you log out. To keep it: {advice}")
    console.object({"path": str(service.path), "advice": advice or None})


@command.command(name="status")
@instance_flag
@flags.common()
def status(*, console: Console, instance: str) -> int:
    """Say whether the service is installed and the denoiser runs; exit 6 if it does not run."""
    from pse_stream.control.service import Service

    found = Service(instance).status()
    words = {True: "yes", False: "no", None: "unknown"}
    console.table(
        ["", ""],
        [[name, words.get(value, str(value)) if name != "pid" else str(value or "-")] for name, value in found.items()],
    )
    console.object(found)
    return 0 if found["pid"] is not None else EXIT_NOT_RUNNING


@command.command(name="remove")
@instance_flag
@flags.common()
def remove(*, console: Console, instance: str) -> None:
    """Stop the service and take its unit away."""
    from pse_stream.control.service import Service

    gone = Service(instance).remove()
    console.result("The service is gone." if gone else "There was no service.")
    console.object({"removed": gone})
