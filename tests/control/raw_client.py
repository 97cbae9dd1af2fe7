"""A client that says exactly what it is told to: for bad manners."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import zmq

from pse_stream.control.keys import KeyPair


class RawClient:
    """A socket to a server."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self.socket = socket

    def send(self, *frames: bytes) -> None:
        self.socket.send_multipart(frames)

    def receive(self, timeout_ms: int = 2000) -> dict[str, Any] | None:
        if not self.socket.poll(timeout_ms):
            return None
        reply: dict[str, Any] = json.loads(self.socket.recv_multipart()[-1])
        return reply

    def ask(self, method: str, request_id: str | int = 1, **params: object) -> dict[str, Any]:
        body = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
        self.send(json.dumps(body).encode())
        reply = self.receive()
        assert reply is not None, f"no answer to {method}"
        return reply

    def hello(self, **params: object) -> dict[str, Any]:
        return self.ask("hello", "hello", **{"proto": "1.0", **params})


@contextmanager
def raw_client(endpoint: str, kind: int = zmq.DEALER, keys: tuple[KeyPair, str] | None = None) -> Iterator[RawClient]:
    """Connected; `keys` are our pair and the server's public key."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(kind)
    socket.linger = 0
    if keys is not None:
        socket.curve_publickey = keys[0].public.encode()
        socket.curve_secretkey = keys[0].secret.encode()
        socket.curve_serverkey = keys[1].encode()
    socket.connect(endpoint)
    try:
        yield RawClient(socket)
    finally:
        context.destroy(linger=0)
