"""The flags that several commands share: same word, same meaning everywhere."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pse_stream.cli.console import Console
from pse_stream.errors import ConfigError, UsageError

Command = Callable[..., int | None]


def common(*, json: bool = True) -> Callable[[Command], Command]:
    """`-q -v --color` and, where there is a result, `--json`; the command gets a `console` instead of them."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_console(*, quiet: bool, verbose: int, color: Any, as_json: bool = False, **rest: Any) -> int | None:
            return command(console=Console(quiet=quiet, verbose=verbose, colour=color, as_json=as_json), **rest)

        wrapped: Command = with_console
        if json:
            wrapped = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")(
                wrapped
            )
        colours = click.Choice(["auto", "always", "never"])
        wrapped = click.option("--color", type=colours, default="auto", show_default=True, help="Colour the output.")(
            wrapped
        )
        wrapped = click.option("-v", "--verbose", count=True, help="Say more; twice: tracebacks too.")(wrapped)
        return click.option("-q", "--quiet", is_flag=True, help="Only results and errors.")(wrapped)

    return decorate


class SettingWord(click.ParamType[Any]):
    """A value of one setting, checked as in a configuration file."""

    def __init__(self, setting: str, metavar: str) -> None:
        self.setting, self.name = setting, metavar

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The checked value; a wrong one is wrong usage (exit 2)."""
        from pse_stream.profiles.settings_table import BY_SETTING, parsed

        key = BY_SETTING[self.setting]
        flag = param.opts[-1] if param is not None else self.setting
        try:
            return parsed(key, str(value), flag)
        except ConfigError:
            raise UsageError(f"{flag} {value}: expected {key.expects}.", name="bad_value") from None


def engine(command: Command) -> Command:
    """`-e/--engine ID`."""
    return click.option(
        "-e",
        "--engine",
        type=SettingWord("engine", "ID"),
        shell_complete=engine_names,
        help="Engine to use (pse-stream engines).",
    )(command)


def level(command: Command) -> Command:
    """`-l/--level N`."""
    return click.option(
        "-l", "--level", type=SettingWord("level", "N"), help="Quality step of the engine: 0 is the cheapest; or auto."
    )(command)


def gate(command: Command) -> Command:
    """`--gate MODE`."""
    return click.option(
        "--gate", type=SettingWord("gate", "MODE"), help="Of an engine with specialists: auto, off, or the one to use."
    )(command)


def profile(command: Command) -> Command:
    """`-p/--profile NAME`."""
    return click.option(
        "-p",
        "--profile",
        type=SettingWord("profile", "NAME"),
        shell_complete=_profile_names,
        help="A person's settings; none: nobody's.",
    )(command)


def profile_name(command: Command) -> Command:
    """`-p/--profile NAME`, needed: whose?; or PSE_STREAM_PROFILE, or the one of the configuration."""
    return click.option(
        "-p", "--profile", "name", metavar="NAME", shell_complete=own_profile_names, help="Whose (pse-stream profile)."
    )(command)


def whose(name: str | None) -> str:
    """The profile meant by `-p`: the one that is set otherwise.

    Raises
    ------
    UsageError
        If none is set.
    """
    from pse_stream.streaming.configuration import resolve

    meant = name if name is not None else resolve({}).settings.profile
    if meant is None:
        raise UsageError("whose? No profile is named and none is set.", hint="Say whose: -p NAME")
    return meant


def yes(command: Command) -> Command:
    """`-y/--yes`."""
    return click.option("-y", "--yes", is_flag=True, help="Do not ask.")(command)


def attenuation(command: Command) -> Command:
    """`--attenuation-db DB`, also `--atten-limit`."""
    return click.option(
        "--attenuation-db",
        "--atten-limit",
        "attenuation_db",
        type=SettingWord("attenuation_db", "DB"),
        help="Turn noise down by at most this much: 0 hear everything, 100 no limit.",
    )(command)


def config(command: Command) -> Command:
    """`-c/--config FILE`."""
    return click.option(
        "-c", "--config", type=click.Path(path_type=Path), metavar="FILE", help="Use this configuration file alone."
    )(command)


def engine_names(_context: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Engines to complete a word with."""
    from pse_stream.engines.registry import available

    return [
        name for name in ["auto", *(entry.id for entry in available() if entry.usable)] if name.startswith(incomplete)
    ]


def own_profile_names(_context: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Profiles to complete a word with."""
    from pse_stream.profiles.store import profile_names

    return [name for name in profile_names() if name.startswith(incomplete)]


def _profile_names(_context: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    from pse_stream.profiles.store import profile_names

    return [name for name in ["none", *profile_names()] if name.startswith(incomplete)]
