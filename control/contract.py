"""What the control channel needs of a denoiser: `streaming.denoiser.Denoiser`, or a fake."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol

from pse_stream.streaming.settings import Applied, Command, Origin
from pse_stream.streaming.snapshot import Meters, Snapshot


class DenoiserLike(Protocol):
    """Asked from the server's thread; no call waits for the sound."""

    @property
    def snapshot(self) -> Snapshot:
        """What is true now; immutable, never blocks."""
        ...

    @property
    def meters(self) -> Meters:
        """The levels alone."""
        ...

    def submit(
        self, command: Command, origin: Origin = "command", if_revision: int | None = None, *, prompt: bool = False
    ) -> Future[Applied]:
        """Queue a change for the next hop boundary; `prompt`: callbacks of the future do next to nothing."""
        ...

    def supports(self, command: type[Command]) -> bool:
        """False for commands whose feature is not there yet."""
        ...
