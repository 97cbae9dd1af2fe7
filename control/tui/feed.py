"""The thread that listens: telemetry in batches at most ten a second, and what to say while nobody answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pse_stream.control.client import ControlClient
from pse_stream.control.reader import TelemetryMessage, TelemetryReader
from pse_stream.errors import ControlError

BATCH_S = 0.1  # the screen is drawn no faster than this
SILENT_S = 3.0  # state has a heartbeat of one second: after three the denoiser is gone or unreachable
RETRY_S = (1.0, 2.0, 4.0, 8.0)  # the last one for ever


@dataclass(frozen=True, slots=True)
class Connected:
    """The denoiser answers."""

    server: str
    role: str


@dataclass(frozen=True, slots=True)
class Lost:
    """It does not, or no longer."""

    reason: str
    retry_at: float  # monotonic seconds


@dataclass(frozen=True, slots=True)
class Batch:
    """The newest message of each topic since the last batch."""

    messages: dict[str, TelemetryMessage] = field(default_factory=dict)


Told = Connected | Lost | Batch


class Feed:
    """Follows one denoiser for as long as it is asked to.

    Parameters
    ----------
    client : ControlClient
        Of this thread alone.
    topics : iterable of str
        What to listen to.
    tell : callable
        Called in the feed's thread; must be quick.
    """

    def __init__(self, client: ControlClient, topics: Iterable[str], tell: Callable[[Told], None]) -> None:
        self._client, self._topics, self._tell = client, set(topics), tell
        self._stop = threading.Event()
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tui-feed", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; returns at once if nobody answers."""
        self._stop.set()
        self._hurry.set()
        self._thread.join(2.0)
        self._client.close()

    def listen(self, topic: str, wanted: bool) -> None:
        """Listen to a topic, or no longer; the feed's thread takes it up within a batch."""
        self._topics = self._topics | {topic} if wanted else self._topics - {topic}

    def retry_now(self) -> None:
        """Do not wait for the countdown."""
        self._hurry.set()

    def _run(self) -> None:
        attempt = 0
        while not self._stop.is_set():
            try:
                greeting = self._client.connect()
                with TelemetryReader(self._client, self._topics) as reader:
                    self._tell(Connected(f"{greeting.instance} (pse-stream {greeting.app})", greeting.role))
                    attempt = 0
                    self._follow(reader)
            except ControlError as error:
                self._client.close()
                pause = RETRY_S[min(attempt, len(RETRY_S) - 1)]
                attempt += 1
                if not self._stop.is_set():
                    self._tell(Lost(error.text, time.monotonic() + pause))
                    self._hurry.wait(pause)
                    self._hurry.clear()

    def _follow(self, reader: TelemetryReader) -> None:
        """Pass on what is heard until there is silence that the denoiser cannot explain."""
        heard = set(self._topics)
        while not self._stop.is_set():
            began, wanted = time.monotonic(), self._topics
            for topic in wanted - heard:
                reader.subscribe(topic)
            for topic in heard - wanted:
                reader.unsubscribe(topic)
            heard = set(wanted)
            found = reader.newest(BATCH_S)
            if found:
                self._tell(Batch(found))
            elif reader.silent_s > SILENT_S:
                self._client.status()  # raises if it is gone
            self._stop.wait(max(0.0, BATCH_S - (time.monotonic() - began)))
