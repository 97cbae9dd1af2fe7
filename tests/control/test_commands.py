"""The decoder: what is well formed becomes typed, everything else a refusal with a stable name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pse_stream.control.commands import METHODS
from pse_stream.control.faults import FAULTS
from pse_stream.control.messages import MESSAGE_BYTES, Refusal, Request, decode, encode_refusal, encode_result

#: A valid parameter object for each method; a method without one here fails the test below.
SAMPLES: dict[str, dict[str, Any]] = {
    "hello": {"proto": "1.0", "client": "test", "token": "abc"},
    "status": {},
    "devices.list": {},
    "devices.set": {"input": "auto"},
    "engine.list": {},
    "engine.set": {"id": "gru-256", "if_revision": 3},
    "level.set": {"level": 1},
    "level.pin": {"level": None},
    "level.release": {},
    "governor.set": {"mode": "eco"},
    "gate.set": {"mode": "off"},
    "gate.pin": {"specialist": "keyboard"},
    "profile.list": {},
    "profile.use": {"name": "alice"},
    "attenuation.set": {"db": 18},
    "bypass.set": {"on": True},
    "bypass.toggle": {},
    "mute.set": {"on": False},
    "mute.toggle": {"if_revision": 0},
    "record.start": {},
    "record.stop": {},
    "config.get": {},
    "config.validate": {"attenuation_db": 12.0},
    "config.patch": {"mute": True, "profile": None},
    "doctor": {},
    "shutdown": {},
}


def message(method: str, params: object = None, **more: object) -> bytes:
    body: dict[str, object] = {"jsonrpc": "2.0", "id": 1, "method": method, **more}
    if params is not None:
        body["params"] = params
    return json.dumps(body).encode()


def refused(raw: bytes) -> Refusal:
    with pytest.raises(Refusal) as caught:
        decode(raw)
    return caught.value


@pytest.mark.parametrize("name", METHODS)
def test_each_method_decodes_to_its_parameters(name: str) -> None:
    request = decode(message(name, SAMPLES[name]))
    assert request.method is METHODS[name]
    for field, value in SAMPLES[name].items():
        assert getattr(request.params, field) == value


def test_samples_name_no_method_that_is_not_there() -> None:
    assert set(SAMPLES) == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_each_method_refuses_a_parameter_it_does_not_know(name: str) -> None:
    refusal = refused(message(name, {**SAMPLES[name], "path": "/etc/passwd"}))
    assert (refusal.name, refusal.request_id) == ("invalid_params", 1)
    assert "path" in refusal.text


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"", "parse_error"),
        (b"{", "parse_error"),
        (b"\xff\xfe", "parse_error"),
        (b'{"jsonrpc":"2.0","id":1,"method":"status"', "parse_error"),
        (b"[]", "invalid_request"),
        (b"null", "invalid_request"),
        (b'[{"jsonrpc":"2.0","id":1,"method":"status"}]', "invalid_request"),
        (b'{"jsonrpc":"1.0","id":1,"method":"status"}', "invalid_request"),
        (b'{"jsonrpc":"2.0","method":"status"}', "invalid_request"),
        (b'{"jsonrpc":"2.0","id":null,"method":"status"}', "invalid_request"),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"status"}', "invalid_request"),
        (b'{"jsonrpc":"2.0","id":99999999999999999999,"method":"status"}', "invalid_request"),
        (b'{"jsonrpc":"2.0","id":"","method":"status"}', "invalid_request"),
        (b'{"jsonrpc":"2.0","id":1,"method":["status"]}', "invalid_request"),
        (message("stats"), "unknown_method"),
        (message("__class__"), "unknown_method"),
        (message("status", [1]), "invalid_params"),
        (message("level.set", {}), "invalid_params"),
        (message("level.set", {"level": "2"}), "invalid_params"),
        (message("level.set", {"level": 2**40}), "invalid_params"),
        (message("bypass.set", {"on": 1}), "invalid_params"),
        (message("engine.set", {"id": "../../etc/passwd"}), "invalid_params"),
        (message("engine.set", {"id": ".hidden"}), "invalid_params"),
        (message("engine.set", {"id": "a" * 65}), "invalid_params"),
        (message("profile.use", {"name": "a/b"}), "invalid_params"),
        (message("mute.set", {"on": True, "if_revision": -1}), "invalid_params"),
        (b'{"jsonrpc":"2.0","id":1,"method":"attenuation.set","params":{"db":NaN}}', "parse_error"),
        (b'{"jsonrpc":"2.0","id":1,"method":"attenuation.set","params":{"db":1e999}}', "invalid_params"),
        (b'{"jsonrpc":"2.0","id":1,"method":"status","params":' + b"[" * 30_000 + b"]" * 30_000 + b"}", "parse_error"),
        (b" " * (MESSAGE_BYTES + 1), "too_large"),
    ],
)
def test_what_is_wrong_is_refused_by_name(raw: bytes, name: str) -> None:
    assert refused(raw).name == name


def test_a_wrong_request_keeps_its_id_so_that_the_sender_can_match_it() -> None:
    assert refused(b'{"jsonrpc":"1.0","id":"mine","method":"status"}').request_id == "mine"


def test_an_unknown_method_is_told_the_nearest_one() -> None:
    assert "'level.set'" in refused(message("levels.set")).hint


def test_members_of_newer_envelopes_are_ignored() -> None:
    assert decode(message("status", trace="x")).method.name == "status"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


def decodes_or_is_refused(raw: bytes) -> None:
    try:
        assert isinstance(decode(raw), Request)
    except Refusal as refusal:
        body = json.loads(encode_refusal(refusal))
        assert body["error"]["name"] in FAULTS
        assert body["error"]["code"] == FAULTS[body["error"]["name"]].code
        assert body["id"] == refusal.request_id


@settings(max_examples=120, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_break_the_decoder(raw: bytes) -> None:
    decodes_or_is_refused(raw)


@settings(max_examples=120, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            "jsonrpc": st.just("2.0") | json_values,
            "id": st.integers() | st.text(max_size=80) | json_values,
            "method": st.sampled_from(sorted(METHODS)) | st.text(max_size=20) | json_values,
        },
        optional={"params": json_values, "extra": json_values},
    )
)
def test_no_object_breaks_the_decoder(body: dict[str, Any]) -> None:
    decodes_or_is_refused(json.dumps(body).encode())


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(sorted(METHODS)), st.data())
def test_one_wrong_parameter_never_breaks_the_decoder(name: str, data: st.DataObject) -> None:
    params = dict(SAMPLES[name])
    params[data.draw(st.sampled_from([*params, "if_revision", "x"]))] = data.draw(json_values)
    decodes_or_is_refused(message(name, params))


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(METHODS)), st.integers(0, 200), st.integers(0, 255))
def test_a_damaged_message_never_breaks_the_decoder(name: str, at: int, byte: int) -> None:
    raw = bytearray(message(name, SAMPLES[name]))
    raw[at % len(raw)] = byte
    decodes_or_is_refused(bytes(raw))
    decodes_or_is_refused(bytes(raw[: at % len(raw)]))


def test_results_are_json_rpc() -> None:
    assert json.loads(encode_result("a", {"x": 1})) == {"jsonrpc": "2.0", "id": "a", "result": {"x": 1}}
