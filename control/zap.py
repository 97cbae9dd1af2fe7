"""The door of the network socket: ZeroMQ's authentication protocol (RFC 27), answered from the allow-list.

libzmq asks at `inproc://zeromq.zap.01` before it lets a CURVE client finish its handshake. The answer names the user;
every message of that connection then carries the name, so that a role is looked up again at each request.
"""

from __future__ import annotations

import zmq
from zmq.utils import z85

from pse_stream.control.allowed import AllowList

ENDPOINT = "inproc://zeromq.zap.01"
_VERSION = b"1.0"
_FRAMES = 7  # version, request id, domain, address, identity, mechanism, CURVE key


class Door:
    """Answers libzmq's questions about who may come in; polled by the server's own thread."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], allowed: AllowList) -> None:
        self._allowed = allowed
        self.refused = 0
        self.socket = context.socket(zmq.REP)
        self.socket.linger = 0
        self.socket.bind(ENDPOINT)

    def answer(self) -> str:
        """Answer one question; a sentence for the audit log if the answer was no."""
        frames = self.socket.recv_multipart()
        request_id = frames[1] if len(frames) > 1 else b""
        why = "malformed question"
        if len(frames) == _FRAMES and frames[0] == _VERSION:
            key = z85.encode(frames[6]).decode() if len(frames[6]) == 32 else ""
            holder = self._allowed.get(key) if frames[5] == b"CURVE" else None
            if holder is not None:
                self._reply(request_id, b"200", b"OK", key.encode())
                return ""
            why = f"key {key or 'none'} from {frames[3].decode(errors='replace')} is not allowed"
        self.refused += 1
        self._reply(request_id, b"400", b"key refused", b"")
        return why

    def _reply(self, request_id: bytes, status: bytes, text: bytes, user: bytes) -> None:
        self.socket.send_multipart([_VERSION, request_id, status, text, user, b""])

    def close(self) -> None:
        """Shut."""
        self.socket.close(linger=0)
