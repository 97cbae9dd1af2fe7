"""Over TCP: nobody without a key on the list, roles at each request, revoking at once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zmq

from pse_stream.control.client import ControlClient
from pse_stream.control.desk import Desk
from pse_stream.control.faults import NoAnswerError, RemoteError
from pse_stream.control.keys import Keyring
from pse_stream.control.reader import TelemetryReader
from pse_stream.control.server import ControlServer
from pse_stream.errors import ControlError

from .fake_denoiser import FakeCatalog, FakeDenoiser
from .raw_client import raw_client

Connect = Callable[..., ControlClient]


def test_a_key_on_the_list_may_do_everything(connect: Connect) -> None:
    client = connect("desk")
    assert client.connect().role == "control"
    assert client.set_mute(True).changed == {"mute": (False, True)}


def test_an_observer_may_look_and_not_touch(connect: Connect, keyring: Keyring, fake: FakeDenoiser) -> None:
    keyring.allow("laptop", keyring.new("laptop").public, "observe")
    client = connect("laptop")
    assert client.status()["state"] == "running"
    client.validate_config(mute=True)
    for forbidden in (client.toggle_mute, client.start_recording, client.shutdown):
        with pytest.raises(RemoteError) as caught:
            forbidden()
        assert caught.value.name == "not_allowed"
    assert fake.applied == []


def test_a_key_that_is_not_on_the_list_is_told_so_at_once(connect: Connect, keyring: Keyring) -> None:
    keyring.new("stranger")
    began = time.monotonic()
    with pytest.raises(NoAnswerError) as caught:
        connect("stranger").status()
    assert caught.value.name == "key_refused"
    assert caught.value.exit_code == 6
    assert time.monotonic() - began < 2.0


def test_another_server_key_than_the_known_one_is_told_at_once(connect: Connect, keyring: Keyring) -> None:
    keyring.new("impostor")
    with pytest.raises(NoAnswerError) as caught:
        connect("desk", server_key="impostor").status()
    assert caught.value.name in ("wrong_server", "no_answer")


def test_a_plain_socket_gets_nothing(network: str, fake: FakeDenoiser) -> None:
    with raw_client(network) as client:
        client.send(b'{"jsonrpc":"2.0","id":1,"method":"hello","params":{"proto":"1.0"}}')
        assert client.receive(500) is None


def test_a_role_that_is_lowered_counts_at_the_next_request(connect: Connect, keyring: Keyring) -> None:
    client = connect("desk")
    client.set_mute(True)
    keyring.allow("desk", keyring.load("desk").public, "observe")
    with pytest.raises(RemoteError) as caught:
        client.set_mute(False)
    assert caught.value.name == "not_allowed"


def test_a_revoked_key_is_out_at_once_for_commands_and_telemetry(connect: Connect, keyring: Keyring) -> None:
    keyring.allow("laptop", keyring.new("laptop").public, "observe")
    stays, goes = connect("desk"), connect("laptop", timeout_s=0.5)
    with TelemetryReader(goes, ["meters"]) as watcher:
        assert watcher.receive(3.0) is not None
        goes.status()
        keyring.revoke("laptop")
        with pytest.raises(ControlError) as caught:
            goes.status()
        assert caught.value.name in ("not_allowed", "key_refused")
        deadline = time.monotonic() + 3.0
        while watcher.receive(0.5) is not None:
            assert time.monotonic() < deadline, "still watching"
    assert stays.status()["state"] == "running"


def test_those_who_stay_see_telemetry_again_after_a_revocation(connect: Connect, keyring: Keyring) -> None:
    keyring.allow("laptop", keyring.new("laptop").public, "observe")
    with TelemetryReader(connect("desk"), ["meters"]) as watcher:
        assert watcher.receive(3.0) is not None
        keyring.revoke("laptop")
        time.sleep(0.7)
        watcher.newest(0.0)
        assert watcher.receive(5.0) is not None


def test_the_audit_log_names_who_did_what_and_who_was_turned_away(
    connect: Connect, keyring: Keyring, home: Path
) -> None:
    stranger = keyring.new("stranger").public
    connect("desk").set_mute(True)
    with pytest.raises(NoAnswerError):
        connect("stranger").status()
    time.sleep(0.7)  # lines are handed to the disk a few times a second
    entries = [json.loads(line) for line in (home / "audit.log").read_text().splitlines()]
    assert any(e["event"] == "accepted" and e["user"] == "desk" and e["method"] == "mute.set" for e in entries)
    assert any(e["event"] == "refused" and stranger in e["text"] for e in entries)


@pytest.mark.parametrize("address", ["tcp://0.0.0.0:0", "tcp://*:0", "tcp://[::]:0", "tcp://127.0.0.1:0"])
def test_no_address_is_opened_without_keys(home: Path, fake: FakeDenoiser, address: str) -> None:
    with pytest.raises(ControlError, match="keys new server"):
        ControlServer(Desk(fake, FakeCatalog()), tcp=address).start()


def test_no_address_is_opened_with_an_empty_allow_list(home: Path, fake: FakeDenoiser) -> None:
    Keyring().new("server")
    with pytest.raises(ControlError, match="allow-list is empty"):
        ControlServer(Desk(fake, FakeCatalog()), tcp="tcp://127.0.0.1:0").start()


def test_an_address_that_is_taken_is_an_error_and_leaves_nothing(keyring: Keyring, fake: FakeDenoiser) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    other = context.socket(zmq.ROUTER)
    port = other.bind_to_random_port("tcp://127.0.0.1")
    try:
        with pytest.raises(ControlError, match="cannot listen"):
            ControlServer(Desk(fake, FakeCatalog()), tcp=f"tcp://127.0.0.1:{port}").start()
    finally:
        context.destroy(linger=0)
    with ControlServer(Desk(fake, FakeCatalog())):
        pass


@pytest.mark.parametrize("address", ["tcp://", "http://x", "tcp://a b:1", "tcp://x:99999", "ipc:///tmp/x"])
def test_what_is_no_address_is_refused(keyring: Keyring, fake: FakeDenoiser, address: str) -> None:
    with pytest.raises(ControlError, match="no address"):
        ControlServer(Desk(fake, FakeCatalog()), tcp=address).start()
