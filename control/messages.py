"""Bytes to a typed request or a typed refusal, and answers to bytes: JSON-RPC 2.0 objects in UTF-8, one per message.

Knows no socket and no denoiser. `decode` ends in a request or a `Refusal`, whatever the bytes are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from pse_stream.control.commands import METHODS, Method, Params
from pse_stream.control.faults import FAULTS, PROTOCOL, RemoteError

MESSAGE_BYTES = 64 * 1024  # users.md: an honest request is a few hundred bytes


class Envelope(Struct, frozen=True):
    """JSON-RPC 2.0 request; further members are ignored, so that a newer client may send them."""

    jsonrpc: Literal["2.0"]
    id: Annotated[str, Meta(min_length=1, max_length=64)] | Annotated[int, Meta(ge=-(2**53), le=2**53)]
    method: Annotated[str, Meta(max_length=64)]
    params: msgspec.Raw = msgspec.Raw(b"{}")


@dataclass(frozen=True, slots=True)
class Request:
    """A request that is well formed; whether it is allowed and possible is not known yet."""

    id: str | int
    method: Method
    params: Params


class Refusal(RemoteError):
    """A request that ends here; `request_id` is None when the message had none that can be read."""

    def __init__(
        self,
        name: str,
        text: str,
        *,
        request_id: str | int | None = None,
        hint: str = "",
        data: dict[str, object] | None = None,
    ) -> None:
        super().__init__(text, name=name, code=FAULTS[name].code, hint=hint, data=data)
        self.request_id = request_id


class _IdOnly(Struct):
    id: str | int | None = None


_envelope = msgspec.json.Decoder(Envelope)
_id_only = msgspec.json.Decoder(_IdOnly)
_params = {name: msgspec.json.Decoder(method.params) for name, method in METHODS.items()}


def _plain(value: object) -> object:
    """NumPy numbers that found their way into a snapshot."""
    item = getattr(value, "item", None)
    if item is None:
        raise NotImplementedError(f"{type(value).__name__} cannot be sent")
    return item()


#: Anything of plain types, structs or dataclasses as JSON.
encode = msgspec.json.Encoder(enc_hook=_plain).encode


def decode(message: bytes) -> Request:
    """Read one request.

    Raises
    ------
    Refusal
        parse_error, invalid_request, unknown_method, invalid_params or too_large; nothing else, whatever the bytes.
    """
    if len(message) > MESSAGE_BYTES:
        raise Refusal("too_large", f"the message has {len(message)} bytes; at most {MESSAGE_BYTES} are read")
    try:
        envelope = _envelope.decode(message)
    except msgspec.ValidationError as error:
        raise Refusal(
            "invalid_request",
            f"not a JSON-RPC 2.0 request: {error}.",
            request_id=id_of(message),
            hint='Expected {"jsonrpc": "2.0", "id": 1, "method": "status", "params": {}}; batches are not read.',
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal("parse_error", f"the message is not one JSON object in UTF-8: {error}") from None
    method = METHODS.get(envelope.method)
    if method is None:
        raise Refusal(
            "unknown_method",
            f"protocol {PROTOCOL} has no method {envelope.method!r}.",
            request_id=envelope.id,
            hint=_nearest(envelope.method),
        )
    try:
        params = _params[method.name].decode(envelope.params)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal("invalid_params", f"{method.name}: {error}", request_id=envelope.id) from None
    return Request(envelope.id, method, params)


def encode_result(request_id: str | int, result: object) -> bytes:
    """Bytes of a JSON-RPC answer; `result` is of plain types, structs or dataclasses."""
    return encode({"jsonrpc": "2.0", "id": request_id, "result": result})


def encode_refusal(refusal: Refusal) -> bytes:
    """Bytes of a JSON-RPC error."""
    error = {
        "code": refusal.code,
        "name": refusal.name,
        "message": refusal.text,
        "hint": refusal.hint,
        "data": refusal.data,
    }
    return encode({"jsonrpc": "2.0", "id": refusal.request_id, "error": error})


def id_of(message: bytes) -> str | int | None:
    """The id of a message that is otherwise wrong, so that its sender can match the refusal."""
    if len(message) > MESSAGE_BYTES:
        return None
    try:
        found = _id_only.decode(message).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found[:64] if isinstance(found, str) else found


def _nearest(name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name, METHODS, n=1)
    return f"Did you mean {close[0]!r}?" if close else "The list is in docs/protocol.md."
