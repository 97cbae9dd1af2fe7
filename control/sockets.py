"""Messages in and out of ZeroMQ sockets, with plain numbers for flags.

As enumerations they cost some 20 us each time they meet cold caches, as they do after every sleep: a third of the price
of an answer (measured).
"""

from __future__ import annotations

from collections.abc import Sequence

import zmq

Socket = zmq.Socket[bytes]

_NOW, _MORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)
_EVENTS, _POLLIN = int(zmq.EVENTS), int(zmq.POLLIN)


def send(socket: Socket, frames: Sequence[bytes]) -> None:
    """Send one message; `zmq.Again` instead of waiting."""
    for frame in frames[:-1]:
        socket.send(frame, _MORE)
    socket.send(frames[-1], _NOW)


def receive(socket: Socket) -> list[zmq.Frame]:
    """All frames of one message that is known to be there."""
    frames = [socket.recv(_NOW, copy=False)]
    while frames[-1].more:
        frames.append(socket.recv(_NOW, copy=False))
    return frames


def readable(socket: Socket) -> bool:
    """Is there a message? Cheaper than trying to receive, which raises an exception when there is none."""
    return bool(int(socket.getsockopt(_EVENTS)) & _POLLIN)
