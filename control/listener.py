"""The two places where the server listens: a socket file for this user, and, if asked for, the network with keys.

Each has a ROUTER for commands and an XPUB for telemetry. The network sockets are CURVE servers: without the server's
public key a client cannot begin, without a key on the allow-list it is turned away at the door (control/zap.py).
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import time
from pathlib import Path

import zmq

from pse_stream.control.instance import DEFAULT_PORT
from pse_stream.control.keys import SERVER_KEY, KeyPair, Keyring
from pse_stream.control.messages import MESSAGE_BYTES
from pse_stream.control.sockets import Socket
from pse_stream.control.telemetry import Telemetry
from pse_stream.errors import ControlError

_QUEUE = 64  # requests kept per client before its own socket makes it wait
_REPLY_LINGER_MS = 200  # the answer to shutdown still gets out
_HANDSHAKE_MS = 2_000  # a connection that says nothing is closed
_REBIND_TRIES, _REBIND_WAIT_S = 50, 0.02  # the kernel frees a port a little after the socket is closed
_TCP = re.compile(r"tcp://(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.*_-]+)(?::(\d{1,5}))?\Z")


def parse_tcp(address: str) -> tuple[str, int]:
    """Host and port of `tcp://host[:port]`.

    Raises
    ------
    ControlError
        If it is something else.
    """
    found = _TCP.match(address)
    port = int(found[2] or DEFAULT_PORT) if found else 0
    if found is None or port > 65_535:
        raise ControlError(
            f"{address!r} is no address; expected tcp://host or tcp://host:port",
            name="bad_address",
            hint="Example: tcp://127.0.0.1:7270",
        )
    return found[1], port


def is_loopback(host: str) -> bool:
    """True if only this machine can reach it."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def network_key(address: str, keyring: Keyring) -> KeyPair:
    """The server's key pair, if this machine is ready to be reached over a network.

    Raises
    ------
    ControlError
        `no_key` if there is no server key or nobody is allowed: a socket that anybody could use is never opened.
    """
    host, _ = parse_tcp(address)
    reach = "on this machine" if is_loopback(host) else "over the network"
    if SERVER_KEY not in keyring.own():
        raise ControlError(
            f"{address} would be open to everybody {reach}: there is no server key.",
            name="no_key",
            hint=f"Make one: pse-stream keys new {SERVER_KEY}",
        )
    if not keyring.allowed():
        raise ControlError(
            f"{address} could be used by nobody: the allow-list is empty.",
            name="no_key",
            hint="On the other machine: pse-stream keys new NAME; here: pse-stream keys allow NAME PUBLIC-KEY",
        )
    return keyring.load(SERVER_KEY)


class Listener:
    """A bound pair of sockets.

    Parameters
    ----------
    command, telemetry : str
        Endpoints. A port of 0 lets the system choose.
    key : KeyPair or None
        The server's; None only for `ipc://`.
    """

    def __init__(
        self,
        context: zmq.Context[Socket],
        publisher: Telemetry,
        command: str,
        telemetry: str,
        key: KeyPair | None = None,
    ) -> None:
        if key is None and not command.startswith("ipc://"):
            raise ControlError(f"{command} needs keys", name="no_key")
        self.secure = key is not None
        self._context, self._publisher, self._key = context, publisher, key
        self.command, self.telemetry = command, telemetry
        self._open()

    @property
    def telemetry_port(self) -> int | None:
        """Port of the telemetry; None for a socket file."""
        return int(self.telemetry.rsplit(":", 1)[1]) if self.secure else None

    def _open(self) -> None:
        self.router = self._context.socket(zmq.ROUTER)
        self.router.setsockopt(zmq.RCVHWM, _QUEUE)
        self.router.setsockopt(zmq.SNDHWM, 2 * _QUEUE)
        self.router.setsockopt(zmq.LINGER, _REPLY_LINGER_MS)
        self.router.setsockopt(zmq.MAXMSGSIZE, 2 * MESSAGE_BYTES)  # a little too long is answered; more is cut off
        self.publisher = self._publisher.socket(self._context)
        for socket in (self.router, self.publisher):
            socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
            if self._key is not None:
                socket.curve_server = True
                socket.curve_secretkey = self._key.secret.encode()
                socket.zap_domain = b"pse-stream"
        try:
            self.command = _bind(self.router, self.command)
            self.telemetry = _bind(self.publisher, self.telemetry)
        except BaseException:
            self.close()
            raise

    def reopen(self) -> None:
        """Cut everybody off and listen again at the same place: the only way to close one client's telemetry."""
        self.close(linger_ms=0)
        self._open()

    def close(self, linger_ms: int = _REPLY_LINGER_MS) -> None:
        """Stop listening; a socket file is removed."""
        self._publisher.forget(self.publisher)
        self.router.close(linger=linger_ms)
        self.publisher.close(linger=0)
        for endpoint in (self.command, self.telemetry):
            if endpoint.startswith("ipc://"):
                with contextlib.suppress(OSError):
                    Path(endpoint.removeprefix("ipc://")).unlink(missing_ok=True)


def _bind(socket: Socket, endpoint: str) -> str:
    """Bind; the endpoint with the port that was chosen."""
    if endpoint.startswith("ipc://"):
        socket.bind(endpoint)
        os.chmod(endpoint.removeprefix("ipc://"), 0o600)  # its folder is 0700 anyway
        return endpoint
    for attempt in range(_REBIND_TRIES):
        try:
            socket.bind(endpoint)
            break
        except zmq.ZMQError as error:
            if error.errno != zmq.EADDRINUSE or attempt == _REBIND_TRIES - 1:
                raise ControlError(
                    f"cannot listen at {endpoint}: {error.strerror}.",
                    name="bad_address",
                    hint="Choose another port or address.",
                ) from None
            time.sleep(_REBIND_WAIT_S)
    port = socket.getsockopt_string(zmq.LAST_ENDPOINT).rsplit(":", 1)[1]
    return f"{endpoint.rsplit(':', 1)[0]}:{port}"
