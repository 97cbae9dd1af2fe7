"""`pse-stream completion SHELL`: what a shell needs to complete commands, flags, engines and profiles."""

from __future__ import annotations

import click

from pse_stream.cli import flags
from pse_stream.cli.console import Console

VARIABLE = "_PSE_STREAM_COMPLETE"  # how the script that is printed calls us back


@click.command(name="completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@flags.common(json=False)
def command(*, console: Console, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Put it where the shell looks, once:
      pse-stream completion bash > ~/.local/share/bash-completion/completions/pse-stream
      pse-stream completion zsh  > ~/.zfunc/_pse-stream      (with ~/.zfunc in fpath)
      pse-stream completion fish > ~/.config/fish/completions/pse-stream.fish
    """
    from click.shell_completion import get_completion_class

    from pse_stream.cli.root import PROGRAM, root

    kind = get_completion_class(shell)
    assert kind is not None
    completer = kind(root, {}, PROGRAM, VARIABLE)
    # Not source(): for bash it starts a bash to ask for its version.
    console.result(completer.source_template % completer.source_vars())
