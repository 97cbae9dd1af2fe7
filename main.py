"""The command line's door: parse, call one function, print."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of `pse-stream`; ends with the exit code of docs/cli.md."""
    if sys.argv[1:2] == ["ctl"]:  # a hotkey is answered before the rest of the command line is even found
        from pse_stream.control.ctl import main as ctl

        sys.exit(ctl())
    from pse_stream.cli.root import run_command_line

    sys.exit(run_command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()
