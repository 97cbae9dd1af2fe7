"""A client's conversation with one denoiser: hello, ask, wait, ask again, in time and never twice.

A request that got no answer is sent again under the same id, which the server carries out once only. `client.py` puts
typed verbs on top. Imports pyzmq and the standard library, nothing of sound.
"""

from __future__ import annotations

import json
import os
import threading
import time
from typing import Any, NamedTuple, Self

from pse_stream.control.faults import PROTOCOL, NoAnswerError, RemoteError
from pse_stream.control.instance import DEFAULT_INSTANCE, running_pid
from pse_stream.control.link import Address, Closing, Link, Message, find_keys, no_answer
from pse_stream.errors import ControlError

_HELLO_S = 1.0  # a denoiser that runs answers within milliseconds
_SLOW_S = 15.0  # looks at hardware, loads a network, or opens a device
_SLOW = frozenset({"doctor", "devices.list", "devices.set", "engine.list", "engine.set", "profile.use", "config.patch"})
_LONGEST_PAUSE_S = 1.0  # before asking again when told to slow down


class Greeting(NamedTuple):
    """What the server said of itself."""

    proto: str
    app: str
    instance: str
    boot: str  # changes when the server is restarted
    role: str
    caps: frozenset[str]  # methods that it can carry out
    telemetry_port: int | None
    revision: int


class Connection(Closing):
    """A connection to one denoiser; may be shared by threads (one request at a time).

    Parameters
    ----------
    address : str, Address or None
        `tcp://host[:port]`; None: this machine.
    instance : str
        Which denoiser of this machine.
    timeout_s : float
        How long to wait for one answer before asking again.
    retries : int
        How often to ask again.
    key, server_key : str or None
        For `tcp://`: our key by name, and the server's public key; see `pse-stream keys`.
    name : str
        Shown in the server's log.
    """

    def __init__(
        self,
        address: str | Address | None = None,
        *,
        instance: str = DEFAULT_INSTANCE,
        timeout_s: float = 2.0,
        retries: int = 1,
        key: str | None = None,
        server_key: str | None = None,
        name: str = "",
    ) -> None:
        if address is None:
            self.address = Address.local(instance)
        elif isinstance(address, str):
            self.address = Address.network(address, find_keys(address, key, server_key))
        else:
            self.address = address
        self._timeout_s = timeout_s
        self._retries = retries
        self._name = name
        self._token = os.urandom(8).hex()
        self._count = 0
        self._link: Link | None = None
        self._greeting: Greeting | None = None
        self._lock = threading.RLock()

    # -- the connection ---------------------------------------------------------------------------------------------

    def connect(self) -> Greeting:
        """Say hello, unless that was done; called by itself at the first request.

        Raises
        ------
        NoAnswerError
            not_running, no_answer, key_refused or wrong_server.
        RemoteError
            wrong_protocol.
        """
        with self._lock:
            if self._greeting is None:
                self._greeting = self._hello()
            return self._greeting

    def close(self) -> None:
        """Leave; the denoiser runs on."""
        with self._lock:
            self._drop()

    def twin(self) -> Self:
        """Another connection to the same denoiser, for another thread that should not wait for this one."""
        return type(self)(self.address, timeout_s=self._timeout_s, retries=self._retries, name=self._name)

    def _drop(self) -> None:
        if self._link is not None:
            self._link.close()
        self._link = self._greeting = None

    def _hello(self) -> Greeting:
        params = {"proto": PROTOCOL, "client": self._name, "token": self._token}
        reply = None
        for _ in range(self._retries + 1):
            if self.address.instance and running_pid(self.address.instance) is None:
                break
            if self._link is None:
                self._link = Link(self.address)
            reply = self._ask(self._next_id(), "hello", params, min(_HELLO_S, self._timeout_s))
            if reply is not None and not _held_off(reply):
                break
        if reply is None:
            self._drop()
            raise no_answer(self.address)
        said = _result(reply)
        return Greeting(
            proto=said["proto"],
            app=said["app"],
            instance=said["instance"],
            boot=said["boot"],
            role=said["role"],
            caps=frozenset(said["caps"]),
            telemetry_port=said["telemetry_port"],
            revision=said["revision"],
        )

    def _next_id(self) -> str:
        self._count += 1
        return f"{self._token}-{self._count}"

    def _ask(self, request_id: str, method: str, params: Message, timeout_s: float) -> Message | None:
        """Send one message and wait for its answer; what answers another id came too late and is dropped."""
        assert self._link is not None
        request = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
        self._link.send(json.dumps(request).encode())
        until = time.monotonic() + timeout_s
        while True:
            body = self._link.receive(until)
            if body is None:
                return None
            reply = json.loads(body)
            if isinstance(reply, dict) and reply.get("id") == request_id:
                return reply

    def call(self, method: str, **params: Any) -> Any:
        """Any method of docs/protocol.md; the verbs below are this with types.

        Raises
        ------
        RemoteError
            The server refused; `name` says why.
        NoAnswerError
            Nobody answered in time, however often we asked.
        """
        with self._lock:
            request_id = self._next_id()
            timeout_s = max(self._timeout_s, _SLOW_S) if method in _SLOW else self._timeout_s
            boot = self.connect().boot
            for _ in range(self._retries + 1):
                try:
                    return self._attempt(request_id, method, params, timeout_s)
                except _AskAgain as again:
                    self._prepare(again, method, boot)
            raise no_answer(self.address)

    def _attempt(self, request_id: str, method: str, params: Message, timeout_s: float) -> Any:
        reply = self._ask(request_id, method, params, timeout_s)
        if reply is None:
            raise _AskAgain(reconnect=True)
        try:
            return _result(reply)
        except RemoteError as error:
            if error.name == "hello_needed":
                raise _AskAgain(greet=True) from None
            if error.name == "rate_limited":
                raise _AskAgain(pause_s=error.data.get("retry_after_ms", 0) / 1000.0) from None
            raise

    def _prepare(self, again: _AskAgain, method: str, boot: str) -> None:
        """Before asking once more: wait, greet or reconnect as the last attempt calls for."""
        time.sleep(min(again.pause_s, _LONGEST_PAUSE_S))
        if again.reconnect:
            self._drop()
        if again.greet:
            self._greeting = None
        if self.connect().boot != boot and method.endswith(".toggle"):
            raise NoAnswerError(
                f"the denoiser was restarted while {method} was under way; nobody knows which way it is now.",
                name="restarted",
                hint="Look at the status, then set it on or off.",
            )


class _AskAgain(Exception):
    """The last attempt led to nothing; another may."""

    def __init__(self, *, reconnect: bool = False, greet: bool = False, pause_s: float = 0.0) -> None:
        super().__init__()
        self.reconnect, self.greet, self.pause_s = reconnect, greet, pause_s


def _held_off(reply: Message) -> bool:
    """Wait, if the server has too many new connections at this moment."""
    error = reply.get("error") or {}
    if error.get("name") != "rate_limited":
        return False
    time.sleep(min(error.get("data", {}).get("retry_after_ms", 0) / 1000.0, _LONGEST_PAUSE_S))
    return True


def _result(reply: Message) -> Any:
    error = reply.get("error")
    if error is None:
        return reply.get("result")
    if not isinstance(error, dict):
        raise ControlError("the server's answer cannot be read", name="bad_answer")
    raise RemoteError(
        str(error.get("message", "refused")),
        name=str(error.get("name", "refused")),
        code=int(error.get("code", 0)),
        hint=str(error.get("hint") or ""),
        data=error.get("data"),
    )
