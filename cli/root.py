"""The command group: find the command, load it when it is used, and end with the right exit code.

`run` is the default: `pse-stream --profile alice` is `pse-stream run --profile alice`.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any

import click
from click.shell_completion import CompletionItem

from pse_stream.cli.console import show_error
from pse_stream.errors import PseError

PROGRAM = "pse-stream"
DEFAULT_COMMAND = "run"
#: name: the file in this folder that holds a function of that name, called `command`.
COMMANDS = (
    "run",
    "enhance",
    "ctl",
    "tui",
    "profile",
    "sessions",
    "enrol",
    "adapt",
    "service",
    "keys",
    "devices",
    "engines",
    "doctor",
    "bench",
    "clean",
    "config",
    "completion",
)
OWN_FLAGS = frozenset({"-h", "--help", "-V", "--version"})

EXIT_UNEXPECTED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells count
EXIT_TERMINATED = 143  # 128 + SIGTERM

EXAMPLES = """\b
  pse-stream                            clean the microphone; choose "Denoised Microphone" in your call
  pse-stream enhance noisy.wav          write noisy.clean.wav
  pse-stream doctor                     find out which link is silent
"""


class Terminated(BaseException):
    """TERM arrived: leave like at Ctrl-C, with another exit code. No `Exception`, so nothing swallows it."""


class Root(click.Group):
    """Commands by file name, imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of their use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"pse_stream.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put in the default command where none is named."""
        if not (ctx.resilient_parsing and not args) and (not args or _is_flag_of_run(args[0])):
            args = [DEFAULT_COMMAND, *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command when there is none of that name."""
        name = args[0]
        if name not in COMMANDS and not ctx.resilient_parsing:
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            also = f' Did you mean "{near[0]}"?' if near else f" There are: {', '.join(COMMANDS)}."
            ctx.fail(f'there is no command "{name}".{also}')
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The flags of the default command too."""
        found = super().shell_complete(ctx, incomplete)
        if incomplete.startswith("-"):
            run = self.get_command(ctx, DEFAULT_COMMAND)
            assert run is not None
            found += run.shell_complete(click.Context(run, parent=ctx, info_name=DEFAULT_COMMAND), incomplete)
        return found


def _is_flag_of_run(word: str) -> bool:
    return word.startswith("-") and word not in OWN_FLAGS


def _show_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        import pse_stream

        click.echo(f"{PROGRAM} {pse_stream.__version__}")
        ctx.exit()


@click.group(
    cls=Root,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help=f"Clean the microphone for every program on this machine.\n\n{EXAMPLES}",
    epilog="Without a command: run. Exit codes, configuration and every flag: docs/cli.md.",
)
@click.option(
    "-V", "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
def root() -> None:
    """The group has nothing to do itself."""


def run_command_line(arguments: list[str]) -> int:
    """Run one command line; the exit code."""
    try:
        with _signals():
            code = root.main(args=arguments, prog_name=PROGRAM, standalone_mode=False)
            sys.stdout.flush()
            return code if isinstance(code, int) else 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.UsageError as error:
        _show_usage(error)
        return EXIT_USAGE
    except click.ClickException as error:
        show_error("usage", error.format_message(), "")
        return EXIT_USAGE
    except PseError as error:
        if "-vv" in arguments or arguments.count("-v") + arguments.count("--verbose") >= 2:
            traceback.print_exc()
        show_error(error.name, error.text, error.hint)
        return error.exit_code
    except Terminated:
        return EXIT_TERMINATED
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    except (BrokenPipeError, SystemExit):  # click turns the one into the other
        # Nobody reads our results any more (`| head`): leave quietly, and keep Python from flushing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        show_error("unexpected", f"{type(error).__name__}: {error}.", _report(arguments))
        if "-vv" in arguments:
            traceback.print_exc()
        return EXIT_UNEXPECTED


def _show_usage(error: click.UsageError) -> None:
    path = error.ctx.command_path if error.ctx is not None else PROGRAM
    text = error.format_message()
    show_error("usage", text if text.endswith((".", "?")) else f"{text}.", f"Try: {path} --help")


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """TERM as an exception, so that devices are put back and temporary files go; a second Ctrl-C ends at once."""

    def terminate(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        raise KeyboardInterrupt

    before: dict[int, Any] = {}
    try:
        for number, handler in ((signal.SIGTERM, terminate), (signal.SIGINT, interrupt)):
            before[number] = signal.signal(number, handler)
    except ValueError:
        pass  # not the main thread: whoever embeds us handles signals
    try:
        yield
    finally:
        for known, earlier in before.items():
            signal.signal(known, earlier)


def _report(arguments: list[str]) -> str:
    """Write what happened to a file; the sentence that names it."""
    import time

    from pse_stream.profiles.folders import state_folder

    text = "".join([f"{PROGRAM} {' '.join(arguments)}\n", traceback.format_exc()])
    folder = state_folder() / "reports"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / time.strftime("%Y%m%d-%H%M%S.txt")
        path.write_text(text, encoding="utf-8")
    except OSError:
        return "This is a fault of ours. See it with -vv."
    return f"This is a fault of ours; please report it with {path}"
