"""Messages that nobody should send, and somewhere for their answers to go."""

from __future__ import annotations

import random

import zmq

from pse_stream.control.messages import MESSAGE_BYTES


class DeafRouter:
    """Where answers go when only their number matters."""

    closed = False

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def send(self, frame: bytes, flags: int) -> None:
        if not flags & zmq.SNDMORE:
            self.bodies.append(frame)


def bad_message(random_source: random.Random) -> bytes:
    good = b'{"jsonrpc":"2.0","id":1,"method":"config.patch","params":{"mute":true}}'
    kind = random_source.randrange(6)
    if kind == 0:
        return random_source.randbytes(random_source.randrange(300))
    if kind == 1:
        return good[: random_source.randrange(len(good))]
    if kind == 2:
        return b'{"jsonrpc":"2.0","id":"%d","method":"%s"}' % (random_source.randrange(10**9), b"x" * 20)
    if kind == 3:
        return b"[" * random_source.randrange(60_000)
    if kind == 4:
        return b" " * (MESSAGE_BYTES + 1)
    return good.replace(b"true", b'"%d"' % random_source.randrange(10**9))
