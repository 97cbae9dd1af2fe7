"""The control server: one thread, beside the sound and never in its way.

It sleeps until somebody asks or telemetry is due. Everything it answers from is an immutable snapshot; every change
goes through `Denoiser.submit` and is answered when the worker has applied it. What a flood may cost is bounded
(`_TOTAL_PER_S`): beyond it the sockets are simply not read, so that the senders wait, not the sound.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import zmq

from pse_stream.control.allowed import AllowList
from pse_stream.control.audit import AuditLog
from pse_stream.control.budget import TokenBucket
from pse_stream.control.desk import Desk
from pse_stream.control.instance import DEFAULT_INSTANCE, InstanceLock, control_path, telemetry_path
from pse_stream.control.keys import Keyring
from pse_stream.control.listener import Listener, network_key, parse_tcp
from pse_stream.control.reception import LOCAL, Reception
from pse_stream.control.sessions import Peer
from pse_stream.control.sockets import Socket, readable, receive
from pse_stream.control.spectrum import Tap
from pse_stream.control.telemetry import Telemetry
from pse_stream.control.zap import Door

_TOTAL_PER_S, _TOTAL_BURST = 500.0, 32.0  # messages of all clients together: a few per cent of a core
_UNREAD_DISCOUNT = 0.5  # of a message that was refused unread: what a flood has left is soon out of the way
_BATCH = 16  # messages between two looks at telemetry and finished changes
_BREATH_S = 0.01  # under a flood, let a few tokens gather: fewer wake-ups
_MAX_IDLE_S = 0.5  # the loop turns at least this often
_CHORES_S = 0.1  # between looks at what takes too long, and at the allow-list for those who only listen
_JOIN_S = 5.0

_log = logging.getLogger("pse_stream.control")


class ControlServer:
    """Serves one denoiser to its user, and over the network to those who hold a key.

    Parameters
    ----------
    desk : Desk
        Carries requests out.
    instance : str
        Names the socket files; one process per name.
    tcp : str or None
        `tcp://host:port` to listen there too; needs a server key and an allow-list.
    tap : Tap or None
        For the spectrum topic.
    audit : Path or None
        The audit log; None: nothing is written.
    lock : InstanceLock or None
        Held by the caller already; None: the server takes it itself.
    """

    def __init__(
        self,
        desk: Desk,
        *,
        instance: str = DEFAULT_INSTANCE,
        tcp: str | None = None,
        tap: Tap | None = None,
        keyring: Keyring | None = None,
        audit: Path | None = None,
        lock: InstanceLock | None = None,
    ) -> None:
        self._instance, self._tcp = instance, tcp
        self._keyring = keyring or Keyring()
        self._own_lock = InstanceLock(instance) if lock is None else None
        self._audit = AuditLog(audit)
        self._allowed = AllowList(self._keyring.allowed_path) if tcp else None
        self._holders: frozenset[str] = frozenset()
        self._chores_due = 0.0
        self._held_back = False  # a flood is
        self._telemetry = Telemetry(desk.denoiser, tap)
        self._reception = Reception(desk, instance, self._audit, self._allowed)
        self._under_way = self._reception.under_way
        self._context: zmq.Context[Socket] = zmq.Context()
        self._listeners: list[Listener] = []
        self._door: Door | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pse-control", daemon=True)

    @property
    def endpoints(self) -> list[str]:
        """Where commands are taken."""
        return [listener.command for listener in self._listeners]

    def start(self) -> None:
        """Bind and serve.

        Raises
        ------
        BusyError
            If another process serves under this instance name.
        ControlError
            If the runtime folder is not private, the address is taken, or keys are missing.
        """
        try:
            key = network_key(self._tcp, self._keyring) if self._tcp else None
            if self._own_lock is not None:
                self._own_lock.acquire()
            command, telemetry = control_path(self._instance), telemetry_path(self._instance)
            self._listen(Listener(self._context, self._telemetry, f"ipc://{command}", f"ipc://{telemetry}"))
            if self._tcp and self._allowed is not None:
                host, port = parse_tcp(self._tcp)
                self._holders = self._allowed.keys()
                self._door = Door(self._context, self._allowed)
                beside = f"tcp://{host}:{port + 1 if port else 0}"
                self._listen(Listener(self._context, self._telemetry, f"tcp://{host}:{port}", beside, key))
        except BaseException:
            self._close()
            raise
        logging.getLogger("pse_stream").addHandler(self._telemetry.log)
        self._watch_sockets()
        self._audit.note(f"listening at {', '.join(self.endpoints)}")
        self._thread.start()

    def _listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def stop(self) -> None:
        """Answer what is under way, stop listening, remove the socket files; safe to call twice."""
        self._stopping.set()
        self._under_way.wake()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)

    def __enter__(self) -> ControlServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            total = TokenBucket(_TOTAL_PER_S, _TOTAL_BURST, time.monotonic())
            while not self._stopping.is_set():
                self._turn(total)
        except Exception:
            _log.exception("the control server failed; sound goes on without it")
        finally:
            logging.getLogger("pse_stream").removeHandler(self._telemetry.log)
            self._audit.note("stopped")
            self._close()

    def _turn(self, total: TokenBucket) -> None:
        """Sleep until something is to be done, and do it."""
        now = time.monotonic()
        wait_s = min(self._telemetry.tick(now) - now, _MAX_IDLE_S)
        poller = self._all
        if self._held_back and (pause_s := total.wait_s(now)) > 0.0:
            wait_s = min(wait_s, max(pause_s, _BREATH_S))
            poller = self._quiet
        ready = [found for found, _ in poller.poll(_ms(wait_s))]
        if ready:
            self._attend(ready, total)
        now = time.monotonic()
        if now >= self._chores_due:
            self._chores_due = now + _CHORES_S
            self._reception.deliver(now)  # gives up what takes too long
            self._audit.flush()
            self._watch_allowed()

    def _attend(self, ready: Sequence[Socket | int], total: TokenBucket) -> None:
        """Somebody wants something; with an answer that is ready, nobody waits for the others' questions."""
        if self._under_way.wakened.fileno() in ready:
            self._under_way.hush()
            self._reception.deliver(time.monotonic())
        for listener in self._listeners:
            if listener.router in ready:
                self._read(listener, total)
            if listener.publisher in ready:
                self._telemetry.hear(listener.publisher)
        if self._door is not None and self._door.socket in ready and (why := self._door.answer()):
            self._audit.refused("unknown", "connect", "not_allowed", why)
        if self._reception.changed:
            self._reception.changed = False
            self._telemetry.poke()

    def _watch_sockets(self) -> None:
        """Two sets of sockets to wait for: all, and, while a flood is held back, those that bring no requests."""
        self._all, self._quiet = zmq.Poller(), zmq.Poller()
        for poller in (self._all, self._quiet):
            poller.register(self._under_way.wakened, zmq.POLLIN)
            if self._door is not None:
                poller.register(self._door.socket, zmq.POLLIN)
            for listener in self._listeners:
                poller.register(listener.publisher, zmq.POLLIN)
        for listener in self._listeners:
            self._all.register(listener.router, zmq.POLLIN)

    def _read(self, listener: Listener, total: TokenBucket) -> None:
        """Take what is there, a few messages at most; one is known to be."""
        for i in range(_BATCH):
            now = time.monotonic()
            if i and not readable(listener.router):
                return
            self._held_back = not total.take(now)
            if self._held_back:
                return
            parts, user = _received(listener)
            delimiter = len(parts) == 3 and not parts[1]
            peer = Peer(listener.router, parts[0], delimiter, listener.telemetry_port)
            if delimiter or len(parts) == 2:
                if not self._reception.take(peer, user, parts[-1], now):
                    total.give(_UNREAD_DISCOUNT)
            else:
                self._reception.refuse_frames(peer, user, len(parts) - 1)

    def _watch_allowed(self) -> None:
        """If somebody was revoked, cut the network connections: the others come back by themselves."""
        if self._allowed is None or self._allowed.keys() is self._holders:
            return
        before, self._holders = self._holders, self._allowed.keys()
        self._audit.note(self._allowed.problem or f"allow-list read: {len(self._holders)} keys")
        if before <= self._holders:
            return
        self._reception.everybody_out()
        for listener in self._listeners:
            if listener.secure:
                listener.reopen()
        self._watch_sockets()

    def _close(self) -> None:
        self._reception.close()
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        if self._door is not None:
            self._door.close()
        self._context.term()
        self._audit.close()
        if self._own_lock is not None:
            self._own_lock.release()


def _received(listener: Listener) -> tuple[list[bytes], str]:
    """One message that is known to be there, and who sent it."""
    frames = receive(listener.router)
    user = str(frames[-1].get("User-Id")) if listener.secure else LOCAL
    return [frame.bytes for frame in frames], user


def _ms(wait_s: float) -> int:
    """Whole milliseconds, rounded up: a poll that ends too early only turns the loop once more."""
    return math.ceil(max(0.0, wait_s) * 1000.0)
