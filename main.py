"""The command line's door: parse, call one function, print."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of `pse-stream`; ends with the exit code of docs/cli.md."""
    from pse_stream.cli.root import run_command_line

    sys.exit(run_command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()
