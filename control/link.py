"""A client's connection: the address, the keys, one message out and one in, and why there is no answer.

ZeroMQ says nothing when a key is refused: a wrong key looks like an absent server. The socket's monitor tells them
apart, so that a person is told the cause within a second.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import zmq

from pse_stream.control.faults import NoAnswerError
from pse_stream.control.instance import DEFAULT_INSTANCE, DEFAULT_PORT, control_path, running_pid, telemetry_path
from pse_stream.control.sockets import send
from pse_stream.errors import ControlError

_MONITOR_S = 0.05  # between looks whether our key was refused, while nothing comes


class Keys(NamedTuple):  # not a dataclass: that import alone costs 10 ms
    """What a network connection needs: our pair, and the server's public key (Z85 text)."""

    public: str
    secret: str
    server: str

    def __repr__(self) -> str:
        return f"Keys({self.public!r}, secret hidden, server={self.server!r})"


class Address(NamedTuple):
    """Where a denoiser is reached.

    Parameters
    ----------
    command : str
        Endpoint of the command channel.
    instance : str
        For messages, and to see whether it runs; empty for a network address.
    """

    command: str
    instance: str = ""
    keys: Keys | None = None

    @classmethod
    def local(cls, instance: str = DEFAULT_INSTANCE) -> Address:
        """A denoiser of this user on this machine."""
        return cls(f"ipc://{control_path(instance)}", instance)

    @classmethod
    def network(cls, address: str, keys: Keys) -> Address:
        """A denoiser elsewhere, `tcp://host[:port]`."""
        return cls(normal_tcp(address), keys=keys)

    def telemetry(self, port: int | None) -> str:
        """Endpoint of the telemetry; `port` is what the server's hello said."""
        if port is None:
            return f"ipc://{telemetry_path(self.instance)}"
        return f"{self.command.rsplit(':', 1)[0]}:{port}"


def normal_tcp(address: str) -> str:
    """`tcp://host:port` with the port written out.

    Raises
    ------
    ControlError
        If it is no such address.
    """
    host = address.removeprefix("tcp://")
    if not address.startswith("tcp://") or not host or "/" in host:
        raise ControlError(f"{address!r} is no address; expected tcp://host or tcp://host:port", name="bad_address")
    return address if ":" in host.rpartition("]")[2] else f"{address}:{DEFAULT_PORT}"


def find_keys(address: str, key: str | None, server_key: str | None, folder: Path | None = None) -> Keys:
    """The keys for a network address, from the keys folder.

    Parameters
    ----------
    key : str or None
        Name of our own pair; None: the only one there is.
    server_key : str or None
        The server's public key, or a file or name it stands for; None: as remembered by `pse-stream keys trust`.

    Raises
    ------
    ControlError
        `no_key` if one of the two is missing.
    """
    from pse_stream.control.keys import SERVER_KEY, Keyring

    ring = Keyring(folder)
    where = normal_tcp(address).removeprefix("tcp://")
    server = ring.public_of(server_key) if server_key else ring.known_servers().get(where)
    if server is None:
        raise ControlError(
            f"the public key of {where} is not known.",
            name="no_key",
            hint=f"On that machine: pse-stream keys show server; here: pse-stream keys trust {where} PUBLIC-KEY",
        )
    own = [name for name in ring.own() if name != SERVER_KEY]
    if key is None and len(own) != 1:
        found = ", ".join(own) or "none"
        raise ControlError(f"which key to use for {where}? Found: {found}.", name="no_key", hint="Say --key NAME")
    pair = ring.load(key or own[0])
    return Keys(pair.public, pair.secret, server)


class Closing:
    """Something to be left behind at the end of a `with`."""

    def close(self) -> None:
        """Leave."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def secure(socket: zmq.Socket[bytes], keys: Keys | None) -> None:
    """Make a socket a CURVE client."""
    if keys is not None:
        socket.curve_publickey = keys.public.encode()
        socket.curve_secretkey = keys.secret.encode()
        socket.curve_serverkey = keys.server.encode()


class Link:
    """One DEALER socket; not for several threads at once."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.sndhwm = 64
        self._monitor: zmq.Socket[bytes] | None = None
        self._look_s = math.inf if address.keys is None else _MONITOR_S
        secure(self._socket, address.keys)
        if address.keys is not None:
            self._monitor = self._socket.get_monitor_socket()
        self._socket.connect(address.command)

    def send(self, body: bytes) -> None:
        """Send one message.

        Raises
        ------
        NoAnswerError
            If the queue is full: the server has not read for long.
        """
        try:
            send(self._socket, (body,))
        except zmq.Again:
            raise self._no_answer() from None

    def receive(self, until: float) -> bytes | None:
        """The next message, or None when time (monotonic) is up.

        Raises
        ------
        NoAnswerError
            If the server refused our key, or its own is not the one we know.
        """
        while True:
            left_s = until - time.monotonic()
            self._socket.rcvtimeo = math.ceil(max(0.0, min(left_s, self._look_s)) * 1000.0)
            try:
                return self._socket.recv()
            except zmq.Again:
                if self._monitor is not None:
                    self._look_at_monitor()
                if left_s <= self._look_s:
                    return None

    def _look_at_monitor(self) -> None:
        from zmq.utils.monitor import recv_monitor_message

        assert self._monitor is not None
        while self._monitor.poll(0):
            self._insist_welcome(recv_monitor_message(self._monitor, zmq.NOBLOCK)["event"])

    def _insist_welcome(self, event: int) -> None:
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            raise NoAnswerError(
                f"{self._address.command} refused our key.",
                name="key_refused",
                hint="On that machine: pse-stream keys list; pse-stream keys allow NAME PUBLIC-KEY",
            )
        if event in (zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL):
            raise NoAnswerError(
                f"{self._address.command} answers, but not with the key we know.",
                name="wrong_server",
                hint="Compare with `pse-stream keys show server` there; correct it with: pse-stream keys trust",
            )

    def _no_answer(self) -> NoAnswerError:
        return no_answer(self._address)

    def close(self) -> None:
        """Drop everything at once."""
        if self._monitor is not None:
            self._socket.disable_monitor()
            self._monitor.close(linger=0)
        self._socket.close(linger=0)
        self._context.term()


def no_answer(address: Address) -> NoAnswerError:
    """Why nobody answers, as far as can be seen from here."""
    if not address.instance:
        return NoAnswerError(
            f"nobody answers at {address.command}.",
            hint="Is it the right address, and does pse-stream run there with --bind?",
        )
    pid = running_pid(address.instance)
    if pid is None:
        named = "" if address.instance == DEFAULT_INSTANCE else f" --instance {address.instance}"
        return NoAnswerError(
            f'no pse-stream runs as instance "{address.instance}".',
            name="not_running",
            hint=f"Start it: pse-stream run{named}",
        )
    return NoAnswerError(
        f'instance "{address.instance}" (pid {pid or "unknown"}) runs but does not answer.',
        hint="It may still be starting; if not, see its log, end it and start it again.",
    )


Message = dict[str, Any]
