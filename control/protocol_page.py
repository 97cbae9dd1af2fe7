"""Write docs/protocol.md from the protocol itself: `python -m pse_stream.control.protocol_page docs/protocol.md`.

A test compares the page with what this makes, so the page cannot be out of date.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from pse_stream.control.commands import METHODS, Method
from pse_stream.control.faults import FAULTS, PROTOCOL
from pse_stream.control.instance import DEFAULT_PORT
from pse_stream.control.messages import MESSAGE_BYTES
from pse_stream.control.sessions import NEWCOMERS_PER_S, REQUEST_BURST, REQUESTS_PER_S
from pse_stream.control.topics import OPT_IN, TOPICS, sample

_HEAD = f"""\
# The control protocol, version {PROTOCOL}

*This page is made from the code by `python -m pse_stream.control.protocol_page docs/protocol.md`.* How to use it,
with keys, examples and a Python client: [remote-control.md](remote-control.md).

## Transport

| | command channel | telemetry |
|---|---|---|
| ZeroMQ | ROUTER; clients are DEALER or REQ | XPUB; clients are SUB |
| on this machine | `ipc://$XDG_RUNTIME_DIR/pse-stream/INSTANCE.sock` | `…/INSTANCE.telemetry.sock` |
| over a network, with keys | `tcp://HOST:{DEFAULT_PORT}`, or as `--bind` says | the port that `hello` names |

The runtime folder is 0700: whoever can open the socket file is the same user and may do everything. Without
XDG_RUNTIME_DIR it is `/run/user/UID/pse-stream`, else `/tmp/pse-stream-UID`. Over TCP every connection is encrypted
and authenticated with CURVE (RFC 25, 26) against an allow-list; the role of the key is looked up at each request.

## Messages

JSON-RPC 2.0, one object per message in one frame, UTF-8, at most {MESSAGE_BYTES:,} bytes. `id` is a string of 1 to 64
characters or a whole number, and must be there. Further members of the envelope are ignored; unknown *parameters* are
refused. Batches and notifications are not read.

```json
{{"jsonrpc": "2.0", "id": "a-1", "method": "attenuation.set", "params": {{"db": 18, "if_revision": 4}}}}
{{"jsonrpc": "2.0", "id": "a-1",
 "result": {{"revision": 5, "hop_index": 18302, "changed": {{"attenuation_db": [30.0, 18.0]}}}}}}
{{"jsonrpc": "2.0", "id": "a-2",
 "error": {{"code": -32005, "name": "bad_value", "message": "…", "hint": "…", "data": {{"min": 0, "max": 100}}}}}}
```

- **The first message of a connection is `hello`.** Another major version is refused (`wrong_protocol`); minor versions
  add methods and members and break nothing. After a reconnect, or when the denoiser was restarted, `hello` is needed
  again (`hello_needed`); `boot` in its answer changes with each start.
- **A change is answered when it took effect**, with the revision (a counter of accepted changes), the index of the
  first hop (8 ms of sound) that ran with it, and old and new values of what changed; empty if it was so already.
- **`if_revision`** makes a change conditional: refused with `revision_conflict` if anybody changed anything since.
- **Asking again is safe.** The answer to a change is kept under its id (and the `token` given in `hello`): the same
  message again is answered again and not carried out twice. Another message under a used id is `duplicate_id`.
- **Limits**: {REQUESTS_PER_S:g} requests a second per connection, {REQUEST_BURST:g} at once; beyond it `rate_limited`
  with `data.retry_after_ms`; likewise beyond {NEWCOMERS_PER_S:g} new connections a second. Beyond a total for all
  clients the sockets are simply read more slowly.
- **Nothing names a file or starts a program.** People, engines, specialists and devices are named as the lists name
  them.
"""


def page() -> str:
    """The whole page."""
    parts = [_HEAD, "## Methods\n", _overview()]
    parts += [_method(method) for method in METHODS.values()]
    parts += [_faults(), _telemetry()]
    return "\n".join(parts)


def _overview() -> str:
    rows = [
        f"| [`{m.name}`](#{m.name.replace('.', '')}) | {m.role} | {'yes' if m.changes else ''} | {m.summary} |"
        for m in METHODS.values()
    ]
    return "| method | role | changes | |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"


def _method(method: Method) -> str:
    lines = [f"### {method.name}\n", f"{method.summary} Role: {method.role}."]
    if method.changes and not method.idempotent:
        lines[-1] += " Twice is not the same as once."
    fields = inspect.type_info(method.params)
    assert isinstance(fields, inspect.StructType)
    if fields.fields:
        lines += ["", "| parameter | type | default |", "|---|---|---|"]
        lines += [f"| `{field.encode_name}` | {_type(field.type)} | {_default(field)} |" for field in fields.fields]
    return "\n".join(lines) + "\n"


def _type(kind: inspect.Type) -> str:
    """A type in words."""
    match kind:
        case inspect.UnionType():
            return " or ".join(_type(part) for part in kind.types)
        case inspect.LiteralType():
            return ", ".join(f"`{json.dumps(value)}`" for value in kind.values)
        case inspect.StrType():
            return f"text{_limits(kind)}"
        case inspect.IntType():
            return "whole number" + (" from 0" if kind.ge == 0 else "")
        case inspect.FloatType():
            return "number"
        case inspect.BoolType():
            return "true or false"
        case inspect.NoneType():
            return "null"
    raise TypeError(f"{kind} has no words")


def _limits(kind: inspect.StrType) -> str:
    limits = f", at most {kind.max_length} characters" if kind.max_length else ""
    return limits + (f", `{kind.pattern}`" if kind.pattern else "")


def _default(field: inspect.Field) -> str:
    if field.required:
        return "required"
    return "unchanged" if field.default in (msgspec.UNSET, msgspec.NODEFAULT) else f"`{json.dumps(field.default)}`"


def _faults() -> str:
    rows = [f"| `{f.name}` | {f.code} | {f.exit_code} | {f.meaning} |" for f in FAULTS.values()]
    return (
        "## Errors\n\nNames and codes are stable for the whole of protocol 1; texts are not. *Exit* is what "
        "`pse-stream ctl` ends with.\n\n| name | code | exit | meaning |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    )


def _telemetry() -> str:
    lines = [
        "## Telemetry\n",
        "Two frames: the topic, and one JSON object `{topic, seq, uptime_s, data}`. `seq` counts per topic: a gap "
        "means that this reader was too slow and lost messages, a repeat that another reader came late and the last "
        "value was sent again. A late reader is sent the last value of its topics at once. `state` comes on change and "
        "once a second: three seconds of silence mean that the denoiser is gone. Figures that are not finite are null; "
        "levels are in dBFS, times in ms unless the name says otherwise. No sound is ever sent.\n",
    ]
    for topic in TOPICS:
        opt_in = " (opt-in: nothing is computed unless somebody subscribes)" if topic in OPT_IN else ""
        lines += [f"### {topic}{opt_in}\n", "```json", _shortened(sample(topic)), "```\n"]
    return "\n".join(lines)


def _shortened(data: Any) -> str:
    """As JSON, long rows of figures cut short."""
    if isinstance(data, dict):
        data = {k: [*v[:4], "…"] if isinstance(v, list) and len(v) > 8 else v for k, v in data.items()}
    return json.dumps(data, indent=1, ensure_ascii=False)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
