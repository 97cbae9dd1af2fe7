"""What becomes of a message: who sent it, may they, was it asked before, and what it is answered.

Knows one outgoing thing, `Peer`, and no other socket; `server.py` brings the messages and the time.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import msgspec
import zmq

from pse_stream import __version__
from pse_stream.control import commands as wire
from pse_stream.control import messages
from pse_stream.control.allowed import AllowList
from pse_stream.control.audit import AuditLog
from pse_stream.control.desk import Desk, plain_result, refusal_of
from pse_stream.control.faults import PROTOCOL
from pse_stream.control.messages import Refusal, Request
from pse_stream.control.sessions import (
    MAX_PENDING,
    NEWCOMERS_PER_S,
    REQUESTS_PER_S,
    Answer,
    AnswerKey,
    Answers,
    Peer,
    Session,
    Sessions,
)
from pse_stream.control.sockets import send
from pse_stream.control.topics import TOPICS
from pse_stream.control.underway import APPLY_S, Errand, UnderWay
from pse_stream.streaming.settings import Applied

LOCAL = "local"  # the user of the socket file: whoever may open it is the same user
_MAX_JOBS = 8  # slow questions waiting for an answer, of all clients together

_SOON_S = 0.002  # the worker is between two hops seven times out of eight, and then has a change made at once
_NEWCOMER_WAIT_MS = 500

_log = logging.getLogger("pse_stream.control")


class Reception:
    """Takes messages, answers them now or when the denoiser has.

    Parameters
    ----------
    desk : Desk
        Carries requests out.
    instance : str
        Our name, for hello.
    audit : AuditLog
        Told of every change and refusal.
    allowed : AllowList or None
        Roles of those who come over the network.

    Attributes
    ----------
    under_way : UnderWay
        Its socket is readable when an answer waits for `deliver`.
    """

    def __init__(self, desk: Desk, instance: str, audit: AuditLog, allowed: AllowList | None) -> None:
        self._desk, self._instance, self._audit, self._allowed = desk, instance, audit, allowed
        self._boot = secrets.token_hex(8)  # a client can tell that we were restarted
        self._sessions, self._answers = Sessions(), Answers()
        self.under_way = UnderWay()
        self._jobs = ThreadPoolExecutor(1, thread_name_prefix="pse-control-job")
        self.changed = False  # something took effect since the last look

    # -- messages ---------------------------------------------------------------------------------------------------

    def take(self, peer: Peer, user: str, message: bytes, now: float) -> bool:
        """One message, from bytes to an answer or a change under way; False if it was not even read."""
        session = self._sessions.of(peer, user, now)
        if session is None:
            text, wait_ms = f"more than {NEWCOMERS_PER_S:g} new connections a second", _NEWCOMER_WAIT_MS
        elif not session.bucket.take(now):
            text, wait_ms = f"more than {REQUESTS_PER_S:g} requests a second", _ms(session.bucket.wait_s(now))
        else:
            self._read(peer, session, message, now)
            return True
        # Nothing but the id is looked at: a flood must not cost more than this.
        refusal = Refusal("rate_limited", text, request_id=messages.id_of(message), data={"retry_after_ms": wait_ms})
        self._send(peer, messages.encode_refusal(refusal))
        self._audit.refused(self._name(user), "", refusal.name, text)
        return False

    def _read(self, peer: Peer, session: Session, message: bytes, now: float) -> None:
        request: Request | None = None
        try:
            request = messages.decode(message)
            if isinstance(request.params, wire.Hello):
                self._send(peer, messages.encode_result(request.id, self._hello(peer, session, request.params)))
                return
            if not session.greeted:
                raise Refusal("hello_needed", "the first message of a connection must be hello")
            self._insist_role(session, request)
            if request.method.changes:
                self._change(peer, session, request, message, now)
            else:
                self._question(peer, session, request, now)
        except Exception as error:
            self._refuse(peer, session.user, request, error)

    def refuse_frames(self, peer: Peer, user: str, count: int) -> None:
        """A message that is not one frame."""
        self._refuse(peer, user, None, Refusal("invalid_request", f"{count} frames; expected one"))

    def _hello(self, peer: Peer, session: Session, hello: wire.Hello) -> dict[str, object]:
        if hello.proto.split(".")[0] != PROTOCOL.split(".", maxsplit=1)[0]:
            raise Refusal(
                "wrong_protocol",
                f"you speak protocol {hello.proto}, this server speaks {PROTOCOL}.",
                hint="The major versions must be equal; update the older side.",
                data={"proto": PROTOCOL, "app": __version__},
            )
        session.greeted = True
        session.token = hello.token
        return {
            "proto": PROTOCOL,
            "app": __version__,
            "instance": self._instance,
            "boot": self._boot,
            "pid": os.getpid(),
            "role": self._role(session.user),
            "caps": self._desk.capabilities,
            "topics": list(TOPICS),
            "telemetry_port": peer.telemetry_port,
            "revision": self._desk.denoiser.snapshot.revision,
            "limits": {"message_bytes": messages.MESSAGE_BYTES, "requests_per_s": REQUESTS_PER_S},
        }

    # -- who may ----------------------------------------------------------------------------------------------------

    def everybody_out(self) -> None:
        """The network sockets were opened anew: all must say hello again."""
        self._sessions.clear()

    def _role(self, user: str) -> str:
        """What a user may do now; looked up at each request, so that a change of the allow-list acts at once."""
        if user == LOCAL:
            return "control"
        holder = self._allowed.get(user) if self._allowed is not None else None
        return holder.role if holder is not None else "none"

    def _name(self, user: str) -> str:
        holder = self._allowed.get(user) if self._allowed is not None else None
        return holder.name if holder is not None else user

    def _insist_role(self, session: Session, request: Request) -> None:
        role = self._role(session.user)
        if role == "none" or (request.method.role == "control" and role != "control"):
            raise Refusal(
                "not_allowed",
                f"{request.method.name} needs the role {request.method.role}; this key has {role}.",
                hint="On the denoiser's machine: pse-stream keys allow NAME PUBLIC-KEY --role control",
                data={"role": role, "needed": request.method.role},
            )

    def _insist_room(self, session: Session, slow: bool) -> None:
        if session.pending >= MAX_PENDING or (slow and self.under_way.slow >= _MAX_JOBS):
            raise Refusal("busy", "too many requests are under way; wait for their answers")

    # -- questions and changes --------------------------------------------------------------------------------------

    def _question(self, peer: Peer, session: Session, request: Request, now: float) -> None:
        if not self._desk.is_slow(request):
            self._send(peer, messages.encode_result(request.id, self._desk.answer(request)))
            return
        self._insist_room(session, slow=True)
        errand = Errand(request, peer, session, now + APPLY_S, slow=True)
        self.under_way.follow(self._jobs.submit(self._desk.answer, request), errand)

    def _change(self, peer: Peer, session: Session, request: Request, message: bytes, now: float) -> None:
        key: AnswerKey = (session.user, session.token or peer.routing_id, request.id)
        digest = hashlib.blake2b(message, digest_size=16).digest()
        before = self._answers.get(key)
        if before is not None:
            self._answer_again(before, digest, peer)
            return
        slow = self._desk.is_slow(request)
        self._insist_room(session, slow)
        future = self._jobs.submit(self._submit_and_wait, request) if slow else self._desk.submit(request, prompt=True)
        self._answers.open(key, Answer(digest, peer))
        errand = Errand(request, peer, session, now + APPLY_S, slow, key)
        if slow or not _ends_soon(future):
            self.under_way.follow(future, errand)
        else:
            self._answer(errand, future)

    def _answer_again(self, before: Answer, digest: bytes, peer: Peer) -> None:
        if before.request != digest:
            raise Refusal("duplicate_id", "this id was used before for another request")
        before.peer = peer  # the client may have reconnected since
        if before.body is not None:
            self._send(peer, before.body)

    def _submit_and_wait(self, request: Request) -> Applied:
        """For changes whose check takes long; runs in the job thread."""
        try:
            return self._desk.submit(request).result(APPLY_S)
        except TimeoutError:
            raise _late() from None

    # -- answers ----------------------------------------------------------------------------------------------------

    def deliver(self, now: float) -> None:
        """Answer what has ended, and give up what takes too long."""
        for errand, future in self.under_way.ended(now):
            self._answer(errand, future)

    def _answer(self, errand: Errand, future: Future[Any]) -> None:
        """The answer first, then the audit log: it is a write to disk."""
        error = future.exception() if future.done() and not future.cancelled() else _late()
        if error is None:
            self._accepted(errand, future.result())
            return
        refusal = self._refusal(errand.request, error)
        self._send_kept(errand, messages.encode_refusal(refusal))
        self._audit.refused(self._name(errand.session.user), errand.request.method.name, refusal.name, refusal.text)

    def _accepted(self, errand: Errand, result: object) -> None:
        request = errand.request
        outcome = plain_result(result) if isinstance(result, Applied) else result
        self._send_kept(errand, messages.encode_result(request.id, outcome))
        if request.method.changes:
            self.changed = True
            user, asked = self._name(errand.session.user), msgspec.to_builtins(request.params)
            self._audit.accepted(user, request.method.name, asked, outcome)

    def _send_kept(self, errand: Errand, body: bytes) -> None:
        """Send to whoever asked last under this id, and keep the answer for whoever asks again."""
        kept = self._answers.get(errand.key) if errand.key is not None else None
        if kept is not None:
            kept.body = body
        self._send(kept.peer if kept is not None else errand.peer, body)

    def _refuse(self, peer: Peer, user: str, request: Request | None, error: Exception) -> None:
        refusal = self._refusal(request, error)
        method = request.method.name if request is not None else ""
        self._audit.refused(self._name(user), method, refusal.name, refusal.text)
        self._send(peer, messages.encode_refusal(refusal))

    def _refusal(self, request: Request | None, error: BaseException) -> Refusal:
        refusal = refusal_of(error)
        if refusal.name == "revision_conflict":
            refusal.data["revision"] = self._desk.denoiser.snapshot.revision
        if request is not None:
            refusal.request_id = request.id
        if refusal.name == "internal_error":
            _log.error("control: %s failed", request.method.name if request else "decoding", exc_info=error)
        return refusal

    @staticmethod
    def _send(peer: Peer, body: bytes) -> None:
        """A client that is gone, or does not read, loses its answer."""
        if peer.router.closed:
            return
        try:
            send(peer.router, peer.frames(body))
        except zmq.ZMQError as error:
            _log.debug("control: an answer could not be sent: %s", error)

    def close(self) -> None:
        """Answer everybody who still waits."""
        for errand, future in self.under_way.everything():
            if future.done():
                self._answer(errand, future)
                continue
            future.cancel()
            refusal = Refusal("stopping", "the denoiser is shutting down", request_id=errand.request.id)
            self._send(errand.peer, messages.encode_refusal(refusal))
        self._jobs.shutdown(wait=False, cancel_futures=True)
        self.under_way.close()


def _ms(wait_s: float) -> int:
    """Whole milliseconds, rounded up."""
    return round(wait_s * 1000.0) + 1


def _ends_soon(future: Future[Any]) -> bool:
    """Most changes are made while a note of them would still be on its way back to this thread."""
    try:
        future.exception(_SOON_S)
    except TimeoutError:
        return False
    return True


def _late() -> Refusal:
    return Refusal(
        "not_applied",
        f"the denoiser has not answered within {APPLY_S:g} s; the change may still take effect.",
        hint="Look at the status.",
    )
