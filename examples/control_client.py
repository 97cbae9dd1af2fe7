"""Duck under a loud office: a complete program on the public control interface.

Start the denoiser (`pse-stream run`), then this beside it:

    python examples/control_client.py            # this machine
    python examples/control_client.py tcp://box  # another one, with keys (docs/remote-control.md)

It looks at how much noise is taken away. In a loud place it lets the denoiser turn noise down further, in a quiet one
less, so that the voice keeps its room. It changes nothing twice, gives way when a person changes the limit by hand,
and ends with Ctrl-C, leaving the denoiser as it found it.
"""

from __future__ import annotations

import sys
import time

from pse_stream.control.client import ControlClient
from pse_stream.control.faults import RemoteError
from pse_stream.control.reader import TelemetryReader
from pse_stream.errors import ControlError

QUIET_LIMIT_DB, LOUD_LIMIT_DB = 15.0, 35.0
LOUD_REMOVED_DB = 8.0  # removing more than this is a loud place
HOLD_S = 10.0  # not more often than this


def main() -> int:
    """Follow the noise until Ctrl-C; the exit code."""
    address = sys.argv[1] if len(sys.argv) > 1 else None
    try:
        with ControlClient(address, name="office") as denoiser:
            return follow(denoiser)
    except ControlError as error:
        print(f"error[{error.name}]: {error}", file=sys.stderr)
        return error.exit_code


def follow(denoiser: ControlClient) -> int:
    """Move the limit with the noise; put it back at the end."""
    status = denoiser.status()
    before = status["settings"]["attenuation_db"]
    revision, limit, moved = status["revision"], before, 0.0
    print(f"connected; the limit is {before:g} dB")
    try:
        with TelemetryReader(denoiser, ["meters", "state"]) as reader:
            for message in reader.messages(timeout_s=5.0):
                if message.topic == "state":
                    if message.data["settings"]["attenuation_db"] != limit:
                        print("somebody set the limit by hand; leaving it to them")
                        return 0
                    revision = message.data["revision"]
                    continue
                wanted = LOUD_LIMIT_DB if message.data["removed_db"] > LOUD_REMOVED_DB else QUIET_LIMIT_DB
                if wanted == limit or time.monotonic() - moved < HOLD_S:
                    continue
                try:
                    applied = denoiser.set_attenuation(wanted, if_revision=revision)
                except RemoteError as error:
                    if error.name != "revision_conflict":
                        raise
                    continue  # something else was changed at the same moment: the state message says what
                limit, moved, revision = wanted, time.monotonic(), applied.revision
                print(f"limit {wanted:g} dB from hop {applied.hop_index}")
        print("the denoiser has been silent for 5 s", file=sys.stderr)
        return 6
    except KeyboardInterrupt:
        denoiser.set_attenuation(before)
        return 130


if __name__ == "__main__":
    sys.exit(main())
