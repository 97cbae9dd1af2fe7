"""`pse-stream config show|path`: what is set, and by whom."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from pse_stream.cli import flags
from pse_stream.cli.console import Console


@click.group(name="config")
def command() -> None:
    """Show the settings and where each comes from.

    Precedence: flag, PSE_STREAM_* variable, profile, your configuration file, the system's, built in.
    """


@command.command(name="show")
@click.option("--origin", is_flag=True, help="Say for each value who set it, and where.")
@flags.profile
@flags.config
@flags.common()
def show(*, console: Console, origin: bool, profile: str | None, config: Path | None) -> None:
    """Print every setting."""
    from pse_stream.profiles.settings_table import BY_SETTING
    from pse_stream.streaming.configuration import resolve

    resolved = resolve({"profile": profile}, config=config)
    values = {name: value for name, value in asdict(resolved.settings).items() if name in BY_SETTING}
    shown = {name: _written(name, value) for name, value in values.items()}
    rows = [[BY_SETTING[name].path, text] for name, text in shown.items()]
    if origin:
        rows = [
            [*row, resolved.origins[name], resolved.places[name] if resolved.origins[name] != "default" else "-"]
            for row, name in zip(rows, shown, strict=True)
        ]
    console.table(["setting", "value", *(["set by", "where"] if origin else [])], rows)
    console.object(
        {
            "settings": {
                name: {"value": value, "origin": resolved.origins[name], "place": resolved.places[name]}
                for name, value in values.items()
            }
        }
    )


@command.command(name="path")
@flags.common()
def path(*, console: Console) -> None:
    """Print where the configuration and the profiles lie."""
    from pse_stream.profiles.folders import config_folder, profiles_folder
    from pse_stream.streaming.configuration import CONFIG_NAME

    file = config_folder() / CONFIG_NAME
    console.result(str(file))
    console.note(f"{'it is read' if file.is_file() else 'it does not exist yet'}; profiles: {profiles_folder()}")
    console.object({"config": str(file), "exists": file.is_file(), "profiles": str(profiles_folder())})


def _written(name: str, value: object) -> str:
    """As one would write it in the file."""
    if value is None:
        return "auto" if name == "level" else "-"
    return f"{value:g}" if isinstance(value, float) else str(value)
