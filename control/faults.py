"""Why the control channel says no: the stable names, their numbers, and what a command line ends with.

    ControlError          (errors.py)
      RemoteError         the server answered with an error; `name` is one of `FAULTS`
      NoAnswerError       nobody answered in time, or the connection was refused

A script may rely on `name` and `code` for the whole of protocol 1; the text is for people and may change.
Nothing but the standard library is imported: `pse-stream ctl` has 150 ms from start to finish.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pse_stream.errors import ControlError

PROTOCOL = "1.0"  # spoken by this client and this server


class Fault(NamedTuple):  # not a dataclass: that import alone costs 10 ms
    """One way to be refused."""

    name: str
    code: int  # JSON-RPC: -32768..-32000 are reserved; -32099..-32000 are the server's own
    exit_code: int  # of `pse-stream ctl`
    meaning: str


_ALL = (
    Fault("parse_error", -32700, 6, "the message is not one JSON object in UTF-8"),
    Fault("invalid_request", -32600, 6, "not a JSON-RPC 2.0 request: wrong version, no id, a batch, too many frames"),
    Fault("unknown_method", -32601, 6, "protocol 1.0 has no such method"),
    Fault("invalid_params", -32602, 2, "a parameter is missing, unknown or of the wrong type"),
    Fault("internal_error", -32603, 1, "a bug in the denoiser; its log says more"),
    Fault("not_allowed", -32001, 6, "the role of this key may not do that"),
    Fault("busy", -32002, 8, "too much is under way for this client, or the device is in use"),
    Fault("no_device", -32003, 4, "the audio device or sound server is missing or refused"),
    Fault("engine_failed", -32004, 5, "the engine or model package cannot be used"),
    Fault("bad_value", -32005, 3, "a value outside what is possible; `data` holds min, max or choices"),
    Fault("consent_needed", -32006, 10, "recording was never agreed to in this profile"),
    Fault("not_supported", -32007, 6, "this server does not have that feature (see `caps` of hello)"),
    Fault("revision_conflict", -32008, 6, "`if_revision` is not the present revision; `data` holds the present one"),
    Fault("rate_limited", -32009, 6, "too many messages; `data.retry_after_ms` says when to try again"),
    Fault("too_large", -32010, 6, "the message is longer than `limits.message_bytes` of hello"),
    Fault("wrong_protocol", -32011, 6, "the major version of the protocol differs; update the older side"),
    Fault("hello_needed", -32012, 6, "the first message of a connection must be hello"),
    Fault("duplicate_id", -32013, 6, "this id was used before for another request"),
    Fault("not_applied", -32014, 6, "the denoiser did not answer in time; the change may still take effect"),
    Fault("pinned", -32016, 6, "a person pinned the level; release it or pin another"),
    Fault("stopping", -32015, 6, "the denoiser is shutting down"),
)

#: name -> fault; closed for protocol 1.
FAULTS: Mapping[str, Fault] = {fault.name: fault for fault in _ALL}

#: Names of `PseError` (errors.py and its subclasses' own) that mean one of the above.
_FROM_LOCAL: Mapping[str, str] = {
    "bad_shape": "bad_value",
    "bad_level": "bad_value",
    "config": "bad_value",
    "profile": "bad_value",
    "device": "no_device",
    "no_mic": "no_device",
    "mic_lost": "no_device",
    "server_down": "no_device",
    "own_source": "no_device",
    "engine": "engine_failed",
    "engine_hash": "engine_failed",
    "consent": "consent_needed",
    "conflict": "revision_conflict",
    "stopped": "stopping",
    "timeout": "not_applied",
}

_FROM_EXIT_CODE: Mapping[int, str] = {
    2: "invalid_params",
    3: "bad_value",
    4: "no_device",
    5: "engine_failed",
    8: "busy",
}


def fault_of(name: str, exit_code: int) -> Fault:
    """The fault that a local error means on the wire.

    Parameters
    ----------
    name : str
        `PseError.name`.
    exit_code : int
        `PseError.exit_code`; decides when the name says nothing.
    """
    if name in FAULTS:
        return FAULTS[name]
    return FAULTS[_FROM_LOCAL.get(name) or _FROM_EXIT_CODE.get(exit_code, "internal_error")]


class RemoteError(ControlError):
    """The server's refusal.

    Attributes
    ----------
    code : int
        JSON-RPC error code.
    data : dict
        What may help a program: min, max, choices, revision, retry_after_ms.
    """

    def __init__(
        self, text: str, *, name: str, code: int = 0, hint: str = "", data: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(text, name=name, hint=hint)
        self.code = code
        self.data = dict(data or {})
        if name in FAULTS:
            self.exit_code = FAULTS[name].exit_code


class NoAnswerError(ControlError):
    """Nobody answered: not running, unreachable, or the key was refused; the text says which."""

    name = "no_answer"
