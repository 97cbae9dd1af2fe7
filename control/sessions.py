"""What the server remembers of its clients: who they are, how much they asked, what they were answered.

All of it is bounded: a thousand connections a second fill two small tables and push the oldest entries out.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from pse_stream.control.budget import TokenBucket

MAX_SESSIONS = 256
MAX_ANSWERS = 1024
MAX_PENDING = 32  # changes of one client that have not taken effect yet
REQUESTS_PER_S, REQUEST_BURST = 100.0, 50.0  # of one client; a person with a slider makes 25
NEWCOMERS_PER_S, NEWCOMER_BURST = 20.0, 64.0  # connections; a key that is held down starts 25 `ctl` a second


@dataclass(slots=True)
class Peer:
    """Where a message came from and an answer goes to."""

    router: Any  # zmq.Socket
    routing_id: bytes
    delimiter: bool = False  # a REQ socket puts an empty frame before the body, and wants it back
    telemetry_port: int | None = None  # where this peer finds the telemetry; None for a socket file

    def frames(self, body: bytes) -> list[bytes]:
        """What to send."""
        return [self.routing_id, b"", body] if self.delimiter else [self.routing_id, body]


@dataclass(slots=True)
class Session:
    """One connection."""

    user: str  # public key, or "local"
    bucket: TokenBucket
    token: str = ""  # a client that reconnects is known by it
    greeted: bool = False
    pending: int = 0


class Sessions:
    """Connections by socket and routing id; the one longest silent is forgotten first."""

    def __init__(self) -> None:
        self._all: OrderedDict[tuple[int, bytes], Session] = OrderedDict()
        self._newcomers: TokenBucket | None = None  # with a thousand connections a second the old ones stay

    def of(self, peer: Peer, user: str, now: float) -> Session | None:
        """The session of a message; a new one if it is unknown or belonged to somebody else.

        None if too many are new at this moment.
        """
        key = (id(peer.router), peer.routing_id)
        session = self._all.get(key)
        if session is None or session.user != user:
            if self._newcomers is None:
                self._newcomers = TokenBucket(NEWCOMERS_PER_S, NEWCOMER_BURST, now)
            if not self._newcomers.take(now):
                return None
            session = self._all[key] = Session(user, TokenBucket(REQUESTS_PER_S, REQUEST_BURST, now))
            if len(self._all) > MAX_SESSIONS:
                self._all.popitem(last=False)
        self._all.move_to_end(key)
        return session

    def clear(self) -> None:
        """Everybody has to say hello again."""
        self._all.clear()

    def __len__(self) -> int:
        return len(self._all)


@dataclass(slots=True)
class Answer:
    """A change that was asked for, and its answer once there is one."""

    request: bytes  # digest of the message: a thousand kept messages of 64 KiB would be a way to fill the memory
    peer: Peer
    body: bytes | None = None


AnswerKey = tuple[str, str | bytes, str | int]  # user, token or routing id, request id


@dataclass(slots=True)
class Answers:
    """Answers to changes, kept so that a client may ask again without changing twice."""

    _kept: OrderedDict[AnswerKey, Answer] = field(default_factory=OrderedDict)

    def get(self, key: AnswerKey) -> Answer | None:
        """What was asked before under this id."""
        return self._kept.get(key)

    def open(self, key: AnswerKey, answer: Answer) -> None:
        """A change is under way."""
        self._kept[key] = answer
        if len(self._kept) > MAX_ANSWERS:
            self._kept.popitem(last=False)

    def __len__(self) -> int:
        return len(self._kept)
